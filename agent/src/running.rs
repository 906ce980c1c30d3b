//! Starting and stopping an agent.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tepui_agent_core::view::View;
use tepui_agent_core::{
    Agent as Core, ContainerFact, ContainerState, Input, ReconfigurationPolicy,
};
use tepui_coordination::{Detector, Location, LocationError};
use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::AgentInfo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::containerizer::{
    ContainerId, Containerizer, ContainerizerConfig, ContainerizerError, Lifetime, Recovered,
};
use crate::disk::Disks;
use crate::driver::{Driver, Ended, INPUTS};
use crate::executors::Executors;
use crate::external_volumes::ExternalVolumes;
use crate::faces::Face;
use crate::fetcher::Fetcher;
use crate::hands::{Hands, core_exit};
use crate::journal::{Journal, JournalError, Past};
use crate::link::Outbox;
use crate::nested::{Nested, Note};
use crate::networks::Networks;
use crate::provision::Provisioner;
use crate::relay::Relay;
use crate::sandbox::{Layout, allowed_age, disk_usage};
use crate::spec::Surroundings;
use crate::volumes::VolumesRoom;

/// How long an ephemeral agent waits for its containers to end.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Why an agent did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was tried.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal cannot be used (any more).
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It is not configured as at its last start, and the policy does not allow that.
    #[error(
        "this agent was another at its last start, which --reconfiguration_policy={policy} does not allow: {}. Start it as it was{}; or \
         remove {} to start as a new agent, whose master takes what ran on the old one for lost",
        differences.join(", "),
        if *policy == "equal" { ", or with --reconfiguration_policy=additive if it has only got more" } else { "" },
        meta.display()
    )]
    Reconfigured {
        /// As the flag says it.
        policy: &'static str,
        /// What differs.
        differences: Vec<String>,
        /// Where the agent's state is.
        meta: PathBuf,
    },
    /// Containers cannot be run.
    #[error("containers cannot be run here: {0}")]
    Containerizer(#[from] ContainerizerError),
    /// The store of images cannot be used.
    #[error("the store of images: {0}")]
    Images(#[from] tepui_images::Problem),
    /// The master cannot be looked for.
    #[error("--master: {0}")]
    Master(#[from] LocationError),
    /// The system refused a thread.
    #[error("cannot start the agent's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The core's thread has ended without a word.
    #[error("the agent's thread has panicked; the log says why")]
    Panicked,
}

/// The agent daemon.
#[derive(Debug)]
pub struct Agent;

/// An agent that runs. Dropping it stops it as a signal would: tasks run on, unless it is ephemeral.
#[derive(Debug)]
pub struct RunningAgent {
    addr: SocketAddr,
    ephemeral: bool,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
    ended: oneshot::Receiver<Ended>,
}

impl Agent {
    /// Starts an agent. It listens, and looks for its master, when this returns. Must be called within a tokio runtime, to which the
    /// agent's tasks go; its core has a thread of its own.
    ///
    /// # Errors
    /// See [`AgentError`]. Nothing is left behind then.
    pub async fn start(config: Config) -> Result<RunningAgent, AgentError> {
        let clock = Clock::start();
        let address = SocketAddr::new(config.ip, config.port);
        let listen = |source| AgentError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        if !config.ip.is_loopback() {
            tracing::warn!(
                "listening on {addr} without authentication: everybody who can reach it can see and disturb its tasks"
            );
        }
        let config = Arc::new(config);
        let (inputs, receiver) = mpsc::channel(INPUTS);
        let for_journal = inputs.clone();
        let synced = Box::new(move |sequence| {
            for_journal
                .blocking_send(Input::Checkpointed { sequence })
                .is_ok()
        });
        let (mut journal, past) = Journal::open(&config.work_dir, synced)?;
        reconfigure(&config, &mut journal, &past)?;
        if !past.same_boot && !past.records.is_empty() {
            tracing::info!("the machine has restarted: what ran before does not run any more");
        }

        let (containerizer, events) = Containerizer::start(ContainerizerConfig {
            runtime_dir: config.runtime_dir.clone(),
            cgroups_root: config.cgroups_root.clone(),
            measure_block_io: config.isolation.measure_block_io,
            lifetime: if config.ephemeral {
                Lifetime::Ephemeral
            } else {
                Lifetime::Durable
            },
        })?;
        let containerizer = Arc::new(containerizer);
        let known = Core::containers_of(&past.records);
        let (facts, survivors) = facts(&containerizer, &known).await?;
        let fetcher = Fetcher::new(&config);
        let provisioner = start_provisioner(&config, &containerizer, &facts, &survivors).await?;

        let networks = start_networks(&config, &containerizer, &facts).await?;
        let external_volumes =
            start_external_volumes(&config, &facts, &survivors, past.same_boot).await?;
        let ip = config.advertise_ip.unwrap_or_else(|| {
            if addr.ip().is_unspecified() {
                IpAddr::from([127, 0, 0, 1])
            } else {
                addr.ip()
            }
        });
        let port = config.advertise_port.unwrap_or(addr.port());
        let core_config = core_config(&config, ip, port);
        let mut first = Vec::new();
        let core = Core::recover(core_config, past.records, facts, clock.now(), &mut first);

        let endpoint = SocketAddr::new(ip, port).to_string();
        let stop = CancellationToken::new();
        let view = Arc::new(RwLock::new(View::default()));
        let outbox = Arc::new(Outbox::default());
        let executors = Executors::new(inputs.clone());
        let layout = Layout::new(&config.work_dir);
        let agent = Arc::new(RwLock::new(String::new()));
        let volumes = VolumesRoom::new(&config.work_dir);
        let under_way: Vec<_> = core.unsettled_volumes().cloned().collect();
        let (room, disks) = (volumes.clone(), config.resources.clone());
        tokio::task::spawn_blocking(move || room.sweep(&disks, &under_way));
        let surroundings = Surroundings {
            config: Arc::clone(&config),
            endpoint: endpoint.clone(),
            volumes: volumes.clone(),
            provisioner: provisioner.clone(),
            fetcher: fetcher.clone(),
            networks: networks.clone(),
            external_volumes: external_volumes.clone(),
        };
        let nested = Nested::new(
            Arc::clone(&containerizer),
            surroundings.clone(),
            layout.clone(),
            Arc::clone(&agent),
            Arc::clone(&view),
        );
        nested.take_up(survivors);
        let hands = Hands::new(
            Arc::clone(&containerizer),
            layout.clone(),
            surroundings,
            Arc::clone(&agent),
            inputs.clone(),
            tokio::runtime::Handle::current(),
            stop.clone(),
        );
        let disks = Disks::default();
        let watching = crate::disk::Room {
            config: config.disk.clone(),
            view: Arc::clone(&view),
            agent: Arc::clone(&agent),
            layout: layout.clone(),
            volumes: volumes.clone(),
            provisioner: provisioner.clone(),
            disks: disks.clone(),
            inputs: inputs.clone(),
        };
        let listening = crate::ports::Room {
            config: config.ports.clone(),
            view: Arc::clone(&view),
            containerizer: Arc::clone(&containerizer),
            inputs: inputs.clone(),
        };
        let face = Arc::new(Face {
            disks,
            config: Arc::clone(&config),
            clock,
            endpoint,
            view: Arc::clone(&view),
            agent: Arc::clone(&agent),
            layout: layout.clone(),
            executors: executors.clone(),
            containerizer,
            nested: nested.clone(),
            provisioner: provisioner.clone(),
            fetcher,
            networks: networks.clone(),
            external_volumes: external_volumes.clone(),
        });
        let own = networks.containers().into_iter().filter_map(|container| {
            Some(Input::Networked {
                networks: networks.infos(&container),
                container: container.parse().ok()?,
            })
        });
        let oversubscription = crate::oversubscription::Room {
            config: config.oversubscription.clone(),
            clock,
            view: Arc::clone(&view),
            containerizer: Arc::clone(&face.containerizer),
            inputs: inputs.clone(),
        };
        let relayed = Arc::clone(&face.containerizer);
        let driver = Driver {
            core,
            clock,
            journal,
            view: Arc::clone(&view),
            outbox: Arc::clone(&outbox),
            executors,
            hands,
            volumes,
            own: own.collect(),
            inputs: receiver,
            stop: stop.clone(),
        };
        let ended = start_thread(driver, first, stop.clone())?;

        let detector = match &config.channel {
            None => Detector::new(config.master.clone(), &config.zookeeper)?,
            Some(_) => Detector::fixed(&tepui_coordination::HostPort::new("127.0.0.1", 0)),
        };
        let until_stop = |stop: CancellationToken| async move { stop.cancelled().await };
        let relaying = Relay {
            containerizer: relayed,
            networks,
            volumes: external_volumes.clone(),
            nested,
            inputs: inputs.clone(),
        };
        let relaying = relaying.run(events);
        let stopped = until_stop(stop.clone());
        // What happens to containers from then on is the next agent's, with all that is to be taken down.
        tokio::spawn(async move {
            tokio::select! { biased; () = stopped => {}, () = relaying => {} }
        });
        let link = crate::link::run(Arc::clone(&config), detector, inputs.clone(), outbox);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = link => {}, () = stopped => {} }
        });
        tokio::spawn(crate::faces::serve(listener, face, stop.clone()));
        let lending = crate::oversubscription::run(oversubscription);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = lending => {}, () = stopped => {} }
        });
        let watching = crate::disk::run(watching);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = watching => {}, () = stopped => {} }
        });
        let listening = crate::ports::run(listening);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = listening => {}, () = stopped => {} }
        });
        let tending = async move { external_volumes.tend().await };
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = tending => {}, () = stopped => {} }
        });
        let images = crate::provision::collect(provisioner);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = images => {}, () = stopped => {} }
        });
        let collecting = collect_sandboxes(config.clone(), layout, view, agent);
        let stopped = until_stop(stop.clone());
        tokio::spawn(async move {
            tokio::select! { () = collecting => {}, () = stopped => {} }
        });
        Ok(RunningAgent {
            addr,
            ephemeral: config.ephemeral,
            inputs,
            stop,
            ended,
        })
    }
}

