//! Ids, task states, times, labels and quantities.

use std::collections::BTreeMap;
use std::time::Duration;

use tepui_model as model;
use tepui_model::resources::{Name, Scalar};

use crate::mesos;

macro_rules! ids {
    ($($wire:ident, $model:ident;)*) => {$(
        impl TryFrom<&mesos::$wire> for model::$model {
            type Error = model::IdError;

            fn try_from(id: &mesos::$wire) -> Result<Self, model::IdError> {
                Self::new(&id.value)
            }
        }

        impl From<&model::$model> for mesos::$wire {
            fn from(id: &model::$model) -> Self {
                Self { value: id.as_str().to_owned() }
            }
        }
    )*};
}

ids! {
    AgentId, AgentId;
    FrameworkId, FrameworkId;
    TaskId, TaskId;
    ExecutorId, ExecutorId;
    OfferId, OfferId;
    OperationId, OperationId;
    ResourceProviderId, ResourceProviderId;
}

/// Containers may be nested this deep.
pub const CONTAINER_DEPTH_LIMIT: usize = 32;

/// Why a message is no container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerIdError {
    /// One part of it is no id.
    #[error(transparent)]
    Id(#[from] model::IdError),
    /// Too many parents.
    #[error("containers cannot be nested more than {CONTAINER_DEPTH_LIMIT} levels deep")]
    TooDeep,
}

impl TryFrom<&mesos::ContainerId> for model::ContainerId {
    type Error = ContainerIdError;

    fn try_from(id: &mesos::ContainerId) -> Result<Self, ContainerIdError> {
        let mut chain = vec![id];
        while let Some(parent) = chain.last().and_then(|last| last.parent.as_deref()) {
            if chain.len() == CONTAINER_DEPTH_LIMIT {
                return Err(ContainerIdError::TooDeep);
            }
            chain.push(parent);
        }
        let mut container: Option<Self> = None;
        for part in chain.into_iter().rev() {
            container = Some(match container {
                Some(parent) => parent.nested(&part.value)?,
                None => Self::new(&part.value)?,
            });
        }
        container.ok_or(ContainerIdError::Id(model::IdError::Empty))
    }
}

impl From<&model::ContainerId> for mesos::ContainerId {
    fn from(id: &model::ContainerId) -> Self {
        Self {
            value: id.value().to_owned(),
            parent: id.parent().map(|parent| Box::new(parent.into())),
        }
    }
}

impl From<model::TaskState> for mesos::TaskState {
    fn from(state: model::TaskState) -> Self {
        use model::TaskState as Of;
        match state {
            Of::Starting => Self::TaskStarting,
            Of::Running => Self::TaskRunning,
            Of::Finished => Self::TaskFinished,
            Of::Failed => Self::TaskFailed,
            Of::Killed => Self::TaskKilled,
            Of::Lost => Self::TaskLost,
            Of::Staging => Self::TaskStaging,
            Of::Error => Self::TaskError,
            Of::Killing => Self::TaskKilling,
            Of::Dropped => Self::TaskDropped,
            Of::Unreachable => Self::TaskUnreachable,
            Of::Gone => Self::TaskGone,
            Of::GoneByOperator => Self::TaskGoneByOperator,
            Of::Unknown => Self::TaskUnknown,
        }
    }
}

impl From<mesos::TaskState> for model::TaskState {
    fn from(state: mesos::TaskState) -> Self {
        use mesos::TaskState as Of;
        match state {
            Of::TaskStarting => Self::Starting,
            Of::TaskRunning => Self::Running,
            Of::TaskFinished => Self::Finished,
            Of::TaskFailed => Self::Failed,
            Of::TaskKilled => Self::Killed,
            Of::TaskLost => Self::Lost,
            Of::TaskStaging => Self::Staging,
            Of::TaskError => Self::Error,
            Of::TaskKilling => Self::Killing,
            Of::TaskDropped => Self::Dropped,
            Of::TaskUnreachable => Self::Unreachable,
            Of::TaskGone => Self::Gone,
            Of::TaskGoneByOperator => Self::GoneByOperator,
            Of::TaskUnknown => Self::Unknown,
        }
    }
}

impl From<model::Time> for mesos::TimeInfo {
    fn from(time: model::Time) -> Self {
        Self {
            nanoseconds: time.as_nanos(),
        }
    }
}

impl From<&mesos::TimeInfo> for model::Time {
    fn from(time: &mesos::TimeInfo) -> Self {
        Self::from_nanos(time.nanoseconds)
    }
}

/// A duration below zero where only a span of time makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration must be non-negative, not {nanoseconds} ns")]
pub struct NegativeDuration {
    /// As sent.
    pub nanoseconds: i64,
}

impl TryFrom<&mesos::DurationInfo> for Duration {
    type Error = NegativeDuration;

    fn try_from(duration: &mesos::DurationInfo) -> Result<Self, NegativeDuration> {
        let nanoseconds = duration.nanoseconds;
        u64::try_from(nanoseconds)
            .map(Self::from_nanos)
            .map_err(|_| NegativeDuration { nanoseconds })
    }
}

