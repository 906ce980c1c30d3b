//! Calls that reach further than the corpus: made of what the cluster has at this moment.

use serde_json::{Value, json};
use tepui_proto::json::Json;
use tepui_proto::mesos::Resource;

use super::mutate::Source;

/// Beside the corpus of the faces: roles, reservations, constraints and questions about maintenance. `$I` is an inverse offer.
pub(super) const SCHEDULER: &[&str] = &[
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":60,"roles":["r","r/s"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"SHARED_RESOURCES"},{"type":"REVOCABLE_RESOURCES"},{"type":"GPU_RESOURCES"},{"type":"REGION_AWARE"}]}}}"#,
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","role":"r","failover_timeout":1e9}}}"#,
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","roles":["r","web"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"PARTITION_AWARE"},{"type":"SHARED_RESOURCES"}]},"suppressed_roles":["web"],"offer_constraints":{"role_constraints":{"r":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"rack"},"predicate":{"text_equals":{"value":"a"}}},{"selector":{"pseudoattribute_type":"HOSTNAME"},"predicate":{"text_not_matches":{"regex":"^x+$"}}}]},{"attribute_constraints":[{"selector":{"pseudoattribute_type":"ZONE"},"predicate":{"not_exists":{}}}]}]}}}}}"#,
    r#"{"type":"UPDATE_FRAMEWORK","update_framework":{"framework_info":{"user":"u","name":"n","id":{"value":"$F"},"failover_timeout":60,"roles":["r","web"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}]},"suppressed_roles":["web"]}}"#,
    r#"{"type":"UPDATE_FRAMEWORK","update_framework":{"framework_info":{"user":"u","name":"n","id":{"value":"$F"},"failover_timeout":60,"roles":["r/s","*"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"SHARED_RESOURCES"}]},"offer_constraints":{"role_constraints":{"r/s":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"rack"},"predicate":{"exists":{}}},{"selector":{"attribute_name":"rack"},"predicate":{"text_matches":{"regex":"[ab]|c*"}}}]}]}}}}}"#,
    r#"{"type":"UPDATE_FRAMEWORK","update_framework":{"framework_info":{"user":"u","name":"n","id":{"value":"$F"},"failover_timeout":60,"roles":[],"capabilities":[{"type":"MULTI_ROLE"}]}}}"#,
    r#"{"type":"ACCEPT_INVERSE_OFFERS","accept_inverse_offers":{"inverse_offer_ids":[{"value":"$I"}],"filters":{"refuse_seconds":1}}}"#,
    r#"{"type":"DECLINE_INVERSE_OFFERS","decline_inverse_offers":{"inverse_offer_ids":[{"value":"$I"}],"filters":{"refuse_seconds":5}}}"#,
    r#"{"type":"REVIVE","revive":{"roles":["r"]}}"#,
    r#"{"type":"REVIVE"}"#,
    r#"{"type":"SUPPRESS","suppress":{"roles":["r","web"]}}"#,
    r#"{"type":"RECONCILE","reconcile":{"tasks":[]}}"#,
    r#"{"type":"RECONCILE_OPERATIONS","reconcile_operations":{"operations":[]}}"#,
];

/// The same for operators: about the machine and the roles that there are.
pub(super) const OPERATOR: &[&str] = &[
    r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[{"hostname":"host","ip":"127.0.0.1"}],"unavailability":{"start":{"nanoseconds":1}}},{"machine_ids":[{"hostname":"other","ip":"127.0.0.1"}],"unavailability":{"start":{"nanoseconds":1},"duration":{"nanoseconds":1}}}]}}}"#,
    r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[]}}}"#,
    r#"{"type":"START_MAINTENANCE","start_maintenance":{"machines":[{"hostname":"host","ip":"127.0.0.1"}]}}"#,
    r#"{"type":"STOP_MAINTENANCE","stop_maintenance":{"machines":[{"hostname":"host","ip":"127.0.0.1"}]}}"#,
    r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"$A"},"max_grace_period":{"seconds":1,"nanos":0},"mark_gone":true}}"#,
    r#"{"type":"UPDATE_QUOTA","update_quota":{"force":true,"quota_configs":[{"role":"r","guarantees":{"cpus":{"value":1}},"limits":{"cpus":{"value":2},"mem":{"value":200}}},{"role":"*","limits":{"cpus":{"value":1}}}]}}"#,
    r#"{"type":"UPDATE_QUOTA","update_quota":{"force":true,"quota_configs":[{"role":"r"},{"role":"*"}]}}"#,
    r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"role":"r/s","weight":0.5},{"role":"*","weight":3}]}}"#,
];

/// Resources as JSON, without what an allocation adds.
pub(super) fn plain(resources: &[Resource]) -> Vec<Value> {
    resources.iter().map(as_json).collect()
}

fn as_json(resource: &Resource) -> Value {
    let resource = Resource {
        allocation_info: None,
        ..resource.clone()
    };
    value_of(&resource)
}

pub(super) fn value_of<M: Json>(message: &M) -> Value {
    serde_json::from_slice(&tepui_proto::json::to_vec(message)).expect("what is written is JSON")
}

