//! Containers: they start, fail, run, are killed, and live on when their agent does not.

use tepui_agent_core::{ContainerState, Exit, Input, Launch, Limitation, Limited, Volumes};
use tepui_model::{ContainerId, Time};
use tepui_proto::mesos::Resource;

use crate::invariants::Invariant;
use crate::marathon::task_of;
use crate::scenario::Sabotage;
use crate::world::{Happening, Simulation, trace};

const SIGTERM: i32 = 15;

/// A container on its machine.
#[derive(Debug)]
pub(crate) struct Container {
    cpus_milli: u64,
    mem_bytes: u64,
    /// Persistent volumes that it has for itself alone, by name.
    volumes: Vec<String>,
    /// Those that others may have too.
    shared: Vec<String>,
    /// Whose.
    pub(crate) framework: String,
    /// The agent was told to end all of that framework.
    pub(crate) dismissed: bool,
    /// The task that runs in it, and what that does.
    pub(crate) task: Option<String>,
    pub(crate) command: String,
    /// Of Marathon's: from when on it serves.
    pub(crate) serves_at: Option<Time>,
    pub(crate) stubborn: bool,
    out_of_memory: bool,
    pub(crate) state: Stage,
}

/// How far a container is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    Preparing,
    Running,
    Over(ContainerState),
}

impl Container {
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, Stage::Over(_))
    }

    /// Its own volumes, by name.
    pub(crate) fn volumes(&self) -> &[String] {
        &self.volumes
    }
}

/// A persistent volume's name on its machine.
fn name(volume: &Resource) -> String {
    let role = volume
        .reservations
        .last()
        .and_then(|last| last.role.as_deref());
    let disk = volume.disk.as_ref();
    let persistence = disk.and_then(|disk| disk.persistence.as_ref());
    let id = persistence.map_or("", |persistence| persistence.id.as_str());
    format!("{} of {}", id, role.unwrap_or_default())
}

/// The persistent volumes of a launch that are shared, or that are not.
fn volumes(launch: &Launch, shared: bool) -> Vec<String> {
    let resources = launch.task.iter().flat_map(|task| &task.resources);
    resources
        .filter(|it| it.shared.is_some() == shared)
        .filter(|it| {
            it.disk
                .as_ref()
                .is_some_and(|disk| disk.persistence.is_some())
        })
        .map(name)
        .collect()
}

impl Simulation {
    pub(crate) fn launch_container(&mut self, agent: usize, launch: &Launch) {
        trace!(
            self,
            "agent {agent} launches {} for {}", launch.container, launch.executor.executor_id.value
        );
        let (task, command) = task_of(launch);
        let container = Container {
            task,
            command,
            serves_at: None,
            // What is lent is not the machine's: it need not be enough for it.
            cpus_milli: if launch.limits.revocable_cpus {
                0
            } else {
                launch.limits.cpus_milli
            },
            mem_bytes: launch.limits.mem_bytes,
            framework: launch
                .framework
                .id
                .as_ref()
                .map(|id| id.value.clone())
                .unwrap_or_default(),
            volumes: volumes(launch, false),
            shared: volumes(launch, true),
            dismissed: false,
            stubborn: self.random.percent(20),
            out_of_memory: self.random.percent(5),
            state: Stage::Preparing,
        };
        self.check_may_launch(agent);
        let machine = &mut self.machines[agent];
        let rival = machine
            .containers
            .iter()
            // Also of a framework that was torn down: its tasks may be writing still.
            .filter(|(_, known)| known.lives())
            .find(|(_, known)| {
                known
                    .volumes
                    .iter()
                    .any(|it| container.volumes.contains(it))
            })
            .map(|(rival, _)| rival.clone());
        if machine
            .containers
            .insert(launch.container.clone(), container)
            .is_some()
        {
            self.breach(
                Invariant::Converges,
                format!(
                    "agent {agent} launches container {} twice",
                    launch.container
                ),
            );
        }
        if let Some(rival) = rival {
            let what = format!(
                "agent {agent} gives {} a volume that {rival} has",
                launch.container
            );
            self.breach(Invariant::Volume, what);
        }
        let machine = &self.machines[agent];
        let (cpus, mem) = machine
            .containers
            .values()
            // What a framework that was torn down used is offered again while its containers end.
            .filter(|container| container.lives() && !self.torn_down.contains(&container.framework))
            .fold((0, 0), |(cpus, mem), container| {
                (cpus + container.cpus_milli, mem + container.mem_bytes)
            });
        let part = match self.scenario.sabotage {
            Some(Sabotage::ShrinksMachines) => 2,
            _ => 1,
        };
        if cpus > machine.cpus * 1_000 / part || mem > (machine.mem_mib << 20) / part {
            let what = format!(
                "agent {agent} has {} cpus and {} MiB, and its containers {cpus} thousandths and {} MiB",
                machine.cpus,
                machine.mem_mib,
                mem >> 20
            );
            self.breach(Invariant::NoOvercommit, what);
        }
        self.after(
            1,
            300,
            Happening::ContainerRuns {
                agent,
                container: launch.container.clone(),
            },
        );
    }

