//! The allocator alone, through its trait.

use std::collections::HashMap;
use std::time::Duration;

use tepui_master_core::allocator::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkHandle,
    FrameworkOptions, HierarchicalDrf, Recovery,
};
use tepui_model::{FrameworkId, Role, Time};

use super::load::{AGENT, Made, Plan, Subject};

pub(super) struct Bare {
    allocator: Box<dyn Allocator>,
    agent: AgentOptions,
    agents: HashMap<AgentHandle, usize>,
    frameworks: Vec<FrameworkHandle>,
    framework_numbers: HashMap<FrameworkHandle, usize>,
    decisions: Vec<Allocation>,
    held_back: bool,
}

impl Bare {
    fn give_back(&mut self, now: Time, held: &Allocation, why: Recovery) {
        let Allocation {
            framework,
            role,
            agent,
            resources,
        } = held;
        self.allocator
            .recover(now, *agent, *framework, role, resources, why);
    }
}

impl Subject for Bare {
    type Offer = Allocation;
    type Task = (usize, Allocation);

    fn new(_: &Plan) -> Self {
        Self {
            allocator: Box::new(HierarchicalDrf::new(AllocatorConfig::default())),
            agent: AgentOptions::from(AGENT.parse::<tepui_model::Resources>().expect("valid")),
            agents: HashMap::new(),
            frameworks: Vec::new(),
            framework_numbers: HashMap::new(),
            decisions: Vec::new(),
            held_back: false,
        }
    }

    fn add_framework(&mut self, index: usize, role: usize) {
        let role = Role::new(format!("role-{role}")).expect("valid");
        let options = FrameworkOptions {
            roles: vec![role.into()],
            ..FrameworkOptions::default()
        };
        let id = FrameworkId::new(format!("framework-{index:05}")).expect("valid");
        let handle = self.allocator.add_framework(&id, &options);
        self.frameworks.push(handle);
        self.framework_numbers.insert(handle, index);
    }

    fn add_agent(&mut self, index: usize) {
        let handle = self.allocator.add_agent(&self.agent, &[]);
        self.agents.insert(handle, index);
    }

    fn hold_back(&mut self, held_back: bool) {
        self.held_back = held_back;
    }

    fn suppress(&mut self, framework: usize) {
        self.allocator.suppress(self.frameworks[framework], &[]);
    }

    fn revive(&mut self, framework: usize) {
        self.allocator.revive(self.frameworks[framework], &[]);
    }

    fn offers(&mut self, now: Time, out: &mut Vec<Made<Allocation>>) -> bool {
        let allocator = &mut self.allocator;
        let due = allocator.has_work() || allocator.next_deadline().is_some_and(|at| at <= now);
        if self.held_back || !due {
            return false;
        }
        allocator.allocate(now, &mut self.decisions);
        let made = self.decisions.drain(..).map(|offer| Made {
            framework: self.framework_numbers[&offer.framework],
            agent: self.agents[&offer.agent],
            offer,
        });
        out.extend(made);
        self.allocator.has_work()
    }

    fn accept(&mut self, _: Time, offer: Made<Allocation>) -> (usize, Allocation) {
        (offer.agent, offer.offer)
    }

    fn decline(&mut self, now: Time, offer: Made<Allocation>, refuse: Duration) {
        self.give_back(now, &offer.offer, Recovery::Declined { refuse });
    }

    fn finish(&mut self, now: Time, (agent, task): (usize, Allocation)) -> usize {
        self.give_back(now, &task, Recovery::Freed);
        agent
    }
}
