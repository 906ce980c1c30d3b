//! Tables of documents with external volumes: the exact normalised form, or the exact refusal.

use serde_json::{Value, json};

use crate::{
    config::Config,
    definition::{App, tests::parse_with},
    response::Response,
};

fn parse(document: &Value) -> Result<App, Response> {
    let config = Config {
        external_volumes: true,
        ..Config::default()
    };
    parse_with(&document.to_string(), None, &config)
}

/// An app in this kind of container with this one volume; `more` are members of the app.
fn with(kind: &str, volume: &Value, more: &Value) -> Result<App, Response> {
    let mut document = json!({ "id": "/a", "cmd": "sleep 1",
        "container": { "type": kind, "docker": { "image": "x" }, "volumes": [volume] } });
    for (key, value) in more.as_object().expect("an object") {
        document[key] = value.clone();
    }
    parse(&document)
}

/// A volume with this value of `external`.
fn volume(external: &Value) -> Value {
    json!({ "containerPath": "/data", "mode": "RW", "external": external })
}

fn rexray(more: &Value) -> Value {
    let mut external =
        json!({ "name": "v", "provider": "dvdi", "options": { "dvdi/driver": "rexray" } });
    for (key, value) in more.as_object().expect("an object") {
        external[key] = value.clone();
    }
    external
}

#[test]
fn accepted_volumes_and_what_becomes_of_them() {
    let options = json!({ "options": { "dvdi/driver": "rexray", "dvdi/iops": "100", "dvdi/overwritefs": "TRUE",
        "dvdi/volumetype": "io1", "other/Name.x": "y" } });
    for (kind, given, want) in [
        (
            "MESOS",
            rexray(&json!({})),
            rexray(&json!({ "shared": false })),
        ),
        (
            "DOCKER",
            rexray(&json!({})),
            rexray(&json!({ "shared": false })),
        ),
        (
            "MESOS",
            rexray(&json!({ "size": 100, "shared": true })),
            rexray(&json!({ "size": 100, "shared": true })),
        ),
        ("MESOS", rexray(&options), {
            let mut want = rexray(&options);
            want["shared"] = json!(false);
            want
        }),
    ] {
        let app = with(kind, &volume(&given), &json!({})).expect("valid");
        let app = json!(app);
        let want = json!([{ "containerPath": "/data", "mode": "RW", "external": want }]);
        assert_eq!(app["container"]["volumes"], want);
        assert_eq!(
            [
                &app["upgradeStrategy"],
                &app["unreachableStrategy"],
                &app["residency"]
            ],
            [
                &json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0 }),
                &json!({ "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }),
                &Value::Null
            ]
        );
        let again: App = serde_json::from_value(app.clone()).expect("what is stored reads back");
        assert_eq!(json!(again), app);
    }
    let shared = volume(&rexray(&json!({ "shared": true })));
    let app = with("MESOS", &shared, &json!({ "instances": 7 })).expect("shared by its instances");
    assert!(!app.is_replaced_in_place());
    // What Docker may not do with a volume it may do with one that it only reads.
    let mut read_only = volume(&rexray(&json!({})));
    read_only["mode"] = json!("RO");
    assert!(with("DOCKER", &read_only, &json!({})).is_ok_and(|app| app.is_replaced_in_place()));
}

