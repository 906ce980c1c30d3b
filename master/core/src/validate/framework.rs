//! What frameworks tell about themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tepui_model::{Quantities, Role};
use tepui_proto::convert::quantities_from_wire;
use tepui_proto::mesos::FrameworkInfo;
use tepui_proto::mesos::scheduler::OfferConstraints;

use super::constraints::Constraints;
use crate::config::Config;
use crate::state::Capabilities;

/// Everything but roles and constraints.
pub(crate) fn check_framework(info: &FrameworkInfo, config: &Config) -> Result<(), String> {
    let timeout = info.failover_timeout.unwrap_or(0.0);
    let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
    if !Duration::try_from_secs_f64(timeout).is_ok_and(|timeout| timeout <= longest) {
        return Err(format!(
            "The framework failover_timeout ({timeout}) is invalid"
        ));
    }
    if !config.root_submissions && info.user == "root" {
        return Err(
            "User 'root' is not allowed to run frameworks without root submissions enabled"
                .to_owned(),
        );
    }
    for (role, filters) in &info.offer_filters {
        Role::new(role)
            .map_err(|error| format!("Invalid role '{role}' in offer_filters: {error}"))?;
        for quantities in filters
            .min_allocatable_resources
            .iter()
            .flat_map(|minimum| &minimum.quantities)
        {
            quantities_from_wire(&quantities.quantities)
                .map_err(|error| format!("Invalid offer filters of role '{role}': {error}"))?;
        }
    }
    Ok(())
}

/// The roles, sorted and unique.
pub(crate) fn framework_roles(info: &FrameworkInfo, config: &Config) -> Result<Vec<Role>, String> {
    let named: Vec<&str> = if Capabilities::of(info).multi_role {
        if info.role.is_some() {
            return Err(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                    .to_owned(),
            );
        }
        info.roles.iter().map(String::as_str).collect()
    } else {
        if !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned());
        }
        vec![info.role.as_deref().unwrap_or("*")]
    };
    if named.len() > config.max_roles_per_framework {
        return Err(format!(
            "A framework may have at most {} roles",
            config.max_roles_per_framework
        ));
    }
    let mut roles = BTreeSet::new();
    for name in named {
        let role = Role::new(name).map_err(|error| error.to_string())?;
        if config
            .roles
            .as_ref()
            .is_some_and(|known| name != "*" && !known.iter().any(|known| known == name))
        {
            return Err(format!(
                "Role '{name}' is not present in the master's --roles"
            ));
        }
        if !roles.insert(role) {
            return Err(format!(
                "'FrameworkInfo.roles' contains the duplicate item '{name}'"
            ));
        }
    }
    Ok(roles.into_iter().collect())
}

/// A subset of the roles.
pub(crate) fn suppressed_roles(named: &[String], roles: &[Role]) -> Result<BTreeSet<Role>, String> {
    let own = |name: &String| {
        roles
            .iter()
            .find(|role| role.as_str() == name)
            .cloned()
            .ok_or_else(|| {
                format!("Suppressed role '{name}' is not contained in the list of roles")
            })
    };
    named.iter().map(own).collect()
}

/// Constraints of the framework's roles, compiled.
pub(crate) fn check_constraints(
    constraints: Option<OfferConstraints>,
    roles: &[Role],
    config: &Config,
) -> Result<Option<Arc<Constraints>>, String> {
    let compiled = |wire| Constraints::new(wire, roles, config.constraint_limits);
    Ok(constraints.map(compiled).transpose()?.map(Arc::new))
}

/// The framework's own notion of a minimal offer, by role. The values were checked.
pub(crate) fn min_allocatable(info: &FrameworkInfo) -> BTreeMap<Role, Vec<Quantities>> {
    let of_role = |filters: &tepui_proto::mesos::OfferFilters| {
        let minimum = filters.min_allocatable_resources.as_ref()?;
        Some(
            minimum
                .quantities
                .iter()
                .filter_map(|quantities| quantities_from_wire(&quantities.quantities).ok())
                .collect(),
        )
    };
    info.offer_filters
        .iter()
        .filter_map(|(role, filters)| Some((Role::new(role).ok()?, of_role(filters)?)))
        .collect()
}
