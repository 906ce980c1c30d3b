//! `tepui bench containers`: real tasks in real containers on one real agent.
//!
//! Two runs: one task at a time for the latency of a launch, then as many as fit for the rate. Then some that sleep, to weigh their supervisors.

use std::{collections::HashSet, time::Duration};

use serde_json::json;

use crate::{
    BenchError,
    load::{self, Plan, Transport},
    process::{Daemon, rss_bytes},
    report::{self, round},
};

/// Arguments of `tepui bench containers`.
#[derive(Debug, clap::Args)]
pub struct ContainersArgs {
    /// How many containers are started, run and destroyed for the rate.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// How many of them at a time.
    #[arg(long, default_value_t = 16)]
    concurrency: u64,
    /// How many are started one at a time for the latency.
    #[arg(long, default_value_t = 100)]
    one_by_one: u64,
    /// How many sleep side by side to weigh their supervisors.
    #[arg(long, default_value_t = 20)]
    weighed: u64,
    /// The image that they run in (`registry/name:tag`, `oci:/path`); without one, the agent's own files.
    #[arg(long)]
    image: Option<String>,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

pub(crate) async fn run(
    args: ContainersArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let (daemon, named) = match master {
        Some(address) => (None, address),
        None => (
            Some(Daemon::start(&["master"], &work_dir.path().join("master"), "/slaves").await?),
            String::new(),
        ),
    };
    let address = daemon
        .as_ref()
        .map_or(named, |daemon| daemon.address.to_string());
    let master_flag = format!("--master={address}");
    // More resources than the machine has: what is measured is Tepui, not the machine's size.
    let agent = Daemon::start(
        &[
            "agent",
            &master_flag,
            "--resources=cpus:64;mem:65536;disk:65536",
        ],
        &work_dir.path().join("agent"),
        "/state",
    )
    .await?;
    let timeout = Duration::from_secs(args.timeout);
    let plan = |tasks, in_flight, command: &str| Plan {
        tasks,
        cpus: 0.1,
        mem_mib: 32.0,
        command: command.into(),
        executor: None,
        image: args.image.clone(),
        in_flight,
    };

    // The first task pays for what is made once: folders, cgroup parents, caches, and the image's pull.
    load::run(
        &address,
        Transport::Grpc,
        &plan(1, 1, "true"),
        None,
        timeout,
    )
    .await?;
    let idle = rss_bytes(agent.pid());
    let alone = load::run(
        &address,
        Transport::Grpc,
        &plan(args.one_by_one, 1, "true"),
        None,
        timeout,
    )
    .await?;
    let many = load::run(
        &address,
        Transport::Grpc,
        &plan(args.count, args.concurrency, "true"),
        None,
        timeout,
    )
    .await?;
    let weights = weigh(
        &address,
        &plan(args.weighed, args.weighed, "exec sleep 3"),
        agent.pid(),
        timeout,
    )
    .await?;
    #[allow(clippy::cast_precision_loss)] // counts
    let rate = many.finished as f64 / many.elapsed.as_secs_f64();
    report::print(
        &json!({
            "accept_to_running_ms": alone.accept_to_running.json(),
            "accept_to_running_ms_concurrent": many.accept_to_running.json(),
            "finished_per_second": round(rate),
            "supervisor_private_bytes": weights.per_task,
            "supervisor_processes_per_task": weights.processes_per_task,
            "rss_bytes": { "agent_after_first_task": idle, "agent": rss_bytes(agent.pid()) },
        }),
        json,
    );
    Ok(())
}

struct Weights {
    per_task: u64,
    processes_per_task: f64,
}

/// Runs sleeping tasks and, while they sleep, adds up the private memory of all of Tepui's processes that came with them.
async fn weigh(
    address: &str,
    plan: &Plan,
    agent: u32,
    timeout: Duration,
) -> Result<Weights, BenchError> {
    let before = tepui_processes();
    let run = load::run(address, Transport::Grpc, plan, None, timeout);
    tokio::pin!(run);
    let mut heaviest = Weights {
        per_task: 0,
        processes_per_task: 0.0,
    };
    loop {
        tokio::select! {
            outcome = &mut run => {
                outcome?;
                return Ok(heaviest);
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                let now = tepui_processes();
                let came: Vec<u32> = now.iter().copied().filter(|pid| !before.contains(pid) && *pid != agent).collect();
                let bytes: u64 = came.iter().filter_map(|&pid| private_bytes(pid)).sum();
                if bytes / plan.tasks > heaviest.per_task {
                    #[allow(clippy::cast_precision_loss)] // counts of processes
                    let processes_per_task = round(came.len() as f64 / plan.tasks as f64);
                    heaviest = Weights { per_task: bytes / plan.tasks, processes_per_task };
                }
            }
        }
    }
}

/// All processes that run this very binary, by id: daemons, supervisors, the inits of containers.
fn tepui_processes() -> HashSet<u32> {
    let own = std::fs::read_link("/proc/self/exe").ok();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| own.is_some() && std::fs::read_link(format!("/proc/{pid}/exe")).ok() == own)
        .collect()
}

/// `Private_Clean` + `Private_Dirty` of a process, in bytes.
fn private_bytes(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |name: &str| -> Option<u64> {
        rollup
            .lines()
            .find_map(|line| line.strip_prefix(name))?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()
    };
    Some((kib("Private_Clean:")? + kib("Private_Dirty:")?) * 1024)
}
