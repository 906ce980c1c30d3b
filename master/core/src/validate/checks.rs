//! Checks and health checks.

use tepui_proto::mesos::check_info::Type as CheckType;
use tepui_proto::mesos::health_check::Type as HealthType;
use tepui_proto::mesos::{CheckInfo, HealthCheck};

use super::container;

/// Neither negative nor no number.
fn check_seconds(what: &str, fields: &[(&str, Option<f64>)]) -> Result<(), String> {
    match fields
        .iter()
        .find(|(_, value)| value.is_some_and(|value| value < 0.0 || value.is_nan()))
    {
        Some((field, _)) => Err(format!(
            "Expecting '{field}' of the {what} to be non-negative"
        )),
        None => Ok(()),
    }
}

fn check_path(what: &str, path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => Err(format!(
            "The path '{path}' of the HTTP {what} must start with '/'"
        )),
        _ => Ok(()),
    }
}

pub(crate) fn check_health(check: &HealthCheck) -> Result<(), String> {
    const WHAT: &str = "health check";
    let kind = check
        .r#type
        .and_then(|kind| HealthType::try_from(kind).ok());
    match kind {
        None | Some(HealthType::Unknown) => {
            return Err("HealthCheck must specify 'type'".to_owned());
        }
        Some(HealthType::Command) => match &check.command {
            Some(command) => container::check_command(command)?,
            None => return Err("Expecting 'command' to be set for COMMAND health check".to_owned()),
        },
        Some(HealthType::Http) => match &check.http {
            Some(http) => {
                if http
                    .scheme
                    .as_deref()
                    .is_some_and(|scheme| scheme != "http" && scheme != "https")
                {
                    return Err(
                        "The scheme of an HTTP health check must be http or https".to_owned()
                    );
                }
                check_path(WHAT, http.path.as_deref())?;
            }
            None => return Err("Expecting 'http' to be set for HTTP health check".to_owned()),
        },
        Some(HealthType::Tcp) if check.tcp.is_none() => {
            return Err("Expecting 'tcp' to be set for TCP health check".to_owned());
        }
        Some(HealthType::Tcp) => {}
    }
    let fields = [
        ("delay_seconds", check.delay_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ];
    check_seconds(WHAT, &fields)
}

pub(crate) fn check_check(check: &CheckInfo) -> Result<(), String> {
    const WHAT: &str = "check";
    let kind = check.r#type.and_then(|kind| CheckType::try_from(kind).ok());
    match kind {
        None | Some(CheckType::Unknown) => return Err("CheckInfo must specify 'type'".to_owned()),
        Some(CheckType::Command) => match &check.command {
            Some(command) => container::check_command(&command.command)?,
            None => return Err("Expecting 'command' to be set for COMMAND check".to_owned()),
        },
        Some(CheckType::Http) => match &check.http {
            Some(http) => check_path(WHAT, http.path.as_deref())?,
            None => return Err("Expecting 'http' to be set for HTTP check".to_owned()),
        },
        Some(CheckType::Tcp) if check.tcp.is_none() => {
            return Err("Expecting 'tcp' to be set for TCP check".to_owned());
        }
        Some(CheckType::Tcp) => {}
    }
    let fields = [
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ];
    check_seconds(WHAT, &fields)
}