#[test]
fn refused_volumes_and_why() {
    let label = "must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$'";
    let option = r"must match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$'";
    let fine = rexray(&json!({}));
    let with_option = |key: &str, value: &str| {
        let mut external = fine.clone();
        external["options"][key] = json!(value);
        external
    };
    let nothing = json!({});
    let one_more = json!({ "instances": 2 });
    let over =
        json!({ "upgradeStrategy": { "minimumHealthCapacity": 1, "maximumOverCapacity": 1 } });
    for (kind, external, more, path, error) in [
        (
            "MESOS",
            rexray(&json!({ "name": "" })),
            &nothing,
            "/external/name",
            "must not be empty",
        ),
        (
            "MESOS",
            rexray(&json!({ "provider": null })),
            &nothing,
            "/external/provider",
            "not defined",
        ),
        (
            "MESOS",
            rexray(&json!({ "provider": "nfs" })),
            &nothing,
            "/external/provider",
            "is unknown provider",
        ),
        (
            "MESOS",
            rexray(&json!({ "options": {} })),
            &nothing,
            "/external/options(\"dvdi/driver\")",
            "not defined",
        ),
        (
            "MESOS",
            with_option("dvdi/driver", "Rex"),
            &nothing,
            "/external/options(\"dvdi/driver\")",
            label,
        ),
        (
            "MESOS",
            with_option("iops", "1"),
            &nothing,
            "/external/options/keys(1)",
            option,
        ),
        (
            "MESOS",
            with_option("dvdi/", "1"),
            &nothing,
            "/external/options/keys(0)",
            option,
        ),
        (
            "MESOS",
            with_option("dvdi/volumetype", "-"),
            &nothing,
            "/external/options/\"dvdi/volumetype\"",
            label,
        ),
        (
            "MESOS",
            with_option("dvdi/iops", "0"),
            &nothing,
            "/external/options/\"dvdi/iops\"",
            "Expected a valid, positive integer instead of 0",
        ),
        (
            "MESOS",
            with_option("dvdi/overwritefs", "1"),
            &nothing,
            "/external/options/\"dvdi/overwritefs\"",
            "Expected a valid boolean",
        ),
        (
            "MESOS",
            rexray(&json!({ "size": 0 })),
            &nothing,
            "/external/size",
            "got 0, expected more than 0",
        ),
        (
            "DOCKER",
            rexray(&json!({ "size": 1 })),
            &nothing,
            "/external/size",
            "must be undefined for Docker containers",
        ),
        (
            "DOCKER",
            with_option("dvdi/iops", "1"),
            &nothing,
            "/external/options",
            "must only contain dvdi/driver",
        ),
        (
            "MESOS",
            fine.clone(),
            &one_more,
            "/",
            "Number of instances is limited to 1 when declaring DVDI volumes in app [/a]",
        ),
        (
            "MESOS",
            fine.clone(),
            &over,
            "/upgradeStrategy/maximumOverCapacity",
            "got 1.0, expected 0.0",
        ),
    ] {
        let refusal = with(kind, &volume(&external), more).expect_err(error);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        let path = match path.strip_prefix("/external") {
            Some(rest) => format!("/container/volumes(0)/external{rest}"),
            None => path.to_owned(),
        };
        let details = json!([{ "path": path, "errors": [error] }]);
        let want = json!({ "message": "Object is not valid", "details": details });
        assert_eq!((refusal.status, body), (422, want), "{external}");
    }
    for (key, value, error) in [
        ("mode", "RO", "got RO, expected RW"),
        ("containerPath", "..", "can not be one of (.,..)"),
        ("containerPath", "", "must not be empty"),
    ] {
        let mut wrong = volume(&fine);
        wrong[key] = json!(value);
        let refusal = with("MESOS", &wrong, &nothing).expect_err(error);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        let path = format!("/container/volumes(0)/{key}");
        assert_eq!(
            body["details"],
            json!([{ "path": path, "errors": [error] }])
        );
    }
    let twice = json!({ "id": "/a", "cmd": "sleep 1",
        "container": { "type": "MESOS", "volumes": [volume(&fine), volume(&fine)] } });
    let refusal = parse(&twice).expect_err("named twice");
    let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
    let error = "Requested DVDI volume 'v' is declared more than once within app /a";
    let names = "Volume names must be unique";
    assert_eq!(
        body["details"],
        json!([{ "path": "/container/volumes", "errors": [names] }, { "path": "/", "errors": [error] }])
    );
    // What cannot be read at all.
    for (external, path, error) in [
        (json!({ "size": -1 }), "/external/size", "error.min"),
        (
            json!({ "shared": "true" }),
            "/external/shared",
            "error.expected.jsboolean",
        ),
        (
            json!({ "options": { "dvdi/driver": 1 } }),
            "/external/options/dvdi/driver",
            "error.expected.jsstring",
        ),
    ] {
        let refusal = with("MESOS", &volume(&rexray(&external)), &nothing).expect_err(error);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        let path = format!("/container/volumes(0){path}");
        assert_eq!(
            body,
            json!({ "message": "Invalid JSON", "details": [{ "path": path, "errors": [error] }] })
        );
    }
}
