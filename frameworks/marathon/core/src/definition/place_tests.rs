//! Tables of documents with containers, networks, ports and files: the exact normalised form, or the exact refusal.

use serde_json::{Value, json};

use super::tests::parse;
use crate::response::Response;

fn complete(document: &str) -> Result<Value, Response> {
    let mut whole = json!({ "id": "/a" });
    let given: Value = serde_json::from_str(document).expect(document);
    whole
        .as_object_mut()
        .expect("an object")
        .extend(given.as_object().expect("an object").clone());
    parse(&whole.to_string(), None).map(|app| serde_json::to_value(app).expect("serialises"))
}

#[test]
fn accepted_documents_and_what_becomes_of_them() {
    let docker =
        json!({ "image": "x", "forcePullImage": false, "privileged": false, "parameters": [] });
    let mapping = |more: Value| {
        let mut mapping =
            json!({ "containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0 });
        mapping
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        mapping
    };
    let bridge = json!([{ "mode": "container/bridge" }]);
    for (document, want) in [
        // No command is needed with a container, and DOCKER is the default.
        (
            r#"{"container":{"docker":{"image":"x"}}}"#,
            json!({ "container": { "type": "DOCKER", "docker": docker, "volumes": [] }, "networks": [{ "mode": "host" }],
                "portDefinitions": [{ "port": 0, "name": "default", "protocol": "tcp" }], "cmd": null }),
        ),
        (
            r#"{"cmd":"sleep 1","container":{"type":"mesos","volumes":[{"containerPath":"/d","hostPath":"/h","mode":"ro"}]}}"#,
            json!({ "container": { "type": "MESOS", "volumes": [{ "containerPath": "/d", "hostPath": "/h", "mode": "RO" }] } }),
        ),
        // The old form of bridges; a host port that is absent is any.
        (
            r#"{"container":{"docker":{"image":"x","network":"BRIDGE","portMappings":[{"containerPort":80}]}}}"#,
            json!({ "networks": bridge, "portDefinitions": null, "container": { "type": "DOCKER", "docker": docker, "volumes": [],
                "portMappings": [mapping(json!({ "containerPort": 80, "hostPort": 0 }))] } }),
        ),
        (
            r#"{"container":{"docker":{"image":"x","network":"HOST","portMappings":[{"containerPort":80}]}},"networks":null}"#,
            json!({ "networks": [{ "mode": "host" }], "container": { "type": "DOCKER", "docker": docker, "volumes": [] } }),
        ),
        // Without a container there is one, with one port.
        (
            r#"{"cmd":"sleep 1","networks":[{"mode":"container/bridge"}],"requirePorts":true}"#,
            json!({ "requirePorts": false, "container": { "type": "MESOS", "volumes": [],
                "portMappings": [mapping(json!({ "hostPort": 0, "name": "default" }))] } }),
        ),
        // A network is of mode container unless it says otherwise; its ports are not the agent's.
        (
            r#"{"cmd":"sleep 1","networks":[{"name":"blue","labels":{"a":"b"}}]}"#,
            json!({ "networks": [{ "mode": "container", "name": "blue", "labels": { "a": "b" } }],
                "container": { "type": "MESOS", "volumes": [], "portMappings": [mapping(json!({ "name": "default" }))] } }),
        ),
        // The number of ports pads the mappings.
        (
            r#"{"cmd":"sleep 1","networks":[{"mode":"container/bridge"}],"ports":[1,2],"container":{"type":"MESOS","portMappings":[{"containerPort":8,"hostPort":9}]}}"#,
            json!({ "container": { "type": "MESOS", "volumes": [],
                "portMappings": [mapping(json!({ "containerPort": 8, "hostPort": 9 })), mapping(json!({ "hostPort": 0 }))] } }),
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"mode":"container/bridge"}],"container":{"type":"MESOS","portMappings":[]}}"#,
            json!({ "container": { "type": "MESOS", "volumes": [], "portMappings": [] } }),
        ),
        (
            r#"{"cmd":"sleep 1","fetch":[{"uri":"http://h/a.tgz","destPath":"b"}]}"#,
            json!({ "fetch": [{ "uri": "http://h/a.tgz", "extract": true, "executable": false, "cache": false, "destPath": "b" }] }),
        ),
        (
            r#"{"cmd":"sleep 1","uris":["http://h/a.tgz?x=1","h/b.sh"]}"#,
            json!({ "uris": null, "fetch": [
                { "uri": "http://h/a.tgz?x=1", "extract": true, "executable": false, "cache": false },
                { "uri": "h/b.sh", "extract": false, "executable": false, "cache": false },
            ] }),
        ),
    ] {
        let app = complete(document).unwrap_or_else(|refusal| {
            panic!("{document}: {}", String::from_utf8_lossy(&refusal.body))
        });
        for (key, value) in want.as_object().expect("an object") {
            assert_eq!(
                app.get(key).unwrap_or(&Value::Null),
                value,
                "{document}: {key}"
            );
        }
    }
}

