//! Tables of pods: the exact normalised form, or the exact refusal.

use serde_json::{Value, json};

use super::{PodUpdate, build};
use crate::{
    config::Config,
    definition::{App, Setting},
    path::PathId,
    response::Response,
};

/// A canonical pod for tests.
fn parse(document: &str) -> Result<App, Response> {
    let value: Value = serde_json::from_str(document).expect(document);
    let config = Config {
        mesos_role: "dev".to_owned(),
        ..Config::default()
    };
    let built = PodUpdate::read(&value).and_then(|update| {
        let id = PathId::resolve(&update.id);
        build(update, id, None, Setting::new(&config))
    });
    let shown = built.as_ref().map(printed);
    crate::definition::tests::hold_against_schemas(&value, "PodSent", shown, "Pod");
    built
}

/// The simplest pod with these members beside it.
fn with(more: &str) -> Result<App, Response> {
    let mut whole = json!({ "id": "/p", "containers": [{ "name": "c", "exec": { "command": { "shell": "sleep 1" } },
        "resources": { "cpus": 0.1, "mem": 32 } }] });
    let given: Value = serde_json::from_str(more).expect(more);
    let members = given.as_object().expect("an object").clone();
    whole.as_object_mut().expect("an object").extend(members);
    parse(&whole.to_string())
}

fn printed(app: &App) -> Value {
    super::json(app).expect("a pod")
}

#[test]
fn a_minimal_pod_reads_back_with_all_defaults_and_no_other_key() {
    let app = with("{}").expect("valid");
    let want = json!({
        "id": "/p", "version": "1970-01-01T00:00:00.000Z", "role": "dev",
        "containers": [{ "name": "c", "exec": { "command": { "shell": "sleep 1" } },
            "resources": { "cpus": 0.1, "mem": 32.0, "disk": 0.0, "gpus": 0 } }],
        "scaling": { "kind": "fixed", "instances": 1 },
        "scheduling": {
            "backoff": { "backoff": 1.0, "backoffFactor": 1.15, "maxLaunchDelay": 300.0 },
            "upgrade": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 },
            "placement": { "constraints": [], "acceptedResourceRoles": [] },
            "killSelection": "YOUNGEST_FIRST",
            "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
        },
        "executorResources": { "cpus": 0.1, "mem": 32.0, "disk": 10.0 },
    });
    assert_eq!(printed(&app), want);
    assert_eq!((app.cpus, app.mem, app.disk), (0.2, 64.0, 10.0));
    let fine = with(
        r#"{"containers":[{"name":"a","resources":{"cpus":0.0016}},{"name":"b","resources":{"cpus":0.0016}}]}"#,
    );
    assert_eq!(fine.expect("valid").cpus, 0.104, "as the master counts");
    let stored = serde_json::to_value(&app).expect("serialises");
    let again: App = serde_json::from_value(stored).expect("what is stored reads back");
    assert_eq!(again, app);
}

