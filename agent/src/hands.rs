//! Carries out what the core wants done with containers. What concerns one container happens in the order in which it was wanted;
//! different containers do not wait for one another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tepui_agent_core::{Exit as CoreExit, Input, Launch, Limitation, Limits as Wanted, Probe};
use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::Resource;
use tokio::sync::mpsc;

use crate::containerizer::{
    ContainerEvent, ContainerId, Containerizer, Exit, ExitReason, KillScope,
};
use crate::executors::Inputs;
use crate::resources::scalar;
use crate::sandbox::Layout;
use crate::spec::{HasCommand, Surroundings, limits};

const SIGKILL: i32 = 9;

/// What is to be done with one container.
enum Work {
    Launch(Box<Launch>),
    Signal(i32),
    Destroy,
    Resize(Wanted),
    Forget,
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
}

impl Hands {
    pub(crate) fn new(
        containerizer: Arc<Containerizer>,
        layout: Layout,
        surroundings: Surroundings,
        agent: Arc<RwLock<String>>,
        inputs: Inputs,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            containerizer,
            layout,
            surroundings,
            agent,
            inputs,
            runtime,
            queues: Queues::default(),
        }
    }

    pub(crate) fn launch(&self, launch: Box<Launch>) {
        let container = launch.container.clone();
        self.enqueue(container, Work::Launch(launch));
    }

    pub(crate) fn signal(&self, container: CoreId, signal: i32) {
        self.enqueue(container, Work::Signal(signal));
    }

    pub(crate) fn destroy(&self, container: CoreId) {
        self.enqueue(container, Work::Destroy);
    }

    pub(crate) fn resize(&self, container: CoreId, limits: Wanted) {
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
        self.runtime.spawn(async move {
            let number = probe.probe;
            let result = crate::probes::probe(containerizer, probe).await;
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
                queue.get_mut().push_back(work);
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
                if let Err(reason) = self.start(&launch).await {
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
                let limits = limits(wanted, self.surroundings.config.cgroups_enable_cfs);
                ("resize", self.containerizer.update(&id, &limits))
            }
            Work::Forget => ("forget", self.containerizer.destroy(&id).await),
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
        let mut spec = self
            .surroundings
            .spec(&agent, launch, &sandbox)
            .map_err(|problem| format!("Failed to launch the container: {problem}"))?;
        let links = !self.containerizer.capabilities().namespaces;
        let mounted = self
            .surroundings
            .volumes
            .mount(launch.resources(), &sandbox, links)
            .map_err(|problem| format!("Failed to launch the container: {problem}"))?;
        if !links {
            spec.mounts = mounted;
        }
        self.containerizer
            .launch(spec)
            .await
            .map_err(|error| format!("Failed to launch the container: {error}"))
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
            limitation: Some(Limitation::Memory {
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

/// Turns containers' events into inputs until there are no more.
pub(crate) async fn relay(mut events: mpsc::Receiver<ContainerEvent>, inputs: Inputs) {
    while let Some(event) = events.recv().await {
        let (container, exit) = match event {
            ContainerEvent::Started { container, pid } => {
                let Ok(container) = container.as_str().parse::<CoreId>() else {
                    continue;
                };
                if inputs
                    .send(Input::Launched {
                        container,
                        pid: Some(pid),
                    })
                    .await
                    .is_err()
                {
                    return;
                }
                continue;
            }
            ContainerEvent::Exited { container, exit } => (container, exit),
        };
        let Ok(container) = container.as_str().parse::<CoreId>() else {
            continue;
        };
        let input = match core_exit(&exit) {
            Ok(exit) => Input::Exited { container, exit },
            Err(reason) => Input::LaunchFailed { container, reason },
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}
