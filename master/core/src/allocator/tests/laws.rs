//! The allocator against a slow model that remembers everything and is obviously right.
//!
//! After each step:
//! - I1: what is held on an agent is contained in its total, unless the agent was shrunk below what was in use;
//! - an offer goes to a live subscription, within its rights (reservations, capabilities, constraints, whitelist, minimal offer), and is
//!   no subset of what it has last refused there;
//! - it goes to whoever has the lowest share among those who may have it and want it, by the whole tree of roles;
//! - when there is no work left, nobody wants anything that is free.

use super::super::{
    AgentAttributes, AgentOptions, Allocator, Constraint, FrameworkCapabilities, HierarchicalDrf,
    Predicate, Recovery, RoleConstraints, Selector,
};
use super::model::{Model, ModelAgent, ModelFramework, Refused};
use super::{config, options, resources, role};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tepui_model::resources::Kind;
use tepui_model::{FrameworkId, Quantities, Role, Time};

const ROLES: [&str; 5] = ["*", "eng", "eng/web", "eng/web/x", "ops"];
const TOTALS: [&str; 6] = [
    "cpus:4;mem:400",
    "cpus:8;mem:400;ports:[1-20]",
    "cpus:2;mem:800;cpus(eng):2;mem(eng):200",
    "cpus:1;cpus(ops):2;mem(ops):300;cpus(eng/web):1",
    "cpus:4;mem:100;gpus:1",
    "mem(eng/web/x):100",
];
const ROLE_SETS: [&[&str]; 7] = [
    &["*"],
    &["eng"],
    &["eng/web"],
    &["ops"],
    &["eng/web/x", "ops"],
    &["eng", "eng/web"],
    &["*", "ops"],
];
const WEIGHTS: [f64; 3] = [0.5, 1.0, 3.0];
const HOSTS: usize = 4;
const CONSTRAINTS: usize = 4;
const WHITELISTS: usize = 3;

/// The n-th set of constraints; the first is none.
fn constraints(index: usize) -> Option<Arc<RoleConstraints>> {
    let host = |predicate: fn(String) -> Predicate, value: &str| Constraint {
        selector: Selector::Hostname,
        predicate: predicate(value.to_owned()),
    };
    let rack = |predicate| Constraint {
        selector: Selector::Named("rack".to_owned()),
        predicate,
    };
    let groups = match index {
        0 => return None,
        1 => vec![vec![host(Predicate::TextEquals, "h1")]],
        2 => vec![vec![
            host(Predicate::TextNotEquals, "h1"),
            rack(Predicate::Exists),
        ]],
        _ => vec![
            vec![rack(Predicate::NotExists)],
            vec![host(Predicate::TextEquals, "h0")],
        ],
    };
    Some(Arc::new(RoleConstraints(groups)))
}

/// The attributes of the n-th host; two of them have a rack.
fn attributes(host: usize) -> AgentAttributes {
    let rack = host
        .is_multiple_of(2)
        .then(|| ("rack".to_owned(), Some("r".to_owned())));
    AgentAttributes {
        hostname: format!("h{host}"),
        fault_domain: None,
        named: rack.into_iter().collect(),
    }
}

fn whitelist(index: usize) -> Option<BTreeSet<String>> {
    match index {
        0 => None,
        1 => Some(BTreeSet::new()),
        _ => Some(BTreeSet::from(["h0".to_owned(), "h3".to_owned()])),
    }
}