#[test]
fn accepted_pods_and_what_becomes_of_them() {
    let container = |more: Value| {
        let mut one = json!({ "name": "a", "resources": {} });
        let members = more.as_object().expect("an object").clone();
        one.as_object_mut().expect("an object").extend(members);
        json!({ "containers": [one] })
    };
    for (given, path, want) in [
        (
            container(json!({ "endpoints": [{ "name": "web" }] })),
            "/containers/0/endpoints",
            json!([{ "name": "web", "hostPort": 0, "protocol": ["tcp"] }]),
        ),
        (
            json!({ "networks": [{ "mode": "container/bridge" }], "containers": [{ "name": "a", "resources": {},
                "endpoints": [{ "name": "web", "containerPort": 80, "protocol": ["TCP", "udp"] }] }] }),
            "/containers/0/endpoints",
            json!([{ "name": "web", "containerPort": 80, "hostPort": 0, "protocol": ["tcp", "udp"] }]),
        ),
        (
            json!({ "networks": [{ "name": "blue" }], "containers": [{ "name": "a", "resources": {},
                "endpoints": [{ "name": "web", "containerPort": 80 }] }] }),
            "/containers/0/endpoints/0/hostPort",
            Value::Null,
        ),
        (
            container(
                json!({ "resources": { "cpus": 1 }, "image": { "kind": "docker", "id": "x" } }),
            ),
            "/containers/0",
            json!({ "name": "a", "resources": { "cpus": 1.0, "mem": 128.0, "disk": 0.0, "gpus": 0 }, "image": { "kind": "DOCKER", "id": "x" } }),
        ),
        (
            container(json!({ "healthCheck": { "exec": { "command": { "argv": ["true"] } } } })),
            "/containers/0/healthCheck",
            json!({ "exec": { "command": { "argv": ["true"] } }, "gracePeriodSeconds": 300, "intervalSeconds": 60,
                "maxConsecutiveFailures": 3, "timeoutSeconds": 20, "delaySeconds": 15 }),
        ),
        (
            container(
                json!({ "endpoints": [{ "name": "w" }], "healthCheck": { "http": { "endpoint": "w" } } }),
            ),
            "/containers/0/healthCheck/http",
            json!({ "endpoint": "w", "scheme": "HTTP" }),
        ),
        (
            container(json!({ "lifecycle": { "killGracePeriodSeconds": 2.5 } })),
            "/containers/0/lifecycle",
            json!({ "killGracePeriodSeconds": 2.5 }),
        ),
        (
            json!({ "scheduling": { "placement": { "constraints": [{ "fieldName": "hostname", "operator": "unique" }] },
                "killSelection": "oldest_first", "unreachableStrategy": "disabled", "backoff": { "backoff": 0.5 } } }),
            "/scheduling",
            json!({ "backoff": { "backoff": 0.5, "backoffFactor": 1.15, "maxLaunchDelay": 300.0 },
                "upgrade": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 },
                "placement": { "constraints": [{ "fieldName": "hostname", "operator": "UNIQUE" }], "acceptedResourceRoles": [] },
                "killSelection": "OLDEST_FIRST", "unreachableStrategy": "disabled" }),
        ),
        (
            json!({ "volumes": [{ "name": "v", "persistent": { "size": 9 } }], "containers": [{ "name": "a", "resources": {},
                "volumeMounts": [{ "name": "v", "mountPath": "data" }] }] }),
            "/scheduling/upgrade",
            json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0 }),
        ),
        (
            json!({ "scaling": { "instances": 0 } }),
            "/scaling",
            json!({ "kind": "fixed", "instances": 0 }),
        ),
        (
            json!({ "secrets": {}, "volumes": null, "more": 1 }),
            "/role",
            json!("dev"),
        ),
    ] {
        let app = with(&given.to_string())
            .unwrap_or_else(|refusal| panic!("{given}: {:?}", refusal.body));
        let printed = printed(&app);
        assert_eq!(
            printed.pointer(path).cloned().unwrap_or_default(),
            want,
            "{given}"
        );
    }
}

