//! Tables of documents with persistent volumes: the exact normalised form, or the exact refusal.

use serde_json::{Value, json};

use super::tests::parse;
use crate::response::Response;

/// An app with this one volume; `more` are members of the app.
fn with(volume: &str, more: &str) -> Result<Value, Response> {
    let document = format!(
        r#"{{"id":"/dev/a","role":"dev","cmd":"sleep 1","container":{{"type":"MESOS","volumes":[{volume}]}}{more}}}"#
    );
    parse(&document, None).map(|app| serde_json::to_value(app).expect("serialises"))
}

#[test]
fn accepted_volumes_and_what_becomes_of_them() {
    for (volume, want) in [
        (
            r#"{"containerPath":"a","persistent":{"size":1}}"#,
            json!({ "containerPath": "a", "mode": "RW", "persistent": { "type": "root", "size": 1 } }),
        ),
        (
            r#"{"containerPath":"a","mode":"rw","persistent":{"size":1,"profileName":"fast"}}"#,
            json!({ "containerPath": "a", "mode": "RW", "persistent": { "type": "mount", "size": 1, "profileName": "fast" } }),
        ),
        (
            r#"{"containerPath":"a","persistent":{"type":"MOUNT","size":1,"maxSize":2,"constraints":[["path","like","/x/.*"]]}}"#,
            json!({ "containerPath": "a", "mode": "RW",
                "persistent": { "type": "mount", "size": 1, "maxSize": 2, "constraints": [["path", "LIKE", "/x/.*"]] } }),
        ),
    ] {
        let app = with(volume, "").expect(volume);
        assert_eq!(app["container"]["volumes"], json!([want]), "{volume}");
        assert_eq!(
            [
                &app["upgradeStrategy"],
                &app["unreachableStrategy"],
                &app["residency"]
            ],
            [
                &json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0 }),
                &json!("disabled"),
                &json!({ "relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER" })
            ]
        );
        let again: super::App =
            serde_json::from_value(app.clone()).expect("what is stored reads back");
        assert_eq!(serde_json::to_value(again).expect("serialises"), app);
    }
    let fixed = r#","acceptedResourceRoles":["*"],"residency":{"taskLostBehavior":"RELAUNCH_AFTER_TIMEOUT"},
        "upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":0}"#;
    let app = with(r#"{"containerPath":"a","persistent":{"size":1}}"#, fixed).expect("valid");
    assert_eq!(
        app["residency"]["taskLostBehavior"], "WAIT_FOREVER",
        "it has no effect"
    );
    assert_eq!(app["upgradeStrategy"]["minimumHealthCapacity"], 1.0);
}

#[test]
fn refused_volumes_and_the_exact_answer() {
    let fine = r#"{"containerPath":"a","persistent":{"size":1}}"#;
    let persistent = |inner: &str| format!(r#"{{"containerPath":"a","persistent":{{{inner}}}}}"#);
    let (read, invalid) = ("Invalid JSON", "Object is not valid");
    let at = |rest: &str| format!("/container/volumes(0){rest}");
    for (volume, more, message, path, error) in [
        (
            persistent(""),
            "",
            read,
            at("/persistent/size"),
            "error.path.missing",
        ),
        (
            persistent(r#""size":"1""#),
            "",
            read,
            at("/persistent/size"),
            "error.expected.jsnumber",
        ),
        (
            persistent(r#""type":"disk","size":1"#),
            "",
            read,
            at("/persistent/type"),
            "error.unknown.enum.literal",
        ),
        (
            persistent(r#""size":0"#),
            "",
            invalid,
            at("/persistent/size"),
            "got 0, expected more than 0",
        ),
        (
            persistent(r#""size":1,"maxSize":2"#),
            "",
            invalid,
            at("/persistent"),
            "Only mount volumes can have maxSize",
        ),
        (
            persistent(r#""type":"mount","size":2,"maxSize":2"#),
            "",
            invalid,
            at("/persistent"),
            "Max size must be larger than size",
        ),
        (
            persistent(r#""size":1,"constraints":[["path","LIKE","x"]]"#),
            "",
            invalid,
            at("/persistent"),
            "Constraints on root volumes are not supported",
        ),
        (
            persistent(r#""type":"path","size":1,"constraints":[["path","UNIQUE","x"]]"#),
            "",
            invalid,
            at("/persistent/constraints(0)"),
            "Operator must be one of LIKE, UNLIKE",
        ),
        (
            persistent(r#""type":"path","size":1,"constraints":[["path","LIKE","("]]"#),
            "",
            invalid,
            at("/persistent/constraints(0)"),
            "Invalid regular expression",
        ),
        (
            persistent(r#""type":"path","size":1,"constraints":[["rack","LIKE","x"]]"#),
            "",
            invalid,
            at("/persistent/constraints(0)"),
            "Unsupported constraint rack,LIKE,x",
        ),
        (
            persistent(r#""type":"path","size":1,"constraints":[[]]"#),
            "",
            invalid,
            at("/persistent/constraints(0)"),
            "Missing field and operator",
        ),
        (
            fine.replace("\"a\"", "\"/a\""),
            "",
            invalid,
            at("/containerPath"),
            "value must not contain \"/\"",
        ),
        (
            fine.replace("\"a\"", "\"..\""),
            "",
            invalid,
            at("/containerPath"),
            "can not be one of (.,..)",
        ),
        (
            fine.replace("\"a\"", "\"a\",\"mode\":\"RO\""),
            "",
            invalid,
            at("/mode"),
            "got RO, expected RW",
        ),
        (
            fine.to_owned(),
            r#","role":"*""#,
            invalid,
            "/role".to_owned(),
            "Resident apps cannot have the role *",
        ),
        (
            fine.to_owned(),
            r#","acceptedResourceRoles":["dev"]"#,
            invalid,
            "/acceptedResourceRoles".to_owned(),
            "A resident app must have `acceptedResourceRoles = [\"*\"]`.",
        ),
        (
            fine.to_owned(),
            r#","upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1}"#,
            invalid,
            "/upgradeStrategy/maximumOverCapacity".to_owned(),
            "got 1.0, expected 0.0",
        ),
        (
            fine.to_owned(),
            r#","unreachableStrategy":{"inactiveAfterSeconds":1,"expungeAfterSeconds":2}"#,
            invalid,
            "/unreachableStrategy".to_owned(),
            "unreachableStrategy must be disabled for resident tasks",
        ),
        (
            r#"{"containerPath":"a","mode":"RW","external":{}}"#.to_owned(),
            "",
            invalid,
            at("/external"),
            "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)",
        ),
    ] {
        let refusal = with(&volume, more).expect_err(&volume);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        assert_eq!(
            (refusal.status, body["message"].as_str()),
            (422, Some(message)),
            "{volume}: {body}"
        );
        let details = body["details"].as_array().expect("an array");
        let found = details.iter().find(|detail| detail["path"] == *path);
        let errors = found.map(|detail| detail["errors"].clone());
        assert_eq!(errors, Some(json!([error])), "{volume}{more}: {body}");
    }
}
