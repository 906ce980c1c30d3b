//! What is lent beyond what the agent has, what borrows it, and how it is taken back.

use tepui_agent::{
    ControllerConfig, EstimatorConfig, LoadThresholds, OversubscriptionConfig, UsageRule,
};
use tepui_proto::mesos::v1::TaskState::TaskLost;

use super::*;

fn borrower(id: &str, command: &str) -> mesos::TaskInfo {
    let cpu = mesos::Resource {
        revocable: Some(Default::default()),
        ..scalar("cpus", 1.0)
    };
    mesos::TaskInfo {
        resources: vec![cpu, scalar("mem", 32.0)],
        ..shell(id, command)
    }
}

/// The weight of a task's container among those that want to run, in shares of version 1 (1024 a cpu).
fn shares(cgroups_root: &str, running: &mesos::TaskStatus) -> u64 {
    let status = running.container_status.as_ref().unwrap();
    let id = &status.container_id.as_ref().unwrap().value;
    let read = |file: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let of = |place: &str| {
        let directory = format!("{place}{cgroups_root}/{id}");
        let weight = read(&format!("{directory}/cpu.weight"));
        read(&format!("{directory}/cpu.shares")).or(weight.map(|weight| weight * 1024 / 100))
    };
    let places = ["cpu/", "cpu,cpuacct/", ""];
    places.into_iter().find_map(of).expect("a cgroup of cpus")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lent_has_little_weight_and_is_taken_back_when_the_load_is_high() {
    let folder = tempfile::tempdir().unwrap();
    let load_file = folder.path().join("loadavg");
    let load = |five_minutes: f64| {
        let text = format!("0.00 {five_minutes:.2} 0.00 1/100 4242\n");
        // Whole at any time.
        let new = folder.path().join("loadavg.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &load_file).unwrap();
    };
    load(1.0);
    let mut master = Master::start().await;
    let config = config(&master, &folder.path().join("work"));
    let root = config.cgroups_root.clone();
    let agent = Agent::start(Config {
        ephemeral: true,
        oversubscription: OversubscriptionConfig {
            estimator: EstimatorConfig::Fixed(vec![scalar("cpus", 2.0)]),
            controller: ControllerConfig::Load(LoadThresholds {
                five_minutes: Some(8.0),
                fifteen_minutes: None,
            }),
            estimate_interval: Duration::from_secs(1),
            load_file: load_file.clone(),
            ..OversubscriptionConfig::default()
        },
        ..config
    })
    .await
    .unwrap();
    master.admit().await;
    master.until_lent(|cpus| cpus == 2.0).await;

    master.run(borrower("lent", "exec sleep 1000")).await;
    master.run(shell("own", "exec sleep 1000")).await;
    let lent = master.until("lent", TaskRunning).await;
    let own = master.until("own", TaskRunning).await;
    let (lent, own) = (shares(&root, &lent), shares(&root, &own));
    // A tenth of a cpu of its own weighs ten times as much as a whole one that is lent.
    assert!(lent <= 10 && own >= 100, "{lent} and {own} shares");
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    for (name, expected) in [("total", 2.0), ("used", 1.0), ("percent", 0.5)] {
        let metric = format!("slave/cpus_revocable_{name}");
        assert_eq!(metrics[&metric], expected, "{metric}");
    }
    assert_eq!(metrics["slave/cpus_used"], 0.1);

    load(8.5);
    let preempted = master.until("lent", TaskLost).await;
    assert_eq!(preempted.reason(), Reason::ContainerPreempted);
    assert_eq!(
        preempted.message(),
        "Container preempted by QoS correction: the machine's load of the last 5 minutes, 8.50, is above 8"
    );
    assert_eq!(master.lent(), 0.0, "it is not to be offered again at once");
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    for (name, expected) in [
        ("executors_preempted", 1.0),
        ("cpus_revocable_total", 0.0),
        ("tasks_running", 1.0),
    ] {
        assert_eq!(metrics[&format!("slave/{name}")], expected, "{name}");
    }
    // Who comes while it is high ends too; who has what is its own runs on.
    master.run(borrower("late", "exec sleep 1000")).await;
    let late = master.until("late", TaskLost).await;
    assert_eq!(late.reason(), Reason::ContainerPreempted);

    load(8.0);
    master.until_lent(|cpus| cpus == 2.0).await;
    master.kill("own").await;
    master.until("own", TaskKilled).await;
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_cpus_are_lent_until_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let agent = Agent::start(Config {
        ephemeral: true,
        oversubscription: OversubscriptionConfig {
            estimator: EstimatorConfig::Usage(UsageRule {
                headroom: 0.1,
                half_life: Duration::from_millis(1),
            }),
            estimate_interval: Duration::from_secs(1),
            ..OversubscriptionConfig::default()
        },
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    master.admit().await;
    let go = folder.path().join("go");
    let command = format!(
        "while ! test -e {}; do sleep 0.1; done; while :; do :; done",
        go.display()
    );
    master
        .run(mesos::TaskInfo {
            resources: vec![scalar("cpus", 1.0), scalar("mem", 32.0)],
            ..shell("t", &command)
        })
        .await;
    master.until("t", TaskRunning).await;
    let idle = master.until_lent(|cpus| cpus >= 0.7).await;
    assert!(idle <= 0.9, "{idle} of a cpu, a tenth of which is kept");
    std::fs::write(go, "").unwrap();
    master.until_lent(|cpus| cpus < 0.7).await;
    master.kill("t").await;
    master.until("t", TaskKilled).await;
    // Nothing is promised to anybody any more.
    master.until_lent(|cpus| cpus == 0.0).await;
    agent.shutdown().await.unwrap();
}
