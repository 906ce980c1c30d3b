//! An app in canonical form: after aliases, defaults and validation. Its JSON is what `/v2/apps` prints and what the store keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    check::Check,
    container::{Artifact, Container, Network},
    isolation::ResourceLimits,
    pod::{ExecutorResources, Pod},
    readiness::ReadinessCheck,
    volume::Residency,
};
use crate::{path::PathId, timestamp::Timestamp};

/// A validated, normalised app definition.
///
/// Fields of Marathon's schema that are not built yet are absent here: a definition that uses one is refused when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Absolute path.
    pub id: PathId,
    /// Shell command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// Arguments, instead of `cmd`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// CPUs of one instance.
    pub cpus: f64,
    /// Memory of one instance, in MiB.
    pub mem: f64,
    /// Disk of one instance, in MiB.
    pub disk: f64,
    /// GPUs of one instance.
    pub gpus: i32,
    /// How many are wanted.
    pub instances: u32,
    /// What it may take beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<ResourceLimits>,
    /// Whether it has a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// What an executor of its own gets; without effect on the command executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_resources: Option<ExecutorResources>,
    /// Empty or `//cmd`: the command executor. Otherwise the program of an executor of its own.
    pub executor: String,
    /// OS user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment of the task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where instances may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Roles of resources that it takes; none: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// The role it runs in.
    pub role: String,
    /// What must be deployed before it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dependencies: BTreeSet<PathId>,
    /// What it runs in; none: in the sandbox alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// What is put into the sandbox before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<Artifact>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Ports of an app on the host's network; none on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_definitions: Option<Vec<PortDefinition>>,
    /// Whether `port_definitions` name host ports.
    pub require_ports: bool,
    /// Health checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    /// A check of which only the result is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// When a new task of a deployment counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness_checks: Vec<ReadinessCheck>,
    /// First delay after a failure.
    pub backoff_seconds: u64,
    /// Growth of the delay.
    pub backoff_factor: f64,
    /// Bound of the delay.
    pub max_launch_delay_seconds: u64,
    /// From SIGTERM to SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_kill_grace_period_seconds: Option<u64>,
    /// How a new configuration replaces the old one.
    pub upgrade_strategy: UpgradeStrategy,
    /// What becomes of instances that nobody hears of.
    pub unreachable_strategy: UnreachableStrategy,
    /// Which instances are killed first.
    pub kill_selection: KillSelection,
    /// When this definition was given.
    pub version: Timestamp,
    /// Of an app with persistent volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
    /// When it was last scaled and reconfigured. Absent only in the answer to a POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
    /// It is a pod, and this is what it is beside all that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<Pod>>,
}

/// See [`App::version_info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// When the number of instances last changed.
    pub last_scaling_at: Timestamp,
    /// When anything else last changed, or the app was restarted.
    pub last_config_change_at: Timestamp,
}

/// A port of an app on the host's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortDefinition {
    /// Service port; with `requirePorts` the host port too. 0 only before assignment.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Name, unique in the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "tcp")]
    Tcp,
    /// UDP.
    #[serde(rename = "udp")]
    Udp,
    /// Both.
    #[serde(rename = "udp,tcp")]
    Both,
}

impl Protocol {
    /// The protocols one by one.
    #[must_use]
    pub const fn each(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["tcp"],
            Self::Udp => &["udp"],
            Self::Both => &["udp", "tcp"],
        }
    }
}

/// `["hostname", "UNIQUE"]` or `["rack", "MAX_PER", "2"]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Constraint {
    /// `hostname`, `@hostname`, `@region`, `@zone`, or the name of an attribute.
    pub field: String,
    /// What must hold.
    pub operator: Operator,
    /// The third element.
    pub value: Option<String>,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// At most one instance for each value.
    Unique,
    /// One value for all.
    Cluster,
    /// Evenly over the values.
    GroupBy,
    /// Value matches a regular expression.
    Like,
    /// Value does not match a regular expression.
    Unlike,
    /// At most so many instances for each value.
    MaxPer,
    /// Value equals.
    Is,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unique,
        Self::Cluster,
        Self::GroupBy,
        Self::Like,
        Self::Unlike,
        Self::MaxPer,
        Self::Is,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Like => "LIKE",
            Self::Unlike => "UNLIKE",
            Self::MaxPer => "MAX_PER",
            Self::Is => "IS",
        }
    }

    /// Reads a name in any letter case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.name().eq_ignore_ascii_case(name))
    }
}

impl From<Constraint> for Vec<String> {
    fn from(constraint: Constraint) -> Self {
        let mut parts = vec![constraint.field, constraint.operator.name().to_owned()];
        parts.extend(constraint.value);
        parts
    }
}

impl TryFrom<Vec<String>> for Constraint {
    type Error = &'static str;

