//! Schedulers: what they want, what they were told, and how they behave, which is not always well.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tepui_model::{TaskState, Time};
use tepui_proto::mesos::scheduler::call::{self, Type};
use tepui_proto::mesos::scheduler::{Call, Event, OfferConstraints, event};
use tepui_proto::mesos::{AgentId, FrameworkId, Offer, OfferId, Resource, TaskId, TaskStatus};

use crate::invariants::Invariant;
use crate::network::{Host, Payload, Way};
use crate::operations;
use crate::random::Random;
use crate::scenario::{Sabotage, Scenario};
use crate::wishes;
use crate::world::{Happening, Simulation, trace};

/// A scheduler, and what it remembers over its crashes.
pub(crate) struct Scheduler {
    pub(crate) id: Option<String>,
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) wire: Option<usize>,
    pub(crate) leader: usize,
    subscribed: bool,
    pub(crate) roles: Vec<String>,
    /// All that it has ever had: offers, tasks and reservations outlive a change.
    pub(crate) had_roles: BTreeSet<String>,
    pub(crate) constraints: Option<OfferConstraints>,
    /// It takes what is lent.
    pub(crate) borrows: bool,
    pub(crate) partition_aware: bool,
    /// It takes shared volumes.
    pub(crate) shares: bool,
    hoards: bool,
    pub(crate) offers: BTreeMap<String, Offer>,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) operations: BTreeMap<String, operations::Job>,
}

/// A task as its scheduler knows it.
pub(crate) struct Job {
    pub(crate) agent: String,
    pub(crate) state: TaskState,
    /// The terminal update that came from an agent.
    pub(crate) ended: Option<(TaskState, Bytes)>,
    pub(crate) since: Time,
}

impl Scheduler {
    pub(crate) fn new(index: usize, scenario: &Scenario, random: &mut Random) -> Self {
        let roles = wishes::roles(index, random);
        let constrained = random.percent(scenario.constraints_percent);
        Self {
            had_roles: roles.iter().cloned().collect(),
            constraints: constrained.then(|| wishes::constraints(&roles, random)),
            shares: random.percent(60),
            id: None,
            life: 0,
            alive: false,
            wire: None,
            leader: 0,
            subscribed: false,
            roles,
            partition_aware: random.percent(60),
            borrows: scenario.lends && index.is_multiple_of(2),
            hoards: random.percent(20),
            offers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            operations: BTreeMap::new(),
        }
    }

    pub(crate) fn settled(&self) -> bool {
        self.alive && self.subscribed
    }
}

pub(crate) fn call(kind: Type) -> Call {
    Call {
        r#type: Some(kind as i32),
        ..Call::default()
    }
}

impl Simulation {
    pub(crate) fn framework_starts(&mut self, framework: usize) {
        let leader = self.detected(Host::Framework(framework));
        let scheduler = &mut self.schedulers[framework];
        if scheduler.alive {
            return;
        }
        scheduler.alive = true;
        scheduler.life += 1;
        scheduler.leader = leader;
        let life = scheduler.life;
        self.after(1, 100, Happening::Subscribe { framework, life });
        self.after(100, 3_000, Happening::Whim { framework, life });
    }

    pub(crate) fn crash_framework(&mut self, framework: usize) {
        let scheduler = &mut self.schedulers[framework];
        if !std::mem::replace(&mut scheduler.alive, false) {
            return;
        }
        scheduler.forget_stream();
        trace!(self, "framework {framework} dies");
        self.break_wires_of(Host::Framework(framework));
        self.after(50, 20_000, Happening::FrameworkStarts(framework));
    }

    /// Another instance subscribes; the old one's stream stands until the master ends it.
    pub(crate) fn take_over(&mut self, framework: usize) {
        let scheduler = &mut self.schedulers[framework];
        if scheduler.alive && scheduler.id.is_some() {
            scheduler.alive = false;
            scheduler.forget_stream();
            self.framework_starts(framework);
        }
    }

