//! Turns containers' events into inputs of the core.
//!
//! What is inside of a container that holds what several share may end a moment before it, and because of it: then its end waits for the other's,
//! so that the core hears of the cause first.

use std::collections::HashMap;

use tepui_agent_core::Input;
use tepui_model::ContainerId as CoreId;
use tokio::sync::mpsc;

use crate::containerizer::{ContainerEvent, ContainerId, Containerizer, Exit};
use crate::executors::Inputs;
use crate::external_volumes::ExternalVolumes;
use crate::hands::{core_exit, detach};
use crate::nested::Nested;
use crate::networks::Networks;

/// Whom an event concerns.
pub(crate) struct Relay {
    pub(crate) containerizer: std::sync::Arc<Containerizer>,
    pub(crate) networks: Networks,
    pub(crate) volumes: ExternalVolumes,
    pub(crate) nested: Nested,
    pub(crate) inputs: Inputs,
}

/// The core is gone.
struct Closed;

impl Relay {
    /// Works until there are no more events, or nobody to hear of them.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<ContainerEvent>) {
        // Those that wait for another's end, by it: at most as many as there are containers.
        let mut waiting: HashMap<ContainerId, Vec<(ContainerId, Exit)>> = HashMap::new();
        while let Some(event) = events.recv().await {
            let Some(event) = self.nested.happened(event) else {
                continue;
            };
            let passed = match event {
                ContainerEvent::Started { container, pid } => self.started(&container, pid).await,
                ContainerEvent::Exited { container, exit } => {
                    if let Some(around) = self.containerizer.ending_around(&container, &exit) {
                        waiting.entry(around).or_default().push((container, exit));
                        continue;
                    }
                    self.over(&container, &exit, &mut waiting).await
                }
            };
            if passed.is_err() {
                return;
            }
        }
    }

    async fn started(&self, container: &ContainerId, pid: u32) -> Result<(), Closed> {
        let Ok(container) = container.as_str().parse::<CoreId>() else {
            return Ok(());
        };
        let pid = Some(pid);
        self.send(Input::Launched { container, pid }).await
    }

    /// A container has ended, and so have those that waited for it.
    async fn over(
        &self,
        container: &ContainerId,
        exit: &Exit,
        waiting: &mut HashMap<ContainerId, Vec<(ContainerId, Exit)>>,
    ) -> Result<(), Closed> {
        self.exited(container, exit).await?;
        self.containerizer.told(container);
        for (inside, exit) in waiting.remove(container).unwrap_or_default() {
            self.exited(&inside, &exit).await?;
        }
        Ok(())
    }

    async fn exited(&self, name: &ContainerId, exit: &Exit) -> Result<(), Closed> {
        let has_below = self.nested.has_below(name);
        let Ok(container) = name.as_str().parse::<CoreId>() else {
            return Ok(());
        };
        let id = container.to_string();
        let input = match core_exit(exit) {
            Ok(exit) => Input::Exited { container, exit },
            Err(reason) => Input::LaunchFailed { container, reason },
        };
        if self.containerizer.is_holder(name) {
            // What several shared is let go by the last of them, whose ends are told of after this one.
            if has_below {
                let nested = self.nested.clone();
                tokio::spawn(async move {
                    if let Ok(container) = id.parse::<CoreId>() {
                        nested.end_below(&container).await;
                    }
                });
            }
            return self.send(input).await;
        }
        if self.networks.has(&id) || self.volumes.has(&id) || has_below {
            // Its ports and volumes are to be free when its resources are, and nothing is to run in it. The others do not wait for that.
            let (networks, volumes) = (self.networks.clone(), self.volumes.clone());
            let (nested, inputs) = (self.nested.clone(), self.inputs.clone());
            tokio::spawn(async move {
                if let Ok(container) = id.parse::<CoreId>() {
                    nested.end_below(&container).await;
                }
                detach(&networks, &id).await;
                volumes.release(&id).await;
                let _ = inputs.send(input).await;
            });
            return Ok(());
        }
        self.send(input).await
    }

    async fn send(&self, input: Input) -> Result<(), Closed> {
        self.inputs.send(input).await.map_err(|_| Closed)
    }
}
