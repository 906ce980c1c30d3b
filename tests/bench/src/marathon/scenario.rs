//! The scenarios: each says what it did, and how long it took.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Bed,
    client::{app, checked_app, deployed, group, send, tasks},
};
use crate::{
    BenchError,
    reader::Reader,
    report::{Latency, round},
};

/// How often is looked whether deployments are over, where little is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Where a deployment of thousands of apps is looked at.
const SLOW_LOOK: Duration = Duration::from_millis(200);
const ONE: &str = "/bench/one";
/// Reads of all apps, and of one.
const READS: (usize, usize) = (30, 1000);

impl Bed<'_> {
    fn client(&self) -> Result<Reader, BenchError> {
        Reader::connect(&self.marathon.address.to_string())
    }
}

/// One app from 0 to all instances.
pub(super) fn scale(bed: &Bed<'_>) -> Result<Value, BenchError> {
    let mut client = bed.client()?;
    send(&mut client, "POST", "/v2/apps", &app(ONE, 0), 201)?;
    deployed(&mut client, Instant::now(), bed.patience, LOOK)?;
    let started = Instant::now();
    let target = json!({ "instances": bed.instances });
    send(&mut client, "PUT", &format!("/v2/apps/{ONE}"), &target, 200)?;
    let elapsed = deployed(&mut client, started, bed.patience, LOOK)?;
    bed.check(bed.instances, bed.instances)?;
    Ok(json!({ "instances": bed.instances, "seconds": round(elapsed.as_secs_f64()) }))
}

/// Every app by its own POST.
pub(super) fn deploy(bed: &Bed<'_>) -> Result<Value, BenchError> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let mut latency = Latency::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..bed.clients)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Duration>, BenchError> {
                    let mut client = bed.client()?;
                    let mut times = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= bed.apps {
                            return Ok(times);
                        }
                        let document = app(&format!("/bench/app-{number:05}"), 1);
                        let asked = Instant::now();
                        send(&mut client, "POST", "/v2/apps", &document, 201)?;
                        times.push(asked.elapsed());
                    }
                })
            })
            .collect();
        for one in clients {
            let times = one
                .join()
                .unwrap_or_else(|_| Err(BenchError::Refused("a client panicked".into())))?;
            times.into_iter().for_each(|time| latency.record(time));
        }
        Ok::<(), BenchError>(())
    })?;
    let accepted = started.elapsed();
    let mut client = bed.client()?;
    let elapsed = deployed(&mut client, started, bed.patience, LOOK)?;
    bed.check(bed.apps, bed.apps)?;
    Ok(json!({
        "apps": bed.apps,
        "seconds": round(elapsed.as_secs_f64()),
        "accepted_seconds": round(accepted.as_secs_f64()),
        "post_latency_ms": latency.json(),
    }))
}

/// One app gets a new configuration.
pub(super) fn upgrade(bed: &Bed<'_>) -> Result<Value, BenchError> {
    let mut client = bed.client()?;
    let document = checked_app(ONE, bed.instances);
    let started = Instant::now();
    send(&mut client, "POST", "/v2/apps", &document, 201)?;
    let scaled = deployed(&mut client, started, bed.patience, LOOK)?;
    bed.check(bed.instances, bed.instances)?;
    let started = Instant::now();
    let change = json!({ "env": { "RELEASE": "2" } });
    send(&mut client, "PUT", &format!("/v2/apps/{ONE}"), &change, 200)?;
    let elapsed = deployed(&mut client, started, bed.patience, LOOK)?;
    bed.check(2 * bed.instances, bed.instances)?;
    let (_, healthy) = tasks(&mut client)?;
    if healthy != bed.instances as u64 {
        return Err(BenchError::Refused(format!(
            "{healthy} of {} instances are healthy after the upgrade",
            bed.instances
        )));
    }
    Ok(json!({
        "instances": bed.instances,
        "scaled_seconds": round(scaled.as_secs_f64()),
        "seconds": round(elapsed.as_secs_f64()),
    }))
}

