//! UPDATE_MAINTENANCE_SCHEDULE, START_MAINTENANCE and STOP_MAINTENANCE: checked as a whole, stored as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::mesos::maintenance::{ClusterStatus, Schedule, cluster_status};
use tepui_proto::mesos::{MachineId, Unavailability};
use tepui_proto::tepui::v1::{Shutdown, master_message};

use super::{Machine, machines_of};
use crate::change::{AgentRemoval, Change, MaintenanceSnapshot};
use crate::master::{Master, log};
use crate::operator::refused;
use crate::output::{LogLevel, Output, Reply};
use crate::policy::PolicyChange;
use crate::registry::Maintenance;
use crate::state::AgentIx;

/// How large a schedule may be: its entry in the store has to hold it.
const MOST_BYTES: usize = 8 << 20;
/// What a machine costs beside its names.
const MACHINE_BYTES: usize = 32;

impl Master {
    /// A schedule replaces all windows; machines that are down stay down, and may not be left out.
    pub(crate) fn decide_schedule(&self, schedule: Schedule) -> Result<PolicyChange, Reply> {
        let wrong = |why| refused(400, why);
        check_schedule(&schedule).map_err(wrong)?;
        let next = Maintenance {
            down: self.maintenance.kept.down.clone(),
            schedule,
        };
        let machines = machines_of(&next);
        let left_out = next
            .down
            .iter()
            .find(|id| !machines.contains_key(&Machine::of(id)));
        if let Some(id) = left_out {
            return Err(refused(
                400,
                format!(
                    "Machine {} is down and cannot be removed from the schedule",
                    name(id)
                ),
            ));
        }
        Ok(PolicyChange::Maintenance(Box::new(next)))
    }

    /// All of the machines have to be draining.
    pub(crate) fn decide_down(&self, machines: &[MachineId]) -> Result<PolicyChange, Reply> {
        let machines = self.listed_machines(machines, false)?;
        let mut next = self.maintenance.kept.clone();
        next.down.extend(machines.into_values());
        Ok(PolicyChange::Maintenance(Box::new(next)))
    }

    /// All of the machines have to be down; they leave the schedule.
    pub(crate) fn decide_up(&self, machines: &[MachineId]) -> Result<PolicyChange, Reply> {
        let machines = self.listed_machines(machines, true)?;
        let mut next = self.maintenance.kept.clone();
        let stays = |id: &MachineId| !machines.contains_key(&Machine::of(id));
        next.down.retain(stays);
        for window in &mut next.schedule.windows {
            window.machine_ids.retain(stays);
        }
        next.schedule
            .windows
            .retain(|window| !window.machine_ids.is_empty());
        Ok(PolicyChange::Maintenance(Box::new(next)))
    }

    fn listed_machines(
        &self,
        list: &[MachineId],
        down: bool,
    ) -> Result<BTreeMap<Machine, MachineId>, Reply> {
        let wrong = |why| refused(400, why);
        if list.is_empty() {
            return Err(wrong("The list of machines is empty".to_owned()));
        }
        let mut machines = BTreeMap::new();
        for id in list {
            check_machine(id).map_err(wrong)?;
            let machine = Machine::of(id);
            let why = match self.maintenance.machines.get(&machine) {
                None => "is not part of a maintenance schedule",
                Some(planned) if planned.down && !down => "is down already",
                Some(planned) if !planned.down && down => "is not down",
                Some(planned) => {
                    if machines.insert(machine, planned.id.clone()).is_none() {
                        continue;
                    }
                    "appears more than once"
                }
            };
            return Err(wrong(format!("Machine {} {why}", name(id))));
        }
        Ok(machines)
    }

    /// The registry knows: agents learn of their windows, those of machines that went down are shut down.
    pub(crate) fn maintenance_stored(&mut self, next: Maintenance, out: &mut Vec<Output>) {
        let book = &mut self.maintenance;
        book.machines = machines_of(&next);
        book.kept = next;
        book.changed = true;
        for agent in self.agents.handles() {
            let planned = self.maintenance.machines.get(&self.machine(agent));
            let down = planned.is_some_and(|planned| planned.down);
            let window = planned.map(|planned| planned.unavailability);
            if down {
                self.shut_down_agent(agent, out);
            } else if self.agents[agent].unavailability != window {
                self.agents[agent].unavailability = window;
                self.rescind_offers_on(agent, out);
                self.end_talks_on(agent, out);
                self.touch_agent(agent);
            }
        }
    }

    /// Its machine is down: it stops its tasks and leaves. It keeps its id for a later return.
    fn shut_down_agent(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let id = self.agents[agent].id.clone();
        log(
            LogLevel::Info,
            format!("agent {id} is shut down: its machine is down for maintenance"),
            out,
        );
        let reason = "Machine is down for maintenance".to_owned();
        self.to_agent(
            agent,
            master_message::Message::Shutdown(Shutdown { reason }),
            out,
        );
        let why = "its machine is down for maintenance";
        self.start_removal(agent, AgentRemoval::Maintenance, why, out);
    }

    /// Tell the view, if there is something new.
    pub(crate) fn show_maintenance(&mut self, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.maintenance.changed) {
            return;
        }
        let mut statuses: BTreeMap<Machine, Vec<_>> = BTreeMap::new();
        for (agent, talks) in &self.maintenance.talks {
            let answers = talks.values().filter_map(|talk| talk.answer.clone());
            statuses
                .entry(self.machine(*agent))
                .or_default()
                .extend(answers);
        }
        let mut status = ClusterStatus::default();
        for (machine, planned) in &self.maintenance.machines {
            if planned.down {
                status.down_machines.push(planned.id.clone());
                continue;
            }
            status
                .draining_machines
                .push(cluster_status::DrainingMachine {
                    id: planned.id.clone(),
                    statuses: statuses.remove(machine).unwrap_or_default(),
                });
        }
        let schedule = self.maintenance.kept.schedule.clone();
        out.push(Output::Change(Change::MaintenanceChanged(Arc::new(
            MaintenanceSnapshot { schedule, status },
        ))));
    }
}

fn name(id: &MachineId) -> String {
    format!("'{}' ({})", id.hostname(), id.ip())
}

fn check_schedule(schedule: &Schedule) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err("The list of machines in a maintenance window is empty".to_owned());
        }
        check_unavailability(&window.unavailability)?;
        for id in &window.machine_ids {
            check_machine(id)?;
            bytes += MACHINE_BYTES + 2 * (id.hostname().len() + id.ip().len());
            if !seen.insert(Machine::of(id)) {
                return Err(format!(
                    "Machine {} appears more than once in the schedule",
                    name(id)
                ));
            }
        }
    }
    if bytes > MOST_BYTES {
        return Err(format!(
            "The schedule has {} machines, more than can be stored",
            seen.len()
        ));
    }
    Ok(())
}

fn check_unavailability(window: &Unavailability) -> Result<(), String> {
    match window.duration {
        Some(duration) if duration.nanoseconds < 0 => {
            Err("Unavailability 'duration' is negative".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_machine(id: &MachineId) -> Result<(), String> {
    let (hostname, ip) = (id.hostname(), id.ip());
    if hostname.is_empty() && ip.is_empty() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
    }
    if !ip.is_empty() && ip.parse::<core::net::Ipv4Addr>().is_err() {
        return Err(format!("'{ip}' is no IPv4 address"));
    }
    Ok(())
}
