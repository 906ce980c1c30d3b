//! Descriptions of tasks, without the length of the messages.

use std::time::Duration;

use tepui_model::{Resources, TaskId};
use tepui_proto::mesos;
use tepui_proto::mesos::{environment, health_check};

use crate::convert;
use crate::error::TaskError;

/// A task to be launched. Becomes a message with [`Into`], for which [`Offer::launch`](crate::Offer::launch) asks.
#[derive(Clone, Debug)]
pub struct Task {
    wanted: Resources,
    info: Box<mesos::TaskInfo>,
}

impl Task {
    /// A task that runs a command with `/bin/sh -c`.
    ///
    /// # Errors
    /// The id breaks the rules.
    pub fn command(id: impl AsRef<str>, command: impl Into<String>) -> Result<Self, TaskError> {
        Self::new(id, Command::shell(command))
    }

    /// A task that runs a command.
    ///
    /// # Errors
    /// The id breaks the rules.
    pub fn new(id: impl AsRef<str>, command: Command) -> Result<Self, TaskError> {
        let mut task = Self::bare(id)?;
        task.info.command = Some(command.info);
        Ok(task)
    }

    /// A task for an executor of the framework's own.
    ///
    /// # Errors
    /// The id breaks the rules.
    pub fn for_executor(
        id: impl AsRef<str>,
        executor: mesos::ExecutorInfo,
    ) -> Result<Self, TaskError> {
        let mut task = Self::bare(id)?;
        task.info.executor = Some(executor.into());
        Ok(task)
    }

    fn bare(id: impl AsRef<str>) -> Result<Self, TaskError> {
        let id = TaskId::new(id)?;
        let info = mesos::TaskInfo {
            name: id.to_string(),
            task_id: mesos::TaskId {
                value: id.to_string(),
            },
            ..mesos::TaskInfo::default()
        };
        Ok(Self {
            wanted: Resources::new(),
            info: Box::new(info),
        })
    }

    /// What people call it; its id otherwise.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.info.name = name.into();
        self
    }

    /// The resources that were [taken](crate::Offer::take) for it.
    #[must_use]
    pub fn resources(mut self, resources: Resources) -> Self {
        self.info.resources = convert::messages(&resources);
        self.wanted = resources;
        self
    }

    /// What it needs, as text: `cpus:0.5;mem:64;ports:[31000-31001]`. For [`Offer::try_launch`](crate::Offer::try_launch).
    ///
    /// # Errors
    /// The text is no list of resources.
    pub fn needs(self, resources: &str) -> Result<Self, TaskError> {
        let resources = resources.parse()?;
        Ok(self.resources(resources))
    }

    /// What it needs or was given.
    pub fn wanted(&self) -> &Resources {
        &self.wanted
    }

    /// Its id, as text.
    pub fn id(&self) -> &str {
        &self.info.task_id.value
    }

    /// An environment variable, beside those of its command.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let command = self.info.command.get_or_insert_default();
        set_variable(command, name.into(), value.into());
        self
    }

    /// A label, which the task's watchers see.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let label = mesos::Label {
            key: key.into(),
            value: Some(value.into()),
        };
        self.info.labels.get_or_insert_default().labels.push(label);
        self
    }

    /// How its health is found out.
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.info.health_check = Some(check.message.into());
        self
    }

    /// How long it has between being asked to end and being ended.
    #[must_use]
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.info.kill_policy = Some(mesos::KillPolicy {
            grace_period: Some(duration(grace)),
        });
        self
    }

    /// It fails when it takes longer than this.
    #[must_use]
    pub fn max_completion_time(mut self, time: Duration) -> Self {
        self.info.max_completion_time = Some(duration(time));
        self
    }

    /// What its executor gets along.
    #[must_use]
    pub fn data(mut self, data: impl Into<bytes::Bytes>) -> Self {
        self.info.data = Some(data.into());
        self
    }

    /// The container it runs in.
    #[must_use]
    pub fn container(mut self, container: mesos::ContainerInfo) -> Self {
        self.info.container = Some(container.into());
        self
    }

    /// Changes anything else of it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut mesos::TaskInfo)) -> Self {
        change(&mut self.info);
        self
    }
}

impl From<Task> for mesos::TaskInfo {
    fn from(task: Task) -> Self {
        *task.info
    }
}

/// A command with its environment and what is fetched for it.
#[derive(Clone, Debug)]
pub struct Command {
    info: mesos::CommandInfo,
}

impl Command {
    /// Run by `/bin/sh -c`.
    pub fn shell(command: impl Into<String>) -> Self {
        Self {
            info: mesos::CommandInfo {
                shell: Some(true),
                value: Some(command.into()),
                ..Default::default()
            },
        }
    }

    /// A program and its arguments, without a shell. The first argument is the program's name for itself and is added here.
    pub fn exec<A: Into<String>>(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let program = program.into();
        let arguments = std::iter::once(program.clone())
            .chain(arguments.into_iter().map(Into::into))
            .collect();
        Self {
            info: mesos::CommandInfo {
                shell: Some(false),
                value: Some(program),
                arguments,
                ..Default::default()
            },
        }
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set_variable(&mut self.info, name.into(), value.into());
        self
    }

