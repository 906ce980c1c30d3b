//! What waits for the registry, and what happens when it has answered.

use tepui_model::{AgentId, Time};

use crate::change::AgentRemoval;
use crate::input::{LinkKey, ReplyToken, StoreError};
use crate::master::{Master, log, reply};
use crate::output::{LogLevel, Output, Reply};
use crate::registry::AdmittedAgent;
use crate::state::Transition;

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
    /// It unregistered.
    Removal { id: AgentId },
    /// By an operator.
    Gone {
        id: AgentId,
        at: Time,
        reply: Option<ReplyToken>,
    },
    /// By an operator.
    Activation {
        id: AgentId,
        deactivated: bool,
        reply: Option<ReplyToken>,
    },
    /// Nobody.
    Pruning,
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
                if let Waiting::Gone { reply: token, .. }
                | Waiting::Activation { reply: token, .. } = waiting
                {
                    let message = "This master leads no more".to_owned();
                    reply(
                        token,
                        Reply::Refused {
                            status: 503,
                            message,
                        },
                        out,
                    );
                }
            }
            out.push(Output::StepDown { reason });
            return;
        }
        if let Err(error) = &result {
            log(LogLevel::Warn, error.to_string(), out);
        }
        let id = match &waiting {
            Waiting::Admission { id, .. }
            | Waiting::Unreachable { id, .. }
            | Waiting::Removal { id }
            | Waiting::Gone { id, .. }
            | Waiting::Activation { id, .. } => Some(id.clone()),
            Waiting::Pruning => None,
        };
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
            Waiting::Removal { id } if stored => {
                self.remove_agent(&id, AgentRemoval::Unregistered, self.now, out)
            }
            Waiting::Gone {
                id,
                at,
                reply: token,
            } if stored => {
                self.became_gone(&id, at, out);
                reply(token, Reply::Ok, out);
            }
            Waiting::Activation {
                id,
                deactivated,
                reply: token,
            } if stored => {
                self.activation_stored(&id, deactivated, out);
                reply(token, Reply::Ok, out);
            }
            Waiting::Gone { reply: token, .. } | Waiting::Activation { reply: token, .. } => {
                let message = "The registry could not be written".to_owned();
                reply(
                    token,
                    Reply::Refused {
                        status: 503,
                        message,
                    },
                    out,
                );
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
