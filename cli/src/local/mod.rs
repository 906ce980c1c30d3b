//! `tepui local`: the whole platform in one process, for a first look, for development, and for tests.
//!
//! It is made of the very daemons that run a cluster: a master, agents and Marathon on embedded stores, each on its own port of the loopback
//! range. What can be known to fail is found out before anything starts. When it ends, by a signal or by being killed, no task, mount or cgroup is
//! left; with `--work-dir` what it knew is there for the next start.

mod place;
mod platform;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use crate::{
    client::Cluster,
    commands::{
        CommandError,
        app::{read_definitions, watched},
    },
    log::Log,
    rollout,
};
use place::Place;
use platform::Platform;

/// Run the whole platform in this process: master, agents and Marathon.
#[derive(Debug, clap::Args)]
pub(crate) struct LocalArgs {
    /// App definitions to deploy: a JSON object, or an array of them.
    file: Option<PathBuf>,
    /// How many agents; the machine's CPUs and memory are shared out among them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: u16,
    /// The master's port; the agents take the ones after it.
    #[arg(long, default_value_t = 5050)]
    port: u16,
    /// Marathon's port.
    #[arg(long, default_value_t = 8080)]
    marathon_port: u16,
    /// Keep state in this folder; the next start on it brings the apps back. Without it all state is temporary.
    #[arg(long)]
    work_dir: Option<PathBuf>,
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &LocalArgs, log: &Log) -> Result<ExitCode, CommandError> {
    let started = Instant::now();
    let definitions = args.file.as_deref().map(read_definitions).transpose()?;
    platform::check_ports(args)?;
    let place = Place::prepare(args.work_dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut platform = tokio::select! {
            platform = Platform::start(args, &place, log) => platform?,
            () = signals.next() => return Ok(()),
        };
        let lived = tokio::select! {
            lived = live(args, definitions, started) => lived,
            failed = platform.failed() => Err(failed),
            () = signals.next() => Ok(()),
        };
        platform.stop().await;
        lived
    });
    // The tasks of connections that are still open are not worth waiting for.
    runtime.shutdown_background();
    place.leave();
    ended.map(|()| ExitCode::SUCCESS)
}

/// From the last daemon's start to eternity: says what is there, deploys, and says what came of it.
async fn live(
    args: &LocalArgs,
    definitions: Option<Vec<serde_json::Value>>,
    started: Instant,
) -> Result<(), CommandError> {
    let cluster = Cluster::new(
        &format!("127.0.0.1:{}", args.port),
        &format!("127.0.0.1:{}", args.marathon_port),
    );
    platform::until_ready(&cluster, args.agents).await?;
    println!(
        "Tepui is up: a master, {} agents and Marathon, in {} ms",
        args.agents,
        started.elapsed().as_millis()
    );
    println!("  UI        {}/", cluster.master);
    println!("  API       {}/v2/apps", cluster.marathon);
    if let Some(definitions) = definitions {
        deploy(&cluster, definitions, started).await?;
    } else {
        println!("Deploy with `tepui app deploy FILE`; docs/examples/hello.json is one to try.");
    }
    println!("Ctrl-C stops everything.");
    std::future::pending().await
}

async fn deploy(
    cluster: &Cluster,
    definitions: Vec<serde_json::Value>,
    started: Instant,
) -> Result<(), CommandError> {
    let watched = watched(&definitions);
    let watch = rollout::Watch::begin(cluster, watched.clone()).await?;
    let answer = cluster
        .marathon_send(
            http::Method::POST,
            "/v3/apply?partialUpdate=false&force=true",
            Some(&definitions.into()),
        )
        .await;
    let answer = match answer {
        Err(error)
            if error
                .status()
                .is_some_and(|status| status.is_client_error()) =>
        {
            return Err(CommandError::Input {
                path: "the app definition".into(),
                reason: format!("was refused: {error}"),
            });
        }
        answer => answer?,
    };
    watch
        .until_done(crate::commands::text(&answer, "deploymentId"), false)
        .await?;
    let apps = watched.iter().filter_map(|one| match one {
        rollout::Watched::App(id) => Some(id),
        rollout::Watched::Pod(_) => None,
    });
    for id in apps {
        let document = cluster.marathon_get(&crate::client::app_path(id)).await?;
        for task in crate::commands::items(&document["app"], "tasks") {
            let host = crate::commands::text(task, "host");
            let urls: Vec<String> = crate::commands::items(task, "ports")
                .iter()
                .map(|port| format!("http://{host}:{port}/"))
                .collect();
            println!(
                "  instance  {:<32} {}",
                urls.join(" "),
                crate::commands::text(task, "id")
            );
        }
    }
    println!(
        "All instances are there, {:.1} s after the start.",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The signals that end the platform.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, CommandError> {
        use tokio::signal::unix::{SignalKind, signal};
        let cannot = |error| CommandError::Failed(format!("cannot listen to signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
            terminate: signal(SignalKind::terminate()).map_err(cannot)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
