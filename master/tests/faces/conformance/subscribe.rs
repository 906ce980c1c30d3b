//! SUBSCRIBE and UPDATE_FRAMEWORK: which descriptions are taken, what is kept of an older one, and what an invalid one is told: an
//! ERROR event on a stream that then ends, or a 400.

use serde_json::{Value, json};
use tepui_master::{Config, RunningMaster};

use super::{FORMS, Form, Talk, described, said, state};
use crate::support::{master, master_with};

/// Changes that are refused by both calls: FrameworkInfo, what stands beside it, and a part of the text.
fn invalid() -> Vec<(Value, Value, &'static str)> {
    let multi = json!([{ "type": "MULTI_ROLE" }]);
    let info = |info: Value, text| (info, json!({}), text);
    let beside = |beside: Value, text| (json!({}), beside, text);
    let constraint = |predicate: Value| {
        json!({ "offer_constraints": { "role_constraints": { "*": { "groups": [{ "attribute_constraints": [
            { "selector": { "attribute_name": "a" }, "predicate": predicate }
        ] }] } } } })
    };
    let mut rows = vec![
        info(
            json!({ "roles": ["known"] }),
            "must not be set when the framework is not MULTI_ROLE capable",
        ),
        info(
            json!({ "role": "known", "capabilities": multi }),
            "must not be set when the framework is MULTI_ROLE capable",
        ),
        info(
            json!({ "roles": ["known", "known"], "capabilities": multi }),
            "duplicate",
        ),
        info(
            json!({ "role": "unknown" }),
            "not present in the master's --roles",
        ),
        info(
            json!({ "roles": ["known", "unknown"], "capabilities": multi }),
            "not present in the master's --roles",
        ),
        info(json!({ "failover_timeout": -1 }), "failover_timeout"),
        info(json!({ "failover_timeout": 1e300 }), "failover_timeout"),
        info(
            json!({ "failover_timeout": "Infinity" }),
            "failover_timeout",
        ),
        info(
            json!({ "offer_filters": { "*": { "min_allocatable_resources": { "quantities": [{ "quantities": { "cpus": { "value": -1 } } }] } } } }),
            "offer filters",
        ),
        info(json!({ "offer_filters": { "": {} } }), "offer_filters"),
        beside(
            json!({ "suppressed_roles": ["other"] }),
            "Suppressed role 'other'",
        ),
        beside(
            json!({ "suppressed_roles": ["*", "*", "other"] }),
            "Suppressed role 'other'",
        ),
        beside(
            json!({ "offer_constraints": { "role_constraints": { "other": { "groups": [{ "attribute_constraints": [{ "selector": { "attribute_name": "a" }, "predicate": { "exists": {} } }] }] } } } }),
            "'other'",
        ),
        beside(
            json!({ "offer_constraints": { "role_constraints": { "*": {} } } }),
            "empty",
        ),
        beside(
            json!({ "offer_constraints": { "role_constraints": { "*": { "groups": [{}] } } } }),
            "empty",
        ),
        (json!({}), constraint(json!({})), ""),
        (
            json!({}),
            json!({ "offer_constraints": { "role_constraints": { "*": { "groups": [{ "attribute_constraints": [{ "selector": {}, "predicate": { "exists": {} } }] }] } } } }),
            "",
        ),
        beside(constraint(json!({ "text_matches": { "regex": "(" } })), ""),
        beside(
            constraint(json!({ "text_not_matches": { "regex": "[z-a]" } })),
            "",
        ),
        beside(
            constraint(json!({ "text_matches": { "regex": "(x{1,500}){1,500}" } })),
            "",
        ),
    ];
    for role in [
        "", ".", "..", "-x", "a b", "a\tb", "/a", "a/", "a//b", "a/../b", "a/*", "a\u{8}b", "*/a",
    ] {
        rows.push(info(json!({ "role": role }), ""));
        rows.push(info(json!({ "roles": [role], "capabilities": multi }), ""));
    }
    rows
}

async fn with_known_roles() -> RunningMaster {
    master_with(|config: &mut Config| {
        config.roles = Some(vec!["known".to_owned()]);
        config.root_submissions = false;
    })
    .await
}

/// The stream holds one ERROR and ends; nothing of the framework is left.
async fn refused_on_the_stream(master: &RunningMaster, form: Form, subscribe: Value, text: &str) {
    let before = state(master).await;
    let mut talk = Talk::raw(master, form, subscribe.clone()).await;
    let error = talk.next().await.expect("an event");
    let told = error["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        error["type"] == "ERROR" && told.contains(text) && !told.is_empty(),
        "{form:?} {subscribe}: {error}"
    );
    assert_eq!(talk.next().await, None, "the stream ends after {told}");
    assert_eq!(
        state(master).await,
        before,
        "{form:?} {subscribe} has changed something"
    );
}

