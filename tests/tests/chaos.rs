//! Leaders die in turn while twenty apps are upgraded: Marathon's, the master's, ZooKeeper's.
//!
//! What was acknowledged must hold, nothing may be launched twice for one instance, and in the end every app must be what it was told to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{Answer, get_json, post, put},
    cluster::{Cluster, Daemon, active_agents},
    process::free_port,
    until,
    zookeeper::Ensemble,
};

const APPS: usize = 20;
const INSTANCES: u64 = 2;
/// Everything has to have come to rest so long after the last blow.
const CONVERGED_WITHIN: Duration = Duration::from_secs(90);

/// An app of real servers that write down each start; Marathon asks them whether they are well.
fn app(number: usize, release: usize, started: &Path) -> Value {
    let started = started.display();
    json!({
        "id": format!("/chaos/app-{number:02}"),
        "cmd": format!(
            "echo $MESOS_TASK_ID >> {started}; mkdir -p www && echo well > www/health && exec /bin/busybox httpd -f -p 127.0.0.1:$PORT0 -h www"
        ),
        "cpus": 0.05,
        "mem": 16,
        "disk": 0,
        "instances": INSTANCES,
        "env": { "RELEASE": release.to_string() },
        "portDefinitions": [{ "port": 0 }],
        "healthChecks": [{
            "protocol": "HTTP", "path": "/health", "portIndex": 0,
            "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 0,
        }],
        "upgradeStrategy": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.5 },
    })
}

struct World {
    marathons: Vec<Daemon>,
    masters: Vec<Daemon>,
}

impl World {
    /// Asks whichever Marathon answers with a status below 300.
    #[track_caller]
    fn acknowledged(&self, what: &str, ask: impl Fn(&str) -> Option<Answer>) -> Answer {
        until(what, PATIENCE, || {
            let mut answers = self.marathons.iter().filter_map(|one| ask(&one.url));
            answers.find(|answer| answer.status < 300)
        })
    }

    fn read(&self, path: &str) -> Option<Value> {
        let mut answers = self.marathons.iter();
        answers.find_map(|one| get_json(&format!("{}{path}", one.url)))
    }

    /// The release that each app has, if all its instances are healthy and nothing else is there.
    fn at_rest(&self, release: usize) -> bool {
        let Some(apps) = self.read("/v2/apps?embed=apps.counts") else {
            return false;
        };
        let apps = apps["apps"].as_array().cloned().unwrap_or_default();
        let good = |app: &Value| {
            app["tasksHealthy"] == INSTANCES
                && app["tasksRunning"] == INSTANCES
                && app["env"]["RELEASE"] == release.to_string().as_str()
        };
        apps.len() == APPS
            && apps.iter().all(good)
            && self.read("/v2/deployments") == Some(json!([]))
    }

    fn leading_marathon(&self) -> Option<usize> {
        let leader = self.read("/v2/leader")?["leader"].as_str()?.to_owned();
        let port = |one: &Daemon| leader.ends_with(&format!(":{}", one.port));
        self.marathons.iter().position(port)
    }

    fn leading_master(&self) -> Option<usize> {
        self.masters.iter().position(|master| {
            get_json(&format!("{}/metrics/snapshot", master.url))
                .is_some_and(|metrics| metrics["master/elected"] == 1.0)
        })
    }

    /// The ids of all tasks that the leading master knows to run.
    fn running_at_master(&self) -> Option<Vec<String>> {
        let master = &self.masters[self.leading_master()?];
        let tasks = get_json(&format!("{}/tasks?limit=1000", master.url))?;
        let running = tasks["tasks"].as_array()?.iter();
        let running = running.filter(|task| task["state"] == "TASK_RUNNING");
        Some(
            running
                .filter_map(|task| Some(task["id"].as_str()?.to_owned()))
                .collect(),
        )
    }
}

