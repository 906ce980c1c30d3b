//! Tables of documents: accepted ones with their canonical form, refused ones with the exact answer.

use serde_json::{Value, json};

use super::{App, AppUpdate, Setting, build};
use crate::{config::Config, path::PathId, response::Response};

pub(super) fn parse(document: &str, old: Option<&App>) -> Result<App, Response> {
    parse_with(document, old, &Config::default())
}

/// The same with this configuration.
pub(super) fn parse_with(
    document: &str,
    old: Option<&App>,
    config: &Config,
) -> Result<App, Response> {
    let value: Value = serde_json::from_str(document).expect(document);
    let built = AppUpdate::read(&value, old.is_none()).and_then(|update| {
        let id = old.map_or_else(
            || PathId::resolve(update.id.as_deref().unwrap_or_default()),
            |app| app.id.clone(),
        );
        build(update, id, old, Setting::new(config))
    });
    let sent = if old.is_none() {
        "AppSent"
    } else {
        "AppUpdate"
    };
    let shown = built.as_ref().map(|app| json!(app));
    hold_against_schemas(&value, sent, shown, "App");
    built
}

/// The schemas say of every document of the tables what the reader says: what is accepted fits, in both forms, what cannot be read does not,
/// and refusals are errors as they are described.
pub(crate) fn hold_against_schemas(
    document: &Value,
    sent: &str,
    built: Result<Value, &Response>,
    shown: &str,
) {
    use crate::schemas::check::fault_of;
    let all = crate::schemas::all();
    let fault = fault_of(document, sent, &all);
    match built {
        Ok(printed) => {
            assert_eq!(fault, None, "{document} as {sent}");
            assert_eq!(
                fault_of(&printed, shown, &all),
                None,
                "{printed} as {shown}"
            );
        }
        Err(refusal) => {
            let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
            assert_eq!(fault_of(&body, "Error", &all), None, "{body}");
            let unreadable = body["message"] == "Invalid JSON";
            assert!(
                fault.is_some() || !unreadable,
                "{document} fits {sent}: {body}"
            );
        }
    }
}

/// A canonical app for tests.
pub(crate) fn app(document: &str) -> App {
    parse(document, None)
        .unwrap_or_else(|refusal| panic!("{document}: {}", String::from_utf8_lossy(&refusal.body)))
}

#[test]
fn a_minimal_app_reads_back_with_all_defaults_and_no_other_key() {
    let printed = serde_json::to_value(app(
        r#"{"id":"sleep","cmd":"sleep 1000","cpus":0.1,"mem":32}"#,
    ))
    .expect("serialises");
    let want = json!({
        "id": "/sleep", "backoffFactor": 1.15, "backoffSeconds": 1, "cmd": "sleep 1000", "cpus": 0.1, "disk": 0.0, "executor": "",
        "instances": 1, "labels": {}, "maxLaunchDelaySeconds": 300, "mem": 32.0, "gpus": 0, "networks": [{ "mode": "host" }],
        "portDefinitions": [{ "port": 0, "name": "default", "protocol": "tcp" }], "requirePorts": false,
        "upgradeStrategy": { "maximumOverCapacity": 1.0, "minimumHealthCapacity": 1.0 }, "version": "1970-01-01T00:00:00.000Z",
        "killSelection": "YOUNGEST_FIRST", "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }, "role": "*",
    });
    assert_eq!(printed, want);
}