    /// The user it runs as; the framework's otherwise.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.info.user = Some(user.into());
        self
    }

    /// Something to be fetched into its sandbox before it runs; archives are unpacked.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.info.uris.push(mesos::command_info::Uri {
            value: uri.into(),
            ..Default::default()
        });
        self
    }
}

impl From<Command> for mesos::CommandInfo {
    fn from(command: Command) -> Self {
        command.info
    }
}

/// A health check: whether the task works, which its updates then tell.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    message: mesos::HealthCheck,
}

impl HealthCheck {
    /// GET of a path on a port of the task; an answer of 200 to 399 is healthy.
    pub fn http(port: u16, path: impl Into<String>) -> Self {
        let http = health_check::HttpCheckInfo {
            port: port.into(),
            path: Some(path.into()),
            ..Default::default()
        };
        Self {
            message: mesos::HealthCheck {
                r#type: Some(health_check::Type::Http.into()),
                http: Some(http),
                ..Default::default()
            },
        }
    }

    /// A connection to a port of the task.
    pub fn tcp(port: u16) -> Self {
        let tcp = health_check::TcpCheckInfo {
            port: port.into(),
            ..Default::default()
        };
        Self {
            message: mesos::HealthCheck {
                r#type: Some(health_check::Type::Tcp.into()),
                tcp: Some(tcp),
                ..Default::default()
            },
        }
    }

    /// A command run beside the task; exit code 0 is healthy.
    pub fn command(command: Command) -> Self {
        let command = Some(command.info.into());
        Self {
            message: mesos::HealthCheck {
                r#type: Some(health_check::Type::Command.into()),
                command,
                ..Default::default()
            },
        }
    }

    /// How often; 10 s otherwise.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.message.interval_seconds = Some(interval.as_secs_f64());
        self
    }

    /// How long an answer may take; 20 s otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.message.timeout_seconds = Some(timeout.as_secs_f64());
        self
    }

    /// How long after the start of the task to begin; 15 s otherwise.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.message.delay_seconds = Some(delay.as_secs_f64());
        self
    }

    /// For how long after the start failures do not count; 10 s otherwise.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.message.grace_period_seconds = Some(grace.as_secs_f64());
        self
    }

    /// After how many failures in a row the task is killed; 3 otherwise, 0 for never.
    #[must_use]
    pub fn failures(mut self, failures: u32) -> Self {
        self.message.consecutive_failures = Some(failures);
        self
    }
}

impl From<HealthCheck> for mesos::HealthCheck {
    fn from(check: HealthCheck) -> Self {
        check.message
    }
}

fn duration(duration: Duration) -> mesos::DurationInfo {
    mesos::DurationInfo {
        nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
    }
}

/// Sets a variable, in place of an earlier one of this name.
fn set_variable(command: &mut mesos::CommandInfo, name: String, value: String) {
    let variables = &mut command.environment.get_or_insert_default().variables;
    variables.retain(|variable| variable.name != name);
    variables.push(environment::Variable {
        name,
        value: Some(value),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_becomes_the_message_that_it_says() {
        let task = Task::new(
            "web-1",
            Command::exec("/bin/server", ["-p", "80"])
                .env("A", "1")
                .env("A", "2"),
        )
        .unwrap()
        .needs("cpus:0.5;mem:64;ports:[31000-31001]")
        .unwrap()
        .env("B", "3")
        .health_check(HealthCheck::http(80, "/ping").every(Duration::from_secs(1)))
        .kill_grace(Duration::from_secs(3));
        let info = mesos::TaskInfo::from(task);
        let command = info.command.unwrap();
        assert_eq!(
            (info.name.as_str(), info.task_id.value.as_str()),
            ("web-1", "web-1")
        );
        assert_eq!(command.arguments, ["/bin/server", "-p", "80"]);
        assert_eq!(command.shell, Some(false));
        let variables: Vec<_> = command
            .environment
            .unwrap()
            .variables
            .into_iter()
            .map(|v| (v.name, v.value.unwrap()))
            .collect();
        assert_eq!(
            variables,
            [
                ("A".to_owned(), "2".to_owned()),
                ("B".to_owned(), "3".to_owned())
            ]
        );
        let names: Vec<_> = info.resources.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["cpus", "mem", "ports"]);
        assert_eq!(
            info.kill_policy.unwrap().grace_period.unwrap().nanoseconds,
            3_000_000_000
        );
        assert_eq!(info.health_check.unwrap().interval_seconds, Some(1.0));
    }

    #[test]
    fn what_cannot_be_a_task_is_refused() {
        for id in ["", "..", "a/b"] {
            assert!(
                matches!(Task::command(id, "true"), Err(TaskError::Id(_))),
                "{id}"
            );
        }
        assert!(matches!(
            Task::command("a", "true").unwrap().needs("cpus:x"),
            Err(TaskError::Resources(_))
        ));
    }
}