impl From<Duration> for mesos::DurationInfo {
    /// Saturates after 292 years.
    fn from(duration: Duration) -> Self {
        Self {
            nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

impl From<&mesos::Labels> for model::Labels {
    fn from(labels: &mesos::Labels) -> Self {
        let label = |label: &mesos::Label| model::Label {
            key: label.key.as_str().into(),
            value: label.value.as_deref().map(Into::into),
        };
        labels.labels.iter().map(label).collect()
    }
}

impl From<&model::Labels> for mesos::Labels {
    fn from(labels: &model::Labels) -> Self {
        let label = |label: &model::Label| mesos::Label {
            key: label.key.to_string(),
            value: label.value.as_deref().map(str::to_owned),
        };
        Self {
            labels: labels.iter().map(label).collect(),
        }
    }
}

/// Why an amount in a map by resource name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid quantity for '{name}': it must be a finite number of at least zero")]
pub struct InvalidQuantity {
    /// The resource.
    pub name: String,
}

/// Amounts by resource name, as in quota, offer filters and task limits. Infinities (no limit) are not amounts: take them out before.
///
/// # Errors
///
/// When an amount is negative, no number, or infinite.
pub fn quantities_from_wire(
    map: &BTreeMap<String, mesos::value::Scalar>,
) -> Result<model::Quantities, InvalidQuantity> {
    let mut quantities = model::Quantities::new();
    for (name, scalar) in map {
        let amount = Scalar::from_f64(scalar.value)
            .filter(|amount| *amount >= Scalar::ZERO && !name.is_empty())
            .ok_or_else(|| InvalidQuantity { name: name.clone() })?;
        quantities.set(&Name::from(name.as_str()), amount);
    }
    Ok(quantities)
}

/// Amounts by resource name.
pub fn quantities_to_wire(
    quantities: &model::Quantities,
) -> BTreeMap<String, mesos::value::Scalar> {
    let scalar = |amount: Scalar| mesos::value::Scalar {
        value: amount.as_f64(),
    };
    quantities
        .iter()
        .map(|(name, amount)| (name.to_string(), scalar(amount)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let wire = mesos::TaskId {
            value: "web.1".to_owned(),
        };
        let task = model::TaskId::try_from(&wire).expect("it keeps the rules");
        assert_eq!(mesos::TaskId::from(&task), wire);
        for bad in ["", ".", "a/b"] {
            assert!(
                model::AgentId::try_from(&mesos::AgentId {
                    value: bad.to_owned()
                })
                .is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn container_ids() {
        let nested = |depth: usize| {
            (1..depth).fold(
                mesos::ContainerId {
                    value: "0".to_owned(),
                    parent: None,
                },
                |parent, level| mesos::ContainerId {
                    value: level.to_string(),
                    parent: Some(Box::new(parent)),
                },
            )
        };
        let container = model::ContainerId::try_from(&nested(3)).expect("it keeps the rules");
        assert_eq!(container.to_string(), "0.1.2");
        assert_eq!(mesos::ContainerId::from(&container), nested(3));
        assert!(model::ContainerId::try_from(&nested(CONTAINER_DEPTH_LIMIT)).is_ok());
        let deeper = model::ContainerId::try_from(&nested(CONTAINER_DEPTH_LIMIT + 1));
        assert_eq!(deeper, Err(ContainerIdError::TooDeep));
    }

    #[test]
    fn task_states_have_the_same_names_and_numbers() {
        for state in model::TaskState::ALL {
            let wire = mesos::TaskState::from(*state);
            assert_eq!(
                (wire.as_str_name(), wire as i32),
                (state.name(), *state as i32)
            );
            assert_eq!(model::TaskState::from(wire), *state);
        }
    }

    #[test]
    fn times_labels_and_quantities() {
        let time = model::Time::from_nanos(-7);
        assert_eq!(model::Time::from(&mesos::TimeInfo::from(time)), time);
        let duration = Duration::from_nanos(7);
        assert_eq!(
            Duration::try_from(&mesos::DurationInfo::from(duration)),
            Ok(duration)
        );
        let negative = Duration::try_from(&mesos::DurationInfo { nanoseconds: -1 });
        assert_eq!(negative, Err(NegativeDuration { nanoseconds: -1 }));
        assert_eq!(
            mesos::DurationInfo::from(Duration::MAX).nanoseconds,
            i64::MAX
        );

        let label = |value: Option<&str>| mesos::Label {
            key: "k".to_owned(),
            value: value.map(str::to_owned),
        };
        let labels = mesos::Labels {
            labels: vec![label(None), label(Some("")), label(Some("v"))],
        };
        assert_eq!(mesos::Labels::from(&model::Labels::from(&labels)), labels);

        let map =
            |value: f64| BTreeMap::from([("cpus".to_owned(), mesos::value::Scalar { value })]);
        let quantities = quantities_from_wire(&map(1.5)).expect("it is an amount");
        assert_eq!(quantities_to_wire(&quantities), map(1.5));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(quantities_from_wire(&map(bad)).is_err(), "{bad}");
        }
    }
}
