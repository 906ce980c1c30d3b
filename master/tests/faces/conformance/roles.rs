//! SUPPRESS and REVIVE: whose offers they stop and start.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Agent, FORMS, Talk, said, state};
use crate::support::master;

/// Calls in order; which of the roles a, b and c are then offered what an agent brings that has something for each of them.
#[tokio::test]
async fn who_is_offered_after_suppress_and_revive() {
    let call = |kind: &str, roles: &[&str]| {
        let field = kind.to_lowercase();
        json!({ "type": kind, field: { "roles": roles } })
    };
    let bare = |kind: &str| json!({ "type": kind });
    let suppress = |roles: &[&str]| call("SUPPRESS", roles);
    let revive = |roles: &[&str]| call("REVIVE", roles);
    let rows: Vec<(&str, Vec<Value>, &[&str])> = vec![
        ("nothing is suppressed at first", vec![], &["a", "b", "c"]),
        ("one role", vec![suppress(&["a"])], &["b", "c"]),
        ("several", vec![suppress(&["a", "c"])], &["b"]),
        ("an empty list is all of them", vec![suppress(&[])], &[]),
        ("and so is none at all", vec![bare("SUPPRESS")], &[]),
        (
            "one invalid role drops the call",
            vec![suppress(&["a", "x"])],
            &["a", "b", "c"],
        ),
        (
            "so does one that is no role",
            vec![suppress(&["a", "-"])],
            &["a", "b", "c"],
        ),
        ("revived", vec![suppress(&[]), revive(&["b"])], &["b"]),
        (
            "all of them",
            vec![suppress(&["a", "b"]), revive(&[])],
            &["a", "b", "c"],
        ),
        (
            "without a list",
            vec![suppress(&["a", "b"]), bare("REVIVE")],
            &["a", "b", "c"],
        ),
        (
            "one invalid role drops it",
            vec![suppress(&[]), revive(&["a", "x"])],
            &[],
        ),
        (
            "twice is once",
            vec![suppress(&["a"]), suppress(&["a"]), revive(&["a"])],
            &["a", "b", "c"],
        ),
    ];
    let info = json!({ "roles": ["a", "b", "c"], "capabilities": [{ "type": "MULTI_ROLE" }] });
    for form in FORMS {
        for (name, calls, expected) in &rows {
            let master = master().await;
            let mut talk = Talk::open(&master, form, info.clone()).await;
            for call in calls {
                assert_eq!(
                    said(&talk.call(&master, call.clone()).await),
                    "202 ",
                    "{name}"
                );
            }
            let _agent = Agent::start(
                &master,
                "cpus(a):1;mem(a):64;cpus(b):1;mem(b):64;cpus(c):1;mem(c):64",
            )
            .await;
            let mut offered = BTreeSet::new();
            while offered.len() < expected.len() {
                for offer in talk.offers().await {
                    offered.insert(
                        offer["allocation_info"]["role"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                    );
                }
            }
            assert!(
                offered.iter().eq(expected.iter()),
                "{form:?} {name}: {offered:?}"
            );
            assert_eq!(
                talk.lines(&master).await,
                [""; 0],
                "{form:?} {name}: no other role"
            );
            master.shutdown().await;
        }
    }
}

/// What is held already stays, and SUBSCRIBE sets the roles anew.
#[tokio::test]
async fn suppressing_does_not_rescind() {
    for form in FORMS {
        let master = master().await;
        let _agent = Agent::start(&master, "cpus:4;mem:1024").await;
        let mut talk = Talk::open(&master, form, json!({ "failover_timeout": 100 })).await;
        talk.offers().await;
        let held = state(&master).await["frameworks"][0]["offers"].clone();
        assert_eq!(
            talk.call(&master, json!({ "type": "SUPPRESS" }))
                .await
                .status,
            202
        );
        assert_eq!(talk.lines(&master).await, [""; 0]);
        assert_eq!(state(&master).await["frameworks"][0]["offers"], held);
        let again = json!({ "id": { "value": talk.id }, "user": "nobody", "name": "n" });
        let with =
            |suppressed: Value| json!({ "framework_info": again, "suppressed_roles": suppressed });
        let mut quiet = Talk::with(&master, form, with(json!(["*"]))).await;
        assert_eq!(
            quiet.lines(&master).await,
            [""; 0],
            "suppressed from the start"
        );
        let mut loud = Talk::with(&master, form, with(json!([]))).await;
        assert_eq!(loud.offers().await.len(), 1);
        master.shutdown().await;
    }
}
