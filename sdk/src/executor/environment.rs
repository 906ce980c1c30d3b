//! What an agent tells its executors in their environment. Pure.

use std::time::Duration;

use tepui_model::{ExecutorId, FrameworkId};
use tepui_proto::convert::duration;

use super::ExecutorBuilder;
use crate::error::Error;
use crate::transport::Transport;

/// What Mesos gives when it gives nothing.
const BACKOFF_LIMIT: Duration = Duration::from_secs(2);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Reads the environment through `variable`.
pub(super) fn read(
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<ExecutorBuilder, Error> {
    let required = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .ok_or(Error::Environment {
                name,
                why: "is not set".to_owned(),
            })
    };
    let length = |name, otherwise| match variable(name) {
        Some(text) => duration::parse(&text).map_err(|error| Error::Environment {
            name,
            why: format!("is no duration: {error}"),
        }),
        None => Ok(otherwise),
    };
    let wrong = |name, error: tepui_model::IdError| Error::Environment {
        name,
        why: format!("is no id: {error}"),
    };
    let framework_id = FrameworkId::new(required("MESOS_FRAMEWORK_ID")?)
        .map_err(|error| wrong("MESOS_FRAMEWORK_ID", error))?;
    let executor_id = ExecutorId::new(required("MESOS_EXECUTOR_ID")?)
        .map_err(|error| wrong("MESOS_EXECUTOR_ID", error))?;
    let checkpoints = variable("MESOS_CHECKPOINT").as_deref() == Some("1");
    Ok(ExecutorBuilder {
        framework_id,
        executor_id,
        agent: required("MESOS_AGENT_ENDPOINT")?,
        recovery_timeout: if checkpoints {
            Some(length("MESOS_RECOVERY_TIMEOUT", RECOVERY_TIMEOUT)?)
        } else {
            None
        },
        backoff_limit: length("MESOS_SUBSCRIPTION_BACKOFF_MAX", BACKOFF_LIMIT)?,
        shutdown_grace: length("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", SHUTDOWN_GRACE)?,
        token: variable("MESOS_EXECUTOR_AUTHENTICATION_TOKEN").filter(|token| !token.is_empty()),
        transport: Transport::Auto,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(changes: &[(&'static str, Option<&str>)]) -> Result<ExecutorBuilder, Error> {
        let base = [
            ("MESOS_FRAMEWORK_ID", "f-0000"),
            ("MESOS_EXECUTOR_ID", "e"),
            ("MESOS_AGENT_ENDPOINT", "10.0.0.1:5051"),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", "15mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "90secs"),
        ];
        read(
            |name| match changes.iter().find(|(changed, _)| *changed == name) {
                Some((_, value)) => value.map(str::to_owned),
                None => base
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned()),
            },
        )
    }

    #[test]
    fn an_agents_environment_is_understood() {
        let builder = environment(&[]).unwrap();
        assert_eq!(
            (
                builder.framework_id.as_str(),
                builder.executor_id.as_str(),
                builder.agent.as_str()
            ),
            ("f-0000", "e", "10.0.0.1:5051")
        );
        assert_eq!(builder.recovery_timeout, Some(Duration::from_secs(900)));
        assert_eq!(
            (
                builder.backoff_limit.as_secs(),
                builder.shutdown_grace.as_secs()
            ),
            (2, 90)
        );
        let without = environment(&[
            ("MESOS_CHECKPOINT", Some("0")),
            ("MESOS_RECOVERY_TIMEOUT", None),
        ])
        .unwrap();
        assert_eq!(without.recovery_timeout, None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let cases = [
            ("MESOS_FRAMEWORK_ID", None),
            ("MESOS_FRAMEWORK_ID", Some("a/b")),
            ("MESOS_EXECUTOR_ID", Some("")),
            ("MESOS_AGENT_ENDPOINT", None),
            ("MESOS_RECOVERY_TIMEOUT", Some("soon")),
        ];
        for (name, value) in cases {
            let error = environment(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
