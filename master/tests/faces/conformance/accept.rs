//! ACCEPT: what offers may be named together, what becomes of a call that names others, and tasks that are refused one by one.

use serde_json::{Value, json};
use tepui_master::RunningMaster;

use super::{Agent, FORMS, Form, Talk, launch, said, small, state, task};
use crate::support::{get, master};

/// A framework with three offers (two roles on one agent, one of them on another) and one with an offer of its own.
struct Market {
    mine: Talk,
    other: Talk,
    agents: Vec<Agent>,
    /// (agent 0, role a), (agent 0, role b), (agent 1, role a), and the other framework's.
    offers: Vec<Value>,
}

impl Market {
    async fn open(master: &RunningMaster, form: Form, partition_aware: bool) -> Self {
        let agents = vec![
            Agent::start(master, "cpus(a):1;mem(a):64;cpus(b):1;mem(b):64").await,
            Agent::start(master, "cpus(a):1;mem(a):64").await,
            Agent::start(master, "cpus(c):1;mem(c):64").await,
        ];
        let mut capabilities = vec![json!({ "type": "MULTI_ROLE" })];
        if partition_aware {
            capabilities.push(json!({ "type": "PARTITION_AWARE" }));
        }
        let info = |roles: Value| json!({ "roles": roles, "capabilities": capabilities });
        let mut mine = Talk::open(master, form, info(json!(["a", "b"]))).await;
        let mut other = Talk::open(master, form, info(json!(["c"]))).await;
        let mut offers = Vec::new();
        while offers.len() < 3 {
            offers.extend(mine.offers().await);
        }
        let place = |offer: &Value| {
            (
                offer["agent_id"]["value"] != agents[0].id.as_str(),
                offer["allocation_info"]["role"].to_string(),
            )
        };
        offers.sort_by_key(place);
        offers.extend(other.offers().await);
        Self {
            mine,
            other,
            agents,
            offers,
        }
    }
}

#[tokio::test]
async fn offers_that_may_not_be_named_together_fail_the_whole_call() {
    // Which of the offers (9: one that never was), and how many of them come back to be offered anew.
    let rows: [(&str, &[usize], usize); 7] = [
        ("none", &[], 0),
        ("one twice", &[0, 0], 1),
        ("one that never was", &[9], 0),
        ("a good one beside it", &[0, 9], 1),
        ("another framework's", &[0, 3], 1),
        ("of two agents", &[0, 2], 2),
        ("of two roles", &[0, 1], 2),
    ];
    for form in FORMS {
        for aware in [false, true] {
            for (name, named, back) in rows {
                let master = master().await;
                let mut market = Market::open(&master, form, aware).await;
                let never = json!({ "id": { "value": "never" } });
                let offers: Vec<&Value> = named
                    .iter()
                    .map(|at| market.offers.get(*at).unwrap_or(&never))
                    .collect();
                let mut call = launch(
                    &offers,
                    &[task("t1", &market.agents[0].id), task("t2", "anywhere")],
                );
                let operations = call["accept"]["operations"].as_array_mut().expect("a list");
                let resources = json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 }, "role": "a" }]);
                operations.push(json!({ "type": "UNRESERVE", "id": { "value": "with-id" }, "unreserve": { "resources": resources } }));
                operations
                    .push(json!({ "type": "UNRESERVE", "unreserve": { "resources": resources } }));
                assert_eq!(said(&market.mine.call(&master, call).await), "202 ");
                let state_of = if aware { "DROPPED" } else { "LOST" };
                let mut expected = vec![
                    format!("UPDATE t1 TASK_{state_of} MASTER INVALID_OFFERS"),
                    format!("UPDATE t2 TASK_{state_of} MASTER INVALID_OFFERS"),
                    "OPERATION with-id OPERATION_ERROR".to_owned(),
                ];
                let mut lines = market.mine.lines(&master).await;
                // Without a filter: what is good of them is offered again at once, whatever the call's filters say.
                let offered: usize = lines
                    .iter()
                    .filter_map(|line| line.strip_prefix("OFFERS ")?.parse::<usize>().ok())
                    .sum();
                lines.retain(|line| !line.starts_with("OFFERS"));
                if offered < back {
                    let more = market.mine.offers().await.len();
                    assert_eq!(offered + more, back, "{form:?} {name}");
                } else {
                    assert_eq!(offered, back, "{form:?} {name}");
                }
                assert_eq!(lines, std::mem::take(&mut expected), "{form:?} {name}");
                assert_eq!(
                    market.other.lines(&master).await,
                    [""; 0],
                    "the other framework keeps what it was offered: {name}"
                );
                let kept = task("kept", &market.agents[2].id);
                let mut kept = launch(&[&market.offers[3]], &[kept]);
                kept["accept"]["operations"][0]["launch"]["task_infos"][0]["resources"] = json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 }, "role": "c" }]);
                market.other.call(&master, kept).await;
                assert_eq!(
                    market.agents[2].told(&master, &market.other).await,
                    ["Framework", "RunTask kept"],
                    "and can use it: {name}"
                );
                master.shutdown().await;
            }
        }
    }
}

