//! Commands, environments and containers.

use tepui_proto::mesos::container_info::Type;
use tepui_proto::mesos::environment::variable::Type as VariableType;
use tepui_proto::mesos::{CommandInfo, ContainerInfo, Environment, RLimitInfo, Volume};

pub(crate) fn check_command(command: &CommandInfo) -> Result<(), String> {
    for uri in &command.uris {
        if uri.value.is_empty() {
            return Err("A URI of the command is empty".to_owned());
        }
        let outside =
            |path: &str| path.starts_with('/') || path.split('/').any(|part| part == "..");
        if uri.output_file.as_deref().is_some_and(outside) {
            return Err(format!(
                "The output file of URI '{}' lies outside of the sandbox",
                uri.value
            ));
        }
    }
    command
        .environment
        .as_ref()
        .map_or(Ok(()), check_environment)
}

fn check_environment(environment: &Environment) -> Result<(), String> {
    for variable in &environment.variables {
        let name = &variable.name;
        match variable.r#type {
            None => check_value(name, variable.value.as_deref(), variable.secret.is_some())?,
            Some(kind) if kind == VariableType::Value as i32 => {
                check_value(name, variable.value.as_deref(), variable.secret.is_some())?;
            }
            Some(kind) if kind == VariableType::Secret as i32 => {
                if variable.value.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must not have a value set"
                    ));
                }
                let Some(secret) = &variable.secret else {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must have a secret set"
                    ));
                };
                if secret
                    .value
                    .as_ref()
                    .is_some_and(|value| value.data.contains(&0))
                {
                    return Err(format!(
                        "Environment variable '{name}' specifies a secret containing null bytes"
                    ));
                }
            }
            Some(_) => {
                return Err(format!(
                    "Environment variable '{name}' is of an unknown type"
                ));
            }
        }
    }
    Ok(())
}

fn check_value(name: &str, value: Option<&str>, has_secret: bool) -> Result<(), String> {
    if value.is_none() {
        return Err(format!(
            "Environment variable '{name}' of type 'VALUE' must have a value set"
        ));
    }
    if has_secret {
        return Err(format!(
            "Environment variable '{name}' of type 'VALUE' must not have a secret set"
        ));
    }
    Ok(())
}

pub(crate) fn check(container: &ContainerInfo) -> Result<(), String> {
    if container.r#type == Type::Docker as i32 {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo is not set in ContainerInfo of type DOCKER".to_owned());
        };
        if docker
            .parameters
            .iter()
            .any(|parameter| parameter.key == "name")
        {
            return Err("Parameter in DockerInfo must not be 'name'".to_owned());
        }
    }
    for volume in &container.volumes {
        check_volume(volume)?;
    }
    container.rlimit_info.as_ref().map_or(Ok(()), check_limits)
}

fn check_volume(volume: &Volume) -> Result<(), String> {
    let sources = [
        volume.host_path.is_some(),
        volume.image.is_some(),
        volume.source.is_some(),
    ];
    if sources.into_iter().filter(|set| *set).count() != 1 {
        return Err(
            "Exactly one of 'host_path', 'image' or 'source' must be set in a volume".to_owned(),
        );
    }
    Ok(())
}

/// A limit has both bounds or none.
fn check_limits(limits: &RLimitInfo) -> Result<(), String> {
    if limits
        .rlimits
        .iter()
        .any(|limit| limit.hard.is_some() != limit.soft.is_some())
    {
        return Err("An rlimit must have both of 'hard' and 'soft' set, or neither".to_owned());
    }
    Ok(())
}
