//! `tepui bench marathon`: how fast Marathon brings about what its clients ask for, with a real master and simulated agents.
//!
//! Master and Marathon run in processes of their own; what is asked goes to Marathon over HTTP, as any client asks it. What a figure says
//! was done is compared with what the agents have seen.

mod agents;
mod client;
mod scenario;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use agents::Agents;
use serde_json::{Value, json};

use crate::{
    BenchError,
    process::{Daemon, peak_rss_bytes, rss_bytes},
    report,
    simulated_agents::Shape,
};

/// Instances that fit on one agent: as many as it has ports.
const ROOM: usize = 1000;

/// Arguments of `tepui bench marathon`.
#[derive(Debug, clap::Args)]
pub struct MarathonArgs {
    /// What is measured.
    #[arg(long, value_enum)]
    scenario: Scenario,
    /// How many apps; 10,000 unless the scenario is about one app.
    #[arg(long)]
    apps: Option<usize>,
    /// How many instances, of all apps together.
    #[arg(long)]
    instances: Option<usize>,
    /// How many agents.
    #[arg(long, default_value_t = 500)]
    agents: usize,
    /// How many clients ask at once where each app is sent by itself.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// One app from no instance to many.
    Scale,
    /// Many apps, each by its own POST.
    Deploy,
    /// One app gets a new configuration; each new instance has to be healthy before an old one goes.
    Upgrade,
    /// All apps, and one app, are read.
    Read,
    /// What a change of many apps would do.
    Plan,
    /// A new leader takes over.
    Failover,
}

/// What is under test, with the agents.
struct Bed<'a> {
    marathon: Daemon,
    master: String,
    work_dir: &'a Path,
    agents: Agents,
    patience: Duration,
    clients: usize,
    apps: usize,
    instances: usize,
}

pub(crate) async fn run(
    args: MarathonArgs,
    master: Option<String>,
    json: bool,
) -> Result<(), BenchError> {
    let work_dir = tempfile::tempdir().map_err(BenchError::Start)?;
    let (_own_master, address) = Daemon::master(master, &work_dir.path().join("master")).await?;
    let (apps, instances) = match args.scenario {
        Scenario::Scale | Scenario::Upgrade => (1, 10_000),
        Scenario::Deploy | Scenario::Read | Scenario::Plan => (10_000, 10_000),
        Scenario::Failover => (10_000, 50_000),
    };
    let apps = args.apps.unwrap_or(apps);
    let instances = args.instances.unwrap_or(instances);
    #[allow(clippy::cast_precision_loss, reason = "a small count")]
    let shape = Shape {
        cpus: ROOM as f64 * 0.1,
        mem_mib: ROOM as f64 * 32.0,
    };
    let agents = Agents::connect(&address, args.agents, shape).await?;
    let folder = work_dir.path().join("marathon");
    let mut bed = Bed {
        marathon: Daemon::start_marathon(&address, &folder).await?,
        master: address,
        work_dir: &folder,
        agents,
        patience: Duration::from_secs(args.timeout),
        clients: args.clients.max(1),
        apps,
        instances,
    };
    let scenario = args.scenario;
    let mut figures = match scenario {
        Scenario::Scale => bed.blocking(scenario::scale)?,
        Scenario::Deploy => bed.blocking(scenario::deploy)?,
        Scenario::Upgrade => bed.blocking(scenario::upgrade)?,
        Scenario::Read => bed.blocking(scenario::read)?,
        Scenario::Plan => bed.blocking(scenario::plan)?,
        Scenario::Failover => bed.failover().await?,
    };
    let pid = bed.marathon.pid();
    figures["agents"] = args.agents.into();
    figures["launched"] = bed.agents.launched().into();
    figures["running"] = bed.agents.running().into();
    figures["rss_bytes"] = rss_bytes(pid).into();
    figures["peak_rss_bytes"] = peak_rss_bytes(pid).into();
    figures["marathon_cpu_seconds"] = crate::process::cpu_seconds(pid).into();
    report::print(&figures, json);
    Ok(())
}

impl Bed<'_> {
    /// Runs a scenario, whose clients block, beside the agents.
    fn blocking<T>(
        &self,
        scenario: impl FnOnce(&Self) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        tokio::task::block_in_place(|| scenario(self))
    }

    /// The agents must have seen what Marathon says.
    fn check(&self, launched: usize, running: usize) -> Result<(), BenchError> {
        let seen = (self.agents.launched(), self.agents.running());
        if seen == (launched as u64, running as u64) {
            return Ok(());
        }
        Err(BenchError::Refused(format!(
            "the agents launched {} tasks and run {}, where {launched} and {running} are wanted",
            seen.0, seen.1
        )))
    }

    async fn failover(&mut self) -> Result<Value, BenchError> {
        let deployed = self.blocking(scenario::fill)?;
        let before = rss_bytes(self.marathon.pid());
        self.marathon.kill();
        let started = Instant::now();
        self.marathon = Daemon::start_marathon(&self.master, self.work_dir).await?;
        let answers = started.elapsed();
        let mut figures = self.blocking(|bed| scenario::taken_over(bed, started))?;
        figures["first_leader_rss_bytes"] = before.into();
        figures["answers_seconds"] = json!(report::round(answers.as_secs_f64()));
        figures["deployed_seconds"] = json!(report::round(deployed.as_secs_f64()));
        Ok(figures)
    }
}
