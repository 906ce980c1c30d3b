//! What agents let others use until it is taken back.

use tepui_model::TaskState;
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos::v1::Resource;
use tepui_proto::tepui::v1::{self, agent_message::Message};

use crate::cluster::{Cluster, Scheduler, Slave, accept_json, registration};

const AGENT: &str = "cpus:4;mem:1000";

fn revocable(cluster: &mut Cluster) -> Scheduler {
    cluster.subscribe(
        r#"{"user":"u","name":"r","failover_timeout":3600,"capabilities":[{"type":"PARTITION_AWARE"},{"type":"REVOCABLE_RESOURCES"}]}"#,
    )
}

fn marked(text: &str) -> Vec<Resource> {
    to_wire(&text.parse().unwrap(), Encoding::Stack)
        .into_iter()
        .map(|resource| Resource {
            revocable: Some(Default::default()),
            ..resource
        })
        .collect()
}

fn told(cluster: &mut Cluster, slave: &Slave, resources: Vec<Resource>) {
    let told = v1::Oversubscribed { resources };
    cluster.tell(slave.link, Message::Oversubscribed(told));
}

/// Accepts the offer for a task with one revocable cpu.
fn launch(cluster: &mut Cluster, scheduler: &Scheduler, offer: &str, agent: &str) {
    let cpu = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*","revocable":{}}"#;
    let task = format!(
        r#"{{"name":"t","task_id":{{"value":"t"}},"agent_id":{{"value":"{agent}"}},"resources":[{cpu}],"command":{{"value":"true"}}}}"#
    );
    cluster.call(scheduler, &accept_json(&[offer], &[task]));
}

#[test]
fn offers_follow_what_is_oversubscribed_and_others_stand() {
    let mut cluster = Cluster::new();
    let scheduler = revocable(&mut cluster);
    let slave = cluster.agent(AGENT);
    let steps: [(&str, &[&str]); 5] = [
        (
            "cpus:2",
            &[
                "SUBSCRIBED",
                "OFFERS m-S0 cpus:4;mem:1000",
                "OFFERS m-S0 cpus{REV}:2",
            ],
        ),
        ("cpus:2", &[]),
        ("cpus:1", &["RESCIND m-O1", "OFFERS m-S0 cpus{REV}:1"]),
        ("", &["RESCIND m-O2"]),
        ("cpus:3;mem:64", &["OFFERS m-S0 cpus{REV}:3;mem{REV}:64"]),
    ];
    for (text, expected) in steps {
        told(&mut cluster, &slave, marked(text));
        assert_eq!(cluster.lines(&scheduler), expected, "{text:?}");
    }
    // What is not marked is not oversubscribed: it would come on top of what the agent really has.
    told(
        &mut cluster,
        &slave,
        to_wire(&"cpus:9".parse().unwrap(), Encoding::Stack),
    );
    assert_eq!(cluster.lines(&scheduler), ["RESCIND m-O3"]);
}

#[test]
fn a_changed_total_leaves_it_and_a_registration_takes_it_back() {
    let mut cluster = Cluster::new();
    let scheduler = revocable(&mut cluster);
    let slave = cluster.agent(AGENT);
    told(&mut cluster, &slave, marked("cpus:2"));
    cluster.lines(&scheduler);
    let changed = v1::ResourcesChanged {
        total: registration("cpus:8;mem:1000", None).agent.resources,
        ..v1::ResourcesChanged::default()
    };
    cluster.tell(slave.link, Message::ResourcesChanged(changed));
    let lines = cluster.lines(&scheduler);
    let last = lines.last().unwrap();
    assert_eq!(last, "OFFERS m-S0 cpus:8;mem:1000;cpus{REV}:2", "{lines:?}");
    cluster.break_link(&slave);
    cluster.return_agent(&slave, AGENT, Vec::new());
    let lines = cluster.lines(&scheduler);
    let last = lines.last().unwrap();
    assert_eq!(last, "OFFERS m-S0 cpus:4;mem:1000", "{lines:?}");
}

#[test]
fn what_runs_beyond_it_runs_on_and_is_not_offered_again() {
    let mut cluster = Cluster::new();
    let scheduler = revocable(&mut cluster);
    let slave = cluster.agent(AGENT);
    told(&mut cluster, &slave, marked("cpus:2"));
    launch(&mut cluster, &scheduler, "m-O1", &slave.id);
    cluster.update(&slave, &scheduler, "t", TaskState::Running, 1);
    cluster.lines(&scheduler);
    told(&mut cluster, &slave, Vec::new());
    let lines = cluster.lines(&scheduler);
    assert!(
        lines.iter().all(|line| line.starts_with("RESCIND")),
        "{lines:?}"
    );
    cluster.update(&slave, &scheduler, "t", TaskState::Gone, 2);
    assert_eq!(cluster.lines(&scheduler), ["UPDATE t TASK_GONE"]);
}
