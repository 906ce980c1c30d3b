//! `tepui bench launch`: how many tasks a second pass through the master, and how soon freed resources are offered again.

use std::time::Duration;

use serde_json::json;

use crate::{
    BenchError,
    load::{self, Plan, Transport},
    process::{Daemon, cpu_seconds, rss_bytes},
    report::{self, round},
    simulated_agents::{Fleet, Shape},
};

/// Arguments of `tepui bench launch`.
#[derive(Debug, clap::Args)]
pub struct LaunchArgs {
    /// How many simulated agents.
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// How many tasks are launched and finished.
    #[arg(long, default_value_t = 100_000)]
    tasks: u64,
    /// How many tasks fit on an agent at once.
    #[arg(long, default_value_t = 16)]
    tasks_per_agent: u32,
    /// At most this many tasks are launched and not finished at any time: more is more throughput and more latency.
    #[arg(long, default_value_t = 200)]
    in_flight: u64,
    /// How the framework speaks to the master.
    #[arg(long, value_enum, default_value = "grpc")]
    transport: Transport,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

pub(crate) async fn run(
    args: LaunchArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let (daemon, address) = Daemon::master(master, work_dir.path()).await?;
    let pid = daemon.as_ref().map(Daemon::pid);
    let idle = pid.and_then(rss_bytes);
    let shape = Shape {
        cpus: f64::from(args.tasks_per_agent),
        mem_mib: f64::from(args.tasks_per_agent) * 32.0,
    };
    let fleet = Fleet::connect(&address, args.agents, shape).await?;
    let plan = Plan {
        tasks: args.tasks,
        cpus: 1.0,
        mem_mib: 32.0,
        command: "true".into(),
        executor: None,
        image: None,
        in_flight: args.in_flight,
    };
    let cpu = pid.and_then(cpu_seconds);
    let outcome = load::run(
        &address,
        args.transport,
        &plan,
        Some(&fleet),
        Duration::from_secs(args.timeout),
    )
    .await?;
    let cpu = pid
        .and_then(cpu_seconds)
        .zip(cpu)
        .map(|(after, before)| after - before);
    #[allow(clippy::cast_precision_loss)] // counts of tasks
    let finished = outcome.finished as f64;
    report::print(
        &json!({
            "agents": args.agents,
            "tasks": outcome.finished,
            "transport": format!("{:?}", args.transport).to_lowercase(),
            "tasks_per_second": round(finished / outcome.elapsed.as_secs_f64()),
            "offer_latency_ms": outcome.offer_latency.json(),
            "accept_to_running_ms": outcome.accept_to_running.json(),
            "master_cpu_us_per_task": cpu.map(|seconds| round(seconds * 1e6 / finished)),
            "rss_bytes": { "master": pid.and_then(rss_bytes), "master_idle": idle },
        }),
        json,
    );
    Ok(())
}
