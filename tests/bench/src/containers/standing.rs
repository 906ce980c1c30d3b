//! Many containers that only stand there: what they cost, how soon they are told, and how soon an agent that was killed has them all again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::weight;
use crate::{
    BenchError,
    load::{self, Plan, Transport},
    process::{Daemon, cpu_seconds, rss_bytes},
    reader::Reader,
    report::{Latency, round},
};

/// For how long the idle agent is watched.
const IDLE: Duration = Duration::from_secs(10);
/// How often each answer is asked for.
const ASKED: usize = 20;
/// How often something is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The agent under test, and how to start it again.
pub(super) struct Restartable {
    pub(super) args: Vec<String>,
    pub(super) work_dir: PathBuf,
    pub(super) daemon: Daemon,
}

impl Restartable {
    pub(super) async fn start(args: Vec<String>, work_dir: PathBuf) -> Result<Self, BenchError> {
        let daemon = start(&args, &work_dir).await?;
        Ok(Self {
            args,
            work_dir,
            daemon,
        })
    }
}

async fn start(args: &[String], work_dir: &std::path::Path) -> Result<Daemon, BenchError> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Daemon::start(&args, work_dir, "/state").await
}

/// Runs `plan`, whose tasks do not end, and measures while they stand.
pub(super) async fn measure(
    address: &str,
    plan: &Plan,
    agent: &mut Restartable,
    timeout: Duration,
) -> Result<Value, BenchError> {
    let before = super::tepui_processes();
    let told = tokio::select! {
        outcome = load::run(address, Transport::Grpc, plan, None, timeout) => match outcome {
            Ok(_) => Err(BenchError::Refused("the standing containers ended by themselves".into())),
            Err(error) => Err(error),
        },
        told = watch(plan.tasks, &before, agent, timeout) => told,
    };
    // The framework has gone, and with it its tasks; containers outlive their agent, so it must not be ended before them.
    none_is_left(&agent.daemon, timeout).await?;
    told
}

async fn watch(
    count: u64,
    before: &std::collections::HashSet<u32>,
    agent: &mut Restartable,
    timeout: Duration,
) -> Result<Value, BenchError> {
    let launching = Instant::now();
    all_run(&agent.daemon, count, timeout).await?;
    let launched = launching.elapsed();
    let supervisor = weight(before, count, agent.daemon.pid());
    let containers = asked(&agent.daemon, "/containers").await?;
    let statistics = asked(&agent.daemon, "/monitor/statistics").await?;
    let cpu = cpu_seconds(agent.daemon.pid());
    tokio::time::sleep(IDLE).await;
    let idle = cpu
        .zip(cpu_seconds(agent.daemon.pid()))
        .map(|(before, after)| round((after - before) / IDLE.as_secs_f64() * 100.0));
    let rss = rss_bytes(agent.daemon.pid());

    agent.daemon.kill();
    let killed = Instant::now();
    agent.daemon = start(&agent.args, &agent.work_dir).await?;
    all_run(&agent.daemon, count, timeout).await?;
    let back = killed.elapsed();
    Ok(json!({
        "containers": count,
        "launch_seconds": round(launched.as_secs_f64()),
        "supervisor_private_bytes": supervisor,
        "agent_rss_bytes": rss,
        "agent_rss_bytes_after_restart": rss_bytes(agent.daemon.pid()),
        "agent_idle_cpu_percent": idle,
        "containers_ms": containers.json(),
        "statistics_ms": statistics.json(),
        "restart_to_registered_seconds": round(back.as_secs_f64()),
    }))
}

/// Waits until the agent is registered and so many of its tasks run.
async fn all_run(agent: &Daemon, count: u64, timeout: Duration) -> Result<(), BenchError> {
    let address = agent.address.to_string();
    let deadline = Instant::now() + timeout;
    let look = move || {
        let mut reader = Reader::connect(&address)?;
        loop {
            let metrics = reader.json("/metrics/snapshot")?;
            let running = metrics["slave/tasks_running"].as_f64().unwrap_or_default();
            #[allow(clippy::cast_precision_loss)] // a count
            if metrics["slave/registered"] == 1.0 && running >= count as f64 {
                return Ok(());
            }
            if Instant::now() > deadline {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
                return Err(BenchError::Unfinished {
                    finished: running as u64,
                    wanted: count,
                    seconds: timeout.as_secs(),
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    };
    blocking(look).await
}

/// Waits until the agent has no container.
async fn none_is_left(agent: &Daemon, timeout: Duration) -> Result<(), BenchError> {
    let address = agent.address.to_string();
    let deadline = Instant::now() + timeout;
    let look = move || {
        let mut reader = Reader::connect(&address)?;
        loop {
            let containers = reader.json("/containers")?;
            let left = containers.as_array().map_or(0, Vec::len);
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(BenchError::Refused(format!(
                    "{left} containers are left of a framework that has gone"
                )));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    };
    blocking(look).await
}

/// How long an answer takes, asked for again and again.
async fn asked(agent: &Daemon, path: &'static str) -> Result<Latency, BenchError> {
    let address = agent.address.to_string();
    blocking(move || {
        let mut reader = Reader::connect(&address)?;
        let mut latency = Latency::new();
        for _ in 0..ASKED {
            let started = Instant::now();
            reader.get(path)?;
            latency.record(started.elapsed());
        }
        Ok(latency)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> Result<T, BenchError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(BenchError::Refused(panic.to_string())))
}
