//! What a client of Marathon does, over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{BenchError, reader::Reader};

/// An app without a health check.
pub(super) fn app(id: &str, instances: usize) -> Value {
    json!({
        "id": id,
        "cmd": "sleep 100000",
        "cpus": 0.1,
        "mem": 32,
        "disk": 0,
        "instances": instances,
    })
}

/// The same with a check that the executor runs.
pub(super) fn checked_app(id: &str, instances: usize) -> Value {
    let mut app = app(id, instances);
    app["healthChecks"] = json!([{ "protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0 }]);
    app
}

/// A group of so many apps that have so many instances together.
pub(super) fn group(id: &str, apps: usize, instances: usize) -> Value {
    let of_one =
        |number: usize| instances / apps.max(1) + usize::from(number < instances % apps.max(1));
    let apps: Vec<Value> = (0..apps)
        .map(|number| app(&format!("app-{number:05}"), of_one(number)))
        .collect();
    json!({ "id": id, "apps": apps })
}

/// Sends a document, and wants this status.
pub(super) fn send(
    reader: &mut Reader,
    method: &str,
    path: &str,
    document: &Value,
    wanted: u16,
) -> Result<(), BenchError> {
    let (status, body) = reader.send(method, path, &document.to_string())?;
    if status == wanted {
        return Ok(());
    }
    let body: String = String::from_utf8_lossy(&body).chars().take(500).collect();
    Err(BenchError::Refused(format!(
        "{method} {path} was answered with {status}: {body}"
    )))
}

/// Waits until no deployment is under way, and gives the time since `started`.
pub(super) fn deployed(
    reader: &mut Reader,
    started: Instant,
    patience: Duration,
    pause: Duration,
) -> Result<Duration, BenchError> {
    loop {
        // Nothing but `[]`.
        if reader.get("/v2/deployments")?.bytes == 2 {
            return Ok(started.elapsed());
        }
        if started.elapsed() > patience {
            return Err(BenchError::Refused(format!(
                "a deployment is still under way after {} s",
                patience.as_secs()
            )));
        }
        std::thread::sleep(pause);
    }
}

/// Running and healthy tasks of all apps.
pub(super) fn tasks(reader: &mut Reader) -> Result<(u64, u64), BenchError> {
    let apps = reader.json("/v2/apps?embed=apps.counts")?;
    let sum = |key: &str| {
        let apps = apps["apps"].as_array().into_iter().flatten();
        apps.filter_map(|app| app[key].as_u64()).sum()
    };
    Ok((sum("tasksRunning"), sum("tasksHealthy")))
}