    fn try_from(parts: Vec<String>) -> Result<Self, Self::Error> {
        let mut parts = parts.into_iter();
        let (Some(field), Some(operator)) = (parts.next(), parts.next()) else {
            return Err("illegal constraint specification");
        };
        let operator = Operator::parse(&operator).ok_or("illegal constraint specification")?;
        Ok(Self {
            field,
            operator,
            value: parts.next(),
        })
    }
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Who probes, and how.
    pub protocol: HealthProtocol,
    /// Path for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which of the app's ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_index: Option<u32>,
    /// A port that is not among the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For COMMAND.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CheckCommand>,
    /// Failures count only after this time or the first success.
    pub grace_period_seconds: u32,
    /// From one probe to the next.
    pub interval_seconds: u32,
    /// A longer probe has failed.
    pub timeout_seconds: u32,
    /// How many failures in a row are borne; 0: any number.
    pub max_consecutive_failures: u32,
    /// Before the first probe; only Mesos' checks heed it.
    pub delay_seconds: u32,
    /// For HTTP and HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_http1xx: Option<bool>,
    /// Over which the executor probes.
    pub ip_protocol: IpProtocol,
}

/// What a COMMAND check runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCommand {
    /// A shell command.
    pub value: String,
}

/// See [`HealthCheck::protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthProtocol {
    /// Probed by Marathon.
    Http,
    /// Probed by Marathon.
    Https,
    /// Probed by Marathon.
    Tcp,
    /// Run by the executor in the task's container.
    Command,
    /// Probed by the executor.
    MesosHttp,
    /// Probed by the executor.
    MesosHttps,
    /// Probed by the executor.
    MesosTcp,
}

impl HealthProtocol {
    /// All of them.
    pub const ALL: [(&'static str, Self); 7] = [
        ("HTTP", Self::Http),
        ("HTTPS", Self::Https),
        ("TCP", Self::Tcp),
        ("COMMAND", Self::Command),
        ("MESOS_HTTP", Self::MesosHttp),
        ("MESOS_HTTPS", Self::MesosHttps),
        ("MESOS_TCP", Self::MesosTcp),
    ];

    /// True if the executor probes and task statuses bring the result.
    #[must_use]
    pub const fn is_mesos(self) -> bool {
        matches!(
            self,
            Self::Command | Self::MesosHttp | Self::MesosHttps | Self::MesosTcp
        )
    }
}

/// See [`HealthCheck::ip_protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpProtocol {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// Bounds of a rolling replacement, as parts of the number of instances, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// So many stay healthy.
    pub minimum_health_capacity: f64,
    /// So many more may run.
    pub maximum_over_capacity: f64,
}

/// What becomes of an instance whose agent is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    /// It is waited for without end.
    Disabled,
    /// It is replaced, and later forgotten.
    Replace {
        /// Seconds until a replacement is launched.
        inactive_after_seconds: u64,
        /// Seconds until it is forgotten.
        expunge_after_seconds: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UnreachableForm {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Replace {
        inactive_after_seconds: u64,
        expunge_after_seconds: u64,
    },
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Disabled => UnreachableForm::Text("disabled".to_owned()),
            Self::Replace {
                inactive_after_seconds,
                expunge_after_seconds,
            } => UnreachableForm::Replace {
                inactive_after_seconds,
                expunge_after_seconds,
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match UnreachableForm::deserialize(deserializer)? {
            UnreachableForm::Text(_) => Self::Disabled,
            UnreachableForm::Replace {
                inactive_after_seconds,
                expunge_after_seconds,
            } => Self::Replace {
                inactive_after_seconds,
                expunge_after_seconds,
            },
        })
    }
}

/// Which instances are killed first when some are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    /// The last started.
    #[default]
    YoungestFirst,
    /// The first started.
    OldestFirst,
}

impl App {
    /// First delay after a failure, its growth and its bound.
    #[must_use]
    pub fn backoff(&self) -> (Duration, f64, Duration) {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        match &self.pod {
            None => (
                Duration::from_secs(self.backoff_seconds),
                self.backoff_factor,
                Duration::from_secs(self.max_launch_delay_seconds),
            ),
            Some(pod) => (
                seconds(pod.backoff.backoff),
                pod.backoff.backoff_factor,
                // A century is longer than any delay, and no moment is beyond it.
                seconds(pod.backoff.max_launch_delay).min(Duration::from_secs(3_155_760_000)),
            ),
        }
    }

    /// Whether instances have to pass health checks.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        match &self.pod {
            None => !self.health_checks.is_empty(),
            Some(pod) => pod.is_checked(),
        }
    }

    /// When the configuration last changed: instances of older versions run an old one.
    #[must_use]
    pub fn config_version(&self) -> Timestamp {
        self.version_info
            .map_or(self.version, |info| info.last_config_change_at)
    }

    /// True if the two differ in nothing but the number of instances and version data.
    #[must_use]
    pub fn same_config(&self, other: &Self) -> bool {
        if self.pod.is_some() {
            return self.same_pod(other);
        }
        let mut alike = other.clone();
        alike.instances = self.instances;
        alike.version = self.version;
        alike.version_info = self.version_info;
        alike.executor_resources = self.executor_resources;
        *self == alike
    }
}