/// One task that is not taken, beside two that are.
#[tokio::test]
async fn tasks_are_refused_one_by_one() {
    let command = |command: Value| json!({ "command": command });
    let rows = [
        ("an id in use", json!({ "task_id": { "value": "before" } })),
        ("an empty id", json!({ "task_id": { "value": "" } })),
        (
            "an id with a slash",
            json!({ "task_id": { "value": "a/b" } }),
        ),
        (
            "an id of 256 characters",
            json!({ "task_id": { "value": "x".repeat(256) } }),
        ),
        ("another agent", json!({ "agent_id": { "value": "other" } })),
        ("no resources", json!({ "resources": [] })),
        (
            "more than was offered",
            json!({ "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 100 } }] }),
        ),
        (
            "a resource that is not offered",
            json!({ "resources": [{ "name": "ports", "type": "RANGES", "ranges": { "range": [{ "begin": 1, "end": 2 }] } }] }),
        ),
        (
            "a TEXT resource (Mesos aborts)",
            json!({ "resources": [{ "name": "x", "type": "TEXT" }] }),
        ),
        (
            "a negative amount",
            json!({ "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": -1 } }] }),
        ),
        (
            "an infinite amount",
            json!({ "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": "Infinity" } }] }),
        ),
        (
            "half a GPU",
            json!({ "resources": [{ "name": "gpus", "type": "SCALAR", "scalar": { "value": 0.5 } }] }),
        ),
        (
            "overlapping ranges",
            json!({ "resources": [{ "name": "ports", "type": "RANGES", "ranges": { "range": [{ "begin": 1, "end": 5 }, { "begin": 3, "end": 9 }] } }] }),
        ),
        (
            "another role's allocation",
            json!({ "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 }, "allocation_info": { "role": "other" } }] }),
        ),
        ("neither command nor executor", json!({ "command": null })),
        (
            "both",
            json!({ "executor": { "executor_id": { "value": "e" }, "command": { "value": "x" } } }),
        ),
        (
            "a built-in executor",
            json!({ "command": null, "executor": { "type": "DEFAULT", "executor_id": { "value": "e" }, "resources": small() } }),
        ),
        (
            "a negative grace period",
            json!({ "kill_policy": { "grace_period": { "nanoseconds": -1 } } }),
        ),
        (
            "a negative completion time",
            json!({ "max_completion_time": { "nanoseconds": -1 } }),
        ),
        ("a check of no type", json!({ "check": {} })),
        (
            "a check whose type is not filled in",
            json!({ "check": { "type": "HTTP" } }),
        ),
        (
            "a path that does not begin with a slash",
            json!({ "health_check": { "type": "HTTP", "http": { "port": 80, "path": "x" } } }),
        ),
        (
            "a check's negative delay",
            json!({ "health_check": { "type": "TCP", "tcp": { "port": 80 }, "delay_seconds": -1 } }),
        ),
        (
            "DOCKER without docker",
            json!({ "container": { "type": "DOCKER" } }),
        ),
        (
            "a docker parameter of name",
            json!({ "container": { "type": "DOCKER", "docker": { "image": "x", "parameters": [{ "key": "name", "value": "x" }] } } }),
        ),
        (
            "a volume of nowhere",
            json!({ "container": { "type": "MESOS", "volumes": [{ "mode": "RW", "container_path": "p" }] } }),
        ),
        (
            "an rlimit with one bound (Mesos lets it pass)",
            json!({ "container": { "type": "MESOS", "rlimit_info": { "rlimits": [{ "type": "RLMT_AS", "hard": 1 }] } } }),
        ),
        (
            "cgroups of its own outside of a group",
            json!({ "container": { "type": "MESOS", "linux_info": { "share_cgroups": false } } }),
        ),
        (
            "a limit of disk",
            json!({ "limits": { "disk": { "value": 1 } } }),
        ),
        (
            "a limit below the request",
            json!({ "limits": { "cpus": { "value": 0.05 } } }),
        ),
        (
            "a file outside of the sandbox (Mesos fetches it)",
            command(
                json!({ "value": "x", "uris": [{ "value": "http://h/x", "output_file": "../x" }] }),
            ),
        ),
        (
            "a variable without value",
            command(json!({ "value": "x", "environment": { "variables": [{ "name": "A" }] } })),
        ),
        (
            "a secret variable without secret",
            command(
                json!({ "value": "x", "environment": { "variables": [{ "name": "A", "type": "SECRET" }] } }),
            ),
        ),
    ];
    for form in FORMS {
        for (name, patch) in &rows {
            let master = master().await;
            let mut agent = Agent::start(&master, "cpus:4;mem:1024").await;
            let mut talk = Talk::open(&master, form, json!({})).await;
            let offer = talk.offers().await.remove(0);
            let mut bad = task("bad", &agent.id);
            for (key, value) in patch.as_object().expect("an object") {
                match value {
                    Value::Null => drop(bad.as_object_mut().expect("an object").remove(key)),
                    value => bad[key] = value.clone(),
                }
            }
            let id = bad["task_id"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let tasks = [task("before", &agent.id), bad, task("after", &agent.id)];
            assert_eq!(
                said(&talk.call(&master, launch(&[&offer], &tasks)).await),
                "202 ",
                "{name}"
            );
            let refused = format!("UPDATE {id} TASK_ERROR MASTER TASK_INVALID");
            assert_eq!(talk.lines(&master).await, [refused], "{form:?} {name}");
            assert_eq!(
                agent.told(&master, &talk).await,
                ["Framework", "RunTask before", "RunTask after"],
                "{form:?} {name}"
            );
            let tasks = get(&master, "/tasks").await.json()["tasks"]
                .as_array()
                .map(Vec::len);
            assert_eq!(tasks, Some(2), "the refused one is in no list: {name}");
            master.shutdown().await;
        }
    }
}

/// One that is accepted is STAGING at once, runs on the agent, and what is left over comes back according to the filters.
#[tokio::test]
async fn a_good_task_is_staging_and_the_rest_is_declined() {
    for form in FORMS {
        let master = master().await;
        let mut agent = Agent::start(&master, "cpus:4;mem:1024").await;
        let mut talk = Talk::open(&master, form, json!({})).await;
        let offer = talk.offers().await.remove(0);
        talk.call(&master, launch(&[&offer], &[task("t", &agent.id)]))
            .await;
        assert_eq!(
            talk.lines(&master).await,
            [""; 0],
            "nothing is said of it, nothing is offered for 1000 s"
        );
        assert_eq!(agent.told(&master, &talk).await, ["Framework", "RunTask t"]);
        let shown = state(&master).await["frameworks"][0].clone();
        assert_eq!(
            (&shown["tasks"][0]["id"], &shown["tasks"][0]["state"]),
            (&json!("t"), &json!("TASK_STAGING"))
        );
        assert_eq!(
            (&shown["used_resources"]["cpus"], &shown["offers"]),
            (&json!(0.1), &json!([]))
        );
        // Its offer is used up.
        talk.call(&master, launch(&[&offer], &[task("u", &agent.id)]))
            .await;
        assert_eq!(
            talk.lines(&master).await,
            ["UPDATE u TASK_LOST MASTER INVALID_OFFERS"]
        );
        // REVIVE forgets the filter.
        assert_eq!(
            talk.call(&master, json!({ "type": "REVIVE" })).await.status,
            202
        );
        let again = talk.offers().await.remove(0);
        let cpus = again["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["name"] == "cpus")
            .cloned();
        assert_eq!(cpus.expect("cpus")["scalar"]["value"], 3.9);
        // KILL goes to the agent, with its own policy; the wrong agent is passed over.
        let kill = |agent: &str| json!({ "type": "KILL", "kill": { "task_id": { "value": "t" }, "agent_id": { "value": agent } } });
        talk.call(&master, kill("other")).await;
        assert_eq!(agent.told(&master, &talk).await, [""; 0]);
        talk.call(&master, kill(&agent.id)).await;
        assert_eq!(agent.told(&master, &talk).await, ["KillTask t"]);
        master.shutdown().await;
    }
}

/// Another framework's offers are not this one's to decline.
#[tokio::test]
async fn foreign_offers_are_not_declined() {
    for form in FORMS {
        let master = master().await;
        let market = Market::open(&master, form, false).await;
        let before = state(&master).await;
        let decline = json!({ "type": "DECLINE", "decline": { "offer_ids": [market.offers[3]["id"], { "value": "never" }] } });
        assert_eq!(said(&market.mine.call(&master, decline).await), "202 ");
        assert_eq!(state(&master).await, before);
        master.shutdown().await;
    }
}