#[derive(Clone, Debug)]
enum Step {
    AddFramework {
        roles: usize,
        gpus: bool,
        constraints: usize,
    },
    UpdateFramework {
        framework: usize,
        roles: usize,
        constraints: usize,
    },
    RemoveFramework {
        framework: usize,
    },
    FrameworkActive {
        framework: usize,
        active: bool,
    },
    Suppress {
        framework: usize,
    },
    Revive {
        framework: usize,
    },
    AddAgent {
        total: usize,
        host: usize,
    },
    UpdateAgent {
        agent: usize,
        total: usize,
        host: usize,
    },
    Whitelist(usize),
    RemoveAgent {
        agent: usize,
    },
    AgentActive {
        agent: usize,
        active: bool,
    },
    Recover {
        holding: usize,
        half: bool,
        why: Recovery,
    },
    SetWeight {
        role: usize,
        weight: usize,
    },
    Pass {
        ticks: u64,
    },
    Allocate,
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0usize..8;
    let why = prop_oneof![
        Just(Recovery::Freed),
        Just(Recovery::Leftover {
            refuse: Duration::ZERO
        }),
        Just(Recovery::Declined {
            refuse: Duration::ZERO
        }),
        Just(Recovery::Declined {
            refuse: Duration::from_secs(2)
        }),
        Just(Recovery::Declined {
            refuse: Duration::from_secs(1000)
        }),
    ];
    prop_oneof![
        3 => (0..ROLE_SETS.len(), any::<bool>(), 0..CONSTRAINTS).prop_map(|(roles, gpus, constraints)| Step::AddFramework { roles, gpus, constraints }),
        1 => (one.clone(), 0..ROLE_SETS.len(), 0..CONSTRAINTS).prop_map(|(framework, roles, constraints)| Step::UpdateFramework { framework, roles, constraints }),
        1 => one.clone().prop_map(|framework| Step::RemoveFramework { framework }),
        1 => (one.clone(), any::<bool>()).prop_map(|(framework, active)| Step::FrameworkActive { framework, active }),
        1 => one.clone().prop_map(|framework| Step::Suppress { framework }),
        1 => one.clone().prop_map(|framework| Step::Revive { framework }),
        3 => (0..TOTALS.len(), 0..HOSTS).prop_map(|(total, host)| Step::AddAgent { total, host }),
        1 => (one.clone(), 0..TOTALS.len(), 0..HOSTS).prop_map(|(agent, total, host)| Step::UpdateAgent { agent, total, host }),
        1 => (0..WHITELISTS).prop_map(Step::Whitelist),
        1 => one.clone().prop_map(|agent| Step::RemoveAgent { agent }),
        1 => (one.clone(), any::<bool>()).prop_map(|(agent, active)| Step::AgentActive { agent, active }),
        8 => (0usize..20, any::<bool>(), why).prop_map(|(holding, half, why)| Step::Recover { holding, half, why }),
        1 => (0..ROLES.len(), 0..WEIGHTS.len()).prop_map(|(role, weight)| Step::SetWeight { role, weight }),
        2 => (1u64..150).prop_map(|ticks| Step::Pass { ticks }),
        6 => Just(Step::Allocate),
    ]
}

struct World {
    allocator: HierarchicalDrf,
    model: Model,
    names: u64,
}

fn pick<K: Copy + Ord, V>(map: &BTreeMap<K, V>, index: usize) -> Option<K> {
    map.keys().nth(index % map.len().max(1)).copied()
}

