//! What containers of Marathon's do, which is in their commands; and what probes of them find.

use tepui_agent_core::{Input, Launch, Probe, ProbeResult};
use tepui_model::{ContainerId, Time};
use tepui_proto::mesos::{CheckStatusInfo, check_status_info};

use crate::containers::Stage;
use crate::world::{Happening, Simulation, trace};

/// What a version of an app is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Serves as soon as it runs.
    Well,
    /// Serves after a while.
    Slow,
    /// Runs, and never serves.
    Sick,
    /// Ends soon.
    Crashes,
}

impl Nature {
    pub(super) const ALL: [Self; 4] = [Self::Well, Self::Slow, Self::Sick, Self::Crashes];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Slow => "slow",
            Self::Sick => "sick",
            Self::Crashes => "crashes",
        }
    }

    fn of(command: &str) -> Self {
        let named = |nature: &Self| command.ends_with(nature.name());
        Self::ALL.into_iter().find(named).unwrap_or(Self::Well)
    }
}

/// The task of a container, and its command.
pub(crate) fn task_of(launch: &Launch) -> (Option<String>, String) {
    let task = launch.task.as_ref();
    let command = task.and_then(|task| task.command.as_ref()?.value.clone());
    let id = task.map(|task| task.task_id.value.clone());
    (id, command.unwrap_or_default())
}

impl Simulation {
    /// A container of Marathon's runs now: what will become of it.
    pub(crate) fn nature_takes_its_course(&mut self, agent: usize, id: &ContainerId) {
        let Some(container) = self.machines[agent].containers.get(id) else {
            return;
        };
        let nature = Nature::of(&container.command);
        let serves_at = match nature {
            Nature::Well => Some(self.now),
            Nature::Slow => Some(self.now + self.random.millis(500, 15_000)),
            Nature::Sick | Nature::Crashes => None,
        };
        let ends = match nature {
            Nature::Crashes => Some((1, 3_000)),
            _ if self.trouble() && self.random.percent(20) => Some((1, 60_000)),
            _ => None,
        };
        if let Some(container) = self.machines[agent].containers.get_mut(id) {
            container.serves_at = serves_at;
        }
        if let Some((from, to)) = ends {
            let status = if self.random.percent(30) { 0 } else { 3 << 8 };
            let container = id.clone();
            let end = Happening::ContainerEnds {
                agent,
                container,
                status,
            };
            self.after(from, to, end);
        }
    }

    fn serves(&self, agent: usize, container: &ContainerId, now: Time) -> bool {
        let container = self.machines[agent].containers.get(container);
        container.is_some_and(|one| {
            one.state == Stage::Running && one.serves_at.is_some_and(|at| at <= now)
        })
    }

    /// Whether a task runs somewhere and serves.
    pub(super) fn task_serves(&self, task: &str) -> bool {
        (0..self.machines.len()).any(|agent| {
            let containers = &self.machines[agent].containers;
            let own = containers
                .iter()
                .find(|(_, one)| one.task.as_deref() == Some(task) && one.lives());
            own.is_some_and(|(id, _)| self.serves(agent, id, self.now))
        })
    }

    /// An agent probes.
    pub(crate) fn agent_probes(&mut self, agent: usize, probe: &Probe) {
        let life = self.machines[agent].life;
        let (number, container) = (probe.probe, probe.container.clone());
        let probed = Happening::Probed {
            agent,
            life,
            probe: number,
            container,
        };
        self.after(1, 50, probed);
    }

    pub(crate) fn probed(&mut self, agent: usize, life: u32, probe: u64, container: &ContainerId) {
        if self.machines[agent].life != life {
            return;
        }
        let well = self.serves(agent, container, self.now);
        trace!(self, "agent {agent} finds {container} healthy: {well}");
        let result = if self.trouble() && self.random.percent(3) {
            ProbeResult::Failed("it takes too long".to_owned())
        } else {
            ProbeResult::Found(CheckStatusInfo {
                command: Some(check_status_info::Command {
                    exit_code: Some(i32::from(!well)),
                }),
                ..CheckStatusInfo::default()
            })
        };
        self.agent_step(agent, Input::Probed { probe, result });
    }
}
