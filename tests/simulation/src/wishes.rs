//! What frameworks want of offers, which changes while they run: roles, and constraints on agents; and whether offers are as they want
//! them (I13), by a reading of the constraints that is slow and obviously right.

use tepui_master_core::OfferSnapshot;
use tepui_proto::mesos::framework_info::{Capability, capability};
use tepui_proto::mesos::scheduler::attribute_constraint::predicate::{
    Exists, NotExists, Predicate as Wanted, TextEquals, TextNotEquals,
};
use tepui_proto::mesos::scheduler::attribute_constraint::selector::{
    PseudoattributeType, Selector as Of,
};
use tepui_proto::mesos::scheduler::attribute_constraint::{Predicate, Selector};
use tepui_proto::mesos::scheduler::call::{self, Type};
use tepui_proto::mesos::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
use tepui_proto::mesos::scheduler::{AttributeConstraint, Call, OfferConstraints};
use tepui_proto::mesos::{Attribute, FrameworkId, FrameworkInfo, value};

use crate::frameworks::{Scheduler, call};
use crate::invariants::Invariant;
use crate::ledger::machine_name;
use crate::random::Random;
use crate::scenario::Sabotage;
use crate::world::{Simulation, trace};

/// The one attribute that machines have, if they have it.
const RACK: &str = "rack";

/// Where a machine stands.
fn rack(machine: usize) -> Option<&'static str> {
    [Some("a"), Some("b"), None][machine % 3]
}

/// What an agent tells of its machine.
pub(crate) fn attributes(machine: usize) -> Vec<Attribute> {
    let rack = rack(machine).into_iter();
    rack.map(|rack| Attribute {
        name: RACK.to_owned(),
        r#type: value::Type::Text as i32,
        text: Some(value::Text {
            value: rack.to_owned(),
        }),
        ..Attribute::default()
    })
    .collect()
}

/// Roles for a framework; at least one.
pub(crate) fn roles(framework: usize, random: &mut Random) -> Vec<String> {
    let mut roles = vec![["*", "web", "batch"][random.below(3)].to_owned()];
    if random.percent(30) {
        roles.push(format!("own{framework}"));
    }
    if random.percent(20) {
        roles.push("web/shop".to_owned());
    }
    roles
}

/// Constraints for some of these roles.
pub(crate) fn constraints(roles: &[String], random: &mut Random) -> OfferConstraints {
    let constraint = |random: &mut Random| {
        let host = Of::PseudoattributeType(PseudoattributeType::Hostname as i32);
        let rack = Of::AttributeName(RACK.to_owned());
        let text = machine_name(random.below(4));
        let place = ["a", "b"][random.below(2)].to_owned();
        let (of, wanted) = match random.below(6) {
            0 => (host, Wanted::TextEquals(TextEquals { value: text })),
            1 => (host, Wanted::TextNotEquals(TextNotEquals { value: text })),
            2 => (rack, Wanted::Exists(Exists {})),
            3 => (rack, Wanted::NotExists(NotExists {})),
            4 => (rack, Wanted::TextEquals(TextEquals { value: place })),
            _ => (rack, Wanted::TextNotEquals(TextNotEquals { value: place })),
        };
        AttributeConstraint {
            selector: Selector { selector: Some(of) },
            predicate: Predicate {
                predicate: Some(wanted),
            },
        }
    };
    let mut all = OfferConstraints::default();
    for role in roles {
        if random.percent(60) {
            let groups = (0..=random.below(2)).map(|_| Group {
                attribute_constraints: (0..=random.below(2)).map(|_| constraint(random)).collect(),
            });
            let groups = RoleConstraints {
                groups: groups.collect(),
            };
            all.role_constraints.insert(role.clone(), groups);
        }
    }
    all
}

/// Whether a machine is as a framework wants it for a role.
fn admits(constraints: Option<&OfferConstraints>, role: &str, machine: usize) -> bool {
    let Some(groups) = constraints.and_then(|all| all.role_constraints.get(role)) else {
        return true;
    };
    let name = machine_name(machine);
    let holds = |constraint: &AttributeConstraint| {
        let of = constraint.selector.selector.as_ref();
        let there = match of {
            Some(Of::AttributeName(_)) => rack(machine),
            _ => Some(name.as_str()),
        };
        match constraint.predicate.predicate.as_ref() {
            Some(Wanted::Exists(_)) => there.is_some(),
            Some(Wanted::NotExists(_)) => there.is_none(),
            Some(Wanted::TextEquals(text)) => there == Some(text.value.as_str()),
            Some(Wanted::TextNotEquals(text)) => there != Some(text.value.as_str()),
            _ => false,
        }
    };
    groups
        .groups
        .iter()
        .any(|group| group.attribute_constraints.iter().all(holds))
}

impl Scheduler {
    /// What it says of itself.
    pub(crate) fn info(&self, framework: usize) -> FrameworkInfo {
        let mut capabilities = vec![
            capability::Type::MultiRole,
            capability::Type::TaskKillingState,
            capability::Type::ReservationRefinement,
        ];
        if self.partition_aware {
            capabilities.push(capability::Type::PartitionAware);
        }
        if self.shares {
            capabilities.push(capability::Type::SharedResources);
        }
        if self.borrows {
            capabilities.push(capability::Type::RevocableResources);
        }
        FrameworkInfo {
            user: "nobody".to_owned(),
            name: format!("framework{framework}"),
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

impl Simulation {
    /// UPDATE_FRAMEWORK: other roles, other constraints. Offers and tasks in roles that it had stay what they are.
    pub(crate) fn change_wishes(&mut self, framework: usize) {
        if self.schedulers[framework].id.is_none() {
            return;
        }
        let roles = roles(framework, &mut self.random);
        let constrained = self.random.percent(self.scenario.constraints_percent);
        let constraints = constrained.then(|| constraints(&roles, &mut self.random));
        let scheduler = &mut self.schedulers[framework];
        scheduler.had_roles.extend(roles.iter().cloned());
        scheduler.roles = roles;
        scheduler.constraints = constraints;
        trace!(self, "framework {framework} wants other offers");
        let scheduler = &self.schedulers[framework];
        let update = call::UpdateFramework {
            framework_info: scheduler.info(framework),
            suppressed_roles: Vec::new(),
            offer_constraints: scheduler.constraints.clone(),
        };
        let update = Call {
            update_framework: Some(Box::new(update)),
            ..call(Type::UpdateFramework)
        };
        self.say(framework, update);
    }

    /// I13: the offer that a master has made is one that its framework wants, as far as the master knows.
    pub(crate) fn check_wanted(&mut self, master: usize, offer: &OfferSnapshot) {
        let process = &self.masters[master];
        let Some(framework) = process.frameworks.get(&offer.framework) else {
            return;
        };
        let told = process.agents.get(&offer.agent);
        let told = told.map(|agent| agent.info.hostname.as_str());
        let mut all = 0..self.machines.len();
        let Some(mut machine) = all.find(|it| told == Some(&machine_name(*it))) else {
            return;
        };
        if self.scenario.sabotage == Some(Sabotage::MovesMachines) {
            machine += 1;
        }
        let role = offer.role.as_str();
        let has_role = framework.info.roles.iter().any(|own| own == role);
        if !has_role || !admits(framework.offer_constraints.as_deref(), role, machine) {
            let (id, name) = (offer.key.0, machine_name(machine));
            let what = format!(
                "master {master} offers {id} on {name} in role {role} to framework {}, which does not want that",
                offer.framework
            );
            self.breach(Invariant::Wanted, what);
        }
    }
}
