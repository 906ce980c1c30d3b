//! `tepui bench state`: how soon a big cluster's state is told, and what its readers cost the others.
//!
//! Agents register with running tasks of a framework that wants no more; further tasks are run to their end beforehand. Then `/state`
//! and GET_STATE are asked for, and a load framework's offers are timed alone and beside a client that polls `/state` without a pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tepui_proto::mesos::v1 as mesos;
use tokio::task::JoinSet;

use crate::{
    BenchError,
    failover::{framework, subscribe},
    load::{self, Plan, Transport},
    process::{Daemon, rss_bytes},
    reader::{Answer, Reader},
    report::{self, Latency, round},
    returning_agents::{self, Holding, registration},
    simulated_agents::{Fleet, Shape},
};

/// Agents of the load whose offers are timed.
const LOAD_AGENTS: usize = 50;
const GET_STATE: &str = r#"{"type":"GET_STATE"}"#;
/// Tasks that fit on one of them.
const LOAD_ROOM: f64 = 16.0;

/// Arguments of `tepui bench state`.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// How many agents.
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// How many running tasks, of all agents together.
    #[arg(long, default_value_t = 100_000)]
    tasks: usize,
    /// How many completed tasks, of another framework.
    #[arg(long, default_value_t = 0)]
    completed: u64,
    /// For how long each kind of read is repeated, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many clients ask at once where reads a second are counted.
    #[arg(long, default_value_t = 2)]
    readers: usize,
    /// Tasks of the load whose offers are timed.
    #[arg(long, default_value_t = 5_000)]
    load: u64,
    /// At most this many of them are launched and not finished at any time.
    #[arg(long, default_value_t = 8)]
    in_flight: u64,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

pub(crate) async fn run(
    args: StateArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    let patience = Duration::from_secs(args.timeout);
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let history = format!(
        "--max_completed_tasks_per_framework={}",
        args.completed.max(1000)
    );
    let (daemon, named) = match master {
        Some(address) => (None, address),
        None => (
            Some(Daemon::start(&["master", &history], work_dir.path(), "/slaves").await?),
            String::new(),
        ),
    };
    let address = daemon
        .as_ref()
        .map_or(named, |daemon| daemon.address.to_string());
    let pid = daemon.as_ref().map(Daemon::pid);

    let mut streams = JoinSet::new();
    subscribe(&address, framework(0), &mut streams).await?;
    let running = |number: usize| {
        args.tasks / args.agents.max(1) + usize::from(number < args.tasks % args.agents.max(1))
    };
    let registrations = (0..args.agents)
        .map(|number| {
            let holding = Holding {
                frameworks: [framework(0)].into(),
                running: running(number),
                ended: 0,
                cpus: 0.1,
                mem_mib: 32.0,
                room: 0,
            };
            let id = mesos::AgentId {
                value: format!("bench-agent-{number:06}"),
            };
            registration(number, Some(&id), &holding)
        })
        .collect();
    let _agents = returning_agents::register(&address, registrations, patience).await?;
    let shape = Shape {
        cpus: LOAD_ROOM,
        mem_mib: LOAD_ROOM * 32.0,
    };
    let fleet = Fleet::connect(&address, LOAD_AGENTS, shape).await?;
    let plan = |tasks, in_flight| Plan {
        tasks,
        cpus: 1.0,
        mem_mib: 32.0,
        command: "true".into(),
        executor: None,
        image: None,
        in_flight,
    };
    if args.completed > 0 {
        let plan = plan(args.completed, 200);
        load::run(&address, Transport::Grpc, &plan, Some(&fleet), patience).await?;
    }

    let state = reads(&args, &address, |reader| reader.get("/state")).await?;
    let v1_json = reads(&args, &address, |reader| {
        reader.operator(GET_STATE, "application/json")
    })
    .await?;
    let v1_protobuf = reads(&args, &address, |reader| {
        reader.operator(GET_STATE, "application/x-protobuf")
    })
    .await?;

    let timed = plan(args.load, args.in_flight);
    let alone = load::run(&address, Transport::Grpc, &timed, Some(&fleet), patience).await?;
    let polling = Arc::new(AtomicBool::new(true));
    let poller = {
        let (address, polling) = (address.clone(), Arc::clone(&polling));
        std::thread::spawn(move || -> Result<u64, BenchError> {
            let mut reader = Reader::connect(&address)?.giving_way();
            let mut polls = 0;
            while polling.load(Ordering::Relaxed) {
                reader.get("/state")?;
                polls += 1;
            }
            Ok(polls)
        })
    };
    let polled = load::run(&address, Transport::Grpc, &timed, Some(&fleet), patience).await;
    polling.store(false, Ordering::Relaxed);
    let polls = joined(poller)?;
    let polled = polled?;

    #[allow(clippy::cast_precision_loss)] // counts
    let polls_per_second = polls as f64 / polled.elapsed.as_secs_f64();
    report::print(
        &json!({
            "agents": args.agents,
            "tasks": args.tasks,
            "completed_tasks": args.completed,
            "state_seconds": state.seconds,
            "state_seconds_first": state.first_seconds,
            "state_bytes": state.bytes,
            "requests_per_second": state.per_second,
            "get_state_json": v1_json.json(),
            "get_state_protobuf": v1_protobuf.json(),
            "offer_latency_ms": alone.offer_latency.json(),
            "offer_latency_ms_polled": polled.offer_latency.json(),
            "polls_per_second": round(polls_per_second),
            "rss_bytes": pid.and_then(rss_bytes),
        }),
        json,
    );
    Ok(())
}