#[test]
fn leaders_die_in_turn_while_apps_are_upgraded() {
    let mut ensemble = Ensemble::start(3);
    let mut cluster = Cluster::at(&ensemble.url("/mesos"));
    let mut world = World {
        masters: vec![cluster.master(&[]), cluster.master(&[])],
        marathons: Vec::new(),
    };
    let first = 10_000 + free_port() % 90 * 100;
    let _agents: Vec<Daemon> = (0..2)
        .map(|number| {
            let ports = first + number * 200;
            let resources = format!(
                "--resources=cpus:8;mem:8192;disk:1024;ports:[{ports}-{}]",
                ports + 199
            );
            cluster.agent(&["--hostname=127.0.0.1", &resources])
        })
        .collect();
    world.marathons = vec![cluster.marathon(&[]), cluster.marathon(&[])];
    until("both agents", PATIENCE, || {
        let master = &world.masters[world.leading_master()?];
        (active_agents(&master.url) == 2).then_some(())
    });
    let started = cluster.folder().join("started");
    let document = |release: usize| -> Value {
        (0..APPS)
            .map(|number| app(number, release, &started))
            .collect()
    };
    world.acknowledged("the first release", |url| {
        put(&format!("{url}/v2/apps?partialUpdate=false"), &document(0))
    });
    until("the first release to be healthy", CONVERGED_WITHIN, || {
        world.at_rest(0).then_some(())
    });

    for (release, victim) in [(1, "marathon"), (2, "master"), (3, "zookeeper")] {
        for number in 0..APPS {
            let app = app(number, release, &started);
            let path = format!("/v2/apps{}?force=true", app["id"].as_str().unwrap());
            let put = |url: &str| put(&format!("{url}{path}"), &app);
            world.acknowledged("an upgrade", put);
            // In the midst of them, so that some are acknowledged before, some after, and many under way.
            if number == APPS / 2 {
                match victim {
                    "marathon" => {
                        let leader =
                            until("a leading Marathon", PATIENCE, || world.leading_marathon());
                        world.marathons[leader].restart();
                    }
                    "master" => {
                        let leader = until("a leading master", PATIENCE, || world.leading_master());
                        world.masters[leader].restart();
                    }
                    _ => ensemble.kill_leader(),
                }
            }
        }
        // The next blow falls as soon as the new leader has begun to carry on.
        until("an app of the new release to be healthy", PATIENCE, || {
            let answer = world.read("/v2/apps?embed=apps.counts")?;
            let mut apps = answer["apps"].as_array()?.iter();
            apps.any(|app| {
                app["env"]["RELEASE"] == release.to_string().as_str()
                    && app["tasksHealthy"].as_u64() >= Some(INSTANCES)
            })
            .then_some(())
        });
        if victim == "zookeeper" {
            ensemble.start_all();
        }
    }
    let late = world.acknowledged("an app created after all that", |url| {
        post(&format!("{url}/v3/plan"), &document(3))
    });
    assert_eq!(late.json()["changes"], false, "{}", late.body);
    until("the last release everywhere", CONVERGED_WITHIN, || {
        world.at_rest(3).then_some(())
    });

    // Every start is of a task of its own, and each instance has one task: the one that Marathon knows.
    let log = std::fs::read_to_string(&started).unwrap();
    let starts: Vec<&str> = log.lines().collect();
    let distinct: BTreeSet<&str> = starts.iter().copied().collect();
    assert_eq!(starts.len(), distinct.len(), "a task was started twice");
    let known = until("all tasks", PATIENCE, || world.read("/v2/tasks"));
    let known: BTreeSet<String> = known["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(known.len() as u64, APPS as u64 * INSTANCES);
    until("the master to run what Marathon knows", PATIENCE, || {
        let running: BTreeSet<String> = world.running_at_master()?.into_iter().collect();
        (running == known).then_some(())
    });
    let instances: BTreeSet<&str> = known
        .iter()
        .filter_map(|task| Some(task.split_once("._app")?.0))
        .collect();
    assert_eq!(instances.len(), known.len(), "an instance has two tasks");
}