impl World {
    fn do_step(&mut self, step: &Step) {
        let (allocator, model) = (&mut self.allocator, &mut self.model);
        match *step {
            Step::AddFramework {
                roles,
                gpus,
                constraints: index,
            } => {
                if model.frameworks.len() >= 6 {
                    return;
                }
                // Names out of the order of arrival, so that ties show.
                self.names += 1;
                let id = FrameworkId::new(format!("f{}", self.names * 7 % 10)).unwrap();
                let mut options = options(ROLE_SETS[roles]);
                options.capabilities = FrameworkCapabilities {
                    gpu_resources: gpus,
                    ..FrameworkCapabilities::default()
                };
                for wanted in &mut options.roles {
                    wanted.constraints = constraints(index);
                }
                let handle = allocator.add_framework(&id, &options);
                let roles = options
                    .roles
                    .iter()
                    .map(|wanted| (wanted.role.clone(), (true, false)))
                    .collect();
                model.frameworks.insert(
                    handle,
                    ModelFramework {
                        id,
                        active: true,
                        gpus,
                        constraints: constraints(index),
                        roles,
                    },
                );
            }
            Step::UpdateFramework {
                framework,
                roles,
                constraints: index,
            } => {
                let Some(handle) = pick(&model.frameworks, framework) else {
                    return;
                };
                let mut options = options(ROLE_SETS[roles]);
                options.capabilities.gpu_resources = model.frameworks[&handle].gpus;
                for wanted in &mut options.roles {
                    wanted.constraints = constraints(index);
                }
                allocator.update_framework(handle, &options);
                let books = model.frameworks.get_mut(&handle).unwrap();
                books.constraints = constraints(index);
                let wanted: Vec<Role> = options
                    .roles
                    .iter()
                    .map(|wanted| wanted.role.clone())
                    .collect();
                let left: Vec<Role> = books
                    .roles
                    .keys()
                    .filter(|role| !wanted.contains(role))
                    .cloned()
                    .collect();
                for role in &left {
                    books.roles.insert(role.clone(), (false, false));
                }
                let mut stirred = left.clone();
                for role in wanted {
                    if books.roles.insert(role.clone(), (true, false)) != Some((true, false)) {
                        stirred.push(role);
                    }
                }
                model.forget_refusals(handle, &stirred);
                // A subscription that has ended and holds nothing is gone, and starts from nothing if it comes again.
                for role in left {
                    if !model
                        .held
                        .iter()
                        .any(|(_, who, _)| *who == (handle, role.clone()))
                    {
                        model.served.remove(&(handle, role));
                    }
                }
            }
            Step::RemoveFramework { framework } => {
                let Some(handle) = pick(&model.frameworks, framework) else {
                    return;
                };
                allocator.remove_framework(handle);
                for (agent, (holder, _), _) in &model.held {
                    if *holder == handle {
                        model.agents.get_mut(agent).unwrap().gains += 1;
                    }
                }
                model.frameworks.remove(&handle);
                model.held.retain(|(_, (holder, _), _)| *holder != handle);
                model.refused.retain(|(_, who, _), _| *who != handle);
                model.served.retain(|(who, _), _| *who != handle);
            }
            Step::FrameworkActive { framework, active } => {
                let Some(handle) = pick(&model.frameworks, framework) else {
                    return;
                };
                model.frameworks.get_mut(&handle).unwrap().active = active;
                if active {
                    allocator.activate_framework(handle);
                    model.refused.retain(|(_, who, _), _| *who != handle);
                } else {
                    allocator.deactivate_framework(handle);
                }
            }
            Step::Suppress { framework } | Step::Revive { framework } => {
                let Some(handle) = pick(&model.frameworks, framework) else {
                    return;
                };
                let suppress = matches!(step, Step::Suppress { .. });
                let books = model.frameworks.get_mut(&handle).unwrap();
                let mut roles: Vec<Role> = Vec::new();
                for (role, (subscribed, suppressed)) in &mut books.roles {
                    if *subscribed {
                        *suppressed = suppress;
                        roles.push(role.clone());
                    }
                }
                if suppress {
                    allocator.suppress(handle, &[]);
                } else {
                    allocator.revive(handle, &roles);
                    model.forget_refusals(handle, &roles);
                }
            }
            Step::AddAgent { total, host } => {
                if model.agents.len() >= 6 {
                    return;
                }
                let total = resources(TOTALS[total]);
                let options = AgentOptions {
                    attributes: attributes(host),
                    ..AgentOptions::from(total.clone())
                };
                let handle = allocator.add_agent(&options, &[]);
                let agent = ModelAgent {
                    total,
                    attributes: attributes(host),
                    active: true,
                    gains: 0,
                    delayed_until: None,
                    was_shrunk: false,
                };
                model.agents.insert(handle, agent);
            }
            Step::Whitelist(index) => {
                allocator.set_whitelist(whitelist(index));
                model.whitelist = whitelist(index);
            }
            Step::UpdateAgent { agent, total, host } => {
                let Some(handle) = pick(&model.agents, agent) else {
                    return;
                };
                let total = resources(TOTALS[total]);
                let options = AgentOptions {
                    attributes: attributes(host),
                    ..AgentOptions::from(total.clone())
                };
                allocator.update_agent(handle, &options);
                let held = model.held_on(handle);
                let books = model.agents.get_mut(&handle).unwrap();
                books.was_shrunk = !total.contains(&held);
                books.total = total;
                books.attributes = attributes(host);
                books.gains += 1;
            }
            Step::RemoveAgent { agent } => {
                let Some(handle) = pick(&model.agents, agent) else {
                    return;
                };
                allocator.remove_agent(handle);
                model.agents.remove(&handle);
                model.held.retain(|(on, ..)| *on != handle);
                model.refused.retain(|(on, ..), _| *on != handle);
                self.forget_ended();
            }
            Step::AgentActive { agent, active } => {
                let Some(handle) = pick(&model.agents, agent) else {
                    return;
                };
                model.agents.get_mut(&handle).unwrap().active = active;
                if active {
                    allocator.activate_agent(handle)
                } else {
                    allocator.deactivate_agent(handle)
                }
            }
            Step::Recover { holding, half, why } => self.recover(holding, half, why),
            Step::SetWeight {
                role: index,
                weight,
            } => {
                allocator.set_weight(&role(ROLES[index]), WEIGHTS[weight]);
                model.weights.insert(role(ROLES[index]), WEIGHTS[weight]);
            }
            Step::Pass { ticks } => model.now += Duration::from_millis(10 * ticks),
            Step::Allocate => self.allocate(),
        }
    }

