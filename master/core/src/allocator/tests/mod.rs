//! Tables for the rules one by one, and laws for their interplay.

mod laws;
mod quota;
mod rules;

use super::{AllocatorConfig, FrameworkOptions, RoleSubscription};
use std::time::Duration;
use tepui_model::{Resources, Role};

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
        coalesce: Duration::from_millis(10),
        ..AllocatorConfig::default()
    }
}
