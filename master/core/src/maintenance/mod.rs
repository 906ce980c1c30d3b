//! Maintenance: windows in which machines are not available.
//!
//! A machine is a pair of host name and IP address, and an agent's machine has both equal: the host name that the agent registered
//! (in any case of letters), and the address from which its stream comes, which is also the one in its `pid` (where the shell does
//! not know an address, the host name). UP -(schedule)-> DRAINING -(START_MAINTENANCE)-> DOWN -(STOP_MAINTENANCE)-> UP.
//!
//! `schedule` checks what operators ask for and puts it into force; `inverse` asks frameworks to leave and remembers their answers.
//! Nobody has to obey: offers of draining machines go on, with the window in them.

mod inverse;
mod schedule;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use tepui_model::{AgentId, Time};
use tepui_proto::mesos::{self, Unavailability};

use crate::change::OfferKey;
use crate::input::LinkKey;
use crate::links::LinkState;
use crate::master::Master;
use crate::registry::Maintenance;
use crate::state::{AgentIx, FrameworkIx};

use inverse::{Asked, Talk};

/// A machine's name, comparable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Machine {
    hostname: String,
    ip: String,
}

impl Machine {
    fn of(id: &mesos::MachineId) -> Self {
        Self {
            hostname: id.hostname().to_ascii_lowercase(),
            ip: id.ip().to_owned(),
        }
    }

    /// An agent's machine.
    fn of_agent(hostname: &str, peer: &str) -> Self {
        let ip = peer.parse::<SocketAddr>().map_or_else(
            |_| hostname.to_owned(),
            |peer| peer.ip().to_canonical().to_string(),
        );
        Self {
            hostname: hostname.to_ascii_lowercase(),
            ip,
        }
    }
}

/// A machine of the schedule.
#[derive(Debug)]
struct Planned {
    id: mesos::MachineId,
    unavailability: Unavailability,
    down: bool,
}

/// What is in force.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceBook {
    kept: Maintenance,
    machines: BTreeMap<Machine, Planned>,
    asked: BTreeMap<OfferKey, Asked>,
    talks: BTreeMap<AgentIx, BTreeMap<FrameworkIx, Talk>>,
    /// Agents to look at again.
    due: BTreeSet<(Time, AgentId)>,
    /// To be told to the view at the next flush.
    changed: bool,
}

impl MaintenanceBook {
    pub(crate) fn new(kept: Maintenance) -> Self {
        let changed = kept != Maintenance::default();
        Self {
            machines: machines_of(&kept),
            kept,
            changed,
            ..Self::default()
        }
    }
}

fn machines_of(kept: &Maintenance) -> BTreeMap<Machine, Planned> {
    let down: BTreeSet<Machine> = kept.down.iter().map(Machine::of).collect();
    let mut machines = BTreeMap::new();
    for window in &kept.schedule.windows {
        for id in &window.machine_ids {
            let machine = Machine::of(id);
            let planned = Planned {
                id: id.clone(),
                unavailability: window.unavailability,
                down: down.contains(&machine),
            };
            machines.insert(machine, planned);
        }
    }
    machines
}

impl Master {
    fn machine(&self, agent: AgentIx) -> Machine {
        let agent = &self.agents[agent];
        Machine::of_agent(&agent.info.hostname, &agent.peer)
    }

    /// An agent's window, when it has just (re-)registered.
    pub(crate) fn note_unavailability(&mut self, agent: AgentIx) {
        let planned = self.maintenance.machines.get(&self.machine(agent));
        self.agents[agent].unavailability = planned.map(|planned| planned.unavailability);
    }

    /// Whether the agent that registers on this link may not.
    pub(crate) fn machine_is_down(&self, link: LinkKey) -> bool {
        if self.maintenance.machines.is_empty() {
            return false;
        }
        let Some(link) = self.links.get(&link) else {
            return false;
        };
        let LinkState::Waiting(register) = &link.state else {
            return false;
        };
        let machine = Machine::of_agent(&register.agent.hostname, &link.peer);
        self.maintenance
            .machines
            .get(&machine)
            .is_some_and(|planned| planned.down)
    }

    /// Whether the agent's machine is in the schedule. Of an agent that is not here only the host name is known.
    pub(crate) fn is_in_schedule(&self, id: &AgentId) -> bool {
        if let Some(agent) = self.agent_ids.get(id) {
            return self
                .maintenance
                .machines
                .contains_key(&self.machine(*agent));
        }
        let recovered = self.recovered.get(id);
        let hostname = recovered.map(|agent| agent.info.hostname.as_str());
        let unreachable = self.unreachable.get(id);
        let hostname = hostname.or(unreachable.map(|agent| &*agent.hostname));
        hostname.is_some_and(|hostname| {
            let hostname = hostname.to_ascii_lowercase();
            let mut machines = self.maintenance.machines.keys();
            !hostname.is_empty() && machines.any(|machine| machine.hostname == hostname)
        })
    }
}
