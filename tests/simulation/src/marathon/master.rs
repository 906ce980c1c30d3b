//! Between Marathon and the master: what the SDK and Marathon's shell make of the core's commands and of the master's events.

use tepui_marathon_core::{Input, Output};
use tepui_master_core::OperatorCall;
use tepui_model::TaskState;
use tepui_proto::mesos::framework_info::{Capability, capability};
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::scheduler::call::{self, Type, reconcile};
use tepui_proto::mesos::scheduler::{Call, Event as MasterEvent, event};
use tepui_proto::mesos::{
    AgentId, Filters, FrameworkId, FrameworkInfo, OfferId, TaskId, TaskStatus,
};

use super::Happening as Event;
use super::process::Process;
use crate::frameworks::call;
use crate::network::{Host, Payload, Way};
use crate::scenario::Sabotage;
use crate::world::{Happening, Simulation, trace};

impl Process {
    fn info(&self) -> FrameworkInfo {
        let capabilities = [
            capability::Type::MultiRole,
            capability::Type::PartitionAware,
            capability::Type::ReservationRefinement,
            capability::Type::TaskKillingState,
        ];
        FrameworkInfo {
            user: "nobody".to_owned(),
            name: "marathon".to_owned(),
            id: self.id.clone().map(|value| FrameworkId { value }),
            roles: self.roles.clone(),
            failover_timeout: Some(1e9),
            checkpoint: Some(true),
            capabilities: capabilities
                .into_iter()
                .map(|kind| Capability {
                    r#type: Some(kind as i32),
                })
                .collect(),
            ..FrameworkInfo::default()
        }
    }
}

