//! The shapes that Mesos' legacy endpoints share.

use serde_json::{Map, Value, json};
use tepui_proto::json::Json;
use tepui_proto::mesos::v1::value::{Ranges, Set};
use tepui_proto::mesos::v1::{Attribute, Labels, Resource, Task, TaskState, TaskStatus, value};

use super::{Face, MESOS_VERSION};

/// A message in Mesos' JSON mapping.
pub(super) fn message(message: &impl Json) -> Value {
    // Infinity has no JSON; such a message shows as null rather than not at all.
    serde_json::from_slice(&tepui_proto::json::to_vec(message)).unwrap_or(Value::Null)
}

fn ranges(ranges: &Ranges) -> String {
    let items: Vec<_> = ranges
        .range
        .iter()
        .map(|range| format!("{}-{}", range.begin, range.end))
        .collect();
    format!("[{}]", items.join(", "))
}

fn set(set: &Set) -> String {
    format!("{{{}}}", set.item.join(", "))
}

/// `RES`: always cpus, gpus, mem and disk; ranges and sets as text; revocable ones under a name of their own.
pub(super) fn resources<'a>(all: impl IntoIterator<Item = &'a Resource>) -> Value {
    let mut sums: Map<String, Value> = ["cpus", "gpus", "mem", "disk"]
        .map(|name| (name.to_owned(), json!(0.0)))
        .into_iter()
        .collect();
    let mut ranges_of: std::collections::BTreeMap<String, Ranges> =
        std::collections::BTreeMap::new();
    for resource in all {
        let name = if resource.revocable.is_some() {
            format!("{}_revocable", resource.name)
        } else {
            resource.name.clone()
        };
        match resource.r#type() {
            value::Type::Scalar => {
                let more = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
                let before = sums.get(&name).and_then(Value::as_f64).unwrap_or(0.0);
                sums.insert(name, json!(((before + more) * 1000.0).round() / 1000.0));
            }
            value::Type::Ranges => {
                let more = resource
                    .ranges
                    .iter()
                    .flat_map(|ranges| ranges.range.iter().copied());
                ranges_of.entry(name).or_default().range.extend(more);
            }
            value::Type::Set => {
                sums.insert(
                    name,
                    json!(resource.set.as_ref().map(set).unwrap_or_default()),
                );
            }
            value::Type::Text => {}
        }
    }
    for (name, mut all) in ranges_of {
        all.range.sort_by_key(|range| range.begin);
        sums.insert(name, json!(ranges(&all)));
    }
    Value::Object(sums)
}

/// `ATTR`.
pub(super) fn attributes(all: &[Attribute]) -> Value {
    let one = |attribute: &Attribute| {
        let value = match attribute.r#type() {
            value::Type::Scalar => {
                json!(attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value))
            }
            value::Type::Ranges => json!(attribute.ranges.as_ref().map(ranges).unwrap_or_default()),
            value::Type::Set => json!(attribute.set.as_ref().map(set).unwrap_or_default()),
            value::Type::Text => json!(
                attribute
                    .text
                    .as_ref()
                    .map(|text| text.value.clone())
                    .unwrap_or_default()
            ),
        };
        (attribute.name.clone(), value)
    };
    Value::Object(all.iter().map(one).collect())
}

/// The role that a resource is reserved for.
pub(super) fn role_of(resource: &Resource) -> &str {
    resource.reservations.last().map_or_else(
        || resource.role.as_deref().unwrap_or("*"),
        |reservation| reservation.role(),
    )
}

/// The role that resources are allocated to.
pub(super) fn allocation_role(resources: &[Resource]) -> Option<&str> {
    resources.iter().find_map(|resource| {
        resource
            .allocation_info
            .as_ref()
            .and_then(|info| info.role.as_deref())
    })
}

/// `LABELS`.
pub(super) fn labels(labels: &Labels) -> Value {
    message(labels)
        .get_mut("labels")
        .map_or_else(|| json!([]), Value::take)
}

/// `STATUS`.
fn status(status: &TaskStatus) -> Value {
    let mut out =
        json!({"state": state_name(status.state), "timestamp": status.timestamp.unwrap_or(0.0)});
    if let Some(all) = &status.labels {
        out["labels"] = labels(all);
    }
    if let Some(container) = &status.container_status {
        out["container_status"] = message(container);
    }
    if let Some(healthy) = status.healthy {
        out["healthy"] = json!(healthy);
    }
    out
}

fn state_name(state: i32) -> &'static str {
    TaskState::try_from(state).map_or("TASK_UNKNOWN", |state| state.as_str_name())
}

/// `TASK`.
pub(super) fn task(task: &Task) -> Value {
    let mut out = json!({
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map_or("", |id| id.value.as_str()),
        "slave_id": task.agent_id.value,
        "state": state_name(task.state),
        "resources": resources(&task.resources),
        "role": allocation_role(&task.resources).unwrap_or("*"),
        "statuses": task.statuses.iter().map(status).collect::<Vec<_>>(),
    });
    if !task.limits.is_empty() {
        let limit = |(name, scalar): (&String, &value::Scalar)| {
            (
                name.clone(),
                if scalar.value.is_finite() {
                    json!(scalar.value)
                } else {
                    json!("Infinity")
                },
            )
        };
        out["limits"] = Value::Object(task.limits.iter().map(limit).collect());
    }
    if let Some(user) = &task.user {
        out["user"] = json!(user);
    }
    if let Some(all) = &task.labels {
        out["labels"] = labels(all);
    }
    if let Some(discovery) = &task.discovery {
        out["discovery"] = message(discovery);
    }
    if let Some(container) = &task.container {
        out["container"] = message(container);
    }
    if let Some(check) = &task.health_check {
        out["health_check"] = message(check);
    }
    out
}

/// `/version`.
pub(super) fn version(face: &Face) -> Value {
    json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": face.clock.then().as_secs_f64(),
        "build_user": "",
        "git_tag": MESOS_VERSION,
    })
}

/// `/flags`.
pub(super) fn flags(face: &Face) -> Value {
    json!({"flags": face.config.flags})
}