#[test]
fn refused_pods_and_the_exact_answer() {
    let (read, invalid) = ("Invalid JSON", "Object is not valid");
    let one = |more: &str| format!(r#"{{"containers":[{{"name":"a","resources":{{}}{more}}}]}}"#);
    for (document, message, path, error) in [
        (r#"{"containers":[]}"#.to_owned(), read, "/containers", "error.minLength"),
        (r#"{"containers":null}"#.to_owned(), read, "/containers", "error.path.missing"),
        (r#"{"containers":[{"resources":{}}]}"#.to_owned(), read, "/containers(0)/name", "error.path.missing"),
        (r#"{"containers":[{"name":"a"}]}"#.to_owned(), read, "/containers(0)/resources", "error.path.missing"),
        (r#"{"containers":[{"name":"_app","resources":{}}]}"#.to_owned(), read, "/containers(0)/name", "error.pattern"),
        (r#"{"scaling":{"kind":"fluid"}}"#.to_owned(), read, "/scaling/kind", "error.unknown.enum.literal"),
        (r#"{"environment":{"a-b":"c"}}"#.to_owned(), read, "/environment/a-b", "error.pattern"),
        (one(r#","endpoints":[{"name":"x","containerPort":0}]"#), read, "/containers(0)/endpoints(0)/containerPort", "error.min"),
        (
            r#"{"containers":[{"name":"a","resources":{}},{"name":"a","resources":{}}]}"#.to_owned(),
            invalid,
            "/containers",
            "container names must be unique",
        ),
        (
            one(r#","endpoints":[{"name":"x"},{"name":"x"}]"#),
            invalid,
            "/",
            "endpoint names nust be unique across all containers",
        ),
        (
            one(r#","endpoints":[{"name":"x","hostPort":80},{"name":"y","hostPort":80}]"#),
            invalid,
            "/",
            "host ports must be unique across all containers",
        ),
        (
            one(r#","endpoints":[{"name":"x","containerPort":80}]"#),
            invalid,
            "/containers(0)/endpoints(0)/containerPort",
            "is not allowed when using host-mode networking",
        ),
        (
            one(r#","endpoints":[{"name":"x"}]}],"networks":[{"name":"blue"}],"x":[{"a":1"#),
            invalid,
            "/containers(0)/endpoints(0)/containerPort",
            "is required when using container-mode networking",
        ),
        (
            one(r#","volumeMounts":[{"name":"v","mountPath":"x"}]"#),
            invalid,
            "/containers(0)/volumeMounts(0)/name",
            "Referenced Volume in VolumeMount should exist",
        ),
        (
            r#"{"volumes":[{"name":"v"}]}"#.to_owned(),
            invalid,
            "/volumes(0)",
            "volume must be referenced by at least one container",
        ),
        (r#"{"volumes":[{"name":"v"},{"name":"v"}]}"#.to_owned(), invalid, "/volumes", "volume names must be unique"),
        (
            one(r#","healthCheck":{}"#),
            invalid,
            "/containers(0)/healthCheck",
            "Only one of http, tcp, or command may be specified",
        ),
        (
            one(r#","healthCheck":{"tcp":{"endpoint":"x"}}"#),
            invalid,
            "/containers(0)/healthCheck/tcp/endpoint",
            "contained in the container endpoints",
        ),
        (
            one(r#","healthCheck":{"exec":{"command":{"shell":"true"}},"timeoutSeconds":60}"#),
            invalid,
            "/containers(0)/healthCheck/timeoutSeconds",
            "got 60, expected less than 60",
        ),
        (
            r#"{"scheduling":{"placement":{"constraints":[{"fieldName":"a","operator":"UNIQUE","value":"1"}]}}}"#.to_owned(),
            invalid,
            "/scheduling/placement/constraints(0)",
            "UNIQUE does not accept a value",
        ),
        (
            r#"{"scheduling":{"placement":{"acceptedResourceRoles":["x"]}}}"#.to_owned(),
            invalid,
            "/scheduling/placement/acceptedResourceRoles",
            "acceptedResourceRoles can only contain * and dev",
        ),
        (r#"{"role":"x"}"#.to_owned(), invalid, "/role", "got x, expected one of: [dev]"),
        (
            r#"{"secrets":{"a":{"source":"b"}}}"#.to_owned(),
            invalid,
            "/secrets",
            "Feature secrets is not enabled. Enable with --enable_features secrets)",
        ),
        (
            one(r#","check":{"http":{"endpoint":"x"}}"#),
            invalid,
            "/containers(0)/check/http/endpoint",
            "contained in the container endpoints",
        ),
        (
            one(r#","check":{}"#),
            invalid,
            "/containers(0)/check",
            "Only one of http, tcp, or command may be specified",
        ),
        (
            r#"{"linuxInfo":{"seccomp":{"unconfined":true}}}"#.to_owned(),
            invalid,
            "/linuxInfo/seccomp",
            "Seccomp configuration on executor level is not supported",
        ),
        (
            r#"{"legacySharedCgroups":true,"containers":[{"name":"c","exec":{"command":{"shell":"true"}},"resources":{"cpus":0.1,"mem":32},
                "resourceLimits":{"cpus":"unlimited"}}]}"#
                .to_owned(),
            invalid,
            "/containers(0)/resourceLimits",
            "resourceLimits cannot be defined if legacySharedCgroups is enabled",
        ),
        (
            r#"{"volumes":[{"name":"v","persistent":{"size":9}}],"scheduling":{"unreachableStrategy":{}}}"#.to_owned(),
            invalid,
            "/scheduling/unreachableStrategy",
            "unreachableStrategy must be disabled for pods with persistent volumes",
        ),
    ] {
        let refusal = with(&document).expect_err(&document);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        assert_eq!(
            (refusal.status, body["message"].as_str()),
            (422, Some(message)),
            "{document}: {body}"
        );
        let details = body["details"].as_array().expect("an array");
        let found = details.iter().find(|detail| detail["path"] == *path);
        let errors = found.map(|detail| detail["errors"].clone()).unwrap_or_default();
        let told = errors.as_array().is_some_and(|all| all.contains(&json!(error)));
        assert!(told, "{document}: {body}");
    }
}

#[test]
fn what_no_sum_can_hold_is_refused() {
    for (resources, path) in [
        (r#"{"cpus":1e306}"#, "/containers(0)/resources/cpus"),
        (r#"{"mem":1e306}"#, "/containers(0)/resources/mem"),
        (r#"{"disk":1e306}"#, "/containers(0)/resources/disk"),
        (r#"{"gpus":2147483647}"#, "/containers"),
    ] {
        let document = format!(
            r#"{{"containers":[{{"name":"a","resources":{resources}}},{{"name":"b","resources":{resources}}}]}}"#
        );
        let refused = with(&document).expect_err(resources);
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(
            body.contains(path) && body.contains("error.max"),
            "{resources}: {body}"
        );
    }
    let executor = r#"{"executorResources":{"cpus":1e306,"mem":64}}"#;
    assert!(with(executor).is_err());
}

#[test]
fn shared_cgroups_are_kept_only_if_wanted_and_restart_nothing() {
    let shared = with(r#"{"legacySharedCgroups":true}"#).expect("valid");
    assert_eq!(printed(&shared)["legacySharedCgroups"], true);
    let plain = with(r#"{"legacySharedCgroups":false}"#).expect("valid");
    assert_eq!(printed(&plain).get("legacySharedCgroups"), None);
    assert!(shared != plain && shared.same_config(&plain));
    // What is stored reads back, also of a pod that was stored before there was such a choice.
    let stored = serde_json::to_value(&plain).expect("stored");
    assert!(!stored.to_string().contains("legacySharedCgroups"));
    let stored = serde_json::to_value(&shared).expect("stored");
    let read: App = serde_json::from_value(stored).expect("read");
    assert_eq!(read, shared);
}

#[test]
fn checks_and_the_pods_own_view_of_the_kernel_read_back() {
    let app = with(
        r#"{"linuxInfo":{"ipcInfo":{"mode":"private","shmSize":8}},
            "containers":[{"name":"c","resources":{},"endpoints":[{"name":"web"}],"check":{"http":{"endpoint":"web","path":"/x"},"delaySeconds":1}},
                {"name":"d","resources":{},"check":{"exec":{"command":{"shell":"true"}}}}]}"#,
    )
    .expect("valid");
    let shown = printed(&app);
    assert_eq!(
        shown["linuxInfo"],
        json!({ "ipcInfo": { "mode": "PRIVATE", "shmSize": 8 } })
    );
    assert_eq!(
        shown["containers"][0]["check"],
        json!({ "http": { "endpoint": "web", "path": "/x", "scheme": "HTTP" },
            "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 1 })
    );
    assert_eq!(
        shown["containers"][1]["check"],
        json!({ "exec": { "command": { "shell": "true" } },
            "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15 })
    );
}
