//! SUBSCRIBE: a framework's first, a return, a take-over by a newer instance, or a return to a new leader.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_model::{FrameworkId, Role};
use tepui_proto::mesos::FrameworkInfo;
use tepui_proto::mesos::scheduler::Call;
use tepui_proto::mesos::scheduler::call::{Subscribe, Type};
use tepui_proto::tepui::v1::{self, master_message};

use super::{Refusal, check_principal};
use crate::change::Change;
use crate::counters::FrameworkCounters;
use crate::events;
use crate::input::{ReplyToken, StreamKey};
use crate::master::{Master, Timer, reply};
use crate::output::{Output, Reply};
use crate::state::{AgentIx, Capabilities, Connection, Framework, FrameworkIx, IndexMap};
use crate::validate::constraints::Constraints;
use crate::validate::framework::{
    check_constraints, check_framework, framework_roles, min_allocatable, suppressed_roles,
};

/// Until the allocator has given one.
const NO_HANDLE: (u32, u32) = (u32::MAX, u32::MAX);

/// What SUBSCRIBE and UPDATE_FRAMEWORK set as a whole.
pub(crate) struct Wishes {
    pub(crate) info: FrameworkInfo,
    pub(crate) roles: Vec<Role>,
    pub(crate) suppressed: BTreeSet<Role>,
    pub(crate) constraints: Option<Arc<Constraints>>,
}

impl Master {
    pub(crate) fn subscribe(
        &mut self,
        stream: StreamKey,
        http_stream_id: Option<Arc<str>>,
        call: Call,
        principal: Option<&str>,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        let (subscribe, id) = match self.check_subscribe(stream, call, principal) {
            Ok(checked) => checked,
            Err(refusal) => return reply(token, refusal.into(), out),
        };
        reply(token, Reply::Ok, out);
        match self.check_wishes(subscribe, id.as_deref(), principal) {
            Ok((wishes, id)) => {
                let connection = Connection::Connected {
                    stream,
                    http_stream_id,
                };
                self.subscribed(stream, connection, wishes, id, out);
            }
            Err(message) => {
                out.push(Output::Event {
                    stream,
                    event: Box::new(events::error(message)),
                });
                out.push(Output::CloseStream {
                    stream,
                    reason: "the subscription is invalid",
                });
            }
        }
    }

