//! Tasks, as a LAUNCH describes them.

use std::collections::BTreeSet;

use tepui_model::resources::Name;
use tepui_model::{Resources, Role};
use tepui_proto::mesos::agent_info::Capability;
use tepui_proto::mesos::agent_info::capability::Type as CapabilityType;
use tepui_proto::mesos::health_check::Type as HealthType;
use tepui_proto::mesos::{self, TaskInfo};

use super::{checks, container};

/// A health check's type may be left out where its content says it.
pub(crate) fn infer_check_type(info: &mut TaskInfo) {
    if let Some(check) = info
        .health_check
        .as_deref_mut()
        .filter(|check| check.r#type.is_none())
    {
        check.r#type = match (&check.command, &check.http) {
            (Some(_), None) => Some(HealthType::Command as i32),
            (None, Some(_)) => Some(HealthType::Http as i32),
            _ => None,
        };
    }
}

/// All that can be said of a task of a LAUNCH without knowing framework, agent and offer.
pub(crate) fn check(info: &TaskInfo) -> Result<(), String> {
    if info.command.is_some() == info.executor.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                .to_owned(),
        );
    }
    check_description(info)?;
    if share_cgroups(info) == Some(false) {
        return Err("'share_cgroups' may be set to false only in task groups".to_owned());
    }
    Ok(())
}

/// Whether the task is to be in the cgroups of its executor.
pub(crate) fn share_cgroups(info: &TaskInfo) -> Option<bool> {
    info.container.as_ref()?.linux_info.as_ref()?.share_cgroups
}

/// What holds for tasks alone and in groups.
pub(crate) fn check_description(info: &TaskInfo) -> Result<(), String> {
    let negative = |duration: Option<&mesos::DurationInfo>| {
        duration.is_some_and(|duration| duration.nanoseconds < 0)
    };
    if negative(
        info.kill_policy
            .as_ref()
            .and_then(|policy| policy.grace_period.as_ref()),
    ) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if negative(info.max_completion_time.as_ref()) {
        return Err("Task's 'max_completion_time' must be non-negative".to_owned());
    }
    if let Some(command) = &info.command {
        container::check_command(command)?;
    }
    if let Some(check) = &info.check {
        checks::check_check(check)?;
    }
    if let Some(check) = &info.health_check {
        checks::check_health(check)?;
    }
    if let Some(described) = &info.container {
        container::check(described)?;
    }
    Ok(())
}

/// `limits`: cpus and mem only, not below the request, on an agent that can enforce them.
pub(crate) fn check_limits(info: &TaskInfo, agent: &[Capability]) -> Result<(), String> {
    if info.limits.is_empty() {
        return Ok(());
    }
    if !agent
        .iter()
        .any(|capability| capability.r#type() == CapabilityType::TaskResourceLimits)
    {
        return Err("The agent cannot enforce resource limits of tasks".to_owned());
    }
    for (name, limit) in &info.limits {
        if name != "cpus" && name != "mem" {
            return Err(format!(
                "Setting resource limits is not supported for resource '{name}'"
            ));
        }
        let requested: f64 = info
            .resources
            .iter()
            .filter(|resource| resource.name == *name)
            .filter_map(|resource| resource.scalar.as_ref())
            .map(|scalar| scalar.value)
            .sum();
        if requested <= 0.0 {
            return Err(format!(
                "When a {name} limit is specified, the request must be specified too"
            ));
        }
        if limit.value.is_nan() || limit.value < requested {
            return Err(format!(
                "The {name} limit {} is less than the request {requested}",
                limit.value
            ));
        }
    }
    Ok(())
}

/// Allocated to the offer's role alone, persistence ids unique, whole gpus, no mixture of revocable and other.
pub(crate) fn check_resources(resources: &Resources, role: &Role) -> Result<(), String> {
    let mut volumes = BTreeSet::new();
    for lot in resources.lots() {
        match lot.kind().allocation_role() {
            Some(own) if own == role => {}
            own => {
                let own = own.map_or("no role", Role::as_str);
                return Err(format!(
                    "The resources are allocated to {own}, but the offers to role '{role}'"
                ));
            }
        }
        let persistence = lot.kind().disk().and_then(|disk| disk.persistence.as_ref());
        if let Some(persistence) = persistence
            && !volumes.insert((
                lot.kind().reservation_role().cloned(),
                persistence.id.clone(),
            ))
        {
            return Err(format!(
                "Task uses the persistence ID '{}' twice",
                persistence.id
            ));
        }
        let gpus = lot.scalars().get(&Name::Gpus);
        if !gpus.is_integral() {
            return Err("The 'gpus' resource must be an unsigned integer".to_owned());
        }
    }
    check_mixture(resources)
}

/// No name may come both revocable and not.
pub(crate) fn check_mixture(resources: &Resources) -> Result<(), String> {
    let names = |revocable: bool| -> BTreeSet<Name> {
        resources
            .iter()
            .filter(|resource| resource.kind().is_revocable() == revocable)
            .map(|resource| resource.name().clone())
            .collect()
    };
    if !resources.lots().any(|lot| lot.kind().is_revocable()) {
        return Ok(());
    }
    match names(true).intersection(&names(false)).next() {
        Some(name) => Err(format!(
            "Cannot use both revocable and non-revocable '{name}' at the same time"
        )),
        None => Ok(()),
    }
}
