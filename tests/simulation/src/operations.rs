//! Operations on agents' resources: what frameworks and operators may ask for, and what frameworks hear of it (I12).

use std::collections::BTreeMap;

use bytes::Bytes;
use tepui_model::Time;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::{self, Type as Kind};
use tepui_proto::mesos::resource::disk_info::Persistence;
use tepui_proto::mesos::resource::reservation_info::Type as ReservationType;
use tepui_proto::mesos::resource::{DiskInfo, ReservationInfo, SharedInfo};
use tepui_proto::mesos::scheduler::Call;
use tepui_proto::mesos::scheduler::call::{self, Type, reconcile_operations};
use tepui_proto::mesos::volume::Mode;
use tepui_proto::mesos::{
    AgentId, Offer, OperationId, OperationState, OperationStatus, Resource, Volume, value,
};
use tepui_proto::tepui::v1::OperationUpdate;

use crate::agents::Machine;
use crate::frameworks::call;
use crate::invariants::Invariant;
use crate::random::Random;
use crate::world::{Happening, Simulation};

/// An operation with an id, as its framework knows it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) agent: String,
    pub(crate) since: Time,
    /// How it ended, if that was told.
    pub(crate) ended: Option<OperationState>,
    /// Nobody knows of it: it was lost with a leader, or with its agent.
    pub(crate) lost: bool,
}

/// What left an agent about operations with an id: by uuid, the framework, the id, and the terminal status.
pub(crate) type Told = BTreeMap<Bytes, (String, String, String, OperationState, Bytes)>;

pub(crate) fn is_plain(resource: &Resource) -> bool {
    resource.reservations.is_empty() && resource.disk.is_none() && resource.revocable.is_none()
}

fn is_volume(resource: &Resource) -> bool {
    let disk = resource.disk.as_ref();
    disk.is_some_and(|disk| disk.persistence.is_some())
}

fn role_of(resource: &Resource) -> Option<&str> {
    resource
        .reservations
        .last()
        .and_then(|last| last.role.as_deref())
}

fn amount(resource: &Resource) -> f64 {
    resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value)
}

fn of(resource: &Resource, value: f64) -> Resource {
    Resource {
        scalar: Some(value::Scalar { value }),
        allocation_info: None,
        ..resource.clone()
    }
}

fn operation(kind: Kind) -> Operation {
    Operation {
        r#type: Some(kind as i32),
        ..Operation::default()
    }
}

fn reserve(resource: Resource) -> Operation {
    Operation {
        reserve: Some(operation::Reserve {
            resources: vec![resource],
            ..Default::default()
        }),
        ..operation(Kind::Reserve)
    }
}

fn create(volume: Resource) -> Operation {
    Operation {
        create: Some(operation::Create {
            volumes: vec![volume],
        }),
        ..operation(Kind::Create)
    }
}

fn reserved(resource: &Resource, value: f64, role: &str) -> Resource {
    let mut resource = of(resource, value);
    resource.role = None;
    resource.reservations.push(ReservationInfo {
        r#type: Some(ReservationType::Dynamic as i32),
        role: Some(role.to_owned()),
        ..ReservationInfo::default()
    });
    resource
}

/// The same with another stack of reservations, for an operator.
fn reserve_anew(resource: &Resource, value: f64, random: &mut Random) -> Operation {
    let source = of(resource, value);
    let mut bare = source.clone();
    // Levels that are given up; static ones there are none.
    let kept = random.below(bare.reservations.len() + 1);
    bare.reservations.truncate(kept);
    let last = bare.reservations.last();
    let last = last
        .and_then(|level| level.role.clone())
        .unwrap_or_default();
    let mut after = match (last.as_str(), random.below(3)) {
        ("", 0) => reserved(&bare, value, "web"),
        ("", 1) => reserved(&bare, value, "batch"),
        ("", _) => reserved(&reserved(&bare, value, "web"), value, "web/shop"),
        ("web", _) => reserved(&bare, value, "web/shop"),
        // A refinement of what has none is refused, as it must be.
        (other, _) => reserved(&bare, value, &format!("{other}/sub")),
    };
    after.role = None;
    Operation {
        reserve: Some(operation::Reserve {
            source: vec![source],
            resources: vec![after],
        }),
        ..operation(Kind::Reserve)
    }
}

fn volume(disk: &Resource, value: f64, name: &str, shared: bool) -> Resource {
    Resource {
        shared: shared.then(SharedInfo::default),
        disk: Some(Box::new(DiskInfo {
            persistence: Some(Persistence {
                id: name.to_owned(),
                principal: None,
            }),
            volume: Some(Volume {
                container_path: "data".to_owned(),
                mode: Mode::Rw as i32,
                ..Volume::default()
            }),
            ..DiskInfo::default()
        })),
        ..of(disk, value)
    }
}

/// Who does something, and in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A framework that takes shared volumes, or not.
    Framework {
        shares: bool,
    },
    Operator,
}