    /// What is answered before the stream opens. Returns the call's framework id, if it has one.
    fn check_subscribe(
        &self,
        stream: StreamKey,
        call: Call,
        principal: Option<&str>,
    ) -> Result<(Subscribe, Option<String>), Refusal> {
        if call.r#type != Some(Type::Subscribe as i32) {
            return Err(Refusal::invalid_call("Expecting a SUBSCRIBE call"));
        }
        let subscribe = *call
            .subscribe
            .ok_or_else(|| Refusal::missing("subscribe"))?;
        if self.streams.contains_key(&stream) {
            return Err(Refusal::bad_request("This stream has subscribed already"));
        }
        let outer = call.framework_id.map(|id| id.value).unwrap_or_default();
        let inner = subscribe
            .framework_info
            .id
            .as_ref()
            .map(|id| id.value.as_str())
            .unwrap_or_default();
        if outer != inner {
            return Err(Refusal::invalid_call(
                "'framework_id' differs from 'subscribe.framework_info.id'",
            ));
        }
        check_principal(principal, subscribe.framework_info.principal.as_deref())?;
        Ok((subscribe, (!outer.is_empty()).then_some(outer)))
    }

    /// What is answered by an ERROR event: everything about the framework's description, and whether its id may return.
    fn check_wishes(
        &self,
        subscribe: Subscribe,
        id: Option<&str>,
        principal: Option<&str>,
    ) -> Result<(Wishes, Option<FrameworkId>), String> {
        let Subscribe {
            framework_info: mut info,
            suppressed_roles: suppressed,
            offer_constraints: constraints,
        } = subscribe;
        check_framework(&info, &self.config)?;
        let roles = framework_roles(&info, &self.config)?;
        let suppressed = suppressed_roles(&suppressed, &roles)?;
        let constraints = check_constraints(constraints, &roles, &self.config)?;
        let id = match id {
            Some(id) => Some(
                FrameworkId::new(id)
                    .map_err(|error| format!("Framework ID is invalid: {error}"))?,
            ),
            None => None,
        };
        let known = id.as_ref().and_then(|id| self.framework_ids.get(id));
        if id
            .as_ref()
            .is_some_and(|id| self.completed_frameworks.contains(id))
        {
            return Err("Framework has been removed".to_owned());
        }
        info.principal = info.principal.or_else(|| principal.map(ToOwned::to_owned));
        match known.map(|known| &self.frameworks[*known]) {
            Some(known) if !known.is_bare() && known.info.principal != info.principal => {
                return Err("Changing framework's principal is not allowed".to_owned());
            }
            None if self.frameworks.len() >= self.config.max_frameworks => {
                return Err(format!(
                    "This master serves at most {} frameworks",
                    self.config.max_frameworks
                ));
            }
            _ => {}
        }
        Ok((
            Wishes {
                info,
                roles,
                suppressed,
                constraints,
            },
            id,
        ))
    }

    fn subscribed(
        &mut self,
        stream: StreamKey,
        connection: Connection,
        wishes: Wishes,
        id: Option<FrameworkId>,
        out: &mut Vec<Output>,
    ) {
        let known = id
            .as_ref()
            .and_then(|id| self.framework_ids.get(id).copied());
        let framework = if let Some(framework) = known {
            self.counters.messages.reregister_framework += 1;
            self.take_over(framework, out);
            self.set_wishes(framework, wishes, out);
            let known = &mut self.frameworks[framework];
            known.connection = connection;
            known.reregistered_at = self.now;
            framework
        } else {
            self.counters.messages.register_framework += 1;
            let id = id.unwrap_or_else(|| self.new_framework_id());
            self.add_framework(id, wishes, connection)
        };
        self.streams.insert(stream, framework);
        self.timers.cancel(Timer::Failover(framework));
        let interval = self.config.heartbeat_interval;
        let subscribed = events::subscribed(
            &self.frameworks[framework].id,
            interval,
            &self.config.master,
        );
        self.event(framework, subscribed, out);
        self.heartbeat(framework, out);
        self.frameworks[framework].counters.calls[Type::Subscribe as usize] += 1;
        self.allocation_connected(framework);
        self.offers_wanted(framework, out);
        self.dirty_frameworks.remove(&framework);
        let snapshot = self.frameworks[framework].snapshot(None);
        out.push(Output::Change(match known {
            Some(_) => Change::FrameworkUpdated {
                framework: snapshot,
                resubscribed: true,
            },
            None => Change::FrameworkAdded(snapshot),
        }));
    }

    /// Agents may hold tasks of frameworks that chose such an id themselves, so a number may be taken.
    fn new_framework_id(&mut self) -> FrameworkId {
        loop {
            let id = FrameworkId::numbered(&self.id, self.next_framework);
            self.next_framework += 1;
            if !self.framework_ids.contains_key(&id) && !self.completed_frameworks.contains(&id) {
                return id;
            }
        }
    }

    /// End the stream that a newer one replaces. Its offers are withdrawn without RESCIND: nobody is there to hear it.
    fn take_over(&mut self, framework: FrameworkIx, out: &mut Vec<Output>) {
        if let Some(old) = self.frameworks[framework].stream() {
            self.event(
                framework,
                events::error("Framework failed over".to_owned()),
                out,
            );
            out.push(Output::CloseStream {
                stream: old,
                reason: "the framework failed over",
            });
            self.streams.remove(&old);
            self.frameworks[framework].connection = Connection::Disconnected;
        }
        self.withdraw_offers_of(framework, out);
    }

    /// Put a framework into the tables, without telling anybody.
    pub(crate) fn add_framework(
        &mut self,
        id: FrameworkId,
        wishes: Wishes,
        connection: Connection,
    ) -> FrameworkIx {
        let Wishes {
            mut info,
            roles,
            suppressed,
            constraints,
        } = wishes;
        info.id = Some(events::framework_id(&id));
        let hash = self.completed_frameworks.hasher().clone();
        let framework = self.frameworks.insert(Framework {
            id: id.clone(),
            handle: NO_HANDLE.into(),
            min_allocatable: min_allocatable(&info),
            capabilities: Capabilities::of(&info),
            info: Arc::new(info),
            roles,
            suppressed,
            constraints,
            connection,
            tasks: IndexMap::with_hasher(hash.clone()),
            unreachable: IndexMap::with_hasher(hash.clone()),
            completed: VecDeque::new(),
            agents: IndexMap::with_hasher(hash),
            offers: BTreeSet::new(),
            registered_at: self.now,
            reregistered_at: self.now,
            counters: FrameworkCounters::default(),
        });
        self.framework_ids.insert(id, framework);
        self.allocation_framework_added(framework);
        framework
    }

    /// Replace what a framework told about itself, but for what may not change, and tell the agents that have something of it.
    pub(crate) fn set_wishes(
        &mut self,
        framework: FrameworkIx,
        wishes: Wishes,
        out: &mut Vec<Output>,
    ) {
        let Wishes {
            mut info,
            roles,
            suppressed,
            constraints,
        } = wishes;
        let known = &mut self.frameworks[framework];
        info.id = Some(events::framework_id(&known.id));
        if !known.is_bare() {
            info.user.clone_from(&known.info.user);
            info.checkpoint = known.info.checkpoint;
        }
        let changed = info != *known.info;
        known.capabilities = Capabilities::of(&info);
        known.min_allocatable = min_allocatable(&info);
        known.info = Arc::new(info);
        known.roles = roles;
        known.suppressed = suppressed;
        known.constraints = constraints;
        if changed {
            let told: Vec<AgentIx> = known
                .agents
                .iter()
                .filter(|(_, presence)| presence.told)
                .map(|(agent, _)| *agent)
                .collect();
            for agent in told {
                let info = FrameworkInfo::clone(&self.frameworks[framework].info);
                self.to_agent(
                    agent,
                    master_message::Message::Framework(v1::Framework { info }),
                    out,
                );
            }
        }
        self.allocation_wishes(framework);
    }

    pub(crate) fn heartbeat(&mut self, framework: FrameworkIx, out: &mut Vec<Output>) {
        if self.frameworks[framework].stream().is_some() {
            self.event(framework, events::heartbeat(), out);
            self.timers.set(
                Timer::Heartbeat(framework),
                self.now + self.config.heartbeat_interval,
            );
        }
    }
}
