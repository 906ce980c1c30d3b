//! What Marathon has beyond Marathon, when its leader is killed and another takes over in ZooKeeper: nothing is done twice, nothing is forgotten.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{get_json, post, put},
    cluster::{Cluster, Daemon, active_agents, deploy, running},
    until,
    zookeeper::Ensemble,
};

/// Each test has servers and daemons of its own, and a cool-down is time that is looked at: one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct World {
    _alone: MutexGuard<'static, ()>,
    _ensemble: Ensemble,
    cluster: Cluster,
    _master: Daemon,
    _agent: Daemon,
    marathons: Vec<Daemon>,
}

impl World {
    fn new() -> Self {
        let alone = alone();
        let ensemble = Ensemble::start(1);
        let mut cluster = Cluster::at(&ensemble.url("/rollouts"));
        let master = cluster.master(&[]);
        let agent = cluster.agent(&[]);
        let marathons = vec![cluster.marathon(&[]), cluster.marathon(&[])];
        until("the agent", PATIENCE, || {
            (active_agents(&master.url) == 1).then_some(())
        });
        Self {
            _alone: alone,
            _ensemble: ensemble,
            cluster,
            _master: master,
            _agent: agent,
            marathons,
        }
    }

    /// The number of the Marathon that leads, as the living ones say.
    fn leader(&self) -> usize {
        until("a leading Marathon", PATIENCE, || {
            self.marathons.iter().position(|one| {
                let told = get_json(&format!("{}/v2/leader", one.url));
                let told = told.and_then(|told| Some(told["leader"].as_str()?.to_owned()));
                told.is_some_and(|leader| leader.ends_with(&format!(":{}", one.port)))
            })
        })
    }

    fn url(&self) -> String {
        self.marathons[self.leader()].url.clone()
    }

    /// Kills the leader as nothing can be prepared for, waits for the other to lead, and starts the first again; gives the new leader's URL.
    fn fail_over(&mut self) -> String {
        let first = self.leader();
        self.marathons[first].kill();
        let second = until("another leader", PATIENCE, || {
            let other = 1 - first;
            let url = &self.marathons[other].url;
            let told = get_json(&format!("{url}/v2/leader"))?["leader"]
                .as_str()?
                .ends_with(&format!(":{}", self.marathons[other].port));
            told.then_some(other)
        });
        self.marathons[first].restart();
        self.marathons[second].url.clone()
    }

    /// Where tasks write down that they began.
    fn starts(&self) -> PathBuf {
        self.cluster.folder().join("started")
    }
}

/// An app whose tasks write down that they began, and with which number.
fn app(id: &str, instances: u32, starts: &Path) -> Value {
    let cmd = format!(
        "echo $MESOS_TASK_ID ${{TEPUI_INSTANCE_ORDINAL:-none}} >> {}; exec sleep 1000",
        starts.display()
    );
    json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 32, "disk": 0, "instances": instances, "backoffSeconds": 0 })
}

/// Each task that ever began, with its number; none began twice.
fn begun(starts: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(starts).unwrap_or_default();
    let lines: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(task, ordinal)| (task.to_owned(), ordinal.to_owned()))
        .collect();
    let distinct: BTreeSet<&String> = lines.iter().map(|(task, _)| task).collect();
    assert_eq!(
        distinct.len(),
        lines.len(),
        "a task was started twice: {lines:?}"
    );
    lines
}

/// So many tasks have begun, and no more. One runs a moment before it writes that down.
#[track_caller]
fn have_begun(starts: &Path, count: usize) {
    until("all tasks to write that they began", PATIENCE, || {
        (begun(starts).len() >= count).then_some(())
    });
    let log = begun(starts);
    assert_eq!(log.len(), count, "each is started once: {log:?}");
}

fn set(of: Vec<String>) -> BTreeSet<String> {
    of.into_iter().collect()
}

/// The only deployment, as `/v3` tells it.
fn deployment(url: &str) -> Option<Value> {
    let all = get_json(&format!("{url}/v3/deployments"))?;
    let all = all["deployments"].as_array().or(all.as_array())?;
    (all.len() == 1).then(|| all[0].clone())
}

