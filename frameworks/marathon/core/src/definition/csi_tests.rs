//! Tables of documents with volumes of CSI plugins: the exact normalised form, or the exact refusal.

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

/// The options of a volume with this capability.
fn options(capability: &Value) -> Value {
    json!({ "pluginName": "ebs.csi.aws.com", "capability": capability })
}

fn capability(mode: &str) -> Value {
    json!({ "accessMode": mode, "accessType": "mount", "fsType": "xfs" })
}

/// A volume with these options.
fn volume(options: &Value, mode: &str) -> Value {
    json!({ "containerPath": "/data", "mode": mode,
        "external": { "name": "vol-1", "provider": "csi", "options": options } })
}

/// An app with these volumes and so many instances.
fn app(volumes: &[Value], instances: u32) -> Value {
    json!({ "id": "/a", "cmd": "sleep 1", "instances": instances, "container": { "type": "MESOS", "volumes": volumes } })
}

fn refused(document: &Value) -> Value {
    let refusal = parse(document).expect_err("refused");
    assert_eq!(refusal.status, 422);
    serde_json::from_slice(&refusal.body).expect("JSON")
}

#[test]
fn accepted_volumes_and_what_becomes_of_them() {
    let whole = json!({ "accessMode": "MULTI_NODE_MULTI_WRITER", "accessType": "mount", "fsType": "ext4", "mountFlags": ["noatime"] });
    let mut full = options(&whole);
    full["volumeContext"] = json!({ "pool": "fast" });
    let mut empty = options(&capability("SINGLE_NODE_WRITER"));
    for key in ["nodeStageSecret", "nodePublishSecret", "volumeContext"] {
        empty[key] = json!({});
    }
    for (given, want) in [
        (full.clone(), full),
        (empty, options(&capability("SINGLE_NODE_WRITER"))),
        (
            options(
                &json!({ "accessMode": "SINGLE_NODE_WRITER", "accessType": "mount", "mountFlags": [] }),
            ),
            options(
                &json!({ "accessMode": "SINGLE_NODE_WRITER", "accessType": "mount", "fsType": "" }),
            ),
        ),
        (
            options(
                &json!({ "accessMode": "SINGLE_NODE_WRITER", "accessType": "block", "fsType": "xfs", "mountFlags": ["x"] }),
            ),
            options(&json!({ "accessMode": "SINGLE_NODE_WRITER", "accessType": "block" })),
        ),
    ] {
        let app = parse(&app(&[volume(&given, "RW")], 1)).expect("valid");
        let app = json!(app);
        assert_eq!(app["container"]["volumes"], json!([volume(&want, "RW")]));
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
}

#[test]
fn how_many_instances_there_may_be_and_who_waits_for_whom() {
    let shareable = "got 2, expected 1 or less while non-shareable CSI volumes are defined";
    let writer = "got 2, expected 1 or less while a multi-node single-writer volume is defined mounted as read/write";
    let one = |mode: &str, access: &str| volume(&options(&capability(access)), mode);
    let many = |mode: &str, access: &str, name: &str| {
        let mut many = one(mode, access);
        many["external"]["name"] = json!(name);
        many
    };
    for (volumes, message, in_place) in [
        (vec![one("RW", "SINGLE_NODE_WRITER")], Some(shareable), true),
        (
            vec![one("RO", "SINGLE_NODE_READER_ONLY")],
            Some(shareable),
            true,
        ),
        (vec![one("RO", "MULTI_NODE_READER_ONLY")], None, false),
        (
            vec![one("RW", "MULTI_NODE_SINGLE_WRITER")],
            Some(writer),
            true,
        ),
        (vec![one("RO", "MULTI_NODE_SINGLE_WRITER")], None, false),
        (vec![one("RW", "MULTI_NODE_MULTI_WRITER")], None, false),
        (
            vec![
                many("RW", "MULTI_NODE_MULTI_WRITER", "a"),
                many("RW", "SINGLE_NODE_WRITER", "b"),
            ],
            Some(shareable),
            true,
        ),
        // As Marathon has it.
        (
            vec![
                many("RW", "MULTI_NODE_MULTI_WRITER", "a"),
                many("RW", "MULTI_NODE_SINGLE_WRITER", "b"),
            ],
            None,
            true,
        ),
    ] {
        let alone = parse(&app(&volumes, 1)).expect("one instance may have any");
        assert_eq!(alone.is_replaced_in_place(), in_place, "{volumes:?}");
        match message {
            None => assert!(parse(&app(&volumes, 2)).is_ok()),
            Some(message) => assert_eq!(
                refused(&app(&volumes, 2)),
                json!({ "message": "Object is not valid", "details": [{ "path": "/instances", "errors": [message] }] })
            ),
        }
    }
}

#[test]
fn refused_volumes_and_why() {
    let fine = options(&capability("MULTI_NODE_MULTI_WRITER"));
    let without = |path: &[&str]| {
        let mut external = volume(&fine, "RW")["external"].clone();
        let (last, above) = path.split_last().expect("a path");
        let mut at = &mut external;
        for key in above {
            at = &mut at[*key];
        }
        at.as_object_mut().expect("an object").remove(*last);
        external
    };
    let with = |path: &str, value: Value| {
        let mut external = volume(&fine, "RW")["external"].clone();
        *external.pointer_mut(path).expect("it is there") = value;
        external
    };
    let more = |path: &str, key: &str, value: Value| {
        let mut external = volume(&fine, "RW")["external"].clone();
        external.pointer_mut(path).expect("it is there")[key] = value;
        external
    };
    let missing = "error.path.missing";
    let text = "error.expected.jsstring";
    for (external, path, error) in [
        (without(&["name"]), "/name", missing),
        (without(&["options"]), "/options", missing),
        (
            without(&["options", "pluginName"]),
            "/options/pluginName",
            missing,
        ),
        (
            without(&["options", "capability"]),
            "/options/capability",
            missing,
        ),
        (
            without(&["options", "capability", "accessMode"]),
            "/options/capability/accessMode",
            missing,
        ),
        (
            without(&["options", "capability", "accessType"]),
            "/options/capability/accessType",
            missing,
        ),
        (
            with("/options/pluginName", json!("")),
            "/options/pluginName",
            "error.minLength",
        ),
        (
            with("/options/pluginName", json!(1)),
            "/options/pluginName",
            text,
        ),
        (
            with("/options/capability/accessMode", json!("UNKNOWN")),
            "/options/capability/accessMode",
            "error.unknown.enum.literal",
        ),
        (
            with("/options/capability/accessType", json!("tape")),
            "/options/capability/accessType",
            "error.unknown.enum.literal",
        ),
        (
            with("/options/capability", json!("x")),
            "/options/capability",
            "error.expected.jsobject",
        ),
        (
            more("/options/capability", "mountFlags", json!("ro")),
            "/options/capability/mountFlags",
            "error.expected.jsarray",
        ),
        (
            more("/options", "volumeContext", json!({ "a": 1 })),
            "/options/volumeContext/a",
            text,
        ),
    ] {
        let mut wrong = volume(&fine, "RW");
        wrong["external"] = external;
        let path = format!("/container/volumes(0)/external{path}");
        assert_eq!(
            refused(&app(&[wrong], 1)),
            json!({ "message": "Invalid JSON", "details": [{ "path": path, "errors": [error] }] })
        );
    }
    let secrets = "Feature secrets is not enabled. Enable with --enable_features secrets)";
    let stage = more("/options", "nodeStageSecret", json!({ "user": "name" }));
    let publish = more("/options", "nodePublishSecret", json!({ "user": "name" }));
    let read_only = volume(&options(&capability("MULTI_NODE_READER_ONLY")), "RW");
    let reads = "CSI volume must be mounted readonly with a read-only access mode";
    for (volume, path, error) in [
        (
            json!({ "containerPath": "/data", "mode": "RW", "external": stage }),
            "external/options/nodeStageSecret",
            secrets,
        ),
        (
            json!({ "containerPath": "/data", "mode": "RW", "external": publish }),
            "external/options/nodePublishSecret",
            secrets,
        ),
        (
            json!({ "containerPath": "/data", "mode": "RW", "external": with("/name", json!("")) }),
            "external/name",
            "must not be empty",
        ),
        (read_only, "volume", reads),
    ] {
        let path = format!("/container/volumes(0)/{path}");
        assert_eq!(
            refused(&app(&[volume], 1)),
            json!({ "message": "Object is not valid", "details": [{ "path": path, "errors": [error] }] })
        );
    }
    let twice = [volume(&fine, "RW"), volume(&fine, "RW")];
    assert_eq!(
        refused(&app(&twice, 1))["details"],
        json!([{ "path": "/container/volumes", "errors": ["Volume names must be unique"] }])
    );
    let disabled = parse_with(
        &app(&[volume(&fine, "RW")], 1).to_string(),
        None,
        &Config::default(),
    );
    let body: Value = serde_json::from_slice(&disabled.expect_err("disabled").body).expect("JSON");
    assert_eq!(
        body["details"],
        json!([{ "path": "/container/volumes(0)/external",
            "errors": ["Feature external_volumes is not enabled. Enable with --enable_features external_volumes)"] }])
    );
}
