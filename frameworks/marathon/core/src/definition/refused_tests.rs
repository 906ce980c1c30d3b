//! A table of documents that are refused, with the exact answer.

use serde_json::{Value, json};

use super::tests::parse;

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
