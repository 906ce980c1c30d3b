//! What agents tell about executors, and about what they have.

use std::sync::Arc;

use tepui_model::{ExecutorId, Resources};
use tepui_proto::convert::resources;
use tepui_proto::mesos::scheduler::event;
use tepui_proto::mesos::v1::Resource;
use tepui_proto::tepui::v1::{
    ExecutorMessage, ExecutorTerminated, Oversubscribed, ResourcesChanged,
};

use crate::allocation::agent_options;
use crate::change::Change;
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, FrameworkIx};

impl Master {
    pub(super) fn executor_message(
        &mut self,
        agent: AgentIx,
        message: ExecutorMessage,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.executor_to_framework += 1;
        let ExecutorMessage {
            framework_id,
            executor_id,
            data,
        } = message;
        let Some(framework) = self.framework_ids.get(framework_id.value.as_str()).copied() else {
            self.counters.invalid_executor_to_framework_messages += 1;
            return;
        };
        self.counters.valid_executor_to_framework_messages += 1;
        let agent_id = events::agent_id(&self.agents[agent].id);
        self.event(
            framework,
            events::message(event::Message {
                agent_id,
                executor_id,
                data,
            }),
            out,
        );
    }

    /// Its tasks end by updates of their own.
    pub(super) fn executor_terminated(
        &mut self,
        agent: AgentIx,
        terminated: &ExecutorTerminated,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.exited_executor += 1;
        let framework = self
            .framework_ids
            .get(terminated.framework_id.value.as_str())
            .copied();
        let (Some(framework), Ok(executor)) =
            (framework, ExecutorId::new(&terminated.executor_id.value))
        else {
            self.counters.dropped_messages += 1;
            return;
        };
        if self.remove_executor(agent, framework, &executor, out) {
            let failure =
                events::executor_terminated(&self.agents[agent].id, &executor, terminated.status);
            self.event(framework, failure, out);
        }
    }

    /// Whether it was there.
    pub(crate) fn remove_executor(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        id: &ExecutorId,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(executor) = self.agents[agent]
            .executors
            .swap_remove(&(framework, id.clone()))
        else {
            return false;
        };
        self.free(agent, framework, &executor.role, &executor.resources);
        out.push(Output::Change(Change::ExecutorRemoved {
            framework: self.frameworks[framework].id.clone(),
            agent: self.agents[agent].id.clone(),
            executor: id.clone(),
        }));
        true
    }

    pub(crate) fn remove_executors_of(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        out: &mut Vec<Output>,
    ) {
        let own: Vec<ExecutorId> = self.agents[agent]
            .executors
            .keys()
            .filter(|(owner, _)| *owner == framework)
            .map(|(_, id)| id.clone())
            .collect();
        for id in own {
            self.remove_executor(agent, framework, &id, out);
        }
    }

    /// Offers that were made of the old total end; what is used stays.
    pub(super) fn resources_changed(
        &mut self,
        agent: AgentIx,
        changed: &ResourcesChanged,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.update_slave += 1;
        let Some(mut total) = self.told_resources(agent, &changed.total, out) else {
            return;
        };
        total = total.non_revocable();
        total += &self.agents[agent].total.revocable();
        self.agents[agent]
            .resource_version
            .clone_from(&changed.resource_version);
        if total == *self.agents[agent].total {
            return;
        }
        self.rescind_offers_on(agent, out);
        self.set_total(agent, total);
    }

    /// What may be used on an agent beyond what it has is another now. Offers with something of it end, others stand; tasks that use more
    /// of it than there is run on until the agent takes it back.
    pub(super) fn oversubscribed(
        &mut self,
        agent: AgentIx,
        told: &Oversubscribed,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.update_slave += 1;
        let Some(resources) = self.told_resources(agent, &told.resources, out) else {
            return;
        };
        let mut total = self.agents[agent].total.non_revocable();
        total += &resources.revocable();
        if total == *self.agents[agent].total {
            return;
        }
        self.rescind_revocable_offers_on(agent, out);
        self.set_total(agent, total);
    }

    /// What an agent says it has; `None`, and a word in the log, if that makes no sense.
    fn told_resources(
        &self,
        agent: AgentIx,
        told: &[Resource],
        out: &mut Vec<Output>,
    ) -> Option<Resources> {
        match resources::from_wire(told) {
            Ok(mut total) => {
                total.unallocate();
                Some(total)
            }
            Err(error) => {
                let id = &self.agents[agent].id;
                log(
                    LogLevel::Warn,
                    format!("agent {id} told of resources that make no sense: {error}"),
                    out,
                );
                None
            }
        }
    }

    /// All that an agent has is this now.
    pub(crate) fn set_total(&mut self, agent: AgentIx, total: Resources) {
        let known = &mut self.agents[agent];
        known.total = Arc::new(total);
        let options = agent_options(
            &known.total,
            &known.info,
            known.multi_role,
            &self.config.master,
        );
        self.allocation_agent_changed(agent, &options);
        self.touch_agent(agent);
    }
}