    pub(crate) fn subscribe(&mut self, framework: usize, life: u32) {
        let scheduler = &self.schedulers[framework];
        if !scheduler.alive || scheduler.life != life || scheduler.wire.is_some() {
            return;
        }
        let info = scheduler.info(framework);
        let subscribe = call::Subscribe {
            framework_info: info.clone(),
            offer_constraints: scheduler.constraints.clone(),
            ..call::Subscribe::default()
        };
        let call = Call {
            framework_id: info.id,
            subscribe: Some(Box::new(subscribe)),
            ..call(Type::Subscribe)
        };
        let wire = self.open(Host::Framework(framework), life, scheduler.leader);
        self.schedulers[framework].wire = Some(wire);
        trace!(self, "framework {framework} subscribes on wire {wire}");
        self.send(wire, Way::Up, Payload::Call(Box::new(call)));
    }

    pub(crate) fn framework_lost_wire(&mut self, framework: usize, wire: usize) {
        let scheduler = &mut self.schedulers[framework];
        if scheduler.wire == Some(wire) {
            scheduler.forget_stream();
            let life = scheduler.life;
            self.after(0, 2_000, Happening::Subscribe { framework, life });
        }
    }

    /// Says something on the present stream, if there is one.
    pub(crate) fn say(&mut self, framework: usize, call: Call) {
        let scheduler = &self.schedulers[framework];
        if let (Some(wire), true, Some(id)) =
            (scheduler.wire, scheduler.subscribed, scheduler.id.clone())
        {
            let call = Call {
                framework_id: Some(FrameworkId { value: id }),
                ..call
            };
            self.send(wire, Way::Up, Payload::Call(Box::new(call)));
        }
    }

    pub(crate) fn arrive_at_framework(
        &mut self,
        wire: usize,
        framework: usize,
        life: u32,
        payload: Payload,
    ) {
        let scheduler = &self.schedulers[framework];
        if !scheduler.alive || scheduler.life != life || scheduler.wire != Some(wire) {
            return;
        }
        match payload {
            Payload::Event(event) => self.hear(framework, *event),
            Payload::Closed => self.framework_lost_wire(framework, wire),
            _ => {}
        }
    }

