//! Tables for the rules one by one, and laws for their interplay.

mod laws;
mod life;
mod model;
mod quota;
mod rules;
mod shares;

use super::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkHandle,
    FrameworkOptions, HierarchicalDrf, Recovery, RoleSubscription,
};
use std::time::Duration;
use tepui_model::{FrameworkId, Resources, Role, Time};

fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn options(roles: &[&str]) -> FrameworkOptions {
    let roles = roles
        .iter()
        .map(|text| RoleSubscription::from(role(text)))
        .collect();
    FrameworkOptions {
        roles,
        ..FrameworkOptions::default()
    }
}

/// Times are multiples of the calendar's page, so that refusals end exactly.
fn config() -> AllocatorConfig {
    AllocatorConfig {
        agents_per_run: usize::MAX,
        coalesce: Duration::from_millis(10),
        ..AllocatorConfig::default()
    }
}

const START: Time = Time::from_secs(1_000);

fn allocator() -> HierarchicalDrf {
    HierarchicalDrf::new(config())
}

fn framework(allocator: &mut HierarchicalDrf, id: &str, roles: &[&str]) -> FrameworkHandle {
    allocator.add_framework(&FrameworkId::new(id).unwrap(), &options(roles))
}

fn agent(allocator: &mut HierarchicalDrf, total: &str) -> AgentHandle {
    allocator.add_agent(&AgentOptions::from(resources(total)), &[])
}

fn run(allocator: &mut HierarchicalDrf, now: Time) -> Vec<Allocation> {
    let mut out = Vec::new();
    allocator.allocate(now, &mut out);
    out
}

fn give_back(
    allocator: &mut HierarchicalDrf,
    now: Time,
    offer: &Allocation,
    part: &str,
    why: Recovery,
) {
    allocator.recover(
        now,
        offer.agent,
        offer.framework,
        &offer.role,
        &resources(part),
        why,
    );
}

fn texts(offers: &[Allocation]) -> Vec<String> {
    offers
        .iter()
        .map(|offer| offer.resources.to_string())
        .collect()
}

fn refuse(seconds: u64) -> Recovery {
    Recovery::Declined {
        refuse: Duration::from_secs(seconds),
    }
}
