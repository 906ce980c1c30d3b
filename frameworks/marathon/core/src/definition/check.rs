//! Checks whose results are only shown: `check` of an app or of a pod's container.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{App, ContainerKind, Object, PodCommand, pod, reader::Faults};

/// A check that the executor makes, and that nothing follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What is done.
    #[serde(flatten)]
    pub probe: CheckProbe,
    /// From one to the next.
    pub interval_seconds: u32,
    /// One that takes longer is given up.
    pub timeout_seconds: u32,
    /// Before the first.
    pub delay_seconds: u32,
}

/// See [`Check::probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckProbe {
    /// GET; its status is shown.
    #[serde(rename_all = "camelCase")]
    Http {
        /// Which of the app's ports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port_index: Option<u32>,
        /// A port that is not among the app's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// `/` if none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// `HTTP`.
        scheme: String,
    },
    /// Connect; whether it was done is shown.
    #[serde(rename_all = "camelCase")]
    Tcp {
        /// Which of the app's ports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port_index: Option<u32>,
        /// A port that is not among the app's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// Run in the container; its exit code is shown.
    Exec {
        /// What.
        command: PodCommand,
    },
}

/// `check`; `later` are faults that are told with those of the whole app.
pub(super) fn read(
    object: &Object<'_>,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<Check> {
    let check = Object::new(object.get("check")?, object.path("check"), faults)?;
    let mut probes = Vec::new();
    let port = |object: &Object<'_>, faults: &mut Faults| {
        let port = object.integer("port", 0, 65_535, faults);
        port.and_then(|port| u16::try_from(port).ok())
    };
    if let Some(value) = check.get("http") {
        let http = Object::new(value, check.path("http"), faults)?;
        let schemes = [("HTTP", "HTTP"), ("HTTPS", "HTTPS")];
        let scheme = http.choice("scheme", &schemes, faults).unwrap_or("HTTP");
        probes.push(CheckProbe::Http {
            port_index: http.count("portIndex", faults),
            port: port(&http, faults),
            path: http.text("path", faults),
            scheme: scheme.to_owned(),
        });
    }
    if let Some(value) = check.get("tcp") {
        let tcp = Object::new(value, check.path("tcp"), faults)?;
        probes.push(CheckProbe::Tcp {
            port_index: tcp.count("portIndex", faults),
            port: port(&tcp, faults),
        });
    }
    if let Some(value) = check.get("exec") {
        let exec = Object::new(value, check.path("exec"), faults)?;
        exec.require("command", faults);
        let command = pod::command(exec.get("command")?, exec.path("command"), faults)?;
        probes.push(CheckProbe::Exec { command });
    }
    if probes.len() != 1 {
        let message = "Only one of http, tcp, or command may be specified";
        later.push((object.path("check"), message.to_owned()));
    }
    let mut count = |key: &str, otherwise: u32| check.count(key, faults).unwrap_or(otherwise);
    Some(Check {
        interval_seconds: count("intervalSeconds", 60),
        timeout_seconds: count("timeoutSeconds", 20),
        delay_seconds: count("delaySeconds", 15),
        probe: probes.into_iter().next()?,
    })
}

/// Checks that of an app.
pub(super) fn validate(app: &App, faults: &mut Faults) {
    let Some(check) = &app.check else { return };
    let docker = app.container.as_ref();
    if docker.is_some_and(|container| container.kind == ContainerKind::Docker) {
        faults.add("/", "AppDefinition must not use 'checks' if using docker");
    }
    let addressed = match &check.probe {
        CheckProbe::Http {
            port_index, port, ..
        }
        | CheckProbe::Tcp { port_index, port }
            if port.is_none() =>
        {
            port_index.unwrap_or(0)
        }
        _ => return,
    };
    if addressed as usize >= app.ports().len() {
        let message = "check port index must address an element of the ports array or container port mappings.";
        faults.add("/check", message);
    }
}

/// The last result of a check as `checkResult` shows it.
#[must_use]
pub(crate) fn result(status: &tepui_proto::mesos::CheckStatusInfo) -> Option<Value> {
    if let Some(code) = status.command.as_ref().and_then(|one| one.exit_code) {
        return Some(serde_json::json!({ "command": { "exitCode": code } }));
    }
    if let Some(code) = status.http.as_ref().and_then(|one| one.status_code) {
        return Some(serde_json::json!({ "http": { "statusCode": code } }));
    }
    let succeeded = status.tcp.as_ref().and_then(|one| one.succeeded)?;
    Some(serde_json::json!({ "tcp": { "succeeded": succeeded } }))
}