    /// An agent's shell makes volumes at once, so whatever is launched later finds them, or does not.
    /// What was done before is there, and is not done again. Returns whether it failed.
    pub(crate) fn volumes_made(&mut self, agent: usize, volumes: &Volumes, fails: bool) -> bool {
        let machine = &mut self.machines[agent];
        let fails = fails && !machine.volumes_done.contains(&volumes.operation);
        if !fails {
            machine.volumes_done.insert(volumes.operation.clone());
        }
        for volume in volumes.make.iter().map(name) {
            if fails {
                machine.unmade.insert(volume);
            } else {
                machine.unmade.remove(&volume);
            }
        }
        fails
    }

    /// I1: a volume that somebody uses is not taken away.
    pub(crate) fn check_unused(&mut self, agent: usize, volumes: &Volumes) {
        let used = |volume: &Resource| {
            let name = name(volume);
            let containers = self.machines[agent].containers.values();
            let mut live = containers.filter(|known| known.lives());
            live.any(|known| known.volumes.contains(&name) || known.shared.contains(&name))
        };
        // What grows or shrinks is made anew in the same place.
        let made: Vec<String> = volumes.make.iter().map(name).collect();
        let mut gone = volumes.remove.iter().filter(|it| !made.contains(&name(it)));
        if let Some(volume) = gone.find(|volume| used(volume)) {
            let what = format!("agent {agent} removes {}, which is used", name(volume));
            self.breach(Invariant::NoOvercommit, what);
        }
    }

    pub(crate) fn container_runs(&mut self, agent: usize, id: &ContainerId) {
        let fails = self.random.percent(4);
        let unmade = self.machines[agent].unmade.clone();
        let Some(container) = self.machines[agent]
            .containers
            .get_mut(id)
            .filter(|known| known.state == Stage::Preparing)
        else {
            return;
        };
        let of_marathon = self.marathons.is(&container.framework);
        let lacks = of_marathon && container.volumes.iter().any(|it| unmade.contains(it));
        if fails || lacks {
            let reason = "no such image, or no such volume".to_owned();
            return self.container_over(agent, id, ContainerState::LaunchFailed { reason });
        }
        container.state = Stage::Running;
        trace!(self, "container {id} runs");
        if of_marathon {
            self.nature_takes_its_course(agent, id);
        } else if self.random.percent(80) {
            let status = if self.random.percent(70) { 0 } else { 3 << 8 };
            let container = id.clone();
            self.after(
                1,
                40_000,
                Happening::ContainerEnds {
                    agent,
                    container,
                    status,
                },
            );
        }
        self.agent_step(
            agent,
            Input::Launched {
                container: id.clone(),
                pid: Some(7),
            },
        );
    }

    pub(crate) fn container_ends(&mut self, agent: usize, id: &ContainerId, status: i32) {
        let Some(container) = self.machines[agent]
            .containers
            .get(id)
            .filter(|known| known.lives())
        else {
            return;
        };
        let limitation = (container.out_of_memory && status == 0).then(|| Limitation {
            of: Limited::Memory,
            message: "Memory limit exceeded".to_owned(),
            resources: Vec::new(),
        });
        let state = if container.state == Stage::Preparing {
            if status == SIGTERM {
                return;
            }
            ContainerState::LaunchFailed {
                reason: "destroyed".to_owned(),
            }
        } else {
            ContainerState::Exited(Exit {
                status: Some(status),
                limitation,
            })
        };
        self.container_over(agent, id, state);
    }

    pub(crate) fn container_over(&mut self, agent: usize, id: &ContainerId, state: ContainerState) {
        trace!(self, "container {id} is over: {state:?}");
        let leaves = self.scenario.sabotage == Some(Sabotage::LeavesContainers);
        let left = leaves && self.random.percent(20);
        if let Some(container) = self.machines[agent]
            .containers
            .get_mut(id)
            .filter(|_| !left)
        {
            container.state = Stage::Over(state.clone());
        }
        let container = id.clone();
        match state {
            ContainerState::Exited(exit) => {
                self.agent_step(agent, Input::Exited { container, exit })
            }
            ContainerState::LaunchFailed { reason } => {
                self.agent_step(agent, Input::LaunchFailed { container, reason })
            }
            ContainerState::Running { .. } | ContainerState::Lost => {}
        }
    }
}