    fn hear(&mut self, framework: usize, event: Event) {
        let life = self.schedulers[framework].life;
        match event.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = event.subscribed else {
                    return;
                };
                let scheduler = &mut self.schedulers[framework];
                scheduler.subscribed = true;
                scheduler.id = Some(subscribed.framework_id.value);
                self.reconcile_all(framework);
                self.reconcile_operations(framework);
            }
            event::Type::UpdateOperationStatus => {
                if let Some(update) = event.update_operation_status {
                    self.told_operation(framework, update.status);
                }
            }
            event::Type::InverseOffers => {
                let offers = event.inverse_offers.map(|offers| offers.inverse_offers);
                for offer in offers.unwrap_or_default() {
                    self.answer_inverse(framework, offer.id);
                }
            }
            event::Type::Offers => {
                for mut offer in event.offers.map(|offers| offers.offers).unwrap_or_default() {
                    self.check_offer(framework, &mut offer);
                    let id = offer.id.value.clone();
                    let hoarded = self.schedulers[framework].hoards && self.random.percent(50);
                    self.schedulers[framework].offers.insert(id.clone(), offer);
                    if !hoarded || !self.trouble() {
                        self.after(
                            1,
                            2_000,
                            Happening::Decide {
                                framework,
                                life,
                                offer: id,
                            },
                        );
                    }
                }
            }
            event::Type::Rescind => {
                if let Some(rescind) = event.rescind {
                    self.schedulers[framework]
                        .offers
                        .remove(&rescind.offer_id.value);
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.told(framework, update.status);
                }
            }
            event::Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                if message == "Framework has been removed" {
                    self.begin_anew(framework);
                } else if message != "Framework failed over" {
                    self.breach(
                        Invariant::Converges,
                        format!("framework {framework} hears an error: {message}"),
                    );
                }
            }
            _ => {}
        }
    }

    /// I7: all of an offer may be used in its role, which is, or was, one of the framework's.
    fn check_offer(&mut self, framework: usize, offer: &mut Offer) {
        if self.scenario.sabotage == Some(Sabotage::MislabelsReservations) {
            for resource in &mut offer.resources {
                if let Some(last) = resource.reservations.last_mut() {
                    last.role = Some("strangers".to_owned());
                }
            }
        }
        let role = offer
            .allocation_info
            .as_ref()
            .and_then(|info| info.role.clone());
        let role = role.unwrap_or_default();
        let roles = &self.schedulers[framework].had_roles;
        let foreign = usable(&offer.resources, &role).err();
        let foreign = foreign.or((!roles.contains(&role)).then(|| format!("role {role}")));
        if let Some(what) = foreign {
            let id = &offer.id.value;
            self.breach(
                Invariant::Reservation,
                format!("framework {framework} is offered {what} in {id} in role {role}"),
            );
        }
    }

    /// A question about maintenance; now and then it stays open.
    fn answer_inverse(&mut self, framework: usize, id: OfferId) {
        let life = self.schedulers[framework].life;
        let inverse_offer_ids = vec![id];
        let call = match self.random.below(3) {
            0 => return,
            1 => Call {
                accept_inverse_offers: Some(call::AcceptInverseOffers {
                    inverse_offer_ids,
                    filters: None,
                }),
                ..call(Type::AcceptInverseOffers)
            },
            _ => Call {
                decline_inverse_offers: Some(call::DeclineInverseOffers {
                    inverse_offer_ids,
                    filters: None,
                }),
                ..call(Type::DeclineInverseOffers)
            },
        };
        let call = Box::new(call);
        self.after(
            1,
            5_000,
            Happening::Say {
                framework,
                life,
                call,
            },
        );
    }

    /// Its id was taken away: it comes back as another framework, which has nothing.
    fn begin_anew(&mut self, framework: usize) {
        let scheduler = &mut self.schedulers[framework];
        trace!(self, "framework {framework} was torn down");
        scheduler.id = None;
        scheduler.jobs.clear();
        scheduler.operations.clear();
    }

    fn told(&mut self, framework: usize, status: TaskStatus) {
        let Some(state) = TaskState::from_number(status.state) else {
            return;
        };
        let task = status.task_id.value;
        let Some(job) = self.schedulers[framework].jobs.get_mut(&task) else {
            return self.breach(
                Invariant::Converges,
                format!("framework {framework} hears of task {task}, which it never launched"),
            );
        };
        let from_agent = status.uuid.clone().filter(|uuid| !uuid.is_empty());
        if let (Some(uuid), true) = (&from_agent, state.is_terminal()) {
            let first = job.ended.get_or_insert((state, uuid.clone())).clone();
            if first.0 != state {
                self.breach(
                    Invariant::OneTerminal,
                    format!(
                        "framework {framework} hears that task {task} is {state}, after {}",
                        first.0
                    ),
                );
                return;
            }
        }
        // News of a task that its agent has declared over are old news.
        if job.ended.is_none() || state.is_terminal() && from_agent.is_some() {
            job.state = state;
        }
        if let (Some(uuid), Some(agent)) = (from_agent, status.agent_id) {
            let lost = self.scenario.lost_acknowledgements_percent;
            if self.trouble() && self.random.percent(lost) {
                return;
            }
            let slow = if self.trouble() && self.random.percent(10) {
                20_000
            } else {
                20
            };
            let life = self.schedulers[framework].life;
            self.after(
                0,
                slow,
                Happening::Acknowledge {
                    framework,
                    life,
                    task,
                    agent: agent.value,
                    uuid,
                },
            );
        }
    }

    pub(crate) fn acknowledge(
        &mut self,
        framework: usize,
        life: u32,
        task: String,
        agent: String,
        uuid: Bytes,
    ) {
        if self.schedulers[framework].life == life {
            let acknowledge = call::Acknowledge {
                agent_id: AgentId { value: agent },
                task_id: TaskId { value: task },
                uuid,
            };
            self.say(
                framework,
                Call {
                    acknowledge: Some(acknowledge),
                    ..call(Type::Acknowledge)
                },
            );
        }
    }
}

/// I7: what is reserved is reserved for this role or one above it.
pub(crate) fn usable(resources: &[Resource], role: &str) -> Result<(), String> {
    let foreign = resources.iter().find(|resource| {
        let owner = resource.reservations.last();
        let owner = owner.and_then(|last| last.role.as_deref());
        owner.is_some_and(|owner| {
            let above = role.strip_prefix(owner);
            above.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
        })
    });
    foreign.map_or(Ok(()), |resource| Err(format!("{resource:?}")))
}

impl Scheduler {
    fn forget_stream(&mut self) {
        self.wire = None;
        self.subscribed = false;
        self.offers.clear();
    }
}
