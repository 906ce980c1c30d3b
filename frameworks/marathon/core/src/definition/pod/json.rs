//! A pod as `/v2/pods` prints it.

use serde::Serialize;
use serde_json::{Map, Value, json as value};

use crate::definition::{App, Constraint};

/// The definition; none if the app is no pod.
pub(crate) fn json(app: &App) -> Option<Value> {
    let pod = app.pod.as_ref()?;
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("id", value!(app.id));
    if !app.labels.is_empty() {
        put("labels", value!(app.labels));
    }
    put("version", value!(app.version));
    if let Some(user) = &app.user {
        put("user", value!(user));
    }
    if !pod.environment.is_empty() {
        put("environment", value!(pod.environment));
    }
    put("containers", of(&pod.containers));
    if !pod.networks.is_empty() {
        put("networks", of(&pod.networks));
    }
    if !pod.volumes.is_empty() {
        put("volumes", of(&pod.volumes));
    }
    put(
        "scaling",
        value!({ "kind": "fixed", "instances": app.instances }),
    );
    let constraint = |one: &Constraint| {
        let mut constraint = value!({ "fieldName": one.field, "operator": one.operator.name() });
        if let Some(given) = &one.value {
            constraint["value"] = value!(given);
        }
        constraint
    };
    let constraints: Vec<Value> = app.constraints.iter().map(constraint).collect();
    let roles = app.accepted_resource_roles.clone().unwrap_or_default();
    put(
        "scheduling",
        value!({
            "backoff": of(&pod.backoff),
            "upgrade": of(&app.upgrade_strategy),
            "placement": { "constraints": constraints, "acceptedResourceRoles": roles },
            "killSelection": of(&app.kill_selection),
            "unreachableStrategy": of(&app.unreachable_strategy),
        }),
    );
    put("executorResources", of(&pod.executor_resources));
    if let Some(linux) = &pod.linux_info {
        put("linuxInfo", of(linux));
    }
    if pod.legacy_shared_cgroups {
        put("legacySharedCgroups", value!(true));
    }
    put("role", value!(app.role));
    Some(Value::Object(object))
}

/// Only maps with keys that are not strings fail to serialise, and none of ours has any.
fn of<T: Serialize>(part: &T) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}