impl RunningAgent {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops the agent. Its tasks run on, and a next agent on the same work directory takes them up; those of an ephemeral agent are killed.
    ///
    /// # Errors
    /// The agent had failed before.
    pub async fn shutdown(mut self) -> Result<(), AgentError> {
        if self.ephemeral {
            self.end_everything("the agent is ephemeral and was told to stop")
                .await;
        }
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until the agent ends by itself: its master has told it to, or it has failed.
    ///
    /// # Errors
    /// It has failed.
    pub async fn ended(&mut self) -> Result<(), AgentError> {
        let ended = (&mut self.ended).await;
        self.stop.cancel();
        match ended {
            Ok(Ended::Stopped) => Ok(()),
            Ok(Ended::Done(reason)) => {
                tracing::info!("the agent has ended: {reason}");
                Ok(())
            }
            Ok(Ended::Failed(error)) => Err(error.into()),
            Err(_) => Err(AgentError::Panicked),
        }
    }

    async fn end_everything(&mut self, reason: &str) {
        if self
            .inputs
            .send(Input::Shutdown {
                reason: reason.to_owned(),
            })
            .await
            .is_ok()
            && tokio::time::timeout(LAST_PATIENCE, self.inputs.closed())
                .await
                .is_err()
        {
            tracing::warn!("containers have not ended within {LAST_PATIENCE:?}");
        }
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs an agent, the only one of this process, until `shutdown` is done or the agent ends by itself.
///
/// # Errors
/// It could not start, or it failed.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    crate::supervisor::sys::share_heaps();
    let mut agent = Agent::start(config).await?;
    tokio::select! {
        () = shutdown => agent.shutdown().await,
        ended = agent.ended() => ended,
    }
}

fn core_config(config: &Config, ip: IpAddr, port: u16) -> tepui_agent_core::Config {
    tepui_agent_core::Config {
        info: AgentInfo {
            hostname: config.hostname.clone(),
            port: Some(port.into()),
            resources: config.resources.clone(),
            attributes: config.attributes.clone(),
            id: None,
            domain: config.domain.clone(),
        },
        ip: ip.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: rand::random(),
        executor_registration_timeout: config.executor_registration_timeout,
        executor_reregistration_timeout: config.executor_reregistration_timeout,
        executor_shutdown_grace_period: config.executor_shutdown_grace_period,
        ..tepui_agent_core::Config::default()
    }
}

/// Compares the agent with what it was at its last start, and writes down what it is now if that differs.
fn reconfigure(config: &Config, journal: &mut Journal, past: &Past) -> Result<(), AgentError> {
    let info = core_config(config, config.ip, config.port).info;
    let differences = Core::reconfigured(config.reconfiguration_policy, &past.records, &info);
    if !differences.is_empty() {
        return Err(AgentError::Reconfigured {
            policy: match config.reconfiguration_policy {
                ReconfigurationPolicy::Equal => "equal",
                ReconfigurationPolicy::Additive => "additive",
                ReconfigurationPolicy::Any => "any",
            },
            differences,
            meta: config.work_dir.join("meta"),
        });
    }
    let now = Core::configuration(&info);
    if Core::configuration_of(&past.records) != Some(&now) {
        journal.append(&now);
        // Numbered before the core's first record; an id that follows it is durable after it.
        journal.write(0)?;
    }
    Ok(())
}

/// What became of the containers that the records name.
async fn facts(
    containerizer: &Containerizer,
    known: &[CoreId],
) -> Result<(Vec<ContainerFact>, Vec<(Note, Recovered)>), AgentError> {
    let survivors = crate::nested::survivors(containerizer, known)?;
    let (names, notes): (Vec<ContainerId>, Vec<Note>) = survivors.into_iter().unzip();
    let ids: Vec<ContainerId> = known
        .iter()
        .map(|id| ContainerId::new(id.to_string()))
        .chain(names.into_iter().map(Ok))
        .collect::<Result<_, _>>()?;
    let mut found = containerizer.recover(&ids).await?;
    let survived = notes.into_iter().zip(found.split_off(known.len()));
    let survived = survived.collect();
    let fact = |found| {
        let (container, state) = match found {
            Recovered::Running { container, pid } => {
                (container, ContainerState::Running { pid: Some(pid) })
            }
            Recovered::Unknown { container } => (container, ContainerState::Lost),
            Recovered::Exited { container, exit } => {
                let state = match core_exit(&exit) {
                    Ok(exit) => ContainerState::Exited(exit),
                    Err(reason) => ContainerState::LaunchFailed { reason },
                };
                (container, state)
            }
        };
        container
            .as_str()
            .parse::<CoreId>()
            .ok()
            .map(|container| ContainerFact { container, state })
    };
    Ok((found.into_iter().filter_map(fact).collect(), survived))
}

/// Opens the store of images; what living containers hold of it stays.
async fn start_provisioner(
    config: &Arc<Config>,
    containerizer: &Arc<Containerizer>,
    facts: &[ContainerFact],
    survivors: &[(Note, Recovered)],
) -> Result<Provisioner, AgentError> {
    let nested = survivors.iter().filter_map(|(_, found)| match found {
        Recovered::Running { container, .. } | Recovered::Exited { container, .. } => {
            Some(container.to_string())
        }
        Recovered::Unknown { .. } => None,
    });
    let alive = facts
        .iter()
        .filter(|fact| fact.state != ContainerState::Lost)
        .map(|fact| fact.container.to_string())
        .chain(nested)
        .collect();
    let (config, containerizer) = (Arc::clone(config), Arc::clone(containerizer));
    let starting = tokio::task::spawn_blocking(move || {
        let provisioner = Provisioner::start(&config.images, &containerizer)?;
        provisioner.recover(&alive);
        Ok(provisioner)
    });
    starting.await.unwrap_or_else(|_| Err(AgentError::Panicked))
}

/// Takes up the networks of containers that run, and takes those of others down. What holds what a group shares is on none: its tasks are.
async fn start_networks(
    config: &Arc<Config>,
    containerizer: &Containerizer,
    facts: &[ContainerFact],
) -> Result<Networks, AgentError> {
    let alive = facts
        .iter()
        .filter(|fact| matches!(fact.state, ContainerState::Running { .. }))
        .map(|fact| fact.container.to_string())
        .filter(|name| {
            let id = ContainerId::new(name.as_str());
            !id.is_ok_and(|id| containerizer.is_holder(&id))
        })
        .collect();
    let config = Arc::clone(config);
    let starting = tokio::task::spawn_blocking(move || {
        Networks::start(
            &config.networks,
            &config.work_dir,
            &config.runtime_dir,
            &alive,
        )
    });
    starting.await.map_err(|_| AgentError::Panicked)
}

/// Takes up the external volumes of containers that run; those of others are taken away later.
async fn start_external_volumes(
    config: &Arc<Config>,
    facts: &[ContainerFact],
    survivors: &[(Note, Recovered)],
    same_boot: bool,
) -> Result<ExternalVolumes, AgentError> {
    let nested = survivors.iter().filter_map(|(_, found)| match found {
        Recovered::Running { container, .. } => Some(container.to_string()),
        Recovered::Exited { .. } | Recovered::Unknown { .. } => None,
    });
    let alive = facts
        .iter()
        .filter(|fact| matches!(fact.state, ContainerState::Running { .. }))
        .map(|fact| fact.container.to_string())
        .chain(nested)
        .collect();
    let config = Arc::clone(config);
    let starting =
        tokio::task::spawn_blocking(move || ExternalVolumes::start(&config, &alive, same_boot));
    starting.await.map_err(|_| AgentError::Panicked)
}

fn start_thread(
    driver: Driver,
    first: Vec<tepui_agent_core::Output>,
    stop: CancellationToken,
) -> Result<oneshot::Receiver<Ended>, AgentError> {
    let (sender, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(AgentError::Thread)?;
    let thread = move || {
        let _stop_the_rest = stop.drop_guard();
        let ended = runtime.block_on(driver.run(first));
        // Nobody waits if the agent was dropped.
        let _ = sender.send(ended);
    };
    std::thread::Builder::new()
        .name("agent-core".to_owned())
        .spawn(thread)
        .map_err(AgentError::Thread)?;
    Ok(ended)
}

/// Removes old sandboxes now and then.
async fn collect_sandboxes(
    config: Arc<Config>,
    layout: Layout,
    view: Arc<RwLock<View>>,
    agent: Arc<RwLock<String>>,
) {
    loop {
        tokio::time::sleep(config.disk_watch_interval).await;
        let used = disk_usage(&config.work_dir).unwrap_or(0.0);
        let age = allowed_age(config.gc_delay, config.gc_disk_headroom, used);
        let live: std::collections::HashSet<PathBuf> = {
            let agent = agent.read().clone();
            let view = view.read();
            let executors = view
                .frameworks
                .values()
                .flat_map(|framework| framework.executors.values());
            executors
                .map(|executor| {
                    let state = &executor.state;
                    layout.sandbox(
                        &agent,
                        state.framework_id.as_str(),
                        state.id.as_str(),
                        &state.container.to_string(),
                    )
                })
                .collect()
        };
        let layout = layout.clone();
        let collecting =
            tokio::task::spawn_blocking(move || layout.collect(age, |path| live.contains(path)));
        if let Ok(removed @ 1..) = collecting.await {
            tracing::info!("removed {removed} sandboxes older than {age:?}");
        }
    }
}

impl Config {
    /// As [`Config::new`], for a master at a known address.
    #[must_use]
    pub fn for_master_at(address: SocketAddr, work_dir: impl Into<PathBuf>) -> Self {
        Self::new(
            Location::Fixed(tepui_coordination::HostPort::new(
                address.ip().to_string(),
                address.port(),
            )),
            work_dir,
        )
    }
}