#[tokio::test]
async fn an_invalid_description_is_told_by_error_and_the_stream_ends() {
    for form in FORMS {
        let master = with_known_roles().await;
        let _other = Talk::open(&master, form, json!({})).await;
        for (info, mut rest, text) in invalid() {
            rest["framework_info"] = described(info);
            refused_on_the_stream(&master, form, rest, text).await;
        }
        for (info, text) in [
            (json!({ "user": "root" }), "root submissions"),
            (
                json!({ "id": { "value": "a/b" } }),
                "Framework ID is invalid",
            ),
            (
                json!({ "id": { "value": ".." } }),
                "Framework ID is invalid",
            ),
            (
                json!({ "id": { "value": "x".repeat(256) } }),
                "Framework ID is invalid",
            ),
        ] {
            refused_on_the_stream(
                &master,
                form,
                json!({ "framework_info": described(info) }),
                text,
            )
            .await;
        }
        master.shutdown().await;
    }
}

#[tokio::test]
async fn an_invalid_update_is_a_400_and_changes_nothing() {
    for form in FORMS {
        let master = with_known_roles().await;
        let mut talk = Talk::open(
            &master,
            form,
            json!({ "principal": "p", "failover_timeout": 7 }),
        )
        .await;
        let own = |mut info: Value| {
            info["id"] = json!({ "value": talk.id });
            if info["principal"].is_null() {
                info["principal"] = json!("p");
            }
            described(info)
        };
        let mut rows: Vec<(Value, &str)> = invalid()
            .into_iter()
            .map(|(info, mut rest, text)| {
                rest["framework_info"] = own(info);
                (rest, text)
            })
            .collect();
        let only = |info: Value| json!({ "framework_info": info });
        rows.extend([
            (only(own(json!({ "user": "other" }))), "user"),
            (only(own(json!({ "checkpoint": true }))), "checkpoint"),
            (only(own(json!({ "principal": "other" }))), "principal"),
            (only(described(json!({ "principal": "p" }))), "framework_id"),
            (
                only(described(
                    json!({ "principal": "p", "id": { "value": "other" } }),
                )),
                "framework_id",
            ),
        ]);
        let before = state(&master).await;
        for (update, text) in rows {
            let answer = talk
                .call(
                    &master,
                    json!({ "type": "UPDATE_FRAMEWORK", "update_framework": update }),
                )
                .await;
            let told = said(&answer);
            assert!(
                answer.status == 400 && told.contains(text),
                "{form:?} {update}: {told}"
            );
            assert_eq!(
                state(&master).await,
                before,
                "{form:?} {update} has changed something"
            );
        }
        assert_eq!(
            talk.lines(&master).await,
            [""; 0],
            "nothing is said on the stream"
        );
        master.shutdown().await;
    }
}

/// Everything but user, principal and checkpoint is replaced as a whole, and the answer is 200 with nothing in it.
#[tokio::test]
async fn a_good_update_replaces_everything() {
    for form in FORMS {
        let master = master().await;
        let roles = json!([{ "type": "MULTI_ROLE" }]);
        let mut talk = Talk::open(
            &master,
            form,
            json!({ "roles": ["a", "b"], "capabilities": roles, "labels": { "labels": [{ "key": "k", "value": "v" }] }, "hostname": "h" }),
        )
        .await;
        let update = json!({ "type": "UPDATE_FRAMEWORK", "update_framework": {
            "framework_info": described(json!({ "id": { "value": talk.id }, "name": "new", "roles": ["b", "c"], "capabilities": roles, "failover_timeout": 9, "webui_url": "http://x" })),
            "suppressed_roles": ["c"],
        } });
        assert_eq!(said(&talk.call(&master, update).await), "200 ");
        let framework = state(&master).await["frameworks"][0].clone();
        assert_eq!(
            (
                &framework["name"],
                &framework["roles"],
                &framework["failover_timeout"],
                &framework["webui_url"],
                &framework["labels"]
            ),
            (
                &json!("new"),
                &json!(["b", "c"]),
                &json!(9.0),
                &json!("http://x"),
                &Value::Null
            )
        );
        // The suppressed role gets nothing, the other everything.
        let _agent = super::Agent::start(&master, "cpus(c):1;mem(c):64;cpus(b):1;mem(b):64").await;
        let offers = talk.offers().await;
        let to: Vec<&Value> = offers
            .iter()
            .map(|offer| &offer["allocation_info"]["role"])
            .collect();
        assert_eq!(to, [&json!("b")]);
        assert_eq!(talk.lines(&master).await, [""; 0]);
        master.shutdown().await;
    }
}

