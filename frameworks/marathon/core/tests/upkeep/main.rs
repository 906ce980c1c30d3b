//! Scheduled restarts, rebalancing and the disruption budget on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;
mod leaving;
mod moves;
mod restarts;
mod scaled;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cluster::{
    Agent, Behaviour, Cluster, START, body,
    daemons::{explain, places},
};
use serde_json::{Value, json};
use tepui_marathon_core::{
    ApiCall, Input, PolicyAction, PolicyPart, RebalanceAction, Response, Timestamp,
};
use tepui_model::Time;
use tepui_proto::mesos::TaskState;

const ID: &str = "/group/web";

fn put(cluster: &mut Cluster, policy: &Value) -> Response {
    cluster.call(ApiCall::Policy {
        id: ID.to_owned(),
        part: PolicyPart::All,
        action: PolicyAction::Put(policy.to_string().into()),
    })
}

fn set(cluster: &mut Cluster, policy: &Value) {
    let answer = put(cluster, policy);
    assert_eq!(answer.status, 200, "{}", body(&answer));
}

fn web(cluster: &mut Cluster, more: &Value) {
    let mut app = json!({ "id": ID, "cmd": "run", "cpus": 1, "mem": 10, "instances": 3 });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    let answer = cluster.create(&app.to_string());
    assert_eq!(answer.status, 201, "{}", body(&answer));
    cluster.pass(2);
}

fn tasks(cluster: &Cluster) -> BTreeSet<String> {
    cluster.running(ID).into_iter().collect()
}

thread_local! {
    /// The fewest and the most tasks that ran at any moment, and the fewest that were healthy.
    static SEEN: Cell<(usize, usize, usize)> = const { Cell::new((usize::MAX, 0, usize::MAX)) };
}

fn see(cluster: &Cluster) {
    let (fewest, most, healthy) = SEEN.get();
    let running = cluster.running(ID).len();
    let now = cluster.app(ID)["tasksHealthy"].as_u64().unwrap_or_default();
    SEEN.set((
        fewest.min(running),
        most.max(running),
        healthy.min(usize::try_from(now).unwrap()),
    ));
}

/// How a cluster went through some time.
#[derive(Debug, Default)]
struct Watched {
    fewest: usize,
    most: usize,
    healthy: usize,
    /// Seconds at which a task ended that had run.
    ends: Vec<u64>,
}

fn watch(cluster: &mut Cluster, seconds: u64) -> Watched {
    let mut before = tasks(cluster);
    let mut watched = Watched::default();
    SEEN.set((usize::MAX, 0, usize::MAX));
    see(cluster);
    cluster.invariant = Some(see);
    for second in 0..seconds {
        cluster.pass(1);
        let now = tasks(cluster);
        let ended = before.difference(&now).count();
        watched.ends.extend(std::iter::repeat_n(second, ended));
        before = now;
    }
    cluster.invariant = None;
    (watched.fewest, watched.most, watched.healthy) = SEEN.get();
    watched
}

/// The minute of the hour at which a cluster begins is 26, its second 40.
fn in_minutes(cluster: &Cluster, minutes: i64) -> String {
    let at = Timestamp::from_millis((cluster.now.as_secs() / 60 + minutes) * 60_000).to_string();
    format!("{} {} * * *", &at[14..16], &at[11..13])
}

#[test]
fn what_cannot_be_is_refused() {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({}));
    for (policy, want) in [
        (
            json!({ "restarts": {} }),
            json!({ "message": "Object is not valid", "details": [{ "path": "/restarts", "errors": ["needs a schedule or maxAgeSeconds"] }] }),
        ),
        (
            json!({ "restarts": { "schedule": "61 * * * *", "utcOffset": "CET", "maxAgeSeconds": 5, "startingDeadlineSeconds": 4_000_000_000_u32 } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/restarts/utcOffset", "errors": ["`CET` is no offset from UTC such as +02:00, -05:30 or Z"] },
                { "path": "/restarts/schedule", "errors": ["minute: `61` is no number from 0 to 59, range, step or list of these"] },
                { "path": "/restarts/maxAgeSeconds", "errors": ["must be from 60 to 3162240000"] },
                { "path": "/restarts/startingDeadlineSeconds", "errors": ["must not be greater than 3162240000"] },
            ] }),
        ),
        (
            json!({ "rebalance": { "over": [], "maxSkew": 0, "intervalSeconds": 0 } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/rebalance/over", "errors": ["must have from 1 to 10 fields"] },
                { "path": "/rebalance/maxSkew", "errors": ["must be greater than 0"] },
                { "path": "/rebalance/intervalSeconds", "errors": ["must be from 1 to 3162240000"] },
            ] }),
        ),
        (
            json!({ "disruptionBudget": { "maxUnavailable": 1, "minAvailable": "50%", "windows": [{ "days": ["tuesday"], "from": "24:00", "to": "5:00" }] } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/disruptionBudget/minAvailable", "errors": ["only one of maxUnavailable and minAvailable can be set"] },
                { "path": "/disruptionBudget/windows(0)/days(0)", "errors": ["`tuesday` is none of sun, mon, tue, wed, thu, fri, sat"] },
                { "path": "/disruptionBudget/windows(0)/from", "errors": ["`24:00` is no time of day such as 22:00"] },
                { "path": "/disruptionBudget/windows(0)/to", "errors": ["`5:00` is no time of day such as 22:00"] },
            ] }),
        ),
        (
            json!({ "restart": {} }),
            json!({ "message": "The policy cannot be read: unknown field `restart`, expected one of `autoscaling`, `restarts`, `rebalance`, `disruptionBudget`, `maintenance`" }),
        ),
        (
            json!({ "disruptionBudget": { "maxUnavailable": "150%" } }),
            json!({ "message": "The policy cannot be read: \"150%\" is no number of instances, nor a percentage from \"0%\" to \"100%\"" }),
        ),
    ] {
        let answer = put(&mut cluster, &policy);
        assert_eq!((answer.status, body(&answer)), (422, want), "{policy}");
    }
    let whole = json!({
        "restarts": { "schedule": "0 3 * * mon", "utcOffset": "+02:00", "maxAgeSeconds": 86400 },
        "rebalance": { "over": ["@zone", "hostname"], "maxSkew": 2, "intervalSeconds": 300 },
        "disruptionBudget": { "maxUnavailable": "25%", "minIntervalSeconds": 60, "windows": [{ "days": ["sat", "sun"], "from": "22:00", "to": "05:00", "utcOffset": "-05:00" }] },
        "maintenance": { "leave": true, "leadSeconds": 60 },
    });
    let answer = put(&mut cluster, &whole);
    assert_eq!(body(&answer)["policy"], whole, "what is set is shown");
    for more in [
        json!({ "labels": { "TEPUI_DAEMON": "true" } }),
        json!({ "role": "group", "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } }] } }),
    ] {
        let mut cluster = Cluster::new(1);
        web(&mut cluster, &more);
        let answer = put(&mut cluster, &json!({ "rebalance": {} }));
        assert_eq!(
            (answer.status, &body(&answer)["details"][0]["path"]),
            (422, &json!("/rebalance"))
        );
        let action = RebalanceAction::Ask { dry_run: true };
        let answer = cluster.call(ApiCall::Rebalance {
            id: ID.to_owned(),
            action,
        });
        assert_eq!(answer.status, 422);
        assert!(
            body(&answer)["message"]
                .as_str()
                .unwrap()
                .starts_with("/group/web cannot be rebalanced: ")
        );
    }
}
