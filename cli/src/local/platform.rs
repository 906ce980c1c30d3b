//! The daemons of a local platform.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use tepui_agent::{Agent, RunningAgent};
use tepui_marathon::Marathon;
use tepui_master::{Master, RunningMaster};

use super::{LocalArgs, place::Place};
use crate::{
    client::Cluster,
    commands::{CommandError, items},
    log::Log,
};

/// Each agent's ports for tasks, and where the first agent's begin.
const PORTS_PER_AGENT: u16 = 500;
const FIRST_TASK_PORT: u16 = 31000;
/// The longest that daemons may take to find each other.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The address of agent `number` (from 0): a host of its own in the loopback range, so that constraints on hostnames mean something.
fn agent_ip(number: u16) -> IpAddr {
    let [high, low] = (number + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 0, 1 + high, low))
}

fn agent_address(args: &LocalArgs, number: u16) -> SocketAddr {
    SocketAddr::new(agent_ip(number), args.port.saturating_add(1 + number))
}

/// Refuses ports that are taken, before anything starts.
pub(super) fn check_ports(args: &LocalArgs) -> Result<(), CommandError> {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let master = (
        "the master",
        "--port",
        SocketAddr::new(localhost, args.port),
    );
    let marathon = (
        "Marathon",
        "--marathon-port",
        SocketAddr::new(localhost, args.marathon_port),
    );
    let agents = (0..args.agents).map(|number| ("an agent", "--port", agent_address(args, number)));
    for (who, flag, address) in [master, marathon].into_iter().chain(agents) {
        TcpListener::bind(address).map_err(|error| CommandError::Input {
            path: address.to_string(),
            reason: format!(
                "{who} cannot listen there: {error}; choose another {flag}, or stop what uses it"
            ),
        })?;
    }
    Ok(())
}

/// The running daemons.
#[derive(Debug)]
pub(super) struct Platform {
    master: RunningMaster,
    agents: Vec<RunningAgent>,
    marathon: Marathon,
}

impl Platform {
    /// Starts the master, and as soon as it leads everything else.
    pub(super) async fn start(
        args: &LocalArgs,
        place: &Place,
        log: &Log,
    ) -> Result<Self, CommandError> {
        let failed = |who: &'static str| {
            move |error: &dyn std::error::Error| {
                CommandError::Failed(format!("{who} cannot start: {error}"))
            }
        };
        let mut config = master_config(args, place)?;
        config.log_dial = Some(log.of_master());
        let master = Master::start(config)
            .await
            .map_err(|error| failed("the master")(&error))?;
        master.until_leading().await;
        let mut agents = Vec::new();
        for number in 0..args.agents {
            let config = agent_config(args, place, number, master.addr())?;
            agents.push(
                Agent::start(config)
                    .await
                    .map_err(|error| failed("an agent")(&error))?,
            );
        }
        let mut config = marathon_config(args, place, master.addr());
        config.log_dial = Some(log.of_marathon());
        let marathon = Marathon::start(config)
            .await
            .map_err(|error| failed("Marathon")(&error))?;
        Ok(Self {
            master,
            agents,
            marathon,
        })
    }

    /// Waits until a daemon ends, which none should.
    pub(super) async fn failed(&mut self) -> CommandError {
        let agents = futures::future::select_all(
            self.agents.iter_mut().map(|agent| Box::pin(agent.ended())),
        );
        let (who, why) = tokio::select! {
            ended = self.master.until_ended() => ("the master", ended.err().map(|error| error.to_string())),
            (ended, _, _) = agents => ("an agent", ended.err().map(|error| error.to_string())),
            error = self.marathon.failed() => ("Marathon", Some(error.to_string())),
        };
        CommandError::Failed(format!(
            "{who} has ended: {}",
            why.unwrap_or_else(|| "no reason is known".into())
        ))
    }

    /// Stops everything, Marathon first, so that it does not replace what is stopped.
    pub(super) async fn stop(self) {
        drop(self.marathon);
        for stopped in
            futures::future::join_all(self.agents.into_iter().map(RunningAgent::shutdown)).await
        {
            if let Err(error) = stopped {
                tracing::warn!(%error, "an agent did not stop cleanly");
            }
        }
        self.master.shutdown().await;
    }
}