/// Brings all apps about by one PUT of a group.
pub(super) fn fill(bed: &Bed<'_>) -> Result<Duration, BenchError> {
    let mut client = bed.client()?;
    let started = Instant::now();
    let document = group("/bench", bed.apps, bed.instances);
    send(&mut client, "PUT", "/v2/groups", &document, 200)?;
    let elapsed = deployed(&mut client, started, bed.patience, SLOW_LOOK)?;
    bed.check(bed.instances, bed.instances)?;
    Ok(elapsed)
}

/// All apps and one app are read.
pub(super) fn read(bed: &Bed<'_>) -> Result<Value, BenchError> {
    let filled = fill(bed)?;
    let mut client = bed.client()?;
    let mut time = |path: &str, times: usize| -> Result<Value, BenchError> {
        let asked = Instant::now();
        let bytes = client.get(path)?.bytes;
        let first = asked.elapsed();
        let mut latency = Latency::new();
        for _ in 0..times {
            let asked = Instant::now();
            client.get(path)?;
            latency.record(asked.elapsed());
        }
        let mut figures = latency.json();
        figures["first"] = json!(round(first.as_secs_f64() * 1000.0));
        figures["bytes"] = bytes.into();
        Ok(figures)
    };
    Ok(json!({
        "apps": bed.apps,
        "deployed_seconds": round(filled.as_secs_f64()),
        "all_apps_ms": time("/v2/apps", READS.0)?,
        "one_app_ms": time(&format!("/v2/apps/bench/app-{:05}", bed.apps / 2), READS.1)?,
        "group_ms": time("/v2/groups", READS.0)?,
    }))
}

/// What a change of all apps would do: when none of them is there, and when all are there and change.
pub(super) fn plan(bed: &Bed<'_>) -> Result<Value, BenchError> {
    let mut client = bed.client()?;
    let mut changed = group("/bench", bed.apps, bed.instances);
    let ask = |client: &mut Reader, document: &Value| -> Result<f64, BenchError> {
        let asked = Instant::now();
        send(client, "PUT", "/v2/groups?dryRun=true", document, 200)?;
        Ok(round(asked.elapsed().as_secs_f64()))
    };
    let new_seconds = ask(&mut client, &changed)?;
    let filled = fill(bed)?;
    let unchanged_seconds = ask(&mut client, &changed)?;
    for app in changed["apps"].as_array_mut().into_iter().flatten() {
        app["env"] = json!({ "RELEASE": "2" });
    }
    let changed_seconds = ask(&mut client, &changed)?;
    bed.check(bed.instances, bed.instances)?;
    Ok(json!({
        "apps": bed.apps,
        "deployed_seconds": round(filled.as_secs_f64()),
        "new_seconds": new_seconds,
        "unchanged_seconds": unchanged_seconds,
        "changed_seconds": changed_seconds,
    }))
}

/// The new leader accepts a deploy, and carries it out.
pub(super) fn taken_over(bed: &Bed<'_>, started: Instant) -> Result<Value, BenchError> {
    let mut client = bed.client()?;
    send(&mut client, "POST", "/v2/apps", &app("/after", 1), 201)?;
    let accepted = started.elapsed();
    let deployed = deployed(&mut client, started, bed.patience, LOOK)?;
    // Nothing is launched again.
    bed.check(bed.instances + 1, bed.instances + 1)?;
    let (running, _) = tasks(&mut client)?;
    if running != bed.instances as u64 + 1 {
        return Err(BenchError::Refused(format!(
            "the new leader knows {running} running tasks of {}",
            bed.instances + 1
        )));
    }
    Ok(json!({
        "apps": bed.apps,
        "instances": bed.instances,
        "accepted_seconds": round(accepted.as_secs_f64()),
        "launched_seconds": round(deployed.as_secs_f64()),
    }))
}
