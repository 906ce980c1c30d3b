//! What agents say, on streams that come and go. A link is opened, registers (in one message or several), waits for the
//! registry, and is then the one stream of its agent until it breaks or a newer one takes its place.

mod executors;
mod health;
mod limit;
mod merge;
mod register;
mod removal;
mod updates;

use std::sync::Arc;

use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{AgentMessage, Register};

pub(crate) use limit::Removals;

use crate::input::LinkKey;
use crate::master::{Master, Timer};
use crate::output::Output;
use crate::state::AgentIx;

/// An open stream of an agent.
pub(crate) struct Link {
    pub(crate) peer: Arc<str>,
    pub(crate) state: LinkState,
}

/// How far its registration is.
pub(crate) enum LinkState {
    /// Nothing heard yet.
    Silent,
    /// More of the registration is to come.
    Registering(Box<Register>),
    /// All is said; the registry, or another change of the same agent, has to be stored first.
    Waiting(Box<Register>),
    /// The stream of this agent.
    Live(AgentIx),
}

impl Master {
    pub(crate) fn link_opened(&mut self, link: LinkKey, peer: Arc<str>) {
        self.links.entry(link).or_insert(Link {
            peer,
            state: LinkState::Silent,
        });
    }

    pub(crate) fn agent_messages(
        &mut self,
        link: LinkKey,
        messages: Vec<AgentMessage>,
        out: &mut Vec<Output>,
    ) {
        for message in messages {
            let Some(known) = self.links.get_mut(&link) else {
                self.counters.dropped_messages += 1;
                return;
            };
            // A message of a newer version than this.
            let Some(message) = message.message else {
                self.counters.dropped_messages += 1;
                continue;
            };
            match (&mut known.state, message) {
                (LinkState::Silent, Message::Register(register)) => {
                    self.register(link, register, out)
                }
                (LinkState::Registering(_), Message::RegisterMore(more)) => {
                    self.register_more(link, more, out)
                }
                (LinkState::Live(agent), message) => {
                    let agent = *agent;
                    self.agent_message(link, agent, message, out);
                }
                (LinkState::Silent, _) => {
                    self.close_link(link, "its first message was no Register".to_owned(), out)
                }
                (LinkState::Registering(_), _) => {
                    self.close_link(
                        link,
                        "its registration was interrupted by another message".to_owned(),
                        out,
                    );
                }
                (LinkState::Waiting(_), _) => {
                    self.close_link(
                        link,
                        "it sent a message before it was registered".to_owned(),
                        out,
                    );
                }
            }
        }
    }

    fn agent_message(
        &mut self,
        link: LinkKey,
        agent: AgentIx,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        match message {
            Message::TaskUpdate(update) => self.task_update(agent, update, out),
            Message::OperationUpdate(update) => self.operation_update(agent, *update, out),
            Message::ExecutorMessage(message) => self.executor_message(agent, message, out),
            Message::ExecutorTerminated(terminated) => {
                self.executor_terminated(agent, &terminated, out)
            }
            Message::Pong(pong) => self.pong(agent, pong.sequence),
            Message::ResourcesChanged(changed) => self.resources_changed(agent, &changed, out),
            Message::Oversubscribed(told) => self.oversubscribed(agent, &told, out),
            Message::Unregister(_) => self.unregister(agent, out),
            Message::Register(_) | Message::RegisterMore(_) => {
                self.close_link(link, "it registered twice on one stream".to_owned(), out);
            }
        }
    }

    pub(crate) fn link_closed(&mut self, link: LinkKey, out: &mut Vec<Output>) {
        self.parked.retain(|parked| *parked != link);
        if let Some(LinkState::Live(agent)) = self.links.remove(&link).map(|link| link.state) {
            self.disconnected(agent, out);
        }
    }

    /// End a link from here.
    pub(crate) fn close_link(&mut self, link: LinkKey, reason: String, out: &mut Vec<Output>) {
        out.push(Output::CloseLink { link, reason });
        self.link_closed(link, out);
    }

    /// The agent has the ping time-out to return before it is out of reach.
    fn disconnected(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        self.agents[agent].link = None;
        self.counters.slaves_connected -= 1;
        self.counters.slaves_disconnected += 1;
        self.timers.cancel(Timer::Ping(agent));
        self.timers.set(
            Timer::AgentTimeout(agent),
            self.now + self.config.agent_timeout(),
        );
        for framework in &self.agents[agent].frameworks {
            if let Some(presence) = self.frameworks[*framework].agents.get_mut(&agent) {
                presence.told = false;
            }
        }
        self.allocation_agent_active(agent);
        self.rescind_offers_on(agent, out);
        self.rescind_inverse_offers_on(agent, out);
        self.touch_agent(agent);
    }
}