fn no_deployments(url: &str) {
    until("the end of the deployment", PATIENCE, || {
        (get_json(&format!("{url}/v2/deployments"))? == json!([])).then_some(())
    });
}

#[track_caller]
fn good(answer: Option<tepui_tests::client::Answer>) {
    let answer = answer.expect("an answer");
    assert!((200..300).contains(&answer.status), "{}", answer.body);
}

fn trial_over_two_leaders(how: &str, tried: usize) {
    let mut world = World::new();
    let (url, starts) = (world.url(), world.starts());
    let old = set(deploy(&url, &app("/shop", 3, &starts), 3));
    no_deployments(&url);
    let mut new = app("/shop", 3, &starts);
    new["env"] = json!({ "RELEASE": "2" });
    good(post(&format!("{url}/v3/apply?{how}"), &new));
    let both = set(running(&url, "/shop", 3 + tried));
    assert!(both.is_superset(&old));
    let ready = |url: &str| {
        until("the trial to be ready", PATIENCE, || {
            let one = deployment(url)?;
            (one["trial"]["apps"][0]["ready"] == tried).then_some(one)
        })
    };
    let before = ready(&url);

    let url = world.fail_over();
    let after = ready(&url);
    for same in ["id", "currentStep", "totalSteps", "version"] {
        assert_eq!(after[same], before[same], "{same}: {after}");
    }
    assert_eq!(
        set(running(&url, "/shop", 3 + tried)),
        both,
        "nothing was started or ended"
    );
    have_begun(&starts, 3 + tried);

    // The next leader dies right after it was told to go on.
    let promote = format!(
        "{url}/v3/deployments/{}/promote",
        after["id"].as_str().unwrap()
    );
    good(post(&promote, &json!({})));
    let url = world.fail_over();
    no_deployments(&url);
    let all = set(running(&url, "/shop", 3));
    assert!(all.is_disjoint(&old), "only the new version runs");
    let tried_ones: BTreeSet<&String> = both.difference(&old).collect();
    assert!(
        tried_ones.iter().all(|task| all.contains(*task)),
        "what was tried stayed"
    );
    have_begun(&starts, 3 + 3);
}

#[test]
fn a_canary_keeps_its_step_over_two_leaders() {
    trial_over_two_leaders("canary=1", 1);
}

#[test]
fn blue_and_green_keep_their_step_over_two_leaders() {
    trial_over_two_leaders("blueGreen=true", 3);
}

#[test]
fn numbers_stay_with_their_instances_over_leaders() {
    let mut world = World::new();
    let (url, starts) = (world.url(), world.starts());
    let mut quorum = app("/quorum", 3, &starts);
    quorum["labels"] = json!({ "TEPUI_ORDINALS": "true" });
    let first = set(deploy(&url, &quorum, 3));
    no_deployments(&url);
    let numbered = |url: &str| -> BTreeSet<(String, u64)> {
        let answer = get_json(&format!("{url}/v3/apps/quorum/instances")).unwrap_or_default();
        let all = answer["instances"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter_map(|one| Some((one["taskId"].as_str()?.to_owned(), one["ordinal"].as_u64()?)))
            .collect()
    };
    let numbers = numbered(&url);
    let of = |numbers: &BTreeSet<(String, u64)>| -> BTreeSet<u64> {
        numbers.iter().map(|(_, number)| *number).collect()
    };
    assert_eq!(of(&numbers), BTreeSet::from([0, 1, 2]));

    let url = world.fail_over();
    assert_eq!(set(running(&url, "/quorum", 3)), first);
    assert_eq!(numbered(&url), numbers);

    // A leader dies while it scales up, and the next begins with an upgrade.
    good(put(
        &format!("{url}/v2/apps/quorum"),
        &json!({ "instances": 5 }),
    ));
    let url = world.fail_over();
    let five = set(running(&url, "/quorum", 5));
    assert!(five.is_superset(&first));
    assert_eq!(of(&numbered(&url)), BTreeSet::from([0, 1, 2, 3, 4]));
    assert!(numbered(&url).is_superset(&numbers));
    no_deployments(&url);
    have_begun(&starts, 5);
    let told: BTreeSet<String> = begun(&starts)
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_eq!(told, (0..5).map(|number| number.to_string()).collect());
    have_begun(&starts, 5);
    good(put(
        &format!("{url}/v2/apps/quorum"),
        &json!({ "env": { "RELEASE": "2" } }),
    ));
    let url = world.fail_over();
    no_deployments(&url);
    let upgraded = set(running(&url, "/quorum", 5));
    assert!(upgraded.is_disjoint(&five));
    assert_eq!(of(&numbered(&url)), BTreeSet::from([0, 1, 2, 3, 4]));
    have_begun(&starts, 10);
}

/// A page of metrics with one number on it that the test sets; it counts who asks.
fn gauge(number: &Arc<AtomicU32>, asked: &Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let (number, asked) = (Arc::clone(number), Arc::clone(asked));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            asked.fetch_add(1, SeqCst);
            let page = format!("# TYPE waiting gauge\nwaiting {}\n", number.load(SeqCst));
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            );
        }
    });
    url
}

