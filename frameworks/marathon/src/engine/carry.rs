//! Carrying the core's outputs out, in order.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;
use tepui_marathon_core::{
    CheckId, Mutation, Output, Probe, ReplyToken, Response,
    view::{Change, HeldView, View},
};
use tepui_proto::mesos::{TaskInfo, offer::Operation};
use tokio::sync::{mpsc, oneshot};

use crate::{events::EventHub, measures::Measurer, probes::Prober};

/// What the master is to be told.
#[derive(Debug)]
pub(crate) enum SchedulerCommand {
    Accept {
        offer_ids: Vec<String>,
        operations: Vec<Operation>,
        tasks: Vec<TaskInfo>,
    },
    Decline {
        offer_ids: Vec<String>,
        refuse_ms: u64,
    },
    Kill {
        task_id: String,
        agent_id: Option<String>,
    },
    Revive {
        roles: Vec<String>,
    },
    Suppress {
        roles: Vec<String>,
    },
    AnswerInverseOffers {
        offer_ids: Vec<String>,
        accepted: bool,
        refuse_ms: u64,
    },
    Reconcile {
        tasks: Vec<(String, Option<String>)>,
    },
    Acknowledge {
        agent_id: String,
        task_id: String,
        uuid: Bytes,
    },
}

/// A write that waits for the store.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) sequence: u64,
    pub(crate) mutations: Vec<Mutation>,
}

/// Where outputs go.
#[derive(Debug)]
pub(crate) struct Carriers {
    pub(crate) store: mpsc::Sender<Write>,
    pub(crate) scheduler: mpsc::Sender<SchedulerCommand>,
    pub(crate) prober: Prober,
    pub(crate) measurer: Measurer,
    pub(crate) events: EventHub,
}

/// Says once in each term that something is held, and once that there is something.
fn tell_of_hold(before: Option<HeldView>, now: Option<HeldView>) {
    let Some(now) = now else {
        if before.is_some() {
            tracing::info!("nothing is held any more of what a restored backup does not know");
        }
        return;
    };
    if before.is_none() {
        tracing::warn!(
            restored_at = %now.since,
            "a backup was restored: what is reserved for instances that it does not know is left alone until `tepui store free --end`"
        );
    }
    if now.reservations > 0 && before.is_none_or(|before| before.reservations == 0) {
        tracing::warn!(
            "reservations, perhaps with volumes, of instances that the restored backup does not know are left alone: `tepui store held` lists them"
        );
    }
}

/// Takes the changes out of `outputs` and shows them to readers, all at once: nobody sees a deployment gone, and its last task still as it was.
fn show(outputs: &mut Vec<Output>, view: &RwLock<View>) {
    let is_change = |output: &mut Output| matches!(output, Output::Change(_));
    if !outputs.iter_mut().any(is_change) {
        return;
    }
    let mut view = view.write();
    for output in outputs.extract_if(.., is_change) {
        let Output::Change(change) = output else {
            continue;
        };
        if let Change::Held(now) = &change {
            tell_of_hold(view.held(), now.as_deref().copied());
        }
        view.apply(change);
    }
}

impl Carriers {
    /// Empties `outputs`. What has changed is shown before anybody is told of anything. Waits while the store's or the scheduler's queue is full; a receiver that is gone means that the term is over.
    pub(super) async fn carry(
        &mut self,
        outputs: &mut Vec<Output>,
        view: &RwLock<View>,
        waiting: &mut HashMap<ReplyToken, oneshot::Sender<Response>>,
    ) {
        show(outputs, view);
        for output in outputs.drain(..) {
            let command = match output {
                Output::Reply(token, response) => {
                    if let Some(reply) = waiting.remove(&token) {
                        let _ = reply.send(response); // a client that hung up
                    }
                    continue;
                }
                Output::Store {
                    sequence,
                    mutations,
                } => {
                    let _ = self
                        .store
                        .send(Write {
                            sequence,
                            mutations,
                        })
                        .await;
                    continue;
                }
                Output::Change(_) => continue, // shown above
                Output::Event(event) => {
                    self.events.publish(event.event_type(), || event.to_json());
                    continue;
                }
                Output::StartMeasure(measure) => {
                    self.measurer.start(measure);
                    continue;
                }
                Output::StopMeasure(check) => {
                    self.measurer.stop(check);
                    continue;
                }
                Output::StartHealthCheck(probe) => {
                    self.start(&probe);
                    continue;
                }
                Output::StopHealthCheck(check) => {
                    self.stop(check);
                    continue;
                }
                Output::Accept {
                    offer_ids,
                    operations,
                    tasks,
                } => SchedulerCommand::Accept {
                    offer_ids,
                    operations,
                    tasks,
                },
                Output::Decline {
                    offer_ids,
                    refuse_ms,
                } => SchedulerCommand::Decline {
                    offer_ids,
                    refuse_ms,
                },
                Output::Kill { task_id, agent_id } => SchedulerCommand::Kill { task_id, agent_id },
                Output::Revive { roles } => SchedulerCommand::Revive { roles },
                Output::Suppress { roles } => SchedulerCommand::Suppress { roles },
                Output::AnswerInverseOffers {
                    offer_ids,
                    accepted,
                    refuse_ms,
                } => SchedulerCommand::AnswerInverseOffers {
                    offer_ids,
                    accepted,
                    refuse_ms,
                },
                Output::Reconcile { tasks } => SchedulerCommand::Reconcile { tasks },
                Output::Acknowledge {
                    agent_id,
                    task_id,
                    uuid,
                } => SchedulerCommand::Acknowledge {
                    agent_id,
                    task_id,
                    uuid,
                },
            };
            let _ = self.scheduler.send(command).await;
        }
    }

    fn start(&mut self, probe: &Arc<Probe>) {
        self.prober.start(Arc::clone(probe));
    }

    fn stop(&mut self, check: CheckId) {
        self.prober.stop(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_before_anything_else_is_carried_out() {
        let ended = |kept, dropped| Output::Change(Change::EndedTasks { kept, dropped });
        let revive = || Output::Revive { roles: Vec::new() };
        let mut outputs = vec![ended(1, 0), revive(), ended(2, 1), revive()];
        let view = RwLock::new(View::default());
        show(&mut outputs, &view);
        assert_eq!(view.read().ended_tasks(), (2, 1), "the last one counts");
        assert!(matches!(
            outputs[..],
            [Output::Revive { .. }, Output::Revive { .. }]
        ));
    }
}
