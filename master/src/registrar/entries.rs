//! The registry's keys and values, both ways. Entries that an older version wrote are read for as long as there are stores.
//!
//! | key | value |
//! | --- | --- |
//! | `agents/<agent id>` | [`StoredAgent`] |
//! | `unreachable/<agent id>` | [`StoredUnreachable`]; older: since when, nanoseconds since the epoch, decimal |
//! | `gone/<agent id>` | since when: nanoseconds since the epoch, decimal |
//! | `weights/<role>` | `mesos.v1.WeightInfo` |
//! | `quotas/<role>` | `mesos.v1.quota.QuotaConfig` |
//! | `maintenance/current` | [`StoredMaintenance`] |
//!
//! Values are protobuf unless it says otherwise; its fields may grow. A protobuf message never begins with a digit here (0x08 and
//! 0x0a are the first bytes), so that the older form of an entry is told apart by its first byte.

use std::fmt::Display;

use bytes::Bytes;
use prost::Message;
use tepui_coordination::{Expect, Transaction};
use tepui_master_core::{
    AdmittedAgent, Drain, Maintenance, Quota, Registry, RegistryOperation, UnreachableAgent,
};
use tepui_model::resources::{Name, Scalar};
use tepui_model::{AgentId, Role, Time};
use tepui_proto::mesos::{self, maintenance, quota::QuotaConfig, value};

/// Everything that a new leader reads.
pub(super) const COLLECTIONS: [&str; 6] = [AGENTS, UNREACHABLE, GONE, WEIGHTS, QUOTAS, MAINTENANCE];
const AGENTS: &str = "agents/";
const UNREACHABLE: &str = "unreachable/";
const GONE: &str = "gone/";
const WEIGHTS: &str = "weights/";
const QUOTAS: &str = "quotas/";
const MAINTENANCE: &str = "maintenance/";
const CURRENT: &str = "current";

/// An admitted agent.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredAgent {
    #[prost(message, optional, tag = "1")]
    info: Option<mesos::AgentInfo>,
    #[prost(bool, tag = "2")]
    deactivated: bool,
    #[prost(message, optional, tag = "3")]
    drain: Option<StoredDrain>,
}

/// An agent that was out of reach for too long.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredUnreachable {
    /// Nanoseconds since the epoch.
    #[prost(int64, optional, tag = "1")]
    since: Option<i64>,
    #[prost(bool, tag = "2")]
    deactivated: bool,
    #[prost(message, optional, tag = "3")]
    drain: Option<StoredDrain>,
    /// Empty in entries of older versions.
    #[prost(string, tag = "4")]
    hostname: String,
}

/// A drain.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredDrain {
    #[prost(message, optional, tag = "1")]
    config: Option<mesos::DrainConfig>,
    #[prost(bool, tag = "2")]
    drained: bool,
    /// Nanoseconds since the epoch.
    #[prost(int64, tag = "3")]
    since: i64,
}

/// Maintenance.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredMaintenance {
    #[prost(message, optional, tag = "1")]
    schedule: Option<maintenance::Schedule>,
    #[prost(message, repeated, tag = "2")]
    down: Vec<mesos::MachineId>,
}

impl From<Drain> for StoredDrain {
    fn from(drain: Drain) -> Self {
        Self {
            config: Some(drain.config),
            drained: drain.drained,
            since: drain.since.as_nanos(),
        }
    }
}

impl From<StoredDrain> for Drain {
    fn from(stored: StoredDrain) -> Self {
        Self {
            config: stored.config.unwrap_or_default(),
            drained: stored.drained,
            since: Time::from_nanos(stored.since),
        }
    }
}

