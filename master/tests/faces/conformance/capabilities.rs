//! What a framework's capabilities change in the offers that it gets.

use serde_json::{Value, json};

use super::{Agent, FORMS, Talk};
use crate::support::{master, master_with};

/// A resource of an offer in short: name, role in the old and in the new form, and what else is special.
fn shown(resource: &Value) -> String {
    let mut text = resource["name"].as_str().unwrap_or_default().to_owned();
    for (key, mark) in [
        ("role", " role"),
        ("reservations", " reservations"),
        ("allocation_info", " allocated"),
    ] {
        match &resource[key] {
            Value::Null => {}
            Value::String(role) => text.push_str(&format!("{mark}={role}")),
            Value::Array(stack) => {
                let roles: Vec<&str> = stack
                    .iter()
                    .filter_map(|one| one["role"].as_str())
                    .collect();
                text.push_str(&format!("{mark}={}", roles.join(">")));
            }
            other => text.push_str(&format!(
                "{mark}={}",
                other["role"].as_str().unwrap_or_default()
            )),
        }
    }
    if resource["revocable"].is_object() {
        text.push_str(" revocable");
    }
    text
}

#[tokio::test]
async fn offers_depend_on_capabilities() {
    let plain = "cpus:1;mem:64";
    let reserved = "cpus(r):1;mem(r):64";
    let refined = r#"[
        {"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"STATIC","role":"r"},{"type":"DYNAMIC","role":"r/s"}]},
        {"name":"mem","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"STATIC","role":"r"}]}
    ]"#;
    let revocable = r#"[
        {"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}},
        {"name":"mem","type":"SCALAR","scalar":{"value":64}}
    ]"#;
    let gpus = "cpus:1;mem:64;gpus:2";
    // Capabilities, the framework's role, the agent's resources, what it is offered (nothing: no offer at all).
    let rows: [(&[&str], &str, &str, &[&str]); 11] = [
        (&[], "*", plain, &["cpus role=*", "mem role=*"]),
        (
            &["MULTI_ROLE"],
            "*",
            plain,
            &["cpus role=* allocated=*", "mem role=* allocated=*"],
        ),
        (&["RESERVATION_REFINEMENT"], "*", plain, &["cpus", "mem"]),
        (
            &["MULTI_ROLE", "RESERVATION_REFINEMENT"],
            "*",
            plain,
            &["cpus allocated=*", "mem allocated=*"],
        ),
        (&[], "r", reserved, &["cpus role=r", "mem role=r"]),
        (
            &["RESERVATION_REFINEMENT"],
            "r",
            reserved,
            &["cpus reservations=r", "mem reservations=r"],
        ),
        (
            &["MULTI_ROLE", "RESERVATION_REFINEMENT"],
            "r/s",
            refined,
            &[
                "cpus reservations=r>r/s allocated=r/s",
                "mem reservations=r allocated=r/s",
            ],
        ),
        (
            &["MULTI_ROLE"],
            "r/s",
            refined,
            &["mem role=r allocated=r/s"],
        ),
        (
            &["REVOCABLE_RESOURCES"],
            "*",
            revocable,
            &["cpus role=* revocable", "mem role=*"],
        ),
        (&[], "*", revocable, &["mem role=*"]),
        (
            &["GPU_RESOURCES"],
            "*",
            gpus,
            &["cpus role=*", "gpus role=*", "mem role=*"],
        ),
    ];
    for form in FORMS {
        for (capabilities, role, resources, expected) in rows {
            let master = master().await;
            let _agent = Agent::start(&master, resources).await;
            let listed: Vec<Value> = capabilities
                .iter()
                .map(|kind| json!({ "type": kind }))
                .collect();
            let mut info = json!({ "capabilities": listed });
            if capabilities.contains(&"MULTI_ROLE") {
                info["roles"] = json!([role]);
            } else {
                info["role"] = json!(role);
            }
            let mut talk = Talk::open(&master, form, info).await;
            let offers = talk.offers().await;
            let mut offered: Vec<String> = offers[0]["resources"]
                .as_array()
                .into_iter()
                .flatten()
                .map(shown)
                .collect();
            offered.sort();
            assert_eq!(offered, expected, "{form:?} {capabilities:?} {role}");
            let allocated = offers[0]["allocation_info"]["role"].as_str();
            assert_eq!(
                allocated,
                capabilities.contains(&"MULTI_ROLE").then_some(role),
                "{form:?} {capabilities:?}"
            );
            master.shutdown().await;
        }
    }
}

/// Agents with GPUs, and those of another region, are not shown to frameworks that do not know of them.
#[tokio::test]
async fn agents_that_are_hidden() {
    use tepui_proto::mesos::DomainInfo;
    use tepui_proto::mesos::domain_info::FaultDomain;
    use tepui_proto::mesos::domain_info::fault_domain::{RegionInfo, ZoneInfo};
    let place = |region: &str| DomainInfo {
        fault_domain: Some(FaultDomain {
            region: RegionInfo {
                name: region.to_owned(),
            },
            zone: ZoneInfo {
                name: "z".to_owned(),
            },
        }),
    };
    // What makes the agent special, and the capability that shows it.
    for (resources, region, capability) in [
        ("cpus:1;mem:64;gpus:1", "here", "GPU_RESOURCES"),
        ("cpus:1;mem:64", "far", "REGION_AWARE"),
    ] {
        for form in FORMS {
            let master = master_with(|config| config.domain = Some(place("here"))).await;
            let _agent = Agent::with(&master, resources, |register| {
                register.agent.domain = Some(place(region));
            })
            .await;
            let mut blind = Talk::open(&master, form, json!({})).await;
            assert_eq!(blind.lines(&master).await, [""; 0], "{capability}");
            let info = json!({ "capabilities": [{ "type": capability }] });
            let mut aware = Talk::open(&master, form, info).await;
            assert_eq!(aware.offers().await.len(), 1, "{capability}");
            master.shutdown().await;
        }
    }
}
