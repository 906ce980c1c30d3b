//! What a container may take and see beyond its resources: limits, the kernel's isolation, a terminal. For apps and for pods' containers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, reader::Faults};

/// How much a task may take when there is more than it asked for; none: no more than it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Limit>,
    /// Memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<Limit>,
}

/// One limit: a number or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Limit {
    /// So much.
    Amount(f64),
    /// Whatever there is.
    Unlimited,
}

impl From<Limit> for Value {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Amount(amount) => amount.into(),
            Limit::Unlimited => "unlimited".into(),
        }
    }
}

impl TryFrom<Value> for Limit {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match &value {
            Value::String(text) if text == "unlimited" => Ok(Self::Unlimited),
            Value::Number(number) => Ok(Self::Amount(number.as_f64().unwrap_or(f64::MAX))),
            other => {
                let text = other
                    .as_str()
                    .map_or_else(|| other.to_string(), str::to_owned);
                Err(format!(
                    "'{text}' is an invalid resource limit. It must be 'unlimited' or a number"
                ))
            }
        }
    }
}

impl Limit {
    /// As Mesos has it.
    pub(crate) const fn amount(self) -> f64 {
        match self {
            Self::Amount(amount) => amount,
            Self::Unlimited => f64::INFINITY,
        }
    }
}

/// `resourceLimits`.
pub(super) fn limits(object: &Object<'_>, faults: &mut Faults) -> Option<ResourceLimits> {
    let value = object.get("resourceLimits")?;
    let limits = Object::new(value, object.path("resourceLimits"), faults)?;
    let mut limit = |key: &str| {
        let limit = Limit::try_from(limits.get(key)?.clone());
        limit
            .map_err(|message| faults.add(limits.path(key), message))
            .ok()
    };
    let limits = ResourceLimits {
        cpus: limit("cpus"),
        mem: limit("mem"),
    };
    (limits != ResourceLimits::default()).then_some(limits)
}

/// Checks limits that stand at `path` against what is asked for.
pub(super) fn validate_limits(
    limits: Option<ResourceLimits>,
    cpus: f64,
    mem: f64,
    path: &str,
    faults: &mut Faults,
) {
    let limits = limits.unwrap_or_default();
    for (key, limit, asked) in [("cpus", limits.cpus, cpus), ("mem", limits.mem, mem)] {
        if limit.is_some_and(|limit| limit.amount() < asked) {
            let message = format!(
                "resource limit must be greater than or equal to requested resource ({asked:?})"
            );
            faults.add(format!("{path}/{key}"), message);
        }
    }
}

/// What a container sees of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxInfo {
    /// Which system calls it may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// Whose shared memory it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_info: Option<IpcInfo>,
}

/// See [`LinuxInfo::seccomp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// A profile of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// All.
    pub unconfined: bool,
}

/// See [`LinuxInfo::ipc_info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpcInfo {
    /// Its own, or that around it.
    pub mode: IpcMode,
    /// How large its own is, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u32>,
}

/// See [`IpcInfo::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IpcMode {
    /// Its own.
    Private,
    /// That of what is around it.
    ShareParent,
}

