//! `tepui bench failover`: how soon a new leader knows a whole cluster again, and how much memory that takes.
//!
//! The agents are admitted by a first master, so that they are in the registry. It is ended without a word. Then its successor on the
//! same registry is measured: from the first connection until every agent, with all its tasks, is registered and every framework is
//! subscribed again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message as _;
use serde_json::json;
use tepui_proto::{
    mesos::v1::{self as mesos, scheduler},
    tepui::v1 as tepui,
};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use crate::{
    BenchError,
    process::{Daemon, cpu_seconds, peak_rss_bytes, rss_bytes},
    reader::Reader,
    report::{self, round},
    returning_agents::{self, Holding, SCHEDULERS, registration},
    simulated_agents::connect,
};

/// Arguments of `tepui bench failover`.
#[derive(Debug, clap::Args)]
pub struct FailoverArgs {
    /// How many agents return.
    #[arg(long, default_value_t = 40_000)]
    agents: usize,
    /// How many running tasks each of them holds.
    #[arg(long, default_value_t = 10)]
    tasks_per_agent: usize,
    /// Tasks beside them, of all agents together, that have ended and whose last update is not acknowledged.
    #[arg(long, default_value_t = 0)]
    completed: usize,
    /// How many frameworks the tasks belong to.
    #[arg(long, default_value_t = 1)]
    frameworks: usize,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

pub(crate) async fn run(
    args: FailoverArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    if master.is_some() {
        return Err(BenchError::OwnMaster("failover"));
    }
    let patience = Duration::from_secs(args.timeout);
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let frameworks: Arc<[_]> = (0..args.frameworks.max(1)).map(framework).collect();
    let holding = |number: usize| Holding {
        frameworks: frameworks.clone(),
        running: args.tasks_per_agent,
        ended: args.completed / args.agents + usize::from(number < args.completed % args.agents),
        cpus: 0.1,
        mem_mib: 32.0,
        room: 1,
    };

    let mut first = Daemon::start(&["master"], work_dir.path(), "/slaves").await?;
    let newcomers = (0..args.agents)
        .map(|number| registration(number, None, &holding(number)))
        .collect();
    let started = Instant::now();
    let admitted =
        returning_agents::register(&first.address.to_string(), newcomers, patience).await?;
    let admitted_seconds = started.elapsed().as_secs_f64();
    first.kill();
    let ids = admitted.ids.clone();
    drop((admitted, first));

    let registrations = ids
        .iter()
        .enumerate()
        .map(|(number, id)| registration(number, Some(id), &holding(number)))
        .collect();
    let daemon = Daemon::start(&["master"], work_dir.path(), "/slaves").await?;
    let address = daemon.address.to_string();
    let started = Instant::now();
    let mut streams = JoinSet::new();
    let subscribing = async {
        for info in frameworks.iter() {
            subscribe(&address, info.clone(), &mut streams).await?;
        }
        Ok(())
    };
    let (returned, ()) = tokio::try_join!(
        returning_agents::register(&address, registrations, patience),
        subscribing
    )?;
    let reregistered_seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(daemon.pid());
    let tasks = args.agents * args.tasks_per_agent;
    check(&address, args.agents, tasks, frameworks.len())?;
    report::print(
        &json!({
            "agents": args.agents,
            "tasks": tasks,
            "completed_tasks": args.completed,
            "frameworks": frameworks.len(),
            "admitted_seconds": round(admitted_seconds),
            "reregistered_seconds": round(reregistered_seconds),
            "master_cpu_seconds": cpu.map(round),
            "rss_bytes": rss_bytes(daemon.pid()),
            "peak_rss_bytes": peak_rss_bytes(daemon.pid()),
        }),
        json,
    );
    drop(returned);
    Ok(())
}

/// The new leader must know all of it, or the figures are of something else.
fn check(address: &str, agents: usize, tasks: usize, frameworks: usize) -> Result<(), BenchError> {
    let metrics = Reader::connect(address)?.json("/metrics/snapshot")?;
    for (name, wanted) in [
        ("master/slaves_active", agents),
        ("master/tasks_running", tasks),
        ("master/frameworks_active", frameworks),
    ] {
        #[allow(clippy::cast_precision_loss)] // counts
        if metrics[name].as_f64() != Some(wanted as f64) {
            return Err(BenchError::Refused(format!(
                "{name} is {}, not {wanted}",
                metrics[name]
            )));
        }
    }
    Ok(())
}

/// A framework as its agents remember it.
pub(crate) fn framework(number: usize) -> mesos::FrameworkInfo {
    mesos::FrameworkInfo {
        user: "root".into(),
        name: format!("bench-{number}"),
        id: Some(mesos::FrameworkId {
            value: format!("bench-framework-{number:04}"),
        }),
        failover_timeout: Some(604_800.0),
        ..Default::default()
    }
}

/// Subscribes a framework that wants no offers, and returns once it is subscribed; what it hears from then on is read and forgotten.
pub(crate) async fn subscribe(
    address: &str,
    info: mesos::FrameworkInfo,
    streams: &mut JoinSet<()>,
) -> Result<(), BenchError> {
    let broken = |reason: String| BenchError::Broken {
        address: address.to_owned(),
        reason,
    };
    let call = scheduler::Call {
        framework_id: info.id.clone(),
        r#type: Some(scheduler::call::Type::Subscribe.into()),
        subscribe: Some(Box::new(scheduler::call::Subscribe {
            framework_info: info,
            suppressed_roles: vec!["*".into()],
            ..Default::default()
        })),
        ..Default::default()
    };
    let calls = tepui::SchedulerCalls { calls: vec![call] };
    let outgoing = tokio_stream::once(bytes::Bytes::from(calls.encode_to_vec()))
        .chain(tokio_stream::pending());
    let mut stream = returning_agents::open(connect(address).await?, SCHEDULERS, outgoing)
        .await
        .map_err(|status| broken(status.to_string()))?;
    let first = stream
        .message()
        .await
        .map_err(|status| broken(status.to_string()))?
        .ok_or_else(|| broken("the master ended the stream of a framework".into()))?;
    let first = tepui::SchedulerEvents::decode(first).map_err(|error| broken(error.to_string()))?;
    if let Some(refused) = first.refused.into_iter().next() {
        return Err(BenchError::Refused(refused.message));
    }
    streams.spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    Ok(())
}
