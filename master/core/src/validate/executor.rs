//! Executors, as frameworks describe them.

use tepui_model::ExecutorId;
use tepui_proto::mesos::ExecutorInfo;
use tepui_proto::mesos::executor_info::Type;

use super::container;

/// The executor of a LAUNCH.
pub(crate) fn check(info: &ExecutorInfo, framework: &str) -> Result<ExecutorId, String> {
    match info.r#type {
        None => {}
        Some(kind) if kind == Type::Custom as i32 => {}
        Some(_) => return Err("'ExecutorInfo.type' must be unset or CUSTOM for LAUNCH".to_owned()),
    }
    if info.command.is_none() {
        return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
    }
    check_description(info, framework)
}

/// What holds for the executors of tasks and of groups.
pub(crate) fn check_description(
    info: &ExecutorInfo,
    framework: &str,
) -> Result<ExecutorId, String> {
    let id = ExecutorId::new(&info.executor_id.value)
        .map_err(|error| format!("Executor ID is invalid: {error}"))?;
    if let Some(other) = info
        .framework_id
        .as_ref()
        .filter(|id| id.value != framework)
    {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {framework})",
            other.value
        ));
    }
    if info
        .shutdown_grace_period
        .as_ref()
        .is_some_and(|grace| grace.nanoseconds < 0)
    {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    if let Some(command) = &info.command {
        container::check_command(command)?;
    }
    if let Some(described) = &info.container {
        container::check(described)?;
        if described
            .linux_info
            .as_ref()
            .is_some_and(|linux| linux.share_cgroups == Some(true))
        {
            return Err("'share_cgroups' may not be set to true on executors".to_owned());
        }
    }
    Ok(id)
}