/// `linuxInfo`; `later` are faults that are told with those of the whole.
pub(super) fn linux(
    object: &Object<'_>,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<LinuxInfo> {
    let linux = Object::new(object.get("linuxInfo")?, object.path("linuxInfo"), faults)?;
    let seccomp = linux.get("seccomp").and_then(|value| {
        let seccomp = Object::new(value, linux.path("seccomp"), faults)?;
        let profile_name = seccomp.text("profileName", faults);
        let unconfined = seccomp.flag("unconfined", faults).unwrap_or(false);
        let fault = match (&profile_name, unconfined) {
            (Some(_), true) => Some("Seccomp unconfined can NOT be true when Profile is defined"),
            (None, false) => Some("Seccomp unconfined must be true when Profile is NOT defined"),
            _ => None,
        };
        if let Some(message) = fault {
            later.push((linux.path("seccomp"), message.to_owned()));
        }
        Some(Seccomp {
            profile_name,
            unconfined,
        })
    });
    let ipc_info = linux.get("ipcInfo").and_then(|value| {
        let ipc = Object::new(value, linux.path("ipcInfo"), faults)?;
        let modes = [
            ("PRIVATE", IpcMode::Private),
            ("SHARE_PARENT", IpcMode::ShareParent),
        ];
        ipc.require("mode", faults);
        let mode = ipc.choice("mode", &modes, faults)?;
        let shm_size = ipc.count("shmSize", faults);
        if mode == IpcMode::ShareParent && shm_size.is_some() {
            let message = "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT";
            later.push((linux.path("ipcInfo"), message.to_owned()));
        }
        Some(IpcInfo { mode, shm_size })
    });
    Some(LinuxInfo { seccomp, ipc_info })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::parse;
    use super::*;

    fn with(more: &str) -> Result<Value, Value> {
        let document = format!(r#"{{"id":"/a","cmd":"sleep 1"{more}}}"#);
        match parse(&document, None) {
            Ok(app) => Ok(serde_json::to_value(app).expect("serialises")),
            Err(refusal) => Err(serde_json::from_slice(&refusal.body).expect("JSON")),
        }
    }

    #[test]
    fn accepted_documents_and_what_becomes_of_them() {
        for (more, path, want) in [
            (r#","tty":true"#, "/tty", json!(true)),
            (
                r#","resourceLimits":{"cpus":2,"mem":"unlimited"}"#,
                "/resourceLimits",
                json!({ "cpus": 2.0, "mem": "unlimited" }),
            ),
            (r#","resourceLimits":{}"#, "/resourceLimits", Value::Null),
            (
                r#","container":{"type":"MESOS","linuxInfo":{"seccomp":{"profileName":"x"},"ipcInfo":{"mode":"private","shmSize":8}}}"#,
                "/container/linuxInfo",
                json!({ "seccomp": { "profileName": "x", "unconfined": false }, "ipcInfo": { "mode": "PRIVATE", "shmSize": 8 } }),
            ),
            (
                r#","executorResources":{"mem":64}"#,
                "/executorResources",
                json!({ "cpus": 0.1, "mem": 64.0, "disk": 10.0 }),
            ),
        ] {
            let app = with(more).expect(more);
            assert_eq!(
                app.pointer(path).cloned().unwrap_or_default(),
                want,
                "{more}"
            );
        }
    }

    #[test]
    fn refused_documents_and_the_exact_answer() {
        let (read, invalid) = ("Invalid JSON", "Object is not valid");
        for (more, message, path, error) in [
            (
                r#","resourceLimits":{"cpus":"much"}"#,
                read,
                "/resourceLimits/cpus",
                "'much' is an invalid resource limit. It must be 'unlimited' or a number",
            ),
            (r#","tty":"yes""#, read, "/tty", "error.expected.jsboolean"),
            (
                r#","resourceLimits":{"cpus":0.5}"#,
                invalid,
                "/resourceLimits/cpus",
                "resource limit must be greater than or equal to requested resource (1.0)",
            ),
            (
                r#","container":{"type":"MESOS","linuxInfo":{"seccomp":{}}}"#,
                invalid,
                "/container/linuxInfo/seccomp",
                "Seccomp unconfined must be true when Profile is NOT defined",
            ),
            (
                r#","container":{"type":"MESOS","linuxInfo":{"seccomp":{"profileName":"x","unconfined":true}}}"#,
                invalid,
                "/container/linuxInfo/seccomp",
                "Seccomp unconfined can NOT be true when Profile is defined",
            ),
            (
                r#","container":{"type":"MESOS","linuxInfo":{"ipcInfo":{"mode":"SHARE_PARENT","shmSize":8}}}"#,
                invalid,
                "/container/linuxInfo/ipcInfo",
                "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT",
            ),
        ] {
            let body = with(more).expect_err(more);
            assert_eq!(body["message"], message, "{more}: {body}");
            let details = body["details"].as_array().expect("an array");
            let found = details.iter().find(|detail| detail["path"] == path);
            let errors = found.map(|detail| detail["errors"].clone());
            assert_eq!(errors, Some(json!([error])), "{more}: {body}");
        }
    }
}