fn master_config(args: &LocalArgs, place: &Place) -> Result<tepui_master::Config, CommandError> {
    let mut flags = tepui_master::Flags::default();
    for (name, value) in [
        ("ip", "127.0.0.1".to_owned()),
        ("port", args.port.to_string()),
        ("hostname", "127.0.0.1".to_owned()),
        ("work_dir", place.of("master").display().to_string()),
    ] {
        flags.set(name, value);
    }
    tepui_master::Config::from_flags(&flags)
        .map_err(|error| CommandError::Failed(error.to_string()))
}

fn agent_config(
    args: &LocalArgs,
    place: &Place,
    number: u16,
    master: SocketAddr,
) -> Result<tepui_agent::Config, CommandError> {
    let address = agent_address(args, number);
    let mut config =
        tepui_agent::Config::for_master_at(master, place.of(&format!("agent-{}", number + 1)));
    config.ip = address.ip();
    config.port = address.port();
    config.hostname = address.ip().to_string();
    config.ephemeral = true;
    // Its part of the machine depends on how many agents there are this time.
    config.reconfiguration_policy = tepui_agent::ReconfigurationPolicy::Any;
    config.cgroups_root.clone_from(&place.cgroups_root);
    config.resources = share(&config.resources, args.agents, number)?;
    Ok(config)
}

/// An agent's part of the machine: an equal share of every amount, and ports of its own.
fn share(
    all: &[tepui_proto::mesos::Resource],
    agents: u16,
    number: u16,
) -> Result<Vec<tepui_proto::mesos::Resource>, CommandError> {
    let amount = |name: &str| {
        let total: f64 = all
            .iter()
            .filter(|resource| resource.name == name)
            .filter_map(|r| r.scalar.as_ref())
            .map(|scalar| scalar.value)
            .sum();
        (total / f64::from(agents) * 1000.0).floor() / 1000.0
    };
    let first = FIRST_TASK_PORT + number * PORTS_PER_AGENT;
    let text = format!(
        "cpus:{};mem:{};disk:{};ports:[{first}-{}]",
        amount("cpus"),
        amount("mem").floor(),
        amount("disk").floor(),
        first + PORTS_PER_AGENT - 1
    );
    tepui_agent::parse_resources(&text).map_err(|error| CommandError::Failed(error.to_string()))
}

fn marathon_config(args: &LocalArgs, place: &Place, master: SocketAddr) -> tepui_marathon::Config {
    let mut config = tepui_marathon::Config::new(master.to_string(), place.of("marathon"));
    config.http_port = args.marathon_port;
    config.core.seed = uuid::Uuid::new_v4().as_u128();
    // A platform to try things on: what needs something of the machine says so when it is launched.
    config.core.external_volumes = true;
    config
}

/// Waits until every agent is registered and Marathon is subscribed.
pub(super) async fn until_ready(cluster: &Cluster, agents: u16) -> Result<(), CommandError> {
    let ready = async {
        loop {
            let registered = match cluster.master_get("/slaves").await {
                Ok(document) => items(&document, "slaves")
                    .iter()
                    .filter(|agent| agent["active"] == true)
                    .count(),
                Err(_) => 0,
            };
            let subscribed = registered >= usize::from(agents)
                && cluster
                    .marathon_get("/v2/info")
                    .await
                    .is_ok_and(|info| info["frameworkId"].is_string());
            if subscribed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, ready)
        .await
        .map_err(|_| {
            CommandError::Failed(format!(
                "the daemons did not find each other within {} s; the log above says why",
                READY_TIMEOUT.as_secs()
            ))
        })
}