#[test]
fn refused_documents_and_the_exact_answer() {
    let (read, invalid) = ("Invalid JSON", "Object is not valid");
    for (document, message, path, error) in [
        (
            r#"{"container":{"docker":{}}}"#,
            read,
            "/container/docker/image",
            "error.path.missing",
        ),
        (
            r#"{"container":{"type":"LXC"}}"#,
            read,
            "/container/type",
            "error.unknown.enum.literal",
        ),
        (
            r#"{"container":{"docker":{"image":"x"},"portMappings":[{"hostPort":70000}]}}"#,
            read,
            "/container/portMappings(0)/hostPort",
            "error.max",
        ),
        (
            r#"{"cmd":"sleep 1","fetch":[{}]}"#,
            read,
            "/fetch(0)/uri",
            "error.path.missing",
        ),
        (
            r#"{"container":{}}"#,
            invalid,
            "/container/docker",
            "not defined",
        ),
        (
            r#"{"container":{"docker":{"image":""}}}"#,
            invalid,
            "/container/docker/image",
            "must not be empty",
        ),
        (
            r#"{"container":{"docker":{"image":"x","pullConfig":{"secret":"s"}}}}"#,
            invalid,
            "/container/docker/pullConfig",
            "pullConfig is not supported with Docker containerizer",
        ),
        (
            r#"{"container":{"docker":{"image":"x","credential":{}}}}"#,
            invalid,
            "/container/docker/credential",
            "must be empty",
        ),
        (
            r#"{"container":{"type":"MESOS","docker":{"image":"x","network":"BRIDGE"}}}"#,
            invalid,
            "/container/docker/network",
            "must be empty",
        ),
        (
            r#"{"container":{"type":"MESOS","docker":{"image":"x","parameters":[{"key":"a","value":"b"}]}}}"#,
            invalid,
            "/container/docker/parameters",
            "must be empty",
        ),
        (
            r#"{"container":{"docker":{"image":"x","network":"NONE"}}}"#,
            invalid,
            "/container/docker/network",
            "unsupported docker network type None",
        ),
        (
            r#"{"container":{"docker":{"image":"x","network":"BRIDGE"}},"networks":[{"mode":"host"}]}"#,
            invalid,
            "/",
            "must not specify both container.docker.network and networks",
        ),
        (
            r#"{"container":{"docker":{"image":"x","portMappings":[{}]},"portMappings":[{}]}}"#,
            invalid,
            "/",
            "cannot specify both portMappings and docker.portMappings",
        ),
        (
            r#"{"cmd":"sleep 1","args":["a"],"container":{"docker":{"image":"x"}}}"#,
            invalid,
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"mode":"container"}]}"#,
            invalid,
            "/networks(0)",
            "Network name must be specified when container network is selected.",
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"mode":"container/bridge","name":"x"}]}"#,
            invalid,
            "/networks(0)",
            "Bridge networks may not have names",
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"name":"x"},{"name":"x"}]}"#,
            invalid,
            "/networks",
            "Duplicate networks are not allowed",
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"name":"x"},{"mode":"host"}]}"#,
            invalid,
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
        (
            r#"{"networks":[{"name":"x"},{"name":"y"}],"container":{"docker":{"image":"x"}}}"#,
            invalid,
            "/",
            "may only specify a single container network when using the Docker container engine",
        ),
        (
            r#"{"networks":[{"name":"x"},{"name":"y"}],"container":{"type":"MESOS","portMappings":[{"hostPort":0}]}}"#,
            invalid,
            "/container/portMappings(0)",
            "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
        ),
        (
            r#"{"networks":[{"name":"x"}],"container":{"type":"MESOS","portMappings":[{"name":"a"},{"name":"a"}]}}"#,
            invalid,
            "/container/portMappings",
            "Port names must be unique.",
        ),
        (
            r#"{"container":{"docker":{"image":"x"},"volumes":[{"containerPath":"/a","external":{},"mode":"RW"}]}}"#,
            invalid,
            "/container/volumes(0)/external",
            "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)",
        ),
        (
            r#"{"cmd":"sleep 1","uris":["a"],"fetch":[{"uri":"b"}]}"#,
            invalid,
            "/uris",
            "may not be set in conjunction with fetch",
        ),
        (
            r#"{"cmd":"sleep 1","networks":[{"name":"x"}],"healthChecks":[{"portIndex":1}]}"#,
            invalid,
            "/healthChecks(0)",
            "Health check port indices must address an element of the ports array or container port mappings.",
        ),
    ] {
        let refusal = complete(document).expect_err(document);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        assert_eq!(
            (refusal.status, &body),
            (
                422,
                &json!({ "message": message, "details": [{ "path": path, "errors": [error] }] })
            ),
            "{document}"
        );
    }
}
