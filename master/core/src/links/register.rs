//! Registration: gather it, decide whether the agent may come in, have the registry store it, and answer.

use std::sync::Arc;

use tepui_model::{AgentId, TaskState};
use tepui_proto::mesos::AgentInfo;
use tepui_proto::tepui::v1::{
    Refused, Register, RegisterMore, Registered, RunningTask, Shutdown, master_message,
};

use super::LinkState;
use crate::change::{AgentRemoval, Change};
use crate::events;
use crate::input::{LinkKey, StoreError};
use crate::master::{Master, Timer, log, to_link};
use crate::output::{LogLevel, Output};
use crate::registry::{AdmittedAgent, RegistryOperation, UnreachableAgent};
use crate::state::{Orders, Transition};
use crate::stores::Waiting;
use crate::validate::agent::{check_agent, check_domain};

/// The protocol of `agent.proto` that this master speaks.
const PROTOCOL: u32 = 1;

impl Master {
    pub(super) fn register(
        &mut self,
        link: LinkKey,
        register: Box<Register>,
        out: &mut Vec<Output>,
    ) {
        if register.agent.id.is_some() {
            self.counters.messages.reregister_slave += 1;
        } else {
            self.counters.messages.register_slave += 1;
        }
        self.gathered(link, register, out);
    }

    pub(super) fn register_more(
        &mut self,
        link: LinkKey,
        more: RegisterMore,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let LinkState::Registering(mut register) =
            std::mem::replace(&mut known.state, LinkState::Silent)
        else {
            return;
        };
        register.frameworks.extend(more.frameworks);
        register.executors.extend(more.executors);
        register.tasks.extend(more.tasks);
        register.operations.extend(more.operations);
        register.more = more.more;
        self.gathered(link, register, out);
    }