/// What a kind of read takes.
struct Reads {
    /// The very first.
    first_seconds: f64,
    /// One client, one after the other: the median.
    seconds: f64,
    bytes: u64,
    /// Several clients.
    per_second: f64,
}

impl Reads {
    fn json(&self) -> Value {
        json!({
            "seconds_first": self.first_seconds,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "per_second": self.per_second,
        })
    }
}

type Ask = fn(&mut Reader) -> Result<Answer, BenchError>;

async fn reads(args: &StateArgs, address: &str, ask: Ask) -> Result<Reads, BenchError> {
    let (readers, seconds, address) = (args.readers.max(1), args.seconds, address.to_owned());
    let time = Duration::from_secs(seconds);
    let reading = tokio::task::spawn_blocking(move || {
        let mut reader = Reader::connect(&address)?;
        let started = Instant::now();
        let bytes = ask(&mut reader)?.bytes;
        let first_seconds = round(started.elapsed().as_secs_f64());
        let mut latency = Latency::new();
        let started = Instant::now();
        while started.elapsed() < time {
            let asked = Instant::now();
            ask(&mut reader)?;
            latency.record(asked.elapsed());
        }
        let started = Instant::now();
        let threads: Vec<_> = (0..readers)
            .map(|_| {
                let address = address.clone();
                std::thread::spawn(move || {
                    let mut reader = Reader::connect(&address)?;
                    let mut count = 0_u64;
                    while started.elapsed() < time {
                        ask(&mut reader)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        let counts: Result<Vec<u64>, BenchError> = threads.into_iter().map(joined).collect();
        #[allow(clippy::cast_precision_loss)] // counts
        let per_second = counts?.into_iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64();
        Ok(Reads {
            first_seconds,
            seconds: latency.median_seconds(),
            bytes,
            per_second: round(per_second),
        })
    });
    reading
        .await
        .unwrap_or_else(|panic| Err(BenchError::Refused(panic.to_string())))
}

fn joined<T>(thread: std::thread::JoinHandle<Result<T, BenchError>>) -> Result<T, BenchError> {
    thread
        .join()
        .unwrap_or_else(|_| Err(BenchError::Refused("a reader panicked".into())))
}