fn offers(ids: Vec<String>) -> Vec<OfferId> {
    ids.into_iter().map(|value| OfferId { value }).collect()
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of some minutes")]
fn filters(refuse_ms: u64) -> Option<Filters> {
    Some(Filters {
        refuse_seconds: Some(refuse_ms as f64 / 1_000.0),
    })
}

impl Simulation {
    pub(super) fn marathon_subscribes(&mut self, process: usize) {
        let known = &self.marathons.processes[process];
        if !known.alive || known.wire.is_some() {
            return;
        }
        let (info, master) = (known.info(), known.master);
        let subscribe = Call {
            framework_id: info.id.clone(),
            subscribe: Some(Box::new(call::Subscribe {
                framework_info: info,
                ..call::Subscribe::default()
            })),
            ..call(Type::Subscribe)
        };
        let wire = self.open(Host::Marathon(process), 0, master);
        self.marathons.processes[process].wire = Some(wire);
        trace!(self, "marathon {process} subscribes on wire {wire}");
        self.send(wire, Way::Up, Payload::Call(Box::new(subscribe)));
    }

    /// Its stream is over; it opens another.
    pub(crate) fn marathon_lost_wire(&mut self, process: usize, wire: usize) {
        if self.leaves_wire(process, wire) {
            self.after(0, 2_000, Happening::Marathon(Event::Subscribe(process)));
        }
    }

    fn leaves_wire(&mut self, process: usize, wire: usize) -> bool {
        let known = &mut self.marathons.processes[process];
        if known.wire != Some(wire) {
            return false;
        }
        known.wire = None;
        if std::mem::take(&mut known.subscribed) {
            self.marathon_step(process, Input::Disconnected);
        }
        true
    }

    /// Another has subscribed in its place: it does so again if it still leads, as the store tells.
    pub(super) fn marathon_begins_anew(&mut self, process: usize) {
        let known = &self.marathons.processes[process];
        if !known.alive {
            return;
        }
        if self.partitions.cuts((Host::Marathon(process), Host::Store)) {
            let again = Happening::Marathon(Event::Anew(process));
            return self.after(1_000, 1_001, again);
        }
        if known.epoch < self.marathons.store.epoch {
            return self.depose_marathon(process);
        }
        self.marathon_subscribes(process);
    }

    /// Its framework was torn down: the id is of no more use.
    fn marathon_is_removed(&mut self, process: usize) {
        if let Some(id) = self.marathons.processes[process].id.take() {
            self.torn_down.insert(id);
        }
    }

    /// An operator ends the framework and all that runs of it.
    pub(crate) fn tear_marathon_down(&mut self) {
        let leader = self.marathons.leader();
        let id = leader.and_then(|leader| self.marathons.processes[leader].id.clone());
        if let Some(framework) = id.and_then(|id| tepui_model::FrameworkId::new(id).ok()) {
            self.torn_down.insert(framework.as_str().to_owned());
            self.send_operator(OperatorCall::Teardown { framework }, Vec::new());
        }
    }

    /// It learns who leads the masters.
    pub(crate) fn marathon_sees_master(&mut self, process: usize, master: usize) {
        let known = &mut self.marathons.processes[process];
        known.master = master;
        let (alive, wire) = (known.alive, known.wire);
        match wire {
            _ if !alive => {}
            Some(wire) if self.wires[wire].master != master => {
                self.close(wire, Way::Up);
                self.marathon_lost_wire(process, wire);
            }
            Some(_) => {}
            None => self.after(1, 2, Happening::Marathon(Event::Subscribe(process))),
        }
    }

    pub(crate) fn arrive_at_marathon(&mut self, wire: usize, process: usize, payload: Payload) {
        let known = &self.marathons.processes[process];
        if !known.alive || known.wire != Some(wire) {
            return;
        }
        match payload {
            Payload::Event(event) => self.marathon_hears(process, wire, *event),
            Payload::Closed => self.marathon_lost_wire(process, wire),
            _ => {}
        }
    }

    fn marathon_hears(&mut self, process: usize, wire: usize, event: MasterEvent) {
        let input = match event.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = event.subscribed else {
                    return;
                };
                let id = subscribed.framework_id.value;
                // A master that was cut off knows no teardown, and what it says holds for itself.
                if self.masters[self.wires[wire].master].epoch == self.stored.epoch() {
                    self.torn_down.remove(&id);
                }
                let known = &mut self.marathons.processes[process];
                known.subscribed = true;
                known.id = Some(id.clone());
                self.marathons.ids.insert(id.clone());
                Input::Registered {
                    framework_id: id,
                    master: "master".to_owned(),
                }
            }
            event::Type::Offers => {
                Input::Offers(event.offers.map(|all| all.offers).unwrap_or_default())
            }
            event::Type::InverseOffers => {
                let offers = event.inverse_offers.map(|all| all.inverse_offers);
                Input::InverseOffers(offers.unwrap_or_default())
            }
            event::Type::Update => {
                let Some(update) = event.update else { return };
                self.note_status(process, &update.status);
                Input::TaskUpdate(Box::new(update.status))
            }
            event::Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                trace!(self, "marathon {process} hears an error: {message}");
                self.close(wire, Way::Up);
                if self.leaves_wire(process, wire) {
                    let anew = if message == "Framework has been removed" {
                        self.marathon_is_removed(process);
                        Event::Subscribe(process)
                    } else {
                        Event::Anew(process)
                    };
                    self.after(1_000, 1_001, Happening::Marathon(anew));
                }
                return;
            }
            _ => return,
        };
        self.marathon_step(process, input);
    }

    /// What a process is told of a task, kept apart from its core.
    fn note_status(&mut self, process: usize, status: &TaskStatus) {
        let task = status.task_id.value.clone();
        let Some(state) = TaskState::from_number(status.state) else {
            return;
        };
        if let Some(well) = status.healthy.filter(|_| state == TaskState::Running) {
            self.hear_health(process, &task, well);
        } else if state != TaskState::Running {
            self.marathons.processes[process].health.remove(&task);
        }
        let told = self.scenario.sabotage != Some(Sabotage::ForgetsEnds);
        let over = state.is_terminal() || state == TaskState::Unknown;
        if over && told {
            self.marathons.processes[process].ended.insert(task);
        }
    }

    /// Says something on the present stream; without one it is lost.
    fn marathon_says(&mut self, process: usize, call: Call) {
        let known = &self.marathons.processes[process];
        if let (Some(wire), true, Some(id)) = (known.wire, known.subscribed, known.id.clone()) {
            let call = Call {
                framework_id: Some(FrameworkId { value: id }),
                ..call
            };
            self.send(wire, Way::Up, Payload::Call(Box::new(call)));
        }
    }

    pub(super) fn tell_master(&mut self, process: usize, command: Output) {
        let made = match command {
            Output::Accept {
                offer_ids,
                mut operations,
                tasks,
            } => {
                if !tasks.is_empty() {
                    operations.push(Operation {
                        r#type: Some(operation::Type::Launch as i32),
                        launch: Some(operation::Launch { task_infos: tasks }),
                        ..Operation::default()
                    });
                }
                self.check_volumes(process, &operations);
                let accept = call::Accept {
                    offer_ids: offers(offer_ids),
                    operations,
                    filters: filters(0),
                };
                Call {
                    accept: Some(accept),
                    ..call(Type::Accept)
                }
            }
            Output::Decline {
                offer_ids,
                refuse_ms,
            } => Call {
                decline: Some(call::Decline {
                    offer_ids: offers(offer_ids),
                    filters: filters(refuse_ms),
                }),
                ..call(Type::Decline)
            },
            Output::Kill { task_id, agent_id } => {
                if self.scenario.sabotage == Some(Sabotage::LosesKills) {
                    return;
                }
                Call {
                    kill: Some(call::Kill {
                        task_id: TaskId { value: task_id },
                        agent_id: agent_id.map(|value| AgentId { value }),
                        kill_policy: None,
                    }),
                    ..call(Type::Kill)
                }
            }
            Output::AnswerInverseOffers {
                offer_ids,
                accepted: true,
                refuse_ms,
            } => Call {
                accept_inverse_offers: Some(call::AcceptInverseOffers {
                    inverse_offer_ids: offers(offer_ids),
                    filters: filters(refuse_ms),
                }),
                ..call(Type::AcceptInverseOffers)
            },
            Output::AnswerInverseOffers {
                offer_ids,
                refuse_ms,
                ..
            } => Call {
                decline_inverse_offers: Some(call::DeclineInverseOffers {
                    inverse_offer_ids: offers(offer_ids),
                    filters: filters(refuse_ms),
                }),
                ..call(Type::DeclineInverseOffers)
            },
            Output::Revive { roles } => {
                self.subscribes_to(process, &roles);
                Call {
                    revive: Some(call::Revive { roles }),
                    ..call(Type::Revive)
                }
            }
            Output::Suppress { roles } => Call {
                suppress: Some(call::Suppress { roles }),
                ..call(Type::Suppress)
            },
            Output::Reconcile { tasks } => {
                let tasks = tasks.into_iter().map(|(task, agent)| reconcile::Task {
                    task_id: TaskId { value: task },
                    agent_id: agent.map(|value| AgentId { value }),
                });
                Call {
                    reconcile: Some(call::Reconcile {
                        tasks: tasks.collect(),
                    }),
                    ..call(Type::Reconcile)
                }
            }
            Output::Acknowledge {
                agent_id,
                task_id,
                uuid,
            } => {
                self.marathons.acknowledged.insert(uuid.clone());
                Call {
                    acknowledge: Some(call::Acknowledge {
                        agent_id: AgentId { value: agent_id },
                        task_id: TaskId { value: task_id },
                        uuid,
                    }),
                    ..call(Type::Acknowledge)
                }
            }
            _ => return,
        };
        self.marathon_says(process, made);
    }

    /// Adds roles to the subscription that are not in it yet. They count once that has left: a SUBSCRIBE on its way does not have them.
    fn subscribes_to(&mut self, process: usize, roles: &[String]) {
        let known = &mut self.marathons.processes[process];
        if known.wire.is_none() || !known.subscribed {
            return;
        }
        let fresh = |role: &&String| !known.roles.contains(role);
        let missing: Vec<String> = roles.iter().filter(fresh).cloned().collect();
        if missing.is_empty() {
            return;
        }
        known.roles.extend(missing);
        let update = call::UpdateFramework {
            framework_info: known.info(),
            ..call::UpdateFramework::default()
        };
        let update = Call {
            update_framework: Some(Box::new(update)),
            ..call(Type::UpdateFramework)
        };
        self.marathon_says(process, update);
    }
}