/// The seconds of a day at a time as `2026-01-02T03:04:05.678Z`.
fn time_of_day(time: &str) -> f64 {
    let time = time.split_once('T').unwrap().1.trim_end_matches('Z');
    time.split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

#[test]
fn an_autoscaled_app_keeps_its_cool_down_over_a_new_leader() {
    // Longer than any fail-over.
    const COOL_DOWN_SECONDS: u32 = 3600;
    let mut world = World::new();
    let (url, starts) = (world.url(), world.starts());
    let _ = deploy(&url, &app("/workers", 1, &starts), 1);
    no_deployments(&url);
    let (number, asked) = (Arc::new(AtomicU32::new(20)), Arc::default());
    let gauge = gauge(&number, &asked);
    let settings = |cool_down_seconds: u32| {
        json!({ "minInstances": 1, "maxInstances": 6, "target": 10.0, "intervalSeconds": 1,
            "scaleUpCooldownSeconds": cool_down_seconds, "scaleDownCooldownSeconds": cool_down_seconds,
            "metric": { "type": "prometheus", "url": gauge, "sample": "waiting" } })
    };
    let configure = |url: &str, cool_down_seconds: u32| {
        good(put(
            &format!("{url}/v3/apps/workers/autoscaling"),
            &settings(cool_down_seconds),
        ));
    };
    configure(&url, 0);
    let _ = running(&url, "/workers", 2);
    no_deployments(&url);
    let version = |url: &str| -> Option<String> {
        let app = get_json(&format!("{url}/v2/apps/workers"))?;
        app["app"]["version"].as_str().map(str::to_owned)
    };
    let before = version(&url).unwrap();
    configure(&url, COOL_DOWN_SECONDS);
    number.store(50, SeqCst);
    // Why a leader that has asked since does not scale, although it wants to.
    let held = |url: &str, when: &str| {
        let told = asked.load(SeqCst);
        until(when, PATIENCE, || {
            let answer = get_json(&format!("{url}/v3/apps/workers/autoscaling"))?;
            let status = &answer["status"];
            (status["wants"] == 5 && asked.load(SeqCst) > told)
                .then(|| status["held"].as_str().unwrap_or_default().to_owned())
        })
    };
    let first = held(&url, "the leader to measure");
    let end = first.strip_prefix("cool-down until ").expect(&first);
    let waits = (time_of_day(end) + 86_400.0 - time_of_day(&before)) % 86_400.0;
    assert!(
        (waits - f64::from(COOL_DOWN_SECONDS)).abs() < 0.01,
        "scaled {before}, {first}"
    );

    let url = world.fail_over();
    assert_eq!(held(&url, "the new leader to measure"), first);
    assert_eq!(
        version(&url).as_ref(),
        Some(&before),
        "it was not scaled again"
    );
    configure(&url, 0);
    let _ = running(&url, "/workers", 5);
    no_deployments(&url);
    have_begun(&starts, 5);
}