/// The first two events, and the ids of one master process.
#[tokio::test]
async fn the_answer_to_a_good_subscription() {
    for form in FORMS {
        let master = master().await;
        for n in 0..3 {
            let mut talk = Talk::raw(
                &master,
                form,
                json!({ "framework_info": described(json!({})) }),
            )
            .await;
            let first = talk.next().await.expect("an event");
            let subscribed = &first["subscribed"];
            let master_id = subscribed["master_info"]["id"].as_str().expect("an id");
            assert_eq!(first["type"], "SUBSCRIBED");
            assert_eq!(
                subscribed["framework_id"]["value"],
                format!("{master_id}-{n:04}")
            );
            assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
            assert_eq!(subscribed["master_info"]["port"], master.addr().port());
            assert_eq!(talk.next().await, Some(json!({ "type": "HEARTBEAT" })));
            assert_eq!(state(&master).await["frameworks"][0]["active"], true);
        }
        // Empty ids are as good as none.
        let empty = Talk::with(
            &master,
            form,
            json!({ "framework_info": described(json!({ "id": { "value": "" } })) }),
        )
        .await;
        assert!(empty.id.ends_with("-0003"), "{}", empty.id);
        // One that this master does not know is taken as it is.
        let invented = Talk::open(&master, form, json!({ "id": { "value": "mine" } })).await;
        assert_eq!(invented.id, "mine");
        master.shutdown().await;
    }
}

#[tokio::test]
async fn a_known_id_takes_over() {
    for form in FORMS {
        let master = master().await;
        let agent = super::Agent::start(&master, "cpus:4;mem:1024").await;
        let first = json!({ "user": "first", "principal": "p", "checkpoint": false, "name": "old", "hostname": "h", "failover_timeout": 1000 });
        let mut old = Talk::open(&master, form, first).await;
        let offer = old.offers().await.remove(0);
        let again = json!({ "id": { "value": old.id }, "user": "second", "principal": "p", "checkpoint": true, "name": "new" });
        let mut new = Talk::open(&master, form, again).await;
        assert_eq!(new.id, old.id);
        // The old stream hears of it, but not of its offers.
        let rest: Vec<String> = {
            let mut rest = Vec::new();
            while let Some(event) = old.next().await {
                rest.push(super::line(&event));
            }
            rest.into_iter()
                .filter(|line| line != "HEARTBEAT")
                .collect()
        };
        assert_eq!(rest, ["ERROR Framework failed over"]);
        let framework = state(&master).await["frameworks"][0].clone();
        assert_eq!(
            (
                &framework["user"],
                &framework["checkpoint"],
                &framework["name"],
                &framework["failover_timeout"]
            ),
            (&json!("first"), &json!(false), &json!("new"), &json!(0.0)),
            "user and checkpoint stay"
        );
        // The old offers are void, the resources are offered anew.
        let fresh = new.offers().await.remove(0);
        assert_ne!(fresh["id"], offer["id"]);
        let stale = super::launch(&[&offer], &[super::task("t", &agent.id)]);
        assert_eq!(new.call(&master, stale).await.status, 202);
        assert_eq!(
            new.lines(&master).await,
            ["UPDATE t TASK_LOST MASTER INVALID_OFFERS"]
        );
        // Another principal is an error, and the framework keeps its stream.
        let wrong = json!({ "framework_info": described(json!({ "id": { "value": new.id }, "principal": "q" })) });
        refused_on_the_stream(&master, form, wrong, "principal").await;
        assert_eq!(
            new.call(&master, json!({ "type": "REVIVE" })).await.status,
            202
        );
        master.shutdown().await;
    }
}

#[tokio::test]
async fn a_removed_framework_may_not_return() {
    for form in FORMS {
        let master = master().await;
        let mut torn = Talk::open(&master, form, json!({})).await;
        assert_eq!(
            said(&torn.call(&master, json!({ "type": "TEARDOWN" })).await),
            "202 "
        );
        while torn.next().await.is_some() {}
        let again = json!({ "framework_info": described(json!({ "id": { "value": torn.id } })) });
        refused_on_the_stream(&master, form, again, "Framework has been removed").await;
        assert_eq!(
            torn.call(&master, json!({ "type": "REVIVE" })).await.status,
            400,
            "its id is unknown now"
        );
        master.shutdown().await;
    }
}
