//! A new leader: what it finds in the registry, and what agents and frameworks bring back.

use std::time::Duration;

use tepui_master_core::{AdmittedAgent, Change, Registry, Reply, TaskList};
use tepui_model::TaskState;
use tepui_proto::mesos::FrameworkInfo;
use tepui_proto::tepui::v1::{self, agent_message::Message};

use crate::cluster::{Cluster, Scheduler, Slave, config, registration, running};

const AGENT: &str = "cpus:4;mem:1000";

fn new_leader() -> (Cluster, Slave, Scheduler) {
    let agents = ["old-S0", "old-S1"].map(|id| AdmittedAgent {
        info: registration(AGENT, Some(id)).agent,
        ..AdmittedAgent::default()
    });
    let registry = Registry {
        agents: agents.to_vec(),
        ..Registry::default()
    };
    let cluster = Cluster::with(config(), registry);
    let slave = Slave {
        link: tepui_master_core::LinkKey(0),
        id: "old-S0".to_owned(),
    };
    let scheduler = Scheduler {
        stream: tepui_master_core::StreamKey(0),
        id: "old-0000".to_owned(),
        http_stream_id: None,
    };
    (cluster, slave, scheduler)
}

#[test]
fn frameworks_and_tasks_come_back_with_agents() {
    let (mut cluster, slave, scheduler) = new_leader();
    assert!(
        cluster
            .changes
            .iter()
            .filter(|change| matches!(change, Change::AgentRecovered(_)))
            .count()
            == 2
    );
    let link = cluster.open_link();
    let info = FrameworkInfo {
        user: "u".to_owned(),
        name: "a".to_owned(),
        id: Some(tepui_proto::mesos::FrameworkId {
            value: scheduler.id.clone(),
        }),
        ..FrameworkInfo::default()
    };
    let task = running(&slave, &scheduler, "t", TaskState::Running);
    let register = v1::Register {
        frameworks: vec![info],
        tasks: vec![v1::RunningTask { task }],
        ..registration(AGENT, Some(&slave.id))
    };
    cluster.tell(link, Message::Register(Box::new(register)));
    assert_eq!(cluster.told(link), ["Registered old-S0"]);
    assert!(
        cluster.changes.iter().any(
            |change| matches!(change, Change::FrameworkAdded(framework) if framework.recovered)
        )
    );
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_RUNNING"]);
    // It asks before all agents are back: nothing is said of what they may hold.
    let back = cluster.resubscribe(&scheduler);
    assert_eq!(
        cluster.lines(&back),
        ["SUBSCRIBED", "OFFERS old-S0 cpus:3;mem:900"]
    );
    let ask = |task: &str| {
        format!(
            r#"{{"type":"RECONCILE","reconcile":{{"tasks":[{{"task_id":{{"value":"{task}"}}}}]}}}}"#
        )
    };
    cluster.call(&back, &ask("unknown"));
    assert_eq!(cluster.lines(&back), [""; 0]);
    cluster.call(&back, &ask("t"));
    assert_eq!(
        cluster.lines(&back),
        ["UPDATE t TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state"]
    );
    // The other agent had ten minutes.
    cluster.pass(Duration::from_secs(601));
    assert_eq!(cluster.lines(&back), ["FAILURE old-S1"]);
    cluster.call(&back, &ask("unknown"));
    assert_eq!(
        cluster.lines(&back),
        ["UPDATE unknown TASK_UNKNOWN REASON_RECONCILIATION: Reconciliation: Task is unknown"]
    );
}

#[test]
fn a_framework_that_never_returns_keeps_its_tasks() {
    let (mut cluster, slave, scheduler) = new_leader();
    let info = FrameworkInfo {
        user: "u".to_owned(),
        name: "a".to_owned(),
        id: Some(tepui_proto::mesos::FrameworkId {
            value: scheduler.id.clone(),
        }),
        failover_timeout: Some(1.0),
        ..FrameworkInfo::default()
    };
    let task = running(&slave, &scheduler, "t", TaskState::Running);
    let link = cluster.open_link();
    let register = v1::Register {
        frameworks: vec![info],
        tasks: vec![v1::RunningTask { task }],
        ..registration(AGENT, Some(&slave.id))
    };
    cluster.tell(link, Message::Register(Box::new(register)));
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_RUNNING"]);
}

/// An agent may have something of a framework that nobody has announced to it: then it knows the id alone, and that binds nobody.
#[test]
fn a_framework_of_which_an_agent_knew_only_the_id_says_itself_what_it_is() {
    type Ways = fn(&mut Cluster, &FrameworkInfo);
    let ways: [(&str, Ways); 2] = [
        ("it subscribes", |_, _| {}),
        ("an agent knew it", |cluster, info| {
            let register = v1::Register {
                frameworks: vec![info.clone()],
                ..registration(AGENT, Some("old-S1"))
            };
            let link = cluster.open_link();
            cluster.tell(link, Message::Register(Box::new(register)));
        }),
    ];
    for (way, tells) in ways {
        let (mut cluster, slave, scheduler) = new_leader();
        let bare = FrameworkInfo {
            id: Some(tepui_proto::mesos::FrameworkId {
                value: scheduler.id.clone(),
            }),
            ..FrameworkInfo::default()
        };
        let info = FrameworkInfo {
            user: "u".to_owned(),
            name: "a".to_owned(),
            principal: Some("p".to_owned()),
            checkpoint: Some(true),
            ..bare.clone()
        };
        let task = running(&slave, &scheduler, "t", TaskState::Running);
        let register = v1::Register {
            frameworks: vec![bare],
            tasks: vec![v1::RunningTask { task }],
            ..registration(AGENT, Some(&slave.id))
        };
        let link = cluster.open_link();
        cluster.tell(link, Message::Register(Box::new(register)));
        tells(&mut cluster, &info);
        let rest = r#""principal":"p","checkpoint":true,"capabilities":[{"type":"MULTI_ROLE"}]"#;
        let back = cluster.resubscribe_as(&scheduler, rest);
        assert_eq!(cluster.lines(&back)[0], "SUBSCRIBED", "{way}");
        let update = format!(
            r#"{{"type":"UPDATE_FRAMEWORK","update_framework":{{"framework_info":{{"user":"u","name":"a","id":{{"value":"{}"}},"roles":["data"],{rest}}}}}}}"#,
            scheduler.id
        );
        assert_eq!(cluster.call(&back, &update), Reply::Ok, "{way}");
    }
}
