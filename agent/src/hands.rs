//! Carries out what the core wants done with containers. What concerns one container happens in the order in which it was wanted;
//! different containers do not wait for one another.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tepui_agent_core::{
    Exit as CoreExit, Input, Launch, Limitation, Limited, Limits as Wanted, Probe,
};
use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::Resource;
use tokio_util::sync::CancellationToken;

use crate::containerizer::{
    At, BindMount, ContainerId, Containerizer, Exit, ExitReason, KillScope, Source,
};
use crate::executors::Inputs;
use crate::holders::Holders;
use crate::networks::{self, Attached, Networks};
use crate::provision::Pulled;
use crate::provision::plan::{self, Plan, Planned, What};
use crate::provision::volumes::Around;
use crate::resources::scalar;
use crate::sandbox::Layout;
use crate::spec::{HasCommand, Surroundings, limits_in};

const SIGKILL: i32 = 9;

/// What is to be done with one container.
enum Work {
    Launch(Box<Launch>),
    Signal(i32),
    Destroy,
    Resize(Wanted),
    Forget,
}

/// Puts work behind what waits. Of several sizes in a row only the last matters: ten thousand tasks that come at once make an executor's
/// container grow as often, and each time costs some writes.
fn wait_in_line(queue: &mut VecDeque<Work>, work: Work) {
    match (queue.back_mut(), work) {
        (Some(Work::Resize(waiting)), Work::Resize(wanted)) => *waiting = wanted,
        (_, work) => queue.push_back(work),
    }
}

/// Work that waits, by container; a container that is here has somebody at work on it.
type Queues = Arc<Mutex<HashMap<CoreId, VecDeque<Work>>>>;

/// Carries out what the core wants done with containers.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) containerizer: Arc<Containerizer>,
    pub(crate) layout: Layout,
    pub(crate) surroundings: Surroundings,
    /// The agent's id; sandboxes are below it.
    pub(crate) agent: Arc<RwLock<String>>,
    pub(crate) inputs: Inputs,
    pub(crate) runtime: tokio::runtime::Handle,
    queues: Queues,
    holders: Holders,
    /// Launches under way that a kill may cut short. Bounded by the queues.
    launching: Arc<Mutex<HashMap<CoreId, CancellationToken>>>,
    /// Of the agent: with it ends what waits for an image.
    stop: CancellationToken,
}

impl Hands {
    pub(crate) fn new(
        containerizer: Arc<Containerizer>,
        layout: Layout,
        surroundings: Surroundings,
        agent: Arc<RwLock<String>>,
        inputs: Inputs,
        runtime: tokio::runtime::Handle,
        stop: CancellationToken,
    ) -> Self {
        Self {
            containerizer,
            layout,
            surroundings,
            agent,
            inputs,
            runtime,
            queues: Queues::default(),
            holders: Holders::default(),
            launching: Arc::default(),
            stop,
        }
    }

    pub(crate) fn launch(&self, launch: Box<Launch>) {
        let container = launch.container.clone();
        if let Some(executor) = container.parent() {
            self.holders.want(executor, launch.group_limits);
        }
        self.launching
            .lock()
            .insert(container.clone(), self.stop.child_token());
        self.enqueue(container, Work::Launch(launch));
    }

    pub(crate) fn signal(&self, container: CoreId, signal: i32) {
        self.enqueue(container, Work::Signal(signal));
    }

    pub(crate) fn destroy(&self, container: CoreId) {
        // What is still on its way to a launch (an image being pulled) ends here; the rest of the order finds what there is.
        if let Some(launching) = self.launching.lock().get(&container) {
            launching.cancel();
        }
        self.enqueue(container, Work::Destroy);
    }

    pub(crate) fn resize(&self, container: CoreId, limits: Wanted) {
        self.holders.resized(&container, limits);
        self.enqueue(container, Work::Resize(limits));
    }

    pub(crate) fn forget(&self, container: CoreId) {
        self.enqueue(container, Work::Forget);
    }

    /// Deletes in the background what an operation has moved aside.
    pub(crate) fn delete_volumes(&self, operation: bytes::Bytes) {
        let volumes = self.surroundings.volumes.clone();
        let config = Arc::clone(&self.surroundings.config);
        self.runtime
            .spawn_blocking(move || volumes.delete(&config.resources, &operation));
    }

    pub(crate) fn probe(&self, probe: Box<Probe>) {
        let (containerizer, inputs) = (Arc::clone(&self.containerizer), self.inputs.clone());
        let surroundings = self.surroundings.clone();
        self.runtime.spawn(async move {
            let number = probe.probe;
            let result = crate::probes::probe(containerizer, surroundings, probe).await;
            let _ = inputs
                .send(Input::Probed {
                    probe: number,
                    result,
                })
                .await;
        });
    }