/// What could be done with these resources on behalf of a role; a new volume gets this name.
pub(crate) fn choices(
    who: Who,
    resources: &[Resource],
    role: &str,
    name: &str,
    random: &mut Random,
) -> Vec<Operation> {
    let mut all = Vec::new();
    for resource in resources {
        let some: f64 = match resource.name.as_str() {
            "cpus" => [0.25, 0.5, 1.0][random.below(3)],
            _ => [32.0, 64.0, 100.0][random.below(3)],
        };
        let some = some.min(amount(resource));
        let disk = resource.name == "disk";
        if some <= 0.0 {
            continue;
        }
        if who == Who::Operator && !is_volume(resource) && random.percent(50) {
            all.push(reserve_anew(resource, some, random));
        }
        let shared = who != (Who::Framework { shares: false }) && random.percent(40);
        if is_plain(resource) && role != "*" {
            all.push(reserve(reserved(resource, some, role)));
        } else if is_volume(resource) {
            let volumes = vec![of(resource, amount(resource))];
            all.push(Operation {
                destroy: Some(operation::Destroy { volumes }),
                ..operation(Kind::Destroy)
            });
            if let Some(free) = resources.iter().find(|other| {
                other.name == "disk" && other.disk.is_none() && role_of(other) == role_of(resource)
            }) {
                all.push(Operation {
                    grow_volume: Some(Box::new(operation::GrowVolume {
                        volume: of(resource, amount(resource)),
                        addition: of(free, amount(free).min(10.0)),
                    })),
                    ..operation(Kind::GrowVolume)
                });
            }
            if amount(resource) > 20.0 {
                all.push(Operation {
                    shrink_volume: Some(Box::new(operation::ShrinkVolume {
                        volume: of(resource, amount(resource)),
                        subtract: value::Scalar { value: 10.0 },
                    })),
                    ..operation(Kind::ShrinkVolume)
                });
            }
        } else if role_of(resource).is_some() {
            let resources = vec![of(resource, some)];
            all.push(Operation {
                unreserve: Some(operation::Unreserve { resources }),
                ..operation(Kind::Unreserve)
            });
            if disk {
                all.push(create(volume(resource, some, name, shared)));
            }
        }
    }
    all
}

impl Simulation {
    /// What a framework does with an offer before it launches, and what of the offer it leaves for that.
    pub(crate) fn plan_operations(
        &mut self,
        framework: usize,
        offer: &Offer,
    ) -> (Vec<Operation>, Vec<Resource>) {
        let mut left = offer.resources.clone();
        let mut plan = Vec::new();
        let percent = self.scenario.operations_percent;
        if !self.trouble() || !self.random.percent(percent) {
            return (plan, left);
        }
        let role = offer
            .allocation_info
            .as_ref()
            .and_then(|info| info.role.clone());
        let role = role.unwrap_or_default();
        let number = self.schedulers[framework].operations.len();
        let name = format!("f{framework}-v{number}-{}", self.schedulers[framework].life);
        let shares = self.schedulers[framework].shares;
        let who = Who::Framework { shares };
        let all = choices(who, &offer.resources, &role, &name, &mut self.random);
        let Some(first) = all.get(self.random.below(all.len())).cloned() else {
            return (plan, left);
        };
        // What it works on is left to it.
        left.retain(|resource| is_plain(resource) && resource.name != "disk");
        let made = first.reserve.as_ref().map(|made| made.resources[0].clone());
        if let Some(made) = &made {
            for resource in left.iter_mut().filter(|it| it.name == made.name) {
                *resource = of(resource, amount(resource) - amount(made));
            }
        }
        plan.push(first);
        match made {
            Some(made) if made.name == "disk" && self.random.percent(60) => {
                let shared = shares && self.random.percent(40);
                let made = volume(&made, amount(&made), &name, shared);
                plan.push(create(made.clone()));
                if self.random.percent(60) {
                    left.push(made);
                }
            }
            Some(made) if self.random.percent(50) => left.push(made),
            _ => {}
        }
        for operation in &mut plan {
            if self.random.percent(70) {
                let number = self.schedulers[framework].operations.len();
                let id = format!("f{framework}-o{number}");
                operation.id = Some(OperationId { value: id.clone() });
                let job = Job {
                    agent: offer.agent_id.value.clone(),
                    since: self.now,
                    ended: None,
                    lost: false,
                };
                self.schedulers[framework].operations.insert(id, job);
            }
        }
        (plan, left)
    }