/// Of a scalar some part, at times more than there is; of anything else all.
fn part(resource: &Value, source: &mut Source) -> Value {
    let mut part = resource.clone();
    if let Some(value) = resource["scalar"]["value"].as_f64() {
        let of = source.pick(&[0.0, 0.1, 0.25, 0.5, 1.0, 1.0, 1.0, 2.0]);
        part["scalar"]["value"] = json!((value * of * 1000.0).round() / 1000.0);
    }
    part
}

fn reserved(resource: &Value, role: &str) -> Value {
    let mut resource = resource.clone();
    let stack = resource["reservations"].as_array().cloned();
    let mut stack = stack.unwrap_or_default();
    stack.push(json!({"type": "DYNAMIC", "role": role}));
    resource["reservations"] = json!(stack);
    if let Some(fields) = resource.as_object_mut() {
        fields.remove("role");
        fields.remove("reservation");
    }
    resource
}

fn volume(resource: &Value, source: &mut Source) -> Value {
    let mut volume = resource.clone();
    let name = source.pick(&["v", "w", "x", "y"]);
    volume["disk"] =
        json!({"persistence": {"id": name}, "volume": {"mode": "RW", "container_path": "p"}});
    if source.below(3) == 0 {
        volume["shared"] = json!({});
    }
    volume
}

fn task(id: &str, agent: &str, resources: &[Value]) -> Value {
    json!({
        "name": "n",
        "task_id": {"value": id},
        "agent_id": {"value": agent},
        "resources": resources,
        "command": {"value": "true"},
    })
}

/// Something that could be done with these resources on this agent.
pub(super) fn operation(resources: &[Value], agent: &str, source: &mut Source) -> Value {
    let nothing = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}});
    let any = |source: &mut Source| {
        resources
            .get(source.below(resources.len()))
            .unwrap_or(&nothing)
    };
    let one = any(source).clone();
    let other = any(source).clone();
    let disk = resources
        .iter()
        .find(|it| it["name"] == "disk" && it["disk"].is_null());
    let disk = disk.unwrap_or(&other);
    let role = source.pick(&["r", "r", "r/s", "web", "*"]);
    // Mostly what makes sense for the one; now and then anything.
    let persistent = one["disk"]["persistence"].is_object();
    let reserved_already = one["reservations"]
        .as_array()
        .is_some_and(|stack| !stack.is_empty());
    let kind = match source.below(4) {
        0 => source.below(12),
        _ if persistent => source.pick(&[6, 7, 7, 8, 9, 10]),
        _ if reserved_already && one["name"] == "disk" => source.pick(&[2, 3, 4, 5]),
        _ if reserved_already => source.pick(&[2, 3, 9, 10]),
        _ => source.pick(&[0, 1, 9, 10]),
    };
    let mut made = match kind {
        0 | 1 => {
            json!({"type": "RESERVE", "reserve": {"resources": [reserved(&part(&one, source), role)]}})
        }
        2 => {
            let before = part(&one, source);
            let mut after = before.clone();
            if let Some(stack) = after["reservations"].as_array_mut() {
                stack.pop();
            }
            json!({"type": "RESERVE", "reserve": {"source": [before], "resources": [reserved(&after, role)]}})
        }
        3 => json!({"type": "UNRESERVE", "unreserve": {"resources": [part(&one, source)]}}),
        4 | 5 => {
            json!({"type": "CREATE", "create": {"volumes": [volume(&part(&one, source), source)]}})
        }
        6 => json!({"type": "DESTROY", "destroy": {"volumes": [one]}}),
        7 => {
            json!({"type": "GROW_VOLUME", "grow_volume": {"volume": one, "addition": part(disk, source)}})
        }
        8 => {
            json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": one, "subtract": {"value": source.pick(&[0.0, 1.0, 5.0, 1e9])}}})
        }
        9 => {
            let ids = [source.pick(&["g1", "g2"]), source.pick(&["g3", "g4", "g1"])];
            let tasks = ids.map(|id| task(id, agent, &[part(&one, source)]));
            let own = [
                json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}),
                json!({"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}),
                json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1}}),
            ];
            let executor = source.pick(&["g", "h"]);
            json!({"type": "LAUNCH_GROUP", "launch_group": {
                "executor": {"type": "DEFAULT", "executor_id": {"value": executor}, "resources": own},
                "task_group": {"tasks": tasks},
            }})
        }
        _ => {
            let number = source.below(40).to_string();
            let mut task = task(
                &format!("t{number}"),
                agent,
                &[part(&one, source), part(&other, source)],
            );
            if source.below(4) == 0 {
                let executor = source.pick(&["e", "f"]);
                let command = task.as_object_mut().and_then(|task| task.remove("command"));
                task["executor"] = json!({"type": "CUSTOM", "executor_id": {"value": executor}, "command": command, "resources": [part(&other, source)]});
            }
            json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})
        }
    };
    if source.below(3) == 0 {
        made["id"] = json!({"value": format!("o{}", source.below(20))});
    }
    made
}
