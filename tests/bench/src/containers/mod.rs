//! `tepui bench containers`: real tasks in real containers on one real agent.
//!
//! Two runs: one task at a time for the latency of a launch, then as many as fit for the rate. Then many that stand side by side.

mod standing;

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
    /// How many stand side by side, to weigh them and to restart their agent.
    #[arg(long, default_value_t = 1000)]
    standing: u64,
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
    let (_daemon, address) = Daemon::master(master, &work_dir.path().join("master")).await?;
    // More resources than the machine has: what is measured is Tepui, not the machine's size.
    let args_of_agent = vec![
        "agent".into(),
        format!("--master={address}"),
        "--resources=cpus:1024;mem:1048576;disk:65536".into(),
    ];
    let mut agent =
        standing::Restartable::start(args_of_agent, work_dir.path().join("agent")).await?;
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
    let idle = rss_bytes(agent.daemon.pid());
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
    let rss = rss_bytes(agent.daemon.pid());
    let standing = if args.standing == 0 {
        serde_json::Value::Null
    } else {
        let plan = plan(args.standing, args.standing, "exec sleep 600");
        standing::measure(&address, &plan, &mut agent, timeout).await?
    };
    #[allow(clippy::cast_precision_loss)] // counts
    let rate = many.finished as f64 / many.elapsed.as_secs_f64();
    report::print(
        &json!({
            "accept_to_running_ms": alone.accept_to_running.json(),
            "accept_to_running_ms_concurrent": many.accept_to_running.json(),
            "finished_per_second": round(rate),
            "rss_bytes": { "agent_after_first_task": idle, "agent": rss },
            "standing": standing,
        }),
        json,
    );
    Ok(())
}

/// The private memory, for each of `tasks`, of all of Tepui's processes that came since `before` and are not the agent: in bytes.
fn weight(before: &HashSet<u32>, tasks: u64, agent: u32) -> u64 {
    let bytes: u64 = tepui_processes()
        .iter()
        .filter(|pid| !before.contains(pid) && **pid != agent)
        .filter_map(|&pid| private_bytes(pid))
        .sum();
    bytes / tasks.max(1)
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