    fn enqueue(&self, container: CoreId, work: Work) {
        match self.queues.lock().entry(container.clone()) {
            std::collections::hash_map::Entry::Occupied(mut queue) => {
                wait_in_line(queue.get_mut(), work);
                return;
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(VecDeque::from([work]));
            }
        }
        let hands = self.clone();
        self.runtime.spawn(async move {
            while let Some(work) = hands.next(&container) {
                hands.work(&container, work).await;
            }
        });
    }

    /// The next piece of work; when there is none, nobody is at work on the container any more.
    fn next(&self, container: &CoreId) -> Option<Work> {
        let mut queues = self.queues.lock();
        let next = queues.get_mut(container).and_then(VecDeque::pop_front);
        if next.is_none() {
            queues.remove(container);
        }
        next
    }

    async fn work(&self, container: &CoreId, work: Work) {
        let Ok(id) = ContainerId::new(container.to_string()) else {
            return;
        };
        let (what, result) = match work {
            Work::Launch(launch) => {
                let started = self.start(&launch).await;
                self.launching.lock().remove(container);
                if let Err(reason) = started {
                    self.release(container).await;
                    // With the agent ends only its part: the next one finds the launch unfinished, and says so.
                    if self.stop.is_cancelled() {
                        return;
                    }
                    let _ = self
                        .inputs
                        .send(Input::LaunchFailed {
                            container: container.clone(),
                            reason,
                        })
                        .await;
                }
                return;
            }
            Work::Signal(signal) => (
                "signal",
                self.containerizer.kill(&id, signal, KillScope::Tree),
            ),
            // The record of its end stays until the core has taken note of it.
            Work::Destroy => (
                "destroy",
                self.containerizer.kill(&id, SIGKILL, KillScope::Tree),
            ),
            Work::Resize(wanted) => {
                let limits = limits_in(wanted, &self.surroundings.config);
                ("resize", self.containerizer.update(&id, &limits))
            }
            Work::Forget => {
                self.holders.forget(container);
                let destroyed = self.containerizer.destroy(&id).await;
                self.release(container).await;
                ("forget", destroyed)
            }
        };
        if let Err(error) = result {
            // Usually it has ended meanwhile, which its own event tells.
            tracing::debug!("cannot {what} container {container}: {error}");
        }
    }