    fn recover(&mut self, holding: usize, half: bool, why: Recovery) {
        let (allocator, model) = (&mut self.allocator, &mut self.model);
        if model.held.is_empty() {
            return;
        }
        let index = holding % model.held.len();
        let (agent, who, held) = model.held.swap_remove(index);
        let back = if half {
            held.filter(Kind::is_reserved)
        } else {
            held.clone()
        };
        let kept = held.checked_sub(&back).unwrap();
        if !kept.is_empty() {
            model.held.push((agent, who.clone(), kept));
        }
        if back.is_empty() {
            return;
        }
        allocator.recover(model.now, agent, who.0, &who.1, &back, why);
        let books = model.agents.get_mut(&agent).unwrap();
        let mut refuse = None;
        match why {
            Recovery::Freed => books.gains += 1,
            Recovery::Leftover { .. } => {
                if books.delayed_until.is_none_or(|until| until <= model.now) {
                    books.delayed_until = Some(model.now + Duration::from_millis(10));
                }
            }
            Recovery::Declined { refuse: duration } => refuse = Some(duration),
        }
        if let Some(duration) = refuse {
            model
                .refused
                .entry((agent, who.0, who.1.clone()))
                .or_default()
                .push(Refused {
                    resources: back,
                    expiry: model.now + duration.max(Duration::from_secs(1)),
                    gains: duration.is_zero().then_some(books.gains),
                });
        }
        self.forget_ended();
    }

    /// Subscriptions that have ended and hold nothing any more are gone, with their refusals.
    fn forget_ended(&mut self) {
        let model = &mut self.model;
        for (handle, framework) in &model.frameworks {
            for (role, (subscribed, _)) in &framework.roles {
                let who = (*handle, role.clone());
                if !subscribed && !model.held.iter().any(|(_, holder, _)| *holder == who) {
                    model.served.remove(&who);
                    model.refused.retain(|(_, framework, refused), _| {
                        framework != handle || refused != role
                    });
                }
            }
        }
    }

    fn allocate(&mut self) {
        let mut runs = 0;
        loop {
            let mut offers = Vec::new();
            self.allocator.allocate(self.model.now, &mut offers);
            self.model.check_offers(&offers);
            if !self.allocator.has_work() {
                break;
            }
            runs += 1;
            assert!(runs < 100, "ends");
        }
        self.model.check_settled();
        for agent in self.model.agents.keys() {
            assert_eq!(self.allocator.free(*agent), Some(&self.model.free(*agent)));
        }
        for who in self.model.live() {
            let held = self
                .model
                .held
                .iter()
                .filter(|(_, holder, _)| *holder == who);
            let sum = held.fold(Quantities::new(), |mut sum, (.., held)| {
                sum += &held.quantities();
                sum
            });
            assert_eq!(self.allocator.held_by(who.0, &who.1), sum);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_allocator_keeps_its_promises(steps in prop::collection::vec(step(), 1..80), seed in any::<u64>()) {
        let config = super::super::AllocatorConfig { seed, agents_per_run: 3, ..config() };
        let allocator = HierarchicalDrf::new(config);
        let model = Model { now: Time::from_secs(1_000), ..Model::default() };
        let mut world = World { allocator, model, names: 0 };
        for step in &steps {
            world.do_step(step);
        }
        world.allocate();
    }
}