    /// UPDATE_OPERATION_STATUS.
    pub(crate) fn told_operation(&mut self, framework: usize, status: OperationStatus) {
        let state = status.state();
        let Some(id) = status.operation_id.clone() else {
            return;
        };
        let Some(job) = self.schedulers[framework].operations.get_mut(&id.value) else {
            return self.breach(
                Invariant::Operations,
                format!(
                    "framework {framework} hears of operation {}, which it never asked for",
                    id.value
                ),
            );
        };
        match state {
            OperationState::OperationFinished
            | OperationState::OperationFailed
            | OperationState::OperationDropped
            | OperationState::OperationError => {
                let first = *job.ended.get_or_insert(state);
                if first != state {
                    return self.breach(
                        Invariant::Operations,
                        format!("operation {} is {state:?}, after {first:?}", id.value),
                    );
                }
            }
            OperationState::OperationUnknown | OperationState::OperationGoneByOperator => {
                job.lost = true;
            }
            _ => {}
        }
        let (Some(uuid), Some(agent)) = (status.uuid, status.agent_id) else {
            return;
        };
        let lost = self.scenario.lost_acknowledgements_percent;
        if self.trouble() && self.random.percent(lost) {
            return;
        }
        let life = self.schedulers[framework].life;
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id: Some(agent),
            resource_provider_id: None,
            uuid: uuid.value,
            operation_id: id,
        };
        let call = Call {
            acknowledge_operation_status: Some(acknowledge),
            ..call(Type::AcknowledgeOperationStatus)
        };
        let slow = if self.trouble() && self.random.percent(10) {
            20_000
        } else {
            20
        };
        let call = Box::new(call);
        self.after(
            0,
            slow,
            Happening::Say {
                framework,
                life,
                call,
            },
        );
    }

    /// Asks about every operation whose end was not told.
    pub(crate) fn reconcile_operations(&mut self, framework: usize) {
        let long = std::time::Duration::from_secs(1);
        let operations: Vec<_> = self.schedulers[framework]
            .operations
            .iter()
            .filter(|(_, job)| job.ended.is_none() && !job.lost && job.since + long <= self.now)
            .map(|(id, job)| reconcile_operations::Operation {
                operation_id: OperationId { value: id.clone() },
                agent_id: Some(AgentId {
                    value: job.agent.clone(),
                }),
                resource_provider_id: None,
            })
            .collect();
        if !operations.is_empty() {
            let asked = call::ReconcileOperations { operations };
            self.say(
                framework,
                Call {
                    reconcile_operations: Some(asked),
                    ..call(Type::ReconcileOperations)
                },
            );
        }
    }

    /// An agent tells what became of an operation: once and for all (I12).
    pub(crate) fn operation_leaves_agent(&mut self, agent: usize, update: &OperationUpdate) {
        let status = &update.latest_status;
        let (Some(uuid), Some(id)) = (&status.uuid, &status.operation_id) else {
            return;
        };
        let (state, uuid) = (status.state(), uuid.value.clone());
        let framework = update.framework_id.as_ref().map(|id| id.value.clone());
        let on = self.machines[agent]
            .ids
            .last()
            .map(|id| id.as_str().to_owned());
        let told = (
            framework.unwrap_or_default(),
            id.value.clone(),
            on.unwrap_or_default(),
            state,
            uuid.clone(),
        );
        let first = self
            .operated
            .entry(update.operation_uuid.value.clone())
            .or_insert(told);
        if (first.3, &first.4) != (state, &uuid) {
            let what = format!(
                "operation {} has ended as {:?}, and agent {agent} tells {state:?}",
                id.value, first.3
            );
            self.breach(Invariant::Operations, what);
        }
    }

    /// I12, once the cluster is in peace.
    pub(crate) fn operations_unsettled(&self) -> Option<String> {
        let i12 = Invariant::Operations;
        for scheduler in &self.schedulers {
            let silent = scheduler.operations.iter().find(|(_, job)| {
                let there = |machine: &Machine| {
                    let id = machine.ids.last();
                    id.is_some_and(|id| id.as_str() == job.agent)
                };
                job.ended.is_none() && !job.lost && self.machines.iter().any(there)
            });
            if let Some((id, _)) = silent {
                return Some(format!(
                    "{i12}: the framework has not heard what became of {id}"
                ));
            }
        }
        for (framework, id, agent, state, _) in self.operated.values() {
            let Some(scheduler) = self
                .schedulers
                .iter()
                .find(|scheduler| scheduler.id.as_ref() == Some(framework))
            else {
                continue;
            };
            // The master that removed a framework acknowledged for it; a later leader may take the framework back, and knows nothing.
            if self.torn_down.contains(framework.as_str()) {
                continue;
            }
            let heard = scheduler.operations.get(id).and_then(|job| job.ended);
            if heard != Some(*state) && !self.is_lost(agent) {
                return Some(format!(
                    "{i12}: {id} is {state:?}, and its framework has heard {heard:?}"
                ));
            }
        }
        for agent in self.masters[self.leader].agents.values() {
            let machine = self
                .machines
                .iter()
                .find(|machine| machine.ids.last() == Some(&agent.id));
            let whole = machine.map(|machine| machine.total.clone() + &machine.lent);
            if let Some(whole) = whole.filter(|whole| *whole != *agent.total) {
                return Some(format!(
                    "{i12}: agent {} has {whole}, the master believes {}",
                    agent.id, agent.total
                ));
            }
        }
        None
    }
}
