//! What executors look at in a pod's containers: what is done (`http`, `tcp`, `exec`), shared by health checks and by checks whose results are
//! only shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PodCommand, PodContainer, command};
use crate::definition::{Faults, Object};

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PodProbe {
    /// GET.
    Http {
        /// Of the container.
        endpoint: String,
        /// `/` if none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// `HTTP` or `HTTPS`.
        scheme: String,
    },
    /// Connect.
    Tcp {
        /// Of the container.
        endpoint: String,
    },
    /// Run in the container.
    Exec {
        /// What.
        command: PodCommand,
    },
}

/// A check that the executor makes, and that nothing follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCheck {
    /// What is done.
    #[serde(flatten)]
    pub probe: PodProbe,
    /// From one to the next.
    pub interval_seconds: u32,
    /// One that takes longer is given up.
    pub timeout_seconds: u32,
    /// Before the first.
    pub delay_seconds: u32,
}

/// The one probe that `object`, a check, is to have; `later` are faults that are told with those of the whole pod.
pub(super) fn probe(
    object: &Object<'_>,
    path: String,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodProbe> {
    let mut probes = Vec::new();
    if let Some(value) = object.get("http") {
        let http = Object::new(value, object.path("http"), faults)?;
        http.require("endpoint", faults);
        let schemes = [("HTTP", "HTTP"), ("HTTPS", "HTTPS")];
        let scheme = http.choice("scheme", &schemes, faults).unwrap_or("HTTP");
        probes.push(PodProbe::Http {
            endpoint: http.text("endpoint", faults).unwrap_or_default(),
            path: http.text("path", faults),
            scheme: scheme.to_owned(),
        });
    }
    if let Some(value) = object.get("tcp") {
        let tcp = Object::new(value, object.path("tcp"), faults)?;
        tcp.require("endpoint", faults);
        probes.push(PodProbe::Tcp {
            endpoint: tcp.text("endpoint", faults).unwrap_or_default(),
        });
    }
    if let Some(value) = object.get("exec") {
        let exec = Object::new(value, object.path("exec"), faults)?;
        exec.require("command", faults);
        let command = command(exec.get("command")?, exec.path("command"), faults)?;
        probes.push(PodProbe::Exec { command });
    }
    if probes.len() != 1 {
        let message = "Only one of http, tcp, or command may be specified";
        later.push((path, message.to_owned()));
    }
    probes.into_iter().next()
}

/// `check` of a container.
pub(super) fn read(
    value: &Value,
    path: String,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodCheck> {
    let object = Object::new(value, path.clone(), faults)?;
    let probe = probe(&object, path, later, faults);
    let mut count = |key: &str, otherwise: u32| object.count(key, faults).unwrap_or(otherwise);
    Some(PodCheck {
        interval_seconds: count("intervalSeconds", 60),
        timeout_seconds: count("timeoutSeconds", 20),
        delay_seconds: count("delaySeconds", 15),
        probe: probe?,
    })
}

/// Checks that what is looked at is an endpoint of the container.
pub(super) fn validate(
    container: &PodContainer,
    probe: &PodProbe,
    path: &str,
    faults: &mut Faults,
) {
    let (kind, endpoint) = match probe {
        PodProbe::Http { endpoint, .. } => ("http", endpoint),
        PodProbe::Tcp { endpoint } => ("tcp", endpoint),
        PodProbe::Exec { .. } => return,
    };
    if !container.endpoints.iter().any(|one| one.name == *endpoint) {
        let message = "contained in the container endpoints";
        faults.add(format!("{path}/{kind}/endpoint"), message);
    }
}