/// Puts an entry into the registry; the error says what is wrong with the value.
pub(super) fn read(registry: &mut Registry, key: &str, value: Bytes) -> Result<(), String> {
    let (collection, name) = key.split_once('/').unwrap_or((key, ""));
    match collection {
        "agents" => {
            let stored = decode::<StoredAgent>(value)?;
            registry.agents.push(AdmittedAgent {
                info: stored.info.ok_or("it names no agent")?,
                deactivated: stored.deactivated,
                drain: stored.drain.map(Into::into),
            });
        }
        "unreachable" => {
            let stored = if value.first().is_some_and(u8::is_ascii_digit) {
                StoredUnreachable {
                    since: Some(time(&value)?.as_nanos()),
                    ..StoredUnreachable::default()
                }
            } else {
                decode(value)?
            };
            let since = stored.since.ok_or("it does not say since when")?;
            registry.unreachable.push(UnreachableAgent {
                id: AgentId::new(name).map_err(text)?,
                since: Time::from_nanos(since),
                hostname: stored.hostname.into(),
                deactivated: stored.deactivated,
                drain: stored.drain.map(Into::into),
            });
        }
        "gone" => {
            let id = AgentId::new(name).map_err(text)?;
            registry.gone.push((id, time(&value)?));
        }
        "weights" => {
            let stored = decode::<mesos::WeightInfo>(value)?;
            if !stored.weight.is_finite() || stored.weight <= 0.0 {
                return Err(format!("{} is no weight", stored.weight));
            }
            let role = Role::new(name).map_err(text)?;
            registry.weights.push((role, stored.weight));
        }
        "quotas" => {
            let stored = decode::<QuotaConfig>(value)?;
            let role = Role::new(name).map_err(text)?;
            registry.quotas.push((role, quota_of(&stored)?));
        }
        "maintenance" => {
            let stored = decode::<StoredMaintenance>(value)?;
            registry.maintenance = Maintenance {
                schedule: stored.schedule.unwrap_or_default(),
                down: stored.down,
            };
        }
        _ => {}
    }
    Ok(())
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn decode<M: Message + Default>(value: Bytes) -> Result<M, String> {
    M::decode(value).map_err(text)
}

fn time(value: &[u8]) -> Result<Time, String> {
    let nanos = std::str::from_utf8(value).map_err(text)?;
    Ok(Time::from_nanos(nanos.parse().map_err(text)?))
}

fn quota_of(stored: &QuotaConfig) -> Result<Quota, String> {
    let amount = |(name, amount): (&String, &value::Scalar)| {
        let scalar = Scalar::from_f64(amount.value);
        let scalar = scalar.ok_or_else(|| format!("{} is no amount", amount.value))?;
        Ok::<_, String>((Name::from(name.as_str()), scalar))
    };
    let mut quota = Quota::default();
    for guarantee in &stored.guarantees {
        let (name, guarantee) = amount(guarantee)?;
        quota.guarantees.set(&name, guarantee);
    }
    quota.limits = stored.limits.iter().map(amount).collect::<Result<_, _>>()?;
    Ok(quota)
}

fn stored_agent(agent: AdmittedAgent) -> (String, StoredAgent) {
    let id = agent.info.id.as_ref();
    let id = id.map(|id| id.value.clone()).unwrap_or_default();
    let stored = StoredAgent {
        info: Some(agent.info),
        deactivated: agent.deactivated,
        drain: agent.drain.map(Into::into),
    };
    (id, stored)
}

fn stored_quota(role: &Role, quota: &Quota) -> QuotaConfig {
    let amount = |(name, amount): (Name, Scalar)| {
        let value = amount.as_f64();
        (name.as_str().to_owned(), value::Scalar { value })
    };
    QuotaConfig {
        role: role.as_str().to_owned(),
        guarantees: quota.guarantees.iter().map(amount).collect(),
        limits: quota.limits.iter().cloned().map(amount).collect(),
    }
}

/// The most changes of keys that these operations make.
pub(super) fn cost(operations: &[RegistryOperation]) -> usize {
    operations
        .iter()
        .map(|operation| match operation {
            RegistryOperation::Prune { agents } => 2 * agents.len(),
            RegistryOperation::MarkGone { .. }
            | RegistryOperation::Admit(_)
            | RegistryOperation::MarkUnreachable(_) => 3,
            RegistryOperation::Remove { .. } => 2,
            RegistryOperation::AdmitNew(_)
            | RegistryOperation::SetWeight { .. }
            | RegistryOperation::SetQuota { .. }
            | RegistryOperation::SetMaintenance(_) => 1,
        })
        .sum()
}

/// Adds the changes that these operations make.
pub(super) fn extend(
    mut transaction: Transaction,
    operations: Vec<RegistryOperation>,
) -> Transaction {
    let key = |collection: &str, name: &str| format!("{collection}{name}");
    for operation in operations {
        transaction = match operation {
            RegistryOperation::AdmitNew(agent) => {
                let (id, stored) = stored_agent(*agent);
                // An id that was never used: the store need not look whether there is something.
                let value = stored.encode_to_vec();
                transaction.put_if(key(AGENTS, &id), value, Expect::Absent)
            }
            RegistryOperation::Admit(agent) => {
                let (id, stored) = stored_agent(*agent);
                transaction
                    .put(key(AGENTS, &id), stored.encode_to_vec())
                    .delete(key(UNREACHABLE, &id))
                    .delete(key(GONE, &id))
            }
            RegistryOperation::MarkUnreachable(agent) => {
                let stored = StoredUnreachable {
                    since: Some(agent.since.as_nanos()),
                    deactivated: agent.deactivated,
                    drain: agent.drain.map(Into::into),
                    hostname: agent.hostname.into(),
                };
                transaction
                    .delete(key(AGENTS, agent.id.as_str()))
                    .put(key(UNREACHABLE, agent.id.as_str()), stored.encode_to_vec())
                    .delete(key(GONE, agent.id.as_str()))
            }
            RegistryOperation::Remove { agent } => transaction
                .delete(key(AGENTS, agent.as_str()))
                .delete(key(UNREACHABLE, agent.as_str())),
            RegistryOperation::MarkGone { agent, at } => transaction
                .delete(key(AGENTS, agent.as_str()))
                .delete(key(UNREACHABLE, agent.as_str()))
                .put(key(GONE, agent.as_str()), at.as_nanos().to_string()),
            RegistryOperation::Prune { agents } => {
                agents.iter().fold(transaction, |transaction, agent| {
                    transaction
                        .delete(key(UNREACHABLE, agent.as_str()))
                        .delete(key(GONE, agent.as_str()))
                })
            }
            RegistryOperation::SetWeight { role, weight } => {
                let stored = mesos::WeightInfo {
                    weight,
                    role: Some(role.as_str().to_owned()),
                };
                transaction.put(key(WEIGHTS, role.as_str()), stored.encode_to_vec())
            }
            RegistryOperation::SetQuota { role, quota } if quota == Quota::default() => {
                transaction.delete(key(QUOTAS, role.as_str()))
            }
            RegistryOperation::SetQuota { role, quota } => {
                let stored = stored_quota(&role, &quota);
                transaction.put(key(QUOTAS, role.as_str()), stored.encode_to_vec())
            }
            RegistryOperation::SetMaintenance(maintenance) => {
                let Maintenance { schedule, down } = *maintenance;
                let stored = StoredMaintenance {
                    schedule: Some(schedule),
                    down,
                };
                transaction.put(key(MAINTENANCE, CURRENT), stored.encode_to_vec())
            }
        };
    }
    transaction
}