    async fn start(&self, launch: &Launch) -> Result<(), String> {
        let agent = self.agent.read().clone();
        let framework = launch
            .framework
            .id
            .as_ref()
            .map_or("", |id| id.value.as_str());
        let executor = &launch.executor.executor_id.value;
        let container = launch.container.root().to_string();
        let user = self.surroundings.user(launch);
        let sandbox = self
            .layout
            .create(&agent, framework, executor, &container, user)
            .and_then(|sandbox| match (&launch.task, launch.container.parent()) {
                (Some(task), Some(_)) => {
                    let (own, task) = (launch.container.value(), &task.task_id.value);
                    Layout::create_nested(&sandbox, own, task, user)
                }
                _ => Ok(sandbox),
            })
            .map_err(|error| format!("Failed to create the sandbox: {error}"))?;
        let failed = |problem: String| format!("Failed to launch the container: {problem}");
        let mut plan = self.plan(launch, &sandbox, &agent).map_err(failed)?;
        let joins = networks_of(launch).map_err(failed)?;
        let (persistent, links) = self
            .persistent(launch, &sandbox, &mut plan)
            .map_err(failed)?;
        let cancelled = self.launching.lock().get(&launch.container).cloned();
        let cancelled = async {
            match cancelled {
                Some(token) => token.cancelled_owned().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(cancelled);
        let pulled = tokio::select! {
            biased;
            () = &mut cancelled => return Err("the launch was ended while its image was being pulled or its URIs were being fetched".to_owned()),
            prepared = self.prepare(launch, &plan, &sandbox, user) => prepared.map_err(failed)?,
        };
        let id = launch.container.to_string();
        let attached = self.attach(launch, joins, &plan).await.map_err(failed)?;
        let external = &self.surroundings.external_volumes;
        // What was begun is written down, and taken back when the container is released.
        tokio::select! {
            biased;
            () = &mut cancelled => return Err("the launch was ended while its volumes were being mounted".to_owned()),
            mounted = external.mount(&id, &mut plan.volumes, &sandbox) => mounted.map_err(failed)?,
        }
        let mounted = self
            .surroundings
            .provisioner
            .lay_out(&id, plan.volumes, pulled)
            .map_err(failed)?;
        let mut spec = self
            .surroundings
            .spec(
                &agent,
                launch,
                &sandbox,
                &plan.settings,
                mounted,
                attached.as_ref(),
            )
            .map_err(failed)?;
        if !links {
            spec.mounts = persistent;
        }
        if launch.container.parent().is_none() {
            let sharing = plan.settings.sharing;
            let allowed = &self.surroundings.config.isolation;
            sharing.with_agent(&mut spec, allowed).map_err(failed)?;
        } else {
            let of_executor = self.layout.sandbox(&agent, framework, executor, &container);
            let place = self.holders.place(
                &self.containerizer,
                &self.surroundings,
                launch,
                &of_executor,
            );
            if let Some(place) = place.await.map_err(failed)? {
                place.take(&mut spec);
            }
        }
        self.containerizer
            .launch(spec)
            .await
            .map_err(|error| format!("Failed to launch the container: {error}"))
    }

    /// What may take long, and ends when the future is dropped: the container's image is pulled, then its command's URIs are fetched.
    async fn prepare(
        &self,
        launch: &Launch,
        plan: &Plan,
        sandbox: &Path,
        user: Option<&str>,
    ) -> Result<Pulled, String> {
        let pulled = self.surroundings.provisioner.pull(plan).await?;
        let uris = launch.command().map_or(&[][..], |command| &command.uris);
        let fetched = self.surroundings.fetcher.fetch(uris, sandbox, user).await;
        fetched.map_err(|error| {
            let container = launch.container.value();
            format!("Failed to fetch all URIs for container '{container}': {error}")
        })?;
        Ok(pulled)
    }

    /// What the container wants, from its ContainerInfo.
    fn plan(&self, launch: &Launch, sandbox: &Path, agent: &str) -> Result<Plan, String> {
        let info = launch.container_info();
        let nested = launch.container.parent().is_some();
        let framework = launch
            .framework
            .id
            .as_ref()
            .map_or("", |id| id.value.as_str());
        let executor = &launch.executor.executor_id.value;
        let root = launch.container.root().to_string();
        let parent = nested.then(|| self.layout.sandbox(agent, framework, executor, &root));
        let volumes = &self.surroundings.volumes;
        let parents_volumes: Vec<_> = if nested {
            let places = volumes.places(&launch.executor.resources)?;
            places.into_iter().map(|(at, real, _)| (at, real)).collect()
        } else {
            Vec::new()
        };
        let around = Around {
            sandbox,
            parent: parent.as_deref(),
            parents_volumes: &parents_volumes,
            make_host_paths: info.is_some_and(|info| info.docker.is_some()),
        };
        plan::plan(info, &around)
    }

    /// Persistent volumes: those in the sandbox are returned, those at absolute places of an image become volumes of the plan. Also whether
    /// they are links, where nothing can be mounted.
    fn persistent(
        &self,
        launch: &Launch,
        sandbox: &Path,
        plan: &mut Plan,
    ) -> Result<(Vec<BindMount>, bool), String> {
        let volumes = &self.surroundings.volumes;
        let links = !self.containerizer.capabilities().namespaces;
        let absolute = |resource: &Resource| {
            let disk = resource
                .disk
                .as_ref()
                .filter(|disk| disk.persistence.is_some());
            disk.and_then(|disk| disk.volume.as_ref())
                .is_some_and(|volume| volume.container_path.starts_with('/'))
        };
        let (elsewhere, below): (Vec<Resource>, Vec<Resource>) = launch
            .resources()
            .iter()
            .cloned()
            .partition(|resource| plan.image.is_some() && absolute(resource));
        for resource in &elsewhere {
            volumes.give_to(resource, sandbox)?;
        }
        for (at, real, read_only) in volumes.places(&elsewhere)? {
            let planned = Planned {
                what: What::Mount(Source::Host(real)),
                at: At::Inside(at),
                read_only,
            };
            if !plan.volumes.iter().any(|other| other.at == planned.at) {
                plan.volumes.push(planned);
            }
        }
        Ok((volumes.mount(&below, sandbox, links)?, links))
    }

    /// Puts the container on the networks that it wants, off the runtime's threads; `None` if it wants none.
    async fn attach(
        &self,
        launch: &Launch,
        joins: Joins,
        plan: &Plan,
    ) -> Result<Option<Attached>, String> {
        let of_group = launch.executor.container.as_ref();
        let (wanted, whose, hostname) = match joins {
            Joins::None => return Ok(None),
            Joins::Own(wanted) => {
                let hostname = plan.settings.hostname.clone();
                (wanted, launch.container.clone(), hostname)
            }
            Joins::Groups(wanted) => {
                let hostname = of_group.and_then(|container| container.hostname.clone());
                (wanted, launch.container.root().clone(), hostname)
            }
        };
        let networks = self.surroundings.networks.clone();
        let (id, owner) = (launch.container.to_string(), whose.to_string());
        let attaching = tokio::task::spawn_blocking(move || {
            let hostname = hostname.as_deref();
            let attached = if id == owner {
                networks.attach(&id, &wanted, hostname)?
            } else {
                networks.join(&owner, &id, &wanted, hostname)?
            };
            Ok::<_, String>((attached, networks.infos(&owner)))
        });
        let (attached, infos) = attaching.await.map_err(|error| error.to_string())??;
        let networked = Input::Networked {
            container: whose,
            networks: infos,
        };
        let _ = self.inputs.send(networked).await;
        Ok(Some(attached))
    }

    /// Removes the container's own directories over its image, takes it off its networks, if it has any, off the runtime's threads, and lets
    /// its external volumes go.
    async fn release(&self, container: &CoreId) {
        let id = container.to_string();
        detach(&self.surroundings.networks, &id).await;
        self.surroundings.external_volumes.release(&id).await;
        let provisioner = self.surroundings.provisioner.clone();
        if provisioner.has_roots(&id) {
            let _ = tokio::task::spawn_blocking(move || provisioner.release(&id)).await;
        }
    }
}

/// What a container's end means to the core.
pub(crate) fn core_exit(exit: &Exit) -> Result<CoreExit, String> {
    let status = exit.status.map(|status| status.raw());
    match &exit.reason {
        ExitReason::Ended => Ok(CoreExit {
            status,
            limitation: None,
        }),
        ExitReason::Lost => Ok(CoreExit {
            status: None,
            limitation: None,
        }),
        ExitReason::MemoryLimit(limitation) => Ok(CoreExit {
            status,
            limitation: Some(Limitation {
                of: Limited::Memory,
                message: limitation.to_string(),
                resources: vec![Resource {
                    role: Some("*".to_owned()),
                    ..scalar("mem", (limitation.max_usage_bytes >> 20) as f64)
                }],
            }),
        }),
        ExitReason::LaunchFailed(failure) => Err(failure.to_string()),
    }
}

/// The networks that a container joins.
enum Joins {
    /// It is on the host's.
    None,
    /// Some that nobody else is on by the same address.
    Own(Vec<networks::wanted::Wanted>),
    /// Those of its executor, with all other tasks of that.
    Groups(Vec<networks::wanted::Wanted>),
}

/// The networks that the container wants: its own, or, of a task in a group that names none, its executor's.
fn networks_of(launch: &Launch) -> Result<Joins, String> {
    let own = networks::wanted::wanted(launch.container_info(), launch.resources())?;
    if !own.is_empty() {
        return Ok(Joins::Own(own));
    }
    if launch.container.parent().is_none() {
        return Ok(Joins::None);
    }
    let executor = launch.executor.container.as_deref();
    let shared = networks::wanted::wanted(executor, &launch.group_ports)?;
    Ok(if shared.is_empty() {
        Joins::None
    } else {
        Joins::Groups(shared)
    })
}

/// Takes a container off its networks, if it has any of its own.
pub(crate) async fn detach(networks: &Networks, container: &str) {
    if networks.has(container) {
        let (networks, id) = (networks.clone(), container.to_owned());
        let _ = tokio::task::spawn_blocking(move || networks.detach(&id)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_sizes_in_a_row_only_the_last_waits() {
        let sized = |cpus_milli| {
            Work::Resize(Wanted {
                cpus_milli,
                ..Wanted::default()
            })
        };
        let mut queue = VecDeque::new();
        for work in [
            sized(1),
            sized(2),
            Work::Signal(15),
            sized(3),
            sized(4),
            Work::Forget,
        ] {
            wait_in_line(&mut queue, work);
        }
        let waiting: Vec<String> = queue
            .iter()
            .map(|work| match work {
                Work::Resize(wanted) => format!("resize {}", wanted.cpus_milli),
                Work::Signal(signal) => format!("signal {signal}"),
                Work::Forget => "forget".to_owned(),
                Work::Launch(_) | Work::Destroy => "other".to_owned(),
            })
            .collect();
        assert_eq!(waiting, ["resize 2", "signal 15", "resize 4", "forget"]);
    }
}
