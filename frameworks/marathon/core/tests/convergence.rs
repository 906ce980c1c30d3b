//! Whatever is asked and whatever goes wrong: once it stops, every app becomes what its definition says (I5).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeSet;

use cluster::{Behaviour, Cluster, delete, update};
use proptest::prelude::*;
use tepui_marathon_core::{
    ApiCall, CheckId, Input, Measured, Origin, PolicyAction, PolicyPart, Trial, view::Embed,
    view::Query,
};
use tepui_proto::mesos::TaskState;

/// So much of what is measured there shall be for each instance.
const PER_INSTANCE: f64 = 10.0;

#[derive(Clone, Debug)]
enum Act {
    Create {
        app: u8,
        instances: u8,
        checked: bool,
        resident: bool,
    },
    Pod {
        pod: u8,
        instances: u8,
        command: u8,
        force: bool,
    },
    DeletePod {
        pod: u8,
    },
    Daemon {
        on: bool,
        command: u8,
        strategy: u8,
        force: bool,
    },
    Scale {
        app: u8,
        instances: u8,
        force: bool,
    },
    Reconfigure {
        app: u8,
        command: u8,
        strategy: u8,
        force: bool,
    },
    Try {
        app: u8,
        command: u8,
        canary: Option<u8>,
        after: Option<u8>,
        force: bool,
    },
    Promote {
        force: bool,
    },
    /// Its number of instances follows a number, at once or after a while; without bounds it does no more.
    Autoscale {
        app: u8,
        bounds: Option<(u8, u8)>,
        quiet: u8,
    },
    /// All that is measured is this much, or cannot be.
    Measure {
        value: Option<u8>,
    },
    Restart {
        app: u8,
    },
    /// Restarts, rebalancing, a budget, or none of them, in the app's policy.
    Keep {
        app: u8,
        policy: u8,
    },
    Delete {
        app: u8,
    },
    KillTask {
        task: u8,
        scale: bool,
        wipe: bool,
    },
    Cancel {
        force: bool,
    },
    RollBack {
        app: u8,
        version: u8,
    },
    Report {
        task: u8,
        state: TaskState,
    },
    Sicken {
        task: Option<u8>,
    },
    LoseAccepts {
        lost: bool,
    },
    /// What tasks answer that are asked whether they are ready.
    Answer {
        status: u16,
    },
    Disconnect,
    Register,
    FailOver,
    Run {
        inputs: u8,
    },
    Pass {
        seconds: u8,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let app = 0..3u8;
    let states = prop::sample::select(vec![
        TaskState::TaskFailed,
        TaskState::TaskFinished,
        TaskState::TaskLost,
        TaskState::TaskGone,
        TaskState::TaskDropped,
        TaskState::TaskUnreachable,
        TaskState::TaskRunning,
        TaskState::TaskStaging,
    ]);
    prop_oneof![
        3 => (app.clone(), 0..4u8, any::<bool>(), any::<bool>())
            .prop_map(|(app, instances, checked, resident)| Act::Create { app, instances, checked, resident }),
        3 => (0..2u8, 0..4u8, 0..3u8, any::<bool>())
            .prop_map(|(pod, instances, command, force)| Act::Pod { pod, instances, command, force }),
        1 => (0..2u8).prop_map(|pod| Act::DeletePod { pod }),
        3 => (prop::bool::weighted(0.8), 0..3u8, 0..4u8, any::<bool>())
            .prop_map(|(on, command, strategy, force)| Act::Daemon { on, command, strategy, force }),
        3 => (app.clone(), 0..6u8, any::<bool>()).prop_map(|(app, instances, force)| Act::Scale { app, instances, force }),
        3 => (app.clone(), 0..4u8, 0..4u8, any::<bool>())
            .prop_map(|(app, command, strategy, force)| Act::Reconfigure { app, command, strategy, force }),
        3 => (app.clone(), 0..4u8, prop::option::of(1..4u8), prop::option::of(1..9u8), any::<bool>())
            .prop_map(|(app, command, canary, after, force)| Act::Try { app, command, canary, after, force }),
        2 => any::<bool>().prop_map(|force| Act::Promote { force }),
        2 => (app.clone(), prop::option::weighted(0.8, (1..3u8, 0..4u8)), 0..6u8)
            .prop_map(|(app, bounds, quiet)| Act::Autoscale { app, bounds: bounds.map(|(min, more)| (min, min + more)), quiet }),
        3 => prop::option::weighted(0.9, 0..70u8).prop_map(|value| Act::Measure { value }),
        1 => app.clone().prop_map(|app| Act::Restart { app }),
        3 => (app.clone(), 0..5u8).prop_map(|(app, policy)| Act::Keep { app, policy }),
        1 => app.clone().prop_map(|app| Act::Delete { app }),
        2 => (any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(task, scale, wipe)| Act::KillTask { task, scale, wipe }),
        2 => any::<bool>().prop_map(|force| Act::Cancel { force }),
        1 => (app, any::<u8>()).prop_map(|(app, version)| Act::RollBack { app, version }),
        4 => (any::<u8>(), states).prop_map(|(task, state)| Act::Report { task, state }),
        1 => prop::option::of(any::<u8>()).prop_map(|task| Act::Sicken { task }),
        1 => any::<bool>().prop_map(|lost| Act::LoseAccepts { lost }),
        1 => prop::sample::select(vec![200, 503]).prop_map(|status| Act::Answer { status }),
        1 => Just(Act::Disconnect),
        1 => Just(Act::Register),
        1 => Just(Act::FailOver),
        3 => any::<u8>().prop_map(|inputs| Act::Run { inputs }),
        3 => (1..8u8).prop_map(|seconds| Act::Pass { seconds }),
    ]
}

fn strategy_of(strategy: u8) -> String {
    let (minimum, over) =
        [("1", "1"), ("0.5", "0.2"), ("1", "0"), ("0", "0")][usize::from(strategy)];
    format!(
        r#""upgradeStrategy":{{"minimumHealthCapacity":{minimum},"maximumOverCapacity":{over}}}"#
    )
}

fn perform(cluster: &mut Cluster, act: &Act) {
    let task = |cluster: &Cluster, nth: u8| {
        let ids: Vec<&String> = cluster.tasks.keys().collect();
        (!ids.is_empty()).then(|| ids[usize::from(nth) % ids.len()].clone())
    };
    let name = |app: u8| format!("/group/app{app}");
    match act {
        Act::Create {
            app,
            instances,
            checked,
            resident,
        } => {
            let checks = if *checked {
                r#"[{"intervalSeconds":1,"gracePeriodSeconds":1,"maxConsecutiveFailures":1}],
                    "readinessChecks":[{"portName":"default"}]"#
            } else {
                "[]"
            };
            let keeps = if *resident {
                r#","role":"group","container":{"type":"MESOS","volumes":[{"containerPath":"data","persistent":{"size":10}}]}"#
            } else {
                ""
            };
            let labels = if *app == 1 {
                r#"{"TEPUI_ORDINALS":"true"}"#
            } else {
                "{}"
            };
            let body = format!(
                r#"{{"id":"{}","labels":{labels},"cmd":"run 0","cpus":0.1,"mem":1,"instances":{instances},"maxLaunchDelaySeconds":4,"healthChecks":{checks}{keeps}}}"#,
                name(*app)
            );
            cluster.send(ApiCall::CreateApp {
                body: body.into(),
                force: false,
                origin: Origin::default(),
            });
        }
        Act::Pod {
            pod,
            instances,
            command,
            force,
        } => {
            let body = format!(
                r#"{{"id":"/group/pod{pod}","scheduling":{{"backoff":{{"maxLaunchDelay":4}}}},"scaling":{{"instances":{instances}}},
                    "containers":[{{"name":"a","resources":{{"cpus":0.1,"mem":1}},"exec":{{"command":{{"shell":"pod {command}"}}}}}},
                    {{"name":"b","resources":{{"cpus":0.1,"mem":1}},"exec":{{"command":{{"shell":"side"}}}}}}]}}"#
            );
            cluster.send(ApiCall::UpdatePod {
                id: format!("/group/pod{pod}"),
                body: body.into(),
                force: *force,
                origin: Origin::default(),
            });
        }
        Act::DeletePod { pod } => {
            cluster.send(ApiCall::DeletePod {
                id: format!("/group/pod{pod}"),
                force: true,
                origin: Origin::default(),
            });
        }
        Act::Daemon {
            on,
            command,
            strategy,
            force,
        } => {
            let instances = u8::from(*on);
            let strategy = strategy_of(*strategy);
            let body = format!(
                r#"{{"cmd":"daemon {command}","cpus":0.1,"mem":1,"instances":{instances},"maxLaunchDelaySeconds":4,
                    "labels":{{"TEPUI_DAEMON":"true"}},{strategy}}}"#
            );
            cluster.send(update("/group/daemon", &body, *force));
        }
        Act::Scale {
            app,
            instances,
            force,
        } => {
            let call = update(
                &name(*app),
                &format!(r#"{{"instances":{instances}}}"#),
                *force,
            );
            cluster.send(call);
        }
        Act::Reconfigure {
            app,
            command,
            strategy,
            force,
        } => {
            let strategy = strategy_of(*strategy);
            let body = format!(r#"{{"cmd":"run {command}",{strategy}}}"#);
            cluster.send(update(&name(*app), &body, *force));
        }
        Act::Try {
            app,
            command,
            canary,
            after,
            force,
        } => {
            let canary = canary.map(|count| count.to_string());
            let after = after.map(u64::from);
            let trial = Trial::parse(canary.as_deref(), canary.is_none(), after).unwrap();
            let body = format!(r#"{{"id":"{}","cmd":"run {command}"}}"#, name(*app));
            cluster.send(ApiCall::Apply {
                body: body.into(),
                partial: true,
                force: *force,
                deadline_seconds: None,
                trial,
            });
        }
        Act::Promote { force } => {
            if let Some(id) = cluster.deployments()[0]["id"].as_str() {
                cluster.send(ApiCall::Promote {
                    id: id.to_owned(),
                    force: *force,
                });
            }
        }
        Act::Autoscale { app, bounds, quiet } => {
            let action = match bounds {
                None => PolicyAction::Delete,
                Some((min, max)) => PolicyAction::Put(
                    serde_json::json!({ "minInstances": min, "maxInstances": max, "target": PER_INSTANCE,
                        "scaleUpCooldownSeconds": quiet, "scaleDownCooldownSeconds": quiet, "intervalSeconds": 1,
                        "metric": { "type": "prometheus", "url": "http://p:9090/api/v1/query?query=up" } })
                    .to_string()
                    .into(),
                ),
            };
            cluster.send(ApiCall::Policy {
                id: name(*app),
                part: PolicyPart::Autoscaling,
                action,
            });
        }
        Act::Measure { value } => measure(cluster, value.map(f64::from)),
        Act::Restart { app } => {
            cluster.send(ApiCall::RestartApp {
                id: name(*app),
                force: false,
            });
        }
        Act::Keep { app, policy } => {
            // The least age is a minute, so what is old is so in the middle of other things.
            let policy = [
                r#"{"rebalance":{"intervalSeconds":3}}"#,
                r#"{"restarts":{"maxAgeSeconds":60}}"#,
                r#"{"restarts":{"schedule":"* * * * *"},"disruptionBudget":{"maxUnavailable":2}}"#,
                r#"{"rebalance":{"intervalSeconds":1},"restarts":{"schedule":"* * * * *"},"disruptionBudget":{"minAvailable":"50%","minIntervalSeconds":1}}"#,
                "{}",
            ][usize::from(*policy)];
            keep(cluster, &name(*app), policy);
        }
        Act::Delete { app } => {
            cluster.send(delete(&name(*app)));
        }
        Act::KillTask {
            task: nth,
            scale,
            wipe,
        } => {
            if let Some(id) = task(cluster, *nth) {
                let body = serde_json::json!({ "ids": [id] }).to_string().into();
                cluster.send(ApiCall::KillTasks {
                    body,
                    scale: *scale,
                    wipe: *wipe,
                    force: false,
                });
            }
        }
        Act::Cancel { force } => {
            if let Some(id) = cluster.deployments()[0]["id"].as_str() {
                cluster.send(ApiCall::CancelDeployment {
                    id: id.to_owned(),
                    force: *force,
                });
            }
        }
        Act::RollBack { app, version } => {
            let versions = cluster.get(&Query::Versions { id: name(*app) }).1["versions"].clone();
            if let Some(versions) = versions.as_array().filter(|versions| !versions.is_empty()) {
                let version = &versions[usize::from(*version) % versions.len()];
                cluster.send(update(
                    &name(*app),
                    &serde_json::json!({ "version": version }).to_string(),
                    true,
                ));
            }
        }
        Act::Report { task: nth, state } => {
            if let Some(id) = task(cluster, *nth) {
                // A pod goes on without a container that has finished, and then there is less to count.
                let of_pod = !id.contains("._app.");
                let state = match state {
                    TaskState::TaskFinished if of_pod => TaskState::TaskFailed,
                    state => *state,
                };
                cluster.report(&id, state);
            }
        }
        Act::Sicken { task: nth } => cluster.unhealthy = nth.and_then(|nth| task(cluster, nth)),
        Act::Answer { status } => cluster.readiness = *status,
        Act::LoseAccepts { lost } => cluster.lose_accepts = *lost,
        Act::Disconnect => cluster.disconnect(),
        Act::Register => cluster.register(),
        Act::FailOver => cluster.fail_over(),
        Act::Run { inputs } => cluster.run_some(usize::from(*inputs)),
        Act::Pass { seconds } => cluster.pass(u64::from(*seconds)),
    }
}

/// Each app whose number of instances follows something measures this, or cannot.
fn measure(cluster: &mut Cluster, value: Option<f64>) {
    let checks: Vec<CheckId> = cluster.measures.keys().copied().collect();
    for check in checks {
        let result = value.map(Measured::Value).ok_or("nobody answers");
        let result = result.map_err(str::to_owned);
        cluster.push(Input::Measured { check, result });
    }
}

/// Once nothing else holds them, apps have as many instances as what is measured asks for, and stay so.
fn follows_what_is_measured(cluster: &mut Cluster) {
    for _ in 0..2 {
        measure(cluster, Some(3.5 * PER_INSTANCE));
        cluster.run();
        cluster.pass(10);
    }
    let policies: Vec<serde_json::Value> = cluster
        .store
        .iter()
        .filter(|(key, _)| key.starts_with("policy/"))
        .map(|(_, value)| serde_json::from_slice(value).unwrap())
        .collect();
    let scaled = policies.iter().map(|one| &one["data"]);
    let scaled: Vec<_> = scaled
        .filter(|one| !one["policy"]["autoscaling"].is_null())
        .collect();
    assert_eq!(cluster.measures.len(), scaled.len());
    for one in scaled {
        let app = cluster.app(one["app"].as_str().unwrap());
        let bound = |name: &str| one["policy"]["autoscaling"][name].as_u64().unwrap();
        let wanted = 4.clamp(bound("minInstances"), bound("maxInstances"));
        // Who wants none has none.
        if app["instances"] != 0 {
            assert_eq!(app["instances"], wanted, "{one}");
        }
    }
}

/// Sets the policy of an app, if it is there.
fn keep(cluster: &mut Cluster, id: &str, policy: &str) {
    cluster.send(ApiCall::Policy {
        id: id.to_owned(),
        part: PolicyPart::All,
        action: PolicyAction::Put(policy.to_owned().into()),
    });
}

/// Takes everything from policies but autoscaling.
fn ends_restarts(cluster: &mut Cluster) {
    for app in 0..3 {
        let stored = cluster.store.get(&format!("policy/%2Fgroup%2Fapp{app}"));
        let Some(stored) = stored else {
            continue;
        };
        let record: serde_json::Value = serde_json::from_slice(stored).unwrap();
        let scaled = &record["data"]["policy"]["autoscaling"];
        let policy = if scaled.is_null() {
            "{}".to_owned()
        } else {
            serde_json::json!({ "autoscaling": scaled }).to_string()
        };
        keep(cluster, &format!("/group/app{app}"), &policy);
    }
    cluster.run();
    cluster.pass(5);
}

/// What goes on over time ends: restarts by a word, rebalancing by itself.
fn comes_to_rest(cluster: &mut Cluster) {
    let apps: Vec<String> = (0..3).map(|app| format!("/group/app{app}")).collect();
    for id in &apps {
        // One that keeps data cannot be rebalanced.
        keep(cluster, id, "{}");
        keep(cluster, id, r#"{"rebalance":{"intervalSeconds":5}}"#);
    }
    cluster.pass(130);
    let even: Vec<bool> = apps
        .iter()
        .map(|id| {
            let counts = cluster::daemons::places(cluster, id);
            let agents = 0..cluster.agents.len();
            let counts = agents.map(|at| counts.get(&at).copied().unwrap_or(0));
            let (least, most) = (counts.clone().min().unwrap(), counts.max().unwrap());
            // Where it keeps data it stays.
            let resident = !cluster.app(id)["residency"].is_null();
            resident || most <= least + 1
        })
        .collect();
    assert_eq!(even, [true, true, true], "what is to be spread is spread");
    let before: BTreeSet<String> = apps.iter().flat_map(|id| cluster.running(id)).collect();
    cluster.pass(30);
    let after: BTreeSet<String> = apps.iter().flat_map(|id| cluster.running(id)).collect();
    assert_eq!(before, after, "rebalancing ends");
}

fn converges(cluster: &mut Cluster) {
    cluster.unhealthy = None;
    cluster.behaviour.clear();
    cluster.lose_accepts = false;
    cluster.readiness = 200;
    cluster.register();
    // Agents that were unreachable are back, and say so when asked.
    let ids: Vec<String> = cluster.tasks.keys().cloned().collect();
    for id in ids {
        cluster.report(&id, TaskState::TaskRunning);
    }
    cluster.run();
    cluster.pass(45);
    // Trials wait for a word; nothing else does.
    for deployment in cluster.deployments().as_array().unwrap() {
        let id = deployment["id"].as_str().unwrap().to_owned();
        let answer = cluster.call(ApiCall::Promote { id, force: false });
        assert_eq!(answer.status, 200, "{}", cluster::body(&answer));
    }
    cluster.pass(10);
    ends_restarts(cluster);
    follows_what_is_measured(cluster);
    comes_to_rest(cluster);
    assert_eq!(
        cluster.deployments(),
        serde_json::json!([]),
        "no deployment waits for ever"
    );
    let (_, apps) = cluster.get(&Query::Apps {
        cmd: None,
        id: None,
        label: None,
        embed: Embed {
            tasks: true,
            ..Embed::default()
        },
    });
    let mut wanted = 0;
    for app in apps["apps"].as_array().unwrap() {
        let id = app["id"].as_str().unwrap();
        let instances = app["instances"].as_u64().unwrap();
        wanted += usize::try_from(instances).unwrap();
        assert_eq!(cluster.running(id).len() as u64, instances, "{id}");
        assert_eq!(
            app["tasksRunning"], app["instances"],
            "{id}: the view agrees"
        );
        if id == "/group/app1" && app["labels"] != serde_json::json!({}) {
            let running = cluster.running(id);
            let told = running
                .iter()
                .map(|task| cluster::ordinal(&cluster.tasks[task].info));
            let told: BTreeSet<Option<u32>> = told.collect();
            let want: BTreeSet<Option<u32>> = (0..running.len())
                .map(|at| u32::try_from(at).ok())
                .collect();
            assert_eq!(told, want, "ordinals from 0 on");
        }
        if id == "/group/daemon" && instances > 0 {
            let running = cluster.running(id);
            let agents: BTreeSet<usize> = running
                .iter()
                .map(|task| cluster.tasks[task].agent)
                .collect();
            assert_eq!((running.len(), agents.len()), (3, 3), "one on each agent");
        }
        let tasks = app["tasks"].as_array().unwrap().iter();
        let kept =
            tasks.filter(|task| task["state"] == "TASK_RUNNING" || app["residency"].is_null());
        assert_eq!(kept.count() as u64, instances, "{id}: {}", app["tasks"]);
        if !app["healthChecks"].is_null() {
            assert_eq!(app["tasksHealthy"], app["instances"], "{id}");
        }
    }
    let (mut containers, mut pods) = (0, 0);
    for pod in cluster.get(&Query::PodStatuses).1.as_array().unwrap() {
        let id = pod["id"].as_str().unwrap();
        let instances = pod["spec"]["scaling"]["instances"].as_u64().unwrap();
        assert_eq!(cluster.running(id).len() as u64, 2 * instances, "{id}");
        assert_eq!(pod["status"], "STABLE", "{id}");
        let shown = pod["instances"].as_array().unwrap().iter();
        let stable = shown.filter(|one| one["status"] == "STABLE");
        assert_eq!(stable.count() as u64, instances, "{id}: the view agrees");
        containers += usize::try_from(2 * instances).unwrap();
        pods += usize::try_from(instances).unwrap();
    }
    assert_eq!(cluster.executors.len(), pods, "no executor is left");
    assert_eq!(
        cluster.tasks.len(),
        wanted + containers,
        "nothing runs that nobody wants: {:?}",
        cluster.tasks.keys().collect::<Vec<_>>()
    );
    let records = cluster.store.iter();
    let records = records.filter(|(key, _)| key.starts_with("instance/"));
    let stored: Vec<serde_json::Value> = records
        .map(|(_, value)| serde_json::from_slice(value).unwrap())
        .collect();
    let running = stored.iter().filter(|one| one["data"]["goal"] == "Running");
    assert_eq!(
        running.count(),
        wanted + pods,
        "nothing is stored that is not there"
    );
    let keep = stored.iter().map(|one| &one["data"]);
    let keep: BTreeSet<(String, usize)> = keep
        .filter(|one| !one["reservation"].is_null())
        .map(|one| {
            let agent = one["agent"]["id"].as_str().unwrap();
            let agent = agent.trim_start_matches("agent").parse().unwrap();
            (one["id"].as_str().unwrap().to_owned(), agent)
        })
        .collect();
    assert_eq!(
        cluster.reserved(),
        keep,
        "what is reserved belongs to an instance, and what instances keep is reserved"
    );
    assert!(
        cluster.store.keys().all(|key| !key.starts_with("remains/")),
        "nothing waits to be freed"
    );
    assert!(
        cluster
            .store
            .keys()
            .all(|key| !key.starts_with("deployment/")),
        "no deployment is stored that has ended"
    );
}

const CREATE: Act = Act::Create {
    app: 0,
    instances: 3,
    checked: true,
    resident: false,
};

/// Sequences that once went wrong.
#[test]
fn known_sequences_converge() {
    let upgrade = Act::Reconfigure {
        app: 0,
        command: 1,
        strategy: 0,
        force: false,
    };
    for acts in [
        vec![
            CREATE,
            Act::Run { inputs: 255 },
            Act::Pass { seconds: 2 },
            upgrade.clone(),
            Act::FailOver,
        ],
        vec![
            CREATE,
            Act::Pass { seconds: 2 },
            upgrade,
            Act::Cancel { force: true },
            Act::Delete { app: 0 },
            CREATE,
        ],
    ] {
        let mut cluster = Cluster::new(3);
        for act in &acts {
            perform(&mut cluster, act);
        }
        converges(&mut cluster);
    }
}

#[test]
fn a_crashing_app_does_not_keep_others_from_converging() {
    let mut cluster = Cluster::new(2);
    cluster
        .behaviour
        .insert("run 0".to_owned(), Behaviour::Fails);
    perform(&mut cluster, &CREATE);
    cluster.pass(3);
    cluster.create(r#"{"id":"/fine","cmd":"fine","cpus":0.1,"mem":1,"instances":2}"#);
    assert_eq!(cluster.running("/fine").len(), 2);
    perform(
        &mut cluster,
        &Act::Reconfigure {
            app: 0,
            command: 1,
            strategy: 2,
            force: true,
        },
    );
    converges(&mut cluster);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn after_any_calls_and_faults_every_app_becomes_what_it_is_defined_to_be(acts in prop::collection::vec(act(), 1..60)) {
        let mut cluster = Cluster::new(3);
        for act in &acts {
            perform(&mut cluster, act);
        }
        converges(&mut cluster);
    }
}
