//! `tepui bench executor`: tasks on one executor of a framework's own, on one real agent.
//!
//! The executor is this program again: it says of each task that it runs and then that it has finished, and does nothing else. So what is
//! measured is the way of a task through master, agent and executor API and back.

use std::time::Duration;

use serde_json::json;
use tepui_proto::mesos::v1 as mesos;
use tepui_sdk::executor::{ExecutorBuilder, ExecutorEvent};
use tepui_sdk::{Encoding, TaskState, Transport as ExecutorTransport};

use crate::{
    BenchError,
    load::{self, Plan, Transport},
    process::{Daemon, cpu_seconds, rss_bytes},
    report::{self, round},
};

/// Arguments of `tepui bench executor`.
#[derive(Debug, clap::Args)]
pub struct ExecutorArgs {
    /// How many tasks are launched and finished.
    #[arg(long, default_value_t = 10_000)]
    tasks: u64,
    /// At most this many tasks are launched and not finished at any time; as many as there are tasks: all of them in one ACCEPT.
    #[arg(long, default_value_t = 100)]
    in_flight: u64,
    /// How the framework speaks to the master.
    #[arg(long, value_enum, default_value = "json")]
    transport: Transport,
    /// How the executor speaks to the agent.
    #[arg(long, value_enum, default_value = "json")]
    executor_transport: Transport,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

/// Arguments of the executor itself.
#[derive(Debug, clap::Args)]
pub struct NoOpArgs {
    /// How it speaks to the agent.
    #[arg(long, value_enum, default_value = "json")]
    transport: Transport,
}

pub(crate) async fn run(
    args: ExecutorArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let (daemon, address) = Daemon::master(master, &work_dir.path().join("master")).await?;
    // Room for all of them at once, whatever the machine has: they do nothing.
    let agent = Daemon::start(
        &[
            "agent",
            &format!("--master={address}"),
            "--resources=cpus:1000;mem:1048576;disk:65536",
        ],
        &work_dir.path().join("agent"),
        "/state",
    )
    .await?;
    let plan = Plan {
        tasks: args.tasks,
        cpus: 0.01,
        mem_mib: 1.0,
        command: String::new(),
        executor: Some(no_op(args.executor_transport)?),
        image: None,
        in_flight: args.in_flight,
    };
    let timeout = Duration::from_secs(args.timeout);
    let master_pid = daemon.as_ref().map(Daemon::pid);
    let cpu = || (master_pid.and_then(cpu_seconds), cpu_seconds(agent.pid()));
    let before = cpu();
    let outcome = load::run(&address, args.transport, &plan, None, timeout).await?;
    let after = cpu();
    #[allow(clippy::cast_precision_loss)] // counts
    let of_a_task = |before: Option<f64>, after: Option<f64>| {
        let seconds = after? - before?;
        Some(round(seconds * 1e6 / outcome.finished as f64))
    };
    #[allow(clippy::cast_precision_loss)] // counts
    let rate = outcome.finished as f64 / outcome.elapsed.as_secs_f64();
    report::print(
        &json!({
            "tasks": args.tasks,
            "in_flight": args.in_flight,
            "tasks_per_second": round(rate),
            "accept_to_running_ms": outcome.accept_to_running.json(),
            "cpu_us_per_task": {
                "master": of_a_task(before.0, after.0),
                "agent": of_a_task(before.1, after.1),
            },
            "rss_bytes": { "master": master_pid.and_then(rss_bytes), "agent": rss_bytes(agent.pid()) },
        }),
        json,
    );
    Ok(())
}

/// The executor as a framework describes it.
fn no_op(transport: Transport) -> Result<mesos::ExecutorInfo, BenchError> {
    let binary = std::env::current_exe().map_err(BenchError::Start)?;
    let transport = clap::ValueEnum::to_possible_value(&transport);
    let transport = transport.as_ref().map_or("json", |value| value.get_name());
    Ok(mesos::ExecutorInfo {
        r#type: Some(mesos::executor_info::Type::Custom.into()),
        executor_id: mesos::ExecutorId {
            value: "no-op".into(),
        },
        command: Some(mesos::CommandInfo {
            shell: Some(false),
            value: Some(binary.display().to_string()),
            arguments: ["tepui", "bench", "no-op-executor", "--transport", transport]
                .map(str::to_owned)
                .to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The executor's own life.
pub(crate) async fn no_op_executor(args: NoOpArgs) -> Result<(), BenchError> {
    let transport = match args.transport {
        Transport::Grpc => ExecutorTransport::Grpc,
        Transport::Http => ExecutorTransport::Http(Encoding::Protobuf),
        Transport::Json => ExecutorTransport::Http(Encoding::Json),
    };
    let mut executor = ExecutorBuilder::from_env()?
        .transport(transport)
        .connect()?;
    while let Some(event) = executor.next().await? {
        match event {
            ExecutorEvent::Launch(task) => {
                let id = task.task_id.value.parse().map_err(|error| {
                    BenchError::Refused(format!("a task's id is none: {error}"))
                })?;
                executor.update(&id, TaskState::Running)?;
                executor.update(&id, TaskState::Finished)?;
            }
            ExecutorEvent::Shutdown => break,
            _ => {}
        }
    }
    Ok(())
}
