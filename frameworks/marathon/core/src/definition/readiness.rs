//! Readiness checks: when a new task of a deployment may count. Canonical form, how they are read, their rules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{App, Object, reader::Faults};

/// A readiness check. An app has at most one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    /// For people.
    pub name: String,
    /// How it is asked.
    pub protocol: ReadinessProtocol,
    /// What is asked for.
    pub path: String,
    /// Which of the app's ports, by name.
    pub port_name: String,
    /// From the end of one question to the next.
    pub interval_seconds: u32,
    /// A question that takes longer counts as answered by 504.
    pub timeout_seconds: u32,
    /// Answers that mean ready.
    pub http_status_codes_for_ready: BTreeSet<u16>,
    /// Whether the last answer is shown.
    pub preserve_last_response: bool,
}

/// See [`ReadinessCheck::protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReadinessProtocol {
    /// In clear.
    Http,
    /// Over TLS; certificates are not verified.
    Https,
}

/// `readinessChecks`.
pub(super) fn read(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<ReadinessCheck>> {
    let items = object.array("readinessChecks", faults)?;
    let check = |(path, item): (String, &Value)| {
        let object = Object::new(item, path, faults)?;
        let protocols = [
            ("HTTP", ReadinessProtocol::Http),
            ("HTTPS", ReadinessProtocol::Https),
        ];
        let mut text = |key: &str, otherwise: &str| {
            let given = object.text(key, faults);
            given.unwrap_or_else(|| otherwise.to_owned())
        };
        let (name, path) = (text("name", "readinessCheck"), text("path", "/"));
        let port_name = text("portName", "http-api");
        Some(ReadinessCheck {
            name,
            protocol: object
                .choice("protocol", &protocols, faults)
                .unwrap_or(ReadinessProtocol::Http),
            path,
            port_name,
            interval_seconds: object.count("intervalSeconds", faults).unwrap_or(30),
            timeout_seconds: object.count("timeoutSeconds", faults).unwrap_or(10),
            http_status_codes_for_ready: codes(&object, faults)
                .unwrap_or_else(|| BTreeSet::from([200])),
            preserve_last_response: object.flag("preserveLastResponse", faults).unwrap_or(false),
        })
    };
    Some(items.into_iter().filter_map(check).collect())
}

/// Any whole number is read; one that no answer has is never seen.
fn codes(object: &Object<'_>, faults: &mut Faults) -> Option<BTreeSet<u16>> {
    let items = object.array("httpStatusCodesForReady", faults)?;
    let code = |(path, item)| {
        let code = super::reader::integer(item, || path, 0, i64::from(u16::MAX), faults)?;
        u16::try_from(code).ok()
    };
    Some(items.into_iter().filter_map(code).collect())
}

/// Checks those of an app.
pub(super) fn validate(app: &App, faults: &mut Faults) {
    let count = app.readiness_checks.len();
    if count > 1 {
        let message = format!("got {count}, expected 1 or less");
        faults.add("/readinessChecks/size", message);
    }
    let ports = app.ports();
    for (at, check) in app.readiness_checks.iter().enumerate() {
        let path = |key: &str| format!("/readinessChecks({at})/{key}");
        for (key, empty) in [
            ("name", check.name.is_empty()),
            ("path", check.path.is_empty()),
            (
                "httpStatusCodesForReady",
                check.http_status_codes_for_ready.is_empty(),
            ),
        ] {
            if empty {
                faults.add(path(key), "must not be empty");
            }
        }
        let name = &check.port_name;
        if !ports.iter().any(|port| port.name == Some(name.as_str())) {
            let message = format!("No port definition reference for portName {name}");
            faults.add(path("portName"), message);
        }
        let (timeout, interval) = (check.timeout_seconds, check.interval_seconds);
        if timeout >= interval {
            let message = format!("got {timeout}, expected less than {interval}");
            faults.add(path("timeoutSeconds"), message);
        }
        if timeout == 0 {
            faults.add(path("timeoutSeconds"), "got 0, expected more than 0");
        }
    }
}
