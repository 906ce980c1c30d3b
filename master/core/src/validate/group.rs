//! Task groups, and the executors that run them.

use tepui_model::resources::{Name, Scalar};
use tepui_model::{ExecutorId, Resources};
use tepui_proto::mesos::container_info::Type as ContainerType;
use tepui_proto::mesos::executor_info::Type;
use tepui_proto::mesos::health_check::Type as HealthType;
use tepui_proto::mesos::{ContainerInfo, ExecutorInfo, TaskInfo};

use super::{executor, task};

fn is_docker(container: Option<&ContainerInfo>) -> bool {
    container.is_some_and(|container| container.r#type == ContainerType::Docker as i32)
}

/// The executor of a group: DEFAULT, which brings no command, or CUSTOM, which does.
pub(crate) fn check_executor(info: &ExecutorInfo, framework: &str) -> Result<ExecutorId, String> {
    let kind = info.r#type.and_then(|kind| Type::try_from(kind).ok());
    match (kind, &info.command) {
        (None | Some(Type::Unknown), _) => {
            return Err(
                "'ExecutorInfo.type' must be DEFAULT or CUSTOM for LAUNCH_GROUP".to_owned(),
            );
        }
        (Some(Type::Default), Some(_)) => {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
        }
        (Some(Type::Custom), None) => {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
        }
        _ => {}
    }
    if is_docker(info.container.as_deref()) {
        return Err("Docker containers are not supported for executors of task groups".to_owned());
    }
    executor::check_description(info, framework)
}

/// A group's executor is a container of its own.
pub(crate) fn check_executor_resources(resources: &Resources) -> Result<(), String> {
    for (name, least) in [
        (Name::Cpus, Scalar::from_thousandths(10)),
        (Name::Mem, Scalar::whole(32)),
        (Name::Disk, Scalar::from_thousandths(1)),
    ] {
        if resources.scalar(&name) < least {
            return Err(format!(
                "The executor of a task group needs at least {least} of '{name}'"
            ));
        }
    }
    Ok(())
}

/// One task of a group, but for its id, its agent and its resources.
pub(crate) fn check_task(info: &TaskInfo, group: &ExecutorInfo) -> Result<(), String> {
    task::check_description(info)?;
    if let Some(own) = &info.executor
        && **own != *group
    {
        return Err("The 'executor' of the task differs from that of the group".to_owned());
    }
    if is_docker(info.container.as_deref()) {
        return Err("Docker containers are not supported in task groups".to_owned());
    }
    let own_network = info
        .container
        .as_ref()
        .is_some_and(|container| !container.network_infos.is_empty());
    let over_network = info.health_check.as_ref().is_some_and(|check| {
        matches!(
            check.r#type.map(HealthType::try_from),
            Some(Ok(HealthType::Http | HealthType::Tcp))
        )
    });
    if own_network && over_network {
        return Err(
            "HTTP and TCP health checks are not supported for tasks of a group that join a network of their own"
                .to_owned(),
        );
    }
    if !info.limits.is_empty() && task::share_cgroups(info) != Some(false) {
        return Err(
            "Resource limits may be set in task groups only where 'share_cgroups' is false"
                .to_owned(),
        );
    }
    Ok(())
}

/// Unset means true.
pub(crate) fn shares_cgroups(container: Option<&ContainerInfo>) -> bool {
    container
        .and_then(|container| container.linux_info.as_ref())
        .and_then(|linux| linux.share_cgroups)
        .unwrap_or(true)
}

/// All tasks under one executor agree on it, those that run already included.
pub(crate) fn check_cgroups(tasks: &[TaskInfo], running: Option<bool>) -> Result<(), String> {
    let mut expected = running;
    for info in tasks {
        let shares = shares_cgroups(info.container.as_deref());
        if *expected.get_or_insert(shares) != shares {
            return Err(
                "All tasks under one executor must have the same value of 'share_cgroups'"
                    .to_owned(),
            );
        }
    }
    Ok(())
}
