//! What waits for the registry, and what happens when it has answered.

use tepui_model::{AgentId, Time};

use crate::change::AgentRemoval;
use crate::input::{LinkKey, ReplyToken, StoreError};
use crate::master::{Master, log, reply};
use crate::operator::refused;
use crate::output::{LogLevel, Output, Reply};
use crate::policy::PolicyChange;
use crate::registry::AdmittedAgent;
use crate::state::{Orders, Transition};

/// Who waits for a write.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A registration that is complete but for the registry.
    Admission {
        link: LinkKey,
        id: AgentId,
        admitted: Box<AdmittedAgent>,
        is_new: bool,
    },
    /// Out of reach for too long.
    Unreachable { id: AgentId, at: Time },
    /// It unregistered, was replaced, or its machine is down.
    Removal { id: AgentId, cause: AgentRemoval },
    /// By an operator.
    Gone {
        id: AgentId,
        at: Time,
        reply: Option<ReplyToken>,
    },
    /// An operator orders something about an agent, or it has done what was ordered.
    Orders {
        id: AgentId,
        orders: Orders,
        reply: Option<ReplyToken>,
    },
    /// By an operator, about no single agent.
    Policy {
        change: PolicyChange,
        reply: Option<ReplyToken>,
    },
    /// Nobody.
    Pruning,
}

impl Waiting {
    /// The agent of which something is being stored.
    fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Admission { id, .. }
            | Self::Unreachable { id, .. }
            | Self::Removal { id, .. }
            | Self::Gone { id, .. }
            | Self::Orders { id, .. } => Some(id),
            Self::Policy { .. } | Self::Pruning => None,
        }
    }

    /// The operator who waits.
    fn caller(&self) -> Option<ReplyToken> {
        match self {
            Self::Gone { reply, .. } | Self::Orders { reply, .. } | Self::Policy { reply, .. } => {
                *reply
            }
            Self::Admission { .. }
            | Self::Unreachable { .. }
            | Self::Removal { .. }
            | Self::Pruning => None,
        }
    }
}

impl Master {
    pub(crate) fn stored(
        &mut self,
        sequence: u64,
        result: Result<(), StoreError>,
        out: &mut Vec<Output>,
    ) {
        // Answers come in order, so one that is not for the oldest request was never asked for.
        if self
            .stores
            .front()
            .is_none_or(|(oldest, _)| *oldest != sequence)
        {
            return;
        }
        let Some((_, waiting)) = self.stores.pop_front() else {
            return;
        };
        if let Err(StoreError::Fenced(reason)) = result {
            // I6: whatever this master still believes, it must not act on it.
            self.fenced = true;
            for (_, waiting) in
                std::iter::once((sequence, waiting)).chain(std::mem::take(&mut self.stores))
            {
                reply(waiting.caller(), no_leader(), out);
            }
            for (_, token) in self.turn.waiting.drain(..) {
                reply(token, no_leader(), out);
            }
            out.push(Output::StepDown { reason });
            return;
        }
        if let Err(error) = &result {
            log(LogLevel::Warn, error.to_string(), out);
        }
        let id = waiting.agent().cloned();
        if let Some(id) = &id {
            self.transitions.remove(id);
        }
        let stored = result.is_ok();
        match waiting {
            Waiting::Admission {
                link,
                id,
                admitted,
                is_new,
            } => self.admitted(link, id, *admitted, is_new, result, out),
            Waiting::Unreachable { id, at } if stored => self.became_unreachable(&id, at, out),
            Waiting::Unreachable { id, .. } => self.retry_unreachable(&id),
            Waiting::Removal { id, cause } if stored => {
                self.remove_agent(&id, cause, self.now, out)
            }
            Waiting::Gone {
                id,
                at,
                reply: token,
            } if stored => {
                self.became_gone(&id, at, out);
                reply(token, Reply::Ok, out);
            }
            Waiting::Orders {
                id,
                orders,
                reply: token,
            } if stored => {
                self.orders_stored(&id, orders, out);
                reply(token, Reply::Ok, out);
            }
            Waiting::Policy {
                change,
                reply: token,
            } => {
                if stored {
                    self.policy_stored(change, out);
                    reply(token, Reply::Ok, out);
                } else {
                    reply(token, not_written(), out);
                }
                self.next_turn(out);
            }
            Waiting::Orders { reply: None, .. } => self.retry_drained(),
            Waiting::Gone { reply: token, .. } | Waiting::Orders { reply: token, .. } => {
                reply(token, not_written(), out);
            }
            // The agent is disconnected and will time out.
            Waiting::Removal { .. } | Waiting::Pruning => {}
        }
        if let Some(id) = id {
            self.unpark(&id, out);
        }
    }

    /// Whether something about the agent is being stored.
    pub(crate) fn in_transition(&self, id: &AgentId) -> bool {
        self.transitions.contains_key(id)
    }

    pub(crate) fn begin(&mut self, id: &AgentId, transition: Transition) {
        self.transitions.insert(id.clone(), transition);
    }
}

fn no_leader() -> Reply {
    refused(503, "This master leads no more".to_owned())
}

fn not_written() -> Reply {
    refused(503, "The registry could not be written".to_owned())
}