    fn gathered(&mut self, link: LinkKey, register: Box<Register>, out: &mut Vec<Output>) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let sizes = [
            register.tasks.len(),
            register.executors.len(),
            register.frameworks.len(),
            register.operations.len(),
        ];
        if sizes
            .iter()
            .any(|size| *size > self.config.max_tasks_per_agent)
        {
            let reason = format!(
                "This master takes at most {} tasks of one agent",
                self.config.max_tasks_per_agent
            );
            return self.refuse(link, reason, false, out);
        }
        if register.more.unwrap_or(false) {
            known.state = LinkState::Registering(register);
            return;
        }
        known.state = LinkState::Waiting(register);
        self.admit(link, out);
    }

    /// The registration of this link is complete: decide.
    fn admit(&mut self, link: LinkKey, out: &mut Vec<Output>) {
        let Some(LinkState::Waiting(register)) = self.links.get(&link).map(|link| &link.state)
        else {
            return;
        };
        if register.protocol != PROTOCOL {
            let reason = format!(
                "Protocol {} is not understood, this master speaks {PROTOCOL}",
                register.protocol
            );
            return self.refuse(link, reason, false, out);
        }
        if register
            .epoch_seen
            .is_some_and(|seen| seen > self.config.epoch)
        {
            // I6: it has obeyed a later leader. There is nothing to say to it.
            return self.close_link(link, "it has obeyed a later leader".to_owned(), out);
        }
        let id = match check_agent(register) {
            Ok(id) => id,
            Err(reason) => return self.refuse(link, reason, false, out),
        };
        if let Err(reason) = check_domain(&register.agent, &self.config) {
            return self.refuse(link, reason, false, out);
        }
        if self.machine_is_down(link) {
            return self.send_away(link, out);
        }
        let Some(id) = id else {
            return self.admit_new(link, out);
        };
        if self.gone.contains_key(&id) {
            let reason = "An operator has marked this agent gone".to_owned();
            return self.refuse(link, reason, true, out);
        }
        if self.in_transition(&id) {
            self.parked.push(link);
            return;
        }
        let known = match self.agent_ids.get(&id) {
            Some(agent) => Some((
                self.agents[*agent].info.as_ref(),
                self.agents[*agent].orders.clone(),
            )),
            None => self
                .recovered
                .get(&id)
                .map(|agent| (&agent.info, agent.orders())),
        };
        let Some((stored, orders)) = known else {
            // It was out of reach; what was ordered about it meanwhile holds.
            let orders = self.unreachable.get(&id).map(UnreachableAgent::orders);
            let orders = self.not_drained_yet(register, orders.unwrap_or_default());
            return self.store_admission(link, id, orders, out);
        };
        if stored.hostname != register.agent.hostname {
            let reason = format!(
                "Agent {id} is registered on host {}, not {}",
                stored.hostname, register.agent.hostname
            );
            return self.refuse(link, reason, true, out);
        }
        let now = self.not_drained_yet(register, orders.clone());
        if *stored == register.agent && now == orders {
            self.let_in(link, &id, orders, out);
        } else {
            self.store_admission(link, id, now, out);
        }
    }

    /// An agent on which tasks run has not drained: an earlier leader may have removed their framework, and the agent has not heard of it.
    fn not_drained_yet(&self, register: &Register, mut orders: Orders) -> Orders {
        let runs = |running: &RunningTask| {
            let task = &running.task;
            !self
                .completed_frameworks
                .contains(task.framework_id.value.as_str())
                && TaskState::from_number(task.state).is_some_and(|state| !state.is_terminal())
        };
        if let Some(drain) = orders.drain.as_mut().filter(|drain| drain.drained)
            && register.tasks.iter().any(runs)
        {
            drain.drained = false;
        }
        orders
    }

    fn admit_new(&mut self, link: LinkKey, out: &mut Vec<Output>) {
        if self.agents.len() + self.recovered.len() >= self.config.max_agents {
            let reason = format!(
                "This master serves at most {} agents",
                self.config.max_agents
            );
            return self.refuse(link, reason, false, out);
        }
        self.replace_agent(link, out);
        let id = AgentId::numbered(&self.id, self.next_agent);
        self.next_agent += 1;
        self.store_admission(link, id, Orders::default(), out);
    }

    fn store_admission(
        &mut self,
        link: LinkKey,
        id: AgentId,
        orders: Orders,
        out: &mut Vec<Output>,
    ) {
        let Some(LinkState::Waiting(register)) = self.links.get(&link).map(|link| &link.state)
        else {
            return;
        };
        let is_new = register.agent.id.is_none();
        let info = AgentInfo {
            id: Some(events::agent_id(&id)),
            ..register.agent.clone()
        };
        let admitted = Box::new(AdmittedAgent::new(info, orders));
        self.begin(&id, Transition::Admitting);
        let operation = if is_new {
            RegistryOperation::AdmitNew(admitted.clone())
        } else {
            RegistryOperation::Admit(admitted.clone())
        };
        self.store(
            operation,
            Waiting::Admission {
                link,
                id,
                admitted,
                is_new,
            },
            out,
        );
    }

    /// The registry has answered.
    pub(crate) fn admitted(
        &mut self,
        link: LinkKey,
        id: AgentId,
        admitted: AdmittedAgent,
        is_new: bool,
        result: Result<(), StoreError>,
        out: &mut Vec<Output>,
    ) {
        if let Err(error) = result {
            return self.refuse(
                link,
                format!("The registration could not be stored, try again: {error}"),
                false,
                out,
            );
        }
        self.unreachable.remove(&id);
        if self.links.contains_key(&link) {
            return self.let_in(link, &id, admitted.orders(), out);
        }
        // Its link broke meanwhile.
        if is_new {
            // It never heard of its id, and will get another.
            self.begin(&id, Transition::Removing);
            self.store(
                RegistryOperation::Remove { agent: id.clone() },
                Waiting::Removal {
                    id,
                    cause: AgentRemoval::Unregistered,
                },
                out,
            );
        } else if !self.agent_ids.contains_key(&id) {
            // It has the usual time to return.
            out.push(Output::Change(Change::AgentRecovered(Arc::new(
                admitted.info.clone(),
            ))));
            if self.recovered.is_empty() {
                self.timers.set(
                    Timer::Recovery,
                    self.now + self.config.agent_reregister_timeout,
                );
            }
            self.recovered.insert(id, admitted);
        }
    }

    /// Make the link the agent's stream, and its truth the master's.
    fn let_in(&mut self, link: LinkKey, id: &AgentId, orders: Orders, out: &mut Vec<Output>) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let peer = Arc::clone(&known.peer);
        let LinkState::Waiting(register) = std::mem::replace(&mut known.state, LinkState::Silent)
        else {
            return;
        };
        out.push(to_link(
            link,
            master_message::Message::Registered(Box::new(Registered {
                protocol: PROTOCOL,
                agent_id: events::agent_id(id),
                ping_timeout_ms: u64::try_from(self.config.agent_timeout().as_millis())
                    .unwrap_or(u64::MAX),
                master: Some(self.config.master.clone()),
            })),
        ));
        let agent = self.merge(link, peer, id, orders, *register, out);
        if let Some(link) = self.links.get_mut(&link) {
            link.state = LinkState::Live(agent);
        }
        self.start_pings(agent, out);
        self.go_on_draining(agent, out);
    }

    /// Registrations that waited for a change of this agent.
    pub(crate) fn unpark(&mut self, id: &AgentId, out: &mut Vec<Output>) {
        let same = |link: &LinkKey| match self.links.get(link).map(|link| &link.state) {
            Some(LinkState::Waiting(register)) => register
                .agent
                .id
                .as_ref()
                .is_some_and(|own| own.value == id.as_str()),
            // Broken meanwhile: decided at once, by doing nothing.
            _ => true,
        };
        let (ready, parked): (Vec<LinkKey>, Vec<LinkKey>) =
            self.parked.iter().partition(|link| same(link));
        self.parked = parked;
        // The newest stream of an agent counts.
        let newest = ready.last().copied();
        for link in ready {
            if Some(link) == newest {
                self.admit(link, out);
            } else {
                self.close_link(link, "a newer stream of its agent has come".to_owned(), out);
            }
        }
    }

    /// Its machine is down: it is told to end what it has and to leave, as those that were here when the machine went down. It keeps its
    /// id, and is let in once the machine is up and somebody starts it again.
    fn send_away(&mut self, link: LinkKey, out: &mut Vec<Output>) {
        let reason = "Machine is down for maintenance".to_owned();
        let line =
            "an agent that registers is told to shut down: its machine is down for maintenance";
        log(LogLevel::Info, line.to_owned(), out);
        let shutdown = master_message::Message::Shutdown(Shutdown { reason });
        out.push(to_link(link, shutdown));
        let why = "its machine is down for maintenance";
        self.close_link(link, why.to_owned(), out);
    }

    fn refuse(
        &mut self,
        link: LinkKey,
        reason: impl Into<String>,
        permanent: bool,
        out: &mut Vec<Output>,
    ) {
        let reason = reason.into();
        if self.links.contains_key(&link) {
            log(
                LogLevel::Warn,
                format!("an agent was refused: {reason}"),
                out,
            );
            out.push(to_link(
                link,
                master_message::Message::Refused(Refused {
                    reason: reason.clone(),
                    permanent,
                }),
            ));
            self.close_link(link, format!("it was refused: {reason}"), out);
        }
    }
}