#[test]
fn accepted_documents_and_what_becomes_of_them() {
    for (document, path, want) in [
        (
            r#"{"ports":[80,0]}"#,
            "/portDefinitions",
            json!([{ "port": 80, "protocol": "tcp" }, { "port": 0, "protocol": "tcp" }]),
        ),
        (
            r#"{"ports":[80],"portDefinitions":[{"port":80,"name":"x"}]}"#,
            "/portDefinitions",
            json!([{ "port": 80, "protocol": "tcp", "name": "x" }]),
        ),
        (r#"{"portDefinitions":[]}"#, "/portDefinitions", json!([])),
        (
            r#"{"ports":null,"dependencies":null,"networks":[{"mode":"HOST"}]}"#,
            "/networks",
            json!([{ "mode": "host" }]),
        ),
        (
            r#"{"portDefinitions":[{"protocol":"UDP,TCP","labels":{"a":"b"}}]}"#,
            "/portDefinitions",
            json!([{ "port": 0, "protocol": "udp,tcp", "labels": { "a": "b" } }]),
        ),
        (
            r#"{"constraints":[["hostname","unique"],["rack","max_per","2"],["a","IS","1.50"]]}"#,
            "/constraints",
            json!([
                ["hostname", "UNIQUE"],
                ["rack", "MAX_PER", "2"],
                ["a", "IS", "1.50"]
            ]),
        ),
        (
            r#"{"unreachableStrategy":"disabled"}"#,
            "/unreachableStrategy",
            json!("disabled"),
        ),
        (
            r#"{"unreachableStrategy":{"inactiveAfterSeconds":1,"expungeAfterSeconds":2}}"#,
            "/unreachableStrategy/expungeAfterSeconds",
            json!(2),
        ),
        (
            r#"{"dependencies":["x","/y/z","x"]}"#,
            "/dependencies",
            json!(["/x", "/y/z"]),
        ),
        (
            r#"{"instances":2.0,"storeUrls":[],"anything":{"else":1}}"#,
            "/instances",
            json!(2),
        ),
        (
            r#"{"container":null,"fetch":[],"uris":[],"readinessChecks":[],"secrets":{},"tty":false,"residency":null}"#,
            "/executor",
            json!(""),
        ),
        (
            r#"{"executor":"//cmd","killSelection":"oldest_first"}"#,
            "/killSelection",
            json!("OLDEST_FIRST"),
        ),
        (
            r#"{"healthChecks":[{}]}"#,
            "/healthChecks",
            json!([{
            "protocol": "HTTP", "gracePeriodSeconds": 300, "intervalSeconds": 60, "timeoutSeconds": 20, "maxConsecutiveFailures": 3,
            "delaySeconds": 15, "ignoreHttp1xx": false, "ipProtocol": "IPv4" }]),
        ),
        (
            r#"{"healthChecks":[{},{"path":"/x"},{}]}"#,
            "/healthChecks/2",
            Value::Null,
        ),
        (
            r#"{"ports":[0],"healthChecks":[{"protocol":"tcp"}]}"#,
            "/healthChecks/0/portIndex",
            json!(0),
        ),
        (
            r#"{"healthChecks":[{"protocol":"TCP","port":80}]}"#,
            "/healthChecks/0/portIndex",
            Value::Null,
        ),
        (
            r#"{"healthChecks":[{"protocol":"COMMAND","command":{"value":"true"}}]}"#,
            "/healthChecks/0/command",
            json!({ "value": "true" }),
        ),
        (
            r#"{"portDefinitions":[{"name":"http-api"}],"readinessChecks":[{"protocol":"https"}]}"#,
            "/readinessChecks",
            json!([{
            "name": "readinessCheck", "protocol": "HTTPS", "path": "/", "portName": "http-api", "intervalSeconds": 30,
            "timeoutSeconds": 10, "httpStatusCodesForReady": [200], "preserveLastResponse": false }]),
        ),
        (
            r#"{"check":{"http":{"path":"/x"}}}"#,
            "/check",
            json!({ "http": { "path": "/x", "scheme": "HTTP" }, "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15 }),
        ),
        (
            r#"{"check":{"exec":{"command":{"argv":["a","b"]}},"delaySeconds":0}}"#,
            "/check/exec",
            json!({ "command": { "argv": ["a", "b"] } }),
        ),
        (
            r#"{"ipAddress":{"networkName":"blue","labels":{"a":"b"},"discovery":{"ports":[{"number":80,"name":"http","protocol":"tcp"}]}}}"#,
            "/networks",
            json!([{ "mode": "container", "name": "blue", "labels": { "a": "b" } }]),
        ),
        (
            r#"{"ipAddress":{"networkName":"blue","discovery":{"ports":[{"number":80,"name":"http","protocol":"tcp"}]}}}"#,
            "/container",
            json!({ "type": "MESOS", "volumes": [], "portMappings": [
                { "containerPort": 80, "name": "http", "protocol": "tcp", "servicePort": 0, "labels": {} }] }),
        ),
        (
            r#"{"ipAddress":{"networkName":"mesos-bridge"}}"#,
            "/networks",
            json!([{ "mode": "container/bridge" }]),
        ),
        (
            r#"{"acceptedResourceRoles":["*"]}"#,
            "/acceptedResourceRoles",
            json!(["*"]),
        ),
        (r#"{"id":"/dev/x","role":"dev"}"#, "/role", json!("dev")),
        (
            r#"{"cmd":null,"args":["a","b"]}"#,
            "/args",
            json!(["a", "b"]),
        ),
    ] {
        let mut whole = json!({ "id": "/a", "cmd": "sleep 1" });
        let given: Value = serde_json::from_str(document).expect(document);
        whole
            .as_object_mut()
            .expect("an object")
            .extend(given.as_object().expect("an object").clone());
        let printed = serde_json::to_value(app(&whole.to_string())).expect("serialises");
        assert_eq!(
            printed.pointer(path).cloned().unwrap_or_default(),
            want,
            "{document}"
        );
        let again: App =
            serde_json::from_value(printed.clone()).expect("what is stored reads back");
        assert_eq!(serde_json::to_value(again).expect("serialises"), printed);
    }
}

const SEGMENT: &str = r"must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'";

#[test]
fn refused_documents_and_the_exact_answer() {
    let unreadable = "Invalid JSON";
    let invalid = "Object is not valid";
    let long = format!(r#"{{"id":"/{}"}}"#, "a/".repeat(95) + "a");
    for (document, message, path, error) in [
        (r#"{"id":null}"#, unreadable, "/id", "error.path.missing"),
        (r#"{"id":1}"#, unreadable, "/id", "error.expected.jsstring"),
        (r#"{"cmd":""}"#, unreadable, "/cmd", "error.minLength"),
        (r#"{"cpus":0}"#, unreadable, "/cpus", "error.min"),
        (r#"{"cpus":-1}"#, unreadable, "/cpus", "error.min"),
        (
            r#"{"cpus":"1"}"#,
            unreadable,
            "/cpus",
            "error.expected.jsnumber",
        ),
        (r#"{"mem":-0.1}"#, unreadable, "/mem", "error.min"),
        (r#"{"instances":-1}"#, unreadable, "/instances", "error.min"),
        (
            r#"{"instances":1.5}"#,
            unreadable,
            "/instances",
            "error.expected.jsnumber",
        ),
        (
            r#"{"instances":99999999999}"#,
            unreadable,
            "/instances",
            "error.max",
        ),
        (
            r#"{"requirePorts":1}"#,
            unreadable,
            "/requirePorts",
            "error.expected.jsboolean",
        ),
        (
            r#"{"labels":[]}"#,
            unreadable,
            "/labels",
            "error.expected.jsobject",
        ),
        (
            r#"{"labels":{"a":null}}"#,
            unreadable,
            "/labels/a",
            "error.expected.jsstring",
        ),
        (
            r#"{"env":{"A":1}}"#,
            unreadable,
            "/env/A",
            "error.expected.jsstring",
        ),
        (
            r#"{"constraints":"x"}"#,
            unreadable,
            "/constraints",
            "error.expected.jsarray",
        ),
        (
            r#"{"constraints":["x"]}"#,
            unreadable,
            "/constraints(0)",
            "error.expected.jsarray",
        ),
        (r#"{"ports":[70000]}"#, unreadable, "/ports(0)", "error.max"),
        (
            r#"{"backoffFactor":0.5}"#,
            unreadable,
            "/backoffFactor",
            "error.min",
        ),
        (
            r#"{"killSelection":"X"}"#,
            unreadable,
            "/killSelection",
            "error.unknown.enum.literal",
        ),
        (
            r#"{"upgradeStrategy":{"minimumHealthCapacity":2,"maximumOverCapacity":0}}"#,
            unreadable,
            "/upgradeStrategy/minimumHealthCapacity",
            "error.max",
        ),
        (
            r#"{"upgradeStrategy":{"minimumHealthCapacity":1}}"#,
            unreadable,
            "/upgradeStrategy/maximumOverCapacity",
            "error.path.missing",
        ),
        (
            r#"{"healthChecks":[{"protocol":"X"}]}"#,
            unreadable,
            "/healthChecks(0)/protocol",
            "error.unknown.enum.literal",
        ),
        (
            r#"{"portDefinitions":[{"protocol":"tcp,udp"}]}"#,
            unreadable,
            "/portDefinitions(0)/protocol",
            "error.unknown.enum.literal",
        ),
        (r#"{"id":"/A"}"#, invalid, "/id", SEGMENT),
        (
            long.as_str(),
            invalid,
            "/id",
            "must not be longer than 190 bytes",
        ),
        (r#"{"id":"/a_b"}"#, invalid, "/id", SEGMENT),
        (r#"{"id":"/a-"}"#, invalid, "/id", SEGMENT),
        (r#"{"id":"/a..b"}"#, invalid, "/id", SEGMENT),
        (
            r#"{"id":"/a/restart"}"#,
            invalid,
            "/id",
            "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
        ),
        (r#"{"id":"/"}"#, invalid, "/", "must not be root"),
        (
            r#"{"id":"/"}"#,
            invalid,
            "/id",
            "Path must contain at least one path element",
        ),
        (
            r#"{"cmd":"x"}"#,
            invalid,
            "/cmd",
            "must not be an empty string",
        ),
        (
            r#"{"cmd":null}"#,
            invalid,
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            r#"{"args":["a"]}"#,
            invalid,
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            r#"{"dependencies":["A"]}"#,
            invalid,
            "/dependencies(0)",
            SEGMENT,
        ),
        (
            r#"{"portDefinitions":[{"name":"a"},{"name":"a"}]}"#,
            invalid,
            "/portDefinitions",
            "Port names must be unique.",
        ),
        (
            r#"{"portDefinitions":[{"port":1},{"port":1}]}"#,
            invalid,
            "/portDefinitions",
            "Ports must be unique.",
        ),
        (
            r#"{"ports":[1],"portDefinitions":[{"port":2}]}"#,
            invalid,
            "/",
            "cannot specify both ports and port definitions",
        ),
        (
            r#"{"ports":[1,1]}"#,
            invalid,
            "/ports",
            "ports must be unique",
        ),
        (
            r#"{"constraints":[["a"]]}"#,
            invalid,
            "/constraints(0)",
            "Each constraint must have either 2 or 3 fields",
        ),
        (
            r#"{"constraints":[[]]}"#,
            invalid,
            "/constraints(0)",
            "Missing field and operator",
        ),
        (
            r#"{"constraints":[["a","X"]]}"#,
            invalid,
            "/constraints(0)",
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        ),
        (
            r#"{"constraints":[["a","UNIQUE","1"]]}"#,
            invalid,
            "/constraints(0)",
            "UNIQUE does not accept a value",
        ),
        (
            r#"{"constraints":[["a","GROUP_BY","x"]]}"#,
            invalid,
            "/constraints(0)",
            "GROUP BY must define an integer value or else no value at all",
        ),
        (
            r#"{"constraints":[["a","MAX_PER"]]}"#,
            invalid,
            "/constraints(0)",
            "MAX_PER requires an integer value",
        ),
        (
            r#"{"constraints":[["a","LIKE"]]}"#,
            invalid,
            "/constraints(0)",
            "LIKE and UNLIKE require a non-empty, regular expression value",
        ),
        (
            r#"{"constraints":[["a","LIKE","("]]}"#,
            invalid,
            "/constraints(0)",
            "is not a valid regular expression",
        ),
        (
            r#"{"constraints":[["a","UNIQUE"],["a","unique"]]}"#,
            invalid,
            "/constraints",
            "Elements must be unique.",
        ),
        (
            r#"{"healthChecks":[{"portIndex":1}]}"#,
            invalid,
            "/healthChecks(0)",
            "Health check port indices must address an element of the ports array or container port mappings.",
        ),
        (
            r#"{"healthChecks":[{"protocol":"MESOS_TCP"},{"protocol":"MESOS_HTTP"}]}"#,
            invalid,
            "/",
            "AppDefinition can contain at most one Mesos health check",
        ),
        (
            r#"{"unreachableStrategy":{"inactiveAfterSeconds":3,"expungeAfterSeconds":2}}"#,
            invalid,
            "/unreachableStrategy",
            "inactiveAfterSeconds (3) must be less or equal to expungeAfterSeconds, which is 2",
        ),
        (
            r#"{"unreachableStrategy":{"inactiveAfterSeconds":-1}}"#,
            invalid,
            "/unreachableStrategy",
            "inactiveAfterSeconds (-1) must be greater than or equal to 0",
        ),
        (
            r#"{"id":"/dev/x","role":"ops"}"#,
            invalid,
            "/role",
            "got ops, expected one of: [*, dev]",
        ),
        (
            r#"{"acceptedResourceRoles":["x"]}"#,
            invalid,
            "/acceptedResourceRoles",
            "acceptedResourceRoles can only contain *",
        ),
        (
            r#"{"acceptedResourceRoles":[]}"#,
            invalid,
            "/acceptedResourceRoles",
            "must not be empty",
        ),
        (
            r#"{"instances":2,"labels":{"MARATHON_SINGLE_INSTANCE_APP":"true"}}"#,
            invalid,
            "/",
            "Single instance app may only have one instance",
        ),
        (
            r#"{"gpus":1}"#,
            invalid,
            "/gpus",
            "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
        ),
        (
            r#"{"secrets":{"a":{"source":"b"}}}"#,
            invalid,
            "/secrets",
            "Feature secrets is not enabled. Enable with --enable_features secrets)",
        ),
        (
            r#"{"env":{"A":{"secret":"b"}}}"#,
            invalid,
            "/env/A",
            "use of secret-references in the environment requires the secrets feature to be enabled",
        ),
        (
            r#"{"networks":[{"mode":"host","name":"x"}]}"#,
            invalid,
            "/networks(0)",
            "Host networks may not have names or labels",
        ),
        (
            r#"{"fetch":[{"uri":"a b"}]}"#,
            invalid,
            "/fetch(0)/uri",
            "URI has invalid syntax.",
        ),
        (
            r#"{"readinessChecks":[{}]}"#,
            invalid,
            "/readinessChecks(0)/portName",
            "No port definition reference for portName http-api",
        ),
        (
            r#"{"readinessChecks":[{},{}]}"#,
            invalid,
            "/readinessChecks/size",
            "got 2, expected 1 or less",
        ),
        (
            r#"{"readinessChecks":[{"timeoutSeconds":30}]}"#,
            invalid,
            "/readinessChecks(0)/timeoutSeconds",
            "got 30, expected less than 30",
        ),
        (
            r#"{"readinessChecks":[{"httpStatusCodesForReady":[]}]}"#,
            invalid,
            "/readinessChecks(0)/httpStatusCodesForReady",
            "must not be empty",
        ),
        (
            r#"{"readinessChecks":[{"protocol":"TCP"}]}"#,
            unreadable,
            "/readinessChecks(0)/protocol",
            "error.unknown.enum.literal",
        ),
        (
            r#"{"check":{}}"#,
            invalid,
            "/check",
            "Only one of http, tcp, or command may be specified",
        ),
        (
            r#"{"check":{"tcp":{"portIndex":1}}}"#,
            invalid,
            "/check",
            "check port index must address an element of the ports array or container port mappings.",
        ),
        (
            r#"{"container":{"docker":{"image":"x"}},"check":{"tcp":{"port":1}}}"#,
            invalid,
            "/",
            "AppDefinition must not use 'checks' if using docker",
        ),
        (
            r#"{"gpus":1,"container":{"docker":{"image":"x"}}}"#,
            invalid,
            "/",
            "GPU resources only work with the Mesos containerizer",
        ),
        (
            r#"{"executor":"//x"}"#,
            unreadable,
            "/executor",
            "error.pattern",
        ),
        (
            r#"{"residency":{"taskLostBehavior":"X"}}"#,
            unreadable,
            "/residency/taskLostBehavior",
            "error.unknown.enum.literal",
        ),
        (
            r#"{"healthChecks":[{"protocol":"MESOS_HTTPS"},{"protocol":"MESOS_HTTP"}]}"#,
            invalid,
            "/",
            "AppDefinition can contain at most one Mesos health check",
        ),
        (
            r#"{"ipAddress":{"networkName":"x"},"networks":[{"mode":"host"}]}"#,
            invalid,
            "/",
            "must not specify both networks and ipAddress",
        ),
        (
            r#"{"ipAddress":{"networkName":"x"},"ports":[0]}"#,
            invalid,
            "/",
            "cannot specify both an IP address and port",
        ),
        (
            r#"{"ipAddress":{"networkName":"x","discovery":{"ports":[{"number":1}]}},"container":{"docker":{"image":"x"}}}"#,
            invalid,
            "/ipAddress",
            "ipAddress/discovery is not allowed for Docker containers",
        ),
        (
            r#"{"ipAddress":{"networkName":"x","discovery":{"ports":[{"number":1}]}},"container":{"docker":{"image":"x","network":"USER"}}}"#,
            invalid,
            "/ipAddress",
            "ipAddress/discovery is not allowed for Docker containers",
        ),
        (
            r#"{"upgradeStrategy":{"minimumHealthCapacity":2,"maximumOverCapacity":-1}}"#,
            unreadable,
            "/upgradeStrategy/maximumOverCapacity",
            "error.min",
        ),
        (
            r#"{"healthChecks":[{"ipProtocol":"IPv6"}]}"#,
            invalid,
            "/healthChecks(0)/ipProtocol",
            "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
        ),
    ] {
        let mut whole = json!({ "id": "/a", "cmd": "sleep 1" });
        let given: Value = serde_json::from_str(document).expect(document);
        whole
            .as_object_mut()
            .expect("an object")
            .extend(given.as_object().expect("an object").clone());
        let refusal = parse(&whole.to_string(), None).expect_err(document);
        let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
        assert_eq!(
            (refusal.status, body["message"].as_str()),
            (422, Some(message)),
            "{document}: {body}"
        );
        let details = body["details"].as_array().expect("an array");
        let errors = details
            .iter()
            .find(|detail| detail["path"] == path)
            .map(|detail| detail["errors"].clone());
        assert!(
            errors.as_ref().is_some_and(|errors| errors
                .as_array()
                .is_some_and(|all| all.contains(&json!(error)))),
            "{document}: {body}"
        );
    }
}

#[test]
fn all_faults_of_a_document_are_told_at_once() {
    let refusal = parse(
        r#"{"id":"/A","cmd":"x","secrets":{"a":{"source":"b"}}}"#,
        None,
    )
    .expect_err("three faults");
    let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
    let want = json!({ "message": "Object is not valid", "details": [
        { "path": "/secrets", "errors": ["Feature secrets is not enabled. Enable with --enable_features secrets)"] },
        { "path": "/id", "errors": [SEGMENT] },
        { "path": "/cmd", "errors": ["must not be an empty string"] },
    ]});
    assert_eq!(body, want);
}

#[test]
fn updates_replace_what_they_name_and_keep_the_rest() {
    let old = app(
        r#"{"id":"/a","cmd":"sleep 1","env":{"A":"1","B":"2"},"labels":{"x":"y"},"user":"root"}"#,
    );
    let new = parse(
        r#"{"env":{"C":"3"},"cmd":null,"id":"/ignored"}"#,
        Some(&old),
    )
    .expect("valid");
    assert_eq!(new.env, [("C".to_owned(), "3".to_owned())].into());
    assert_eq!(
        (new.cmd.as_deref(), new.user.as_deref(), new.id.as_str()),
        (Some("sleep 1"), Some("root"), "/a")
    );
    assert_eq!(new.labels, old.labels);
    assert!(!new.same_config(&old));
    let scaled = parse(r#"{"instances":7}"#, Some(&old)).expect("valid");
    assert!(scaled.same_config(&old) && scaled.instances == 7);
    parse(r#"{"args":["a"]}"#, Some(&old)).expect_err("cmd cannot be unset by an update");
}
