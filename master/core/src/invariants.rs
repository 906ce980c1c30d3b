//! The invariants of ARCHITECTURE.md, checked wholly. For simulations and tests: it walks over everything.

use tepui_model::{AgentId, Resources};

use crate::master::Master;

impl Master {
    /// Check I1, I2, I4 and that all tables agree with one another.
    ///
    /// # Errors
    /// The first breach found, with the invariant's name.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (at, agent) in self.agents.iter() {
            let id = &agent.id;
            let mut used = Resources::new();
            for (slot, task) in agent.tasks.iter().enumerate() {
                let task = &self.tasks[*task];
                if task.agent != at || task.slot as usize != slot {
                    return Err(format!("tables: agent {id} lists a task of another place"));
                }
                used += &task.resources;
            }
            for executor in agent.executors.values() {
                used += &executor.resources;
            }
            if used != agent.allocated {
                return Err(format!(
                    "I1 no-overcommit: {used} is used on agent {id}, {} accounted for",
                    agent.allocated
                ));
            }
            let mut offered = Resources::new();
            for key in &agent.offers {
                let offer = self
                    .offers
                    .get(key)
                    .ok_or_else(|| format!("I4 offer-once: agent {id} has an offer that ended"))?;
                offered += &offer.resources;
                let foreign = offer
                    .resources
                    .lots()
                    .find(|lot| !lot.kind().is_available_to(&offer.role));
                if foreign.is_some() {
                    return Err(format!(
                        "I7 reservation: {} of agent {id} is offered to role {}",
                        offer.resources, offer.role
                    ));
                }
            }
            if offered != agent.offered {
                return Err(format!(
                    "I1 no-overcommit: {offered} is offered on agent {id}, {} accounted for",
                    agent.offered
                ));
            }
            if self.gone.contains_key(id) {
                return Err(format!("I10 gone: agent {id} is gone, and registered"));
            }
            if !agent.active() && !agent.offers.is_empty() {
                return Err(format!(
                    "I4 offer-once: agent {id} is not there, yet offered"
                ));
            }
            // An agent may come back with less than its tasks use; then only what they use none of is offered.
            used.unallocate();
            offered.unallocate();
            check_shared(id, &agent.total, &used, &offered)?;
            let total = agent.total.non_shared();
            (used, offered) = (used.non_shared(), offered.non_shared());
            let mut left = total.clone();
            let over = !total.contains(&used);
            left.subtract_overlap(&used);
            used += &offered;
            match total.checked_sub(&used) {
                None if over && left.contains(&offered) => {}
                None => {
                    return Err(format!(
                        "I1 no-overcommit: {used} of {} is used or offered on agent {id}",
                        agent.total
                    ));
                }
                Some(free) => {
                    let seen = self.allocation.free(agent);
                    if seen != Some(&free) {
                        return Err(format!(
                            "I1 no-overcommit: {free} is free on agent {id}, the allocator has {seen:?}"
                        ));
                    }
                }
            }
        }
        for (at, framework) in self.frameworks.iter() {
            let id = &framework.id;
            if self.framework_ids.get(id) != Some(&at) || self.completed_frameworks.contains(id) {
                return Err(format!("tables: framework {id} is not where its id says"));
            }
            for (task_id, task) in &framework.tasks {
                let task = &self.tasks[*task];
                if task.framework != at || task.facts.id != *task_id {
                    return Err(format!("tables: framework {id} lists a task of another"));
                }
                if task.state.is_terminal() && !task.resources.is_empty() {
                    return Err(format!(
                        "I2 one-terminal: task {task_id} has ended and still holds {}",
                        task.resources
                    ));
                }
                if framework.unreachable.contains_key(task_id) {
                    return Err(format!(
                        "I2 one-terminal: task {task_id} is both there and out of reach"
                    ));
                }
            }
            if framework.stream().is_none() && !framework.offers.is_empty() {
                return Err(format!(
                    "I4 offer-once: framework {id} is not there, yet has offers"
                ));
            }
        }
        let listed: usize = self
            .frameworks
            .iter()
            .map(|(_, framework)| framework.tasks.len())
            .sum();
        let placed: usize = self.agents.iter().map(|(_, agent)| agent.tasks.len()).sum();
        if listed != self.tasks.len() || placed != self.tasks.len() {
            return Err(format!(
                "tables: {listed} tasks listed, {placed} placed, {} there",
                self.tasks.len()
            ));
        }
        for (key, offer) in &self.offers {
            if !self.agents[offer.agent].offers.contains(key)
                || !self.frameworks[offer.framework].offers.contains(key)
            {
                return Err("I4 offer-once: an offer is not where it should be".to_owned());
            }
        }
        self.operations.check()?;
        for (_, operation) in self.operations.iter() {
            let told = operation.message.agent_id.as_ref();
            let id = &self.agents[operation.agent].id;
            if told.is_none_or(|told| told.value != id.as_str()) {
                return Err(format!(
                    "tables: an operation of another agent is on agent {id}"
                ));
            }
        }
        Ok(())
    }
}

/// A shared volume may be used and offered many times, as long as it is there.
fn check_shared(
    id: &AgentId,
    total: &Resources,
    used: &Resources,
    offered: &Resources,
) -> Result<(), String> {
    for volume in offered.shared().iter() {
        if !total.contains(&volume.clone().into()) {
            return Err(format!(
                "I1 no-overcommit: {volume} is offered, but not on agent {id}: {total} (used: {used})"
            ));
        }
    }
    Ok(())
}
