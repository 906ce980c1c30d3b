//! Documents of apps: a table of accepted ones with their canonical form; what all tables of documents are held against.

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
