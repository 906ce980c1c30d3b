//! Agents that are removed: how fast, how many, and in whose favour.

use std::time::Duration;

use tepui_master_core::{
    AdmittedAgent, AgentRemoval, Change, Config, OperatorCall, Registry, StoreError,
    UnreachableAgent,
};
use tepui_model::Time;
use tepui_proto::tepui::v1::{self, agent_message::Message};

use crate::cluster::{Cluster, Slave, config, registration};

const AGENT: &str = "cpus:4;mem:1000";

/// As many agents as wanted, each at an address of its own.
fn agents(cluster: &mut Cluster, count: i32) -> Vec<Slave> {
    let each = (0..count).map(|number| {
        let mut register = registration(AGENT, None);
        register.agent.port = Some(6000 + number);
        let link = cluster.open_link();
        cluster.tell(link, Message::Register(Box::new(register)));
        let id = cluster.registered_id(link).unwrap();
        Slave { link, id }
    });
    each.collect()
}

fn unreachable(cluster: &Cluster) -> usize {
    cluster.registry.unreachable.len()
}

/// Scheduled, completed, cancelled.
fn counted(cluster: &Cluster) -> (u64, u64, u64) {
    let counters = cluster.master.counters();
    (
        counters.slave_unreachable_scheduled,
        counters.slave_unreachable_completed,
        counters.slave_unreachable_canceled,
    )
}

fn limited(permits: u32, seconds: u64) -> Config {
    Config {
        agent_removal_rate_limit: Some((permits, Duration::from_secs(seconds))),
        ..config()
    }
}

#[test]
fn removals_are_spread_and_a_sign_of_life_cancels_them() {
    let mut cluster = Cluster::with(limited(2, 1200), Registry::default());
    let all = agents(&mut cluster, 4);
    for slave in &all[..3] {
        cluster.break_link(slave);
    }
    cluster.answer_pings = false;
    cluster.pass(Duration::from_secs(80));
    // One at once, the next after ten minutes.
    assert_eq!((unreachable(&cluster), counted(&cluster)), (1, (3, 1, 0)));
    // The fourth is silent, and waits with its link open.
    cluster.pass(Duration::from_secs(20));
    assert_eq!(counted(&cluster), (4, 1, 0));
    cluster.answer_pings = true;
    cluster.pass(Duration::from_secs(15));
    assert_eq!(counted(&cluster), (4, 1, 1), "a pong cancels");
    assert_eq!(cluster.closed_links, []);
    // One that registers again is there.
    let is_away = |cluster: &Cluster, slave: &Slave| {
        let mut known = cluster.registry.unreachable.iter();
        known.any(|known| known.id.as_str() == slave.id)
    };
    let back = all[..3]
        .iter()
        .position(|slave| !is_away(&cluster, slave))
        .unwrap();
    let mut register = registration(AGENT, Some(&all[back].id));
    register.agent.port = Some(6000 + back as i32);
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(register)));
    assert_eq!(counted(&cluster), (4, 1, 2));
    // The last one's turn comes, and nobody else's.
    cluster.pass(Duration::from_secs(1200));
    assert_eq!((unreachable(&cluster), counted(&cluster)), (2, (4, 2, 2)));
    assert!(!is_away(&cluster, &all[3]) && !is_away(&cluster, &all[back]));
}

fn recovered(count: usize) -> Registry {
    let agent = |number| AdmittedAgent {
        info: registration(AGENT, Some(&format!("o-S{number}"))).agent,
        ..AdmittedAgent::default()
    };
    Registry {
        agents: (0..count).map(agent).collect(),
        ..Registry::default()
    }
}

#[test]
fn a_leader_removes_no_more_of_the_registry_than_it_may() {
    // Limit, how many of four return, how many become unreachable.
    let rows = [
        (1.0, 0, 4),
        (0.5, 2, 2),
        (0.5, 1, 0),
        (0.25, 3, 1),
        (0.0, 3, 0),
        (0.0, 4, 0),
    ];
    for (limit, back, expected) in rows {
        let bounded = Config {
            recovery_agent_removal_limit: limit,
            ..config()
        };
        let mut cluster = Cluster::with(bounded, recovered(4));
        for number in 0..back {
            let link = cluster.open_link();
            let register = registration(AGENT, Some(&format!("o-S{number}")));
            cluster.tell(link, Message::Register(Box::new(register)));
        }
        cluster.pass(Duration::from_secs(601));
        let what = format!("{limit} {back}");
        assert_eq!(unreachable(&cluster), expected, "{what}");
        let kept = if expected == 0 { 4 - back } else { 0 };
        assert_eq!(
            cluster.master.counters().recovery_slaves_kept,
            kept as u64,
            "{what}"
        );
        if kept > 0 {
            // They may still return, and then the others are few enough.
            let link = cluster.open_link();
            let register = registration(AGENT, Some("o-S3"));
            cluster.tell(link, Message::Register(Box::new(register)));
            assert_eq!(cluster.told(link), ["Registered o-S3"], "{what}");
            cluster.pass(Duration::from_secs(600));
            let left = kept - 1;
            let allowed = left as f64 <= 4.0 * limit;
            assert_eq!(
                unreachable(&cluster),
                if allowed { left } else { 0 },
                "{what}"
            );
        }
    }
}

#[test]
fn the_rate_limit_holds_for_a_new_leaders_agents_too() {
    let mut cluster = Cluster::with(limited(1, 60), recovered(3));
    cluster.pass(Duration::from_secs(601));
    assert_eq!(unreachable(&cluster), 1);
    cluster.pass(Duration::from_secs(60));
    assert_eq!(unreachable(&cluster), 2);
    cluster.pass(Duration::from_secs(60));
    assert_eq!((unreachable(&cluster), counted(&cluster)), (3, (3, 3, 0)));
}

#[test]
fn an_agent_that_is_away_gives_way_to_a_new_one_at_its_address() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let all = agents(&mut cluster, 2);
    cluster.lines(&scheduler);
    let come = |cluster: &mut Cluster, port: i32| {
        let mut register = registration(AGENT, None);
        register.agent.port = Some(port);
        let link = cluster.open_link();
        cluster.tell(link, Message::Register(Box::new(register)));
        cluster.registered_id(link).unwrap()
    };
    // One that is there stays.
    come(&mut cluster, 6000);
    assert_eq!(cluster.registry.agents.len(), 3);
    cluster.break_link(&all[1]);
    let id = come(&mut cluster, 6001);
    assert_ne!(id, all[1].id);
    assert_eq!(cluster.registry.agents.len(), 3);
    assert!(cluster.changes.iter().any(|change| matches!(
        change,
        Change::AgentRemoved { id, cause: AgentRemoval::Replaced } if id.as_str() == all[1].id
    )));
    assert_eq!(cluster.master.counters().slave_removals_registered, 1);
    assert!(
        cluster
            .lines(&scheduler)
            .contains(&format!("FAILURE {}", all[1].id))
    );
}

#[test]
fn old_entries_are_forgotten() {
    let away = |id: &str, since| UnreachableAgent {
        id: id.parse().unwrap(),
        since: Time::from_secs(since),
        hostname: "host".into(),
        deactivated: false,
        drain: None,
    };
    let registry = Registry {
        unreachable: vec![away("a", 1), away("b", 900)],
        gone: vec![
            ("c".parse().unwrap(), Time::from_secs(2)),
            ("d".parse().unwrap(), Time::from_secs(901)),
        ],
        ..Registry::default()
    };
    let short = Config {
        registry_gc_interval: Duration::from_secs(60),
        registry_max_agent_age: Duration::from_secs(500),
        ..config()
    };
    // The time is 1000 s at the start.
    let mut cluster = Cluster::with(short, registry);
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.registry.unreachable, [away("b", 900)]);
    assert_eq!(cluster.registry.gone[0].0.as_str(), "d");
    assert_eq!(cluster.registry.gone.len(), 1);
    cluster.pass(Duration::from_secs(420));
    assert_eq!(cluster.registry, Registry::default());
    assert_eq!(cluster.master.counters().slaves_unreachable, 0);
}

#[test]
fn what_an_agent_has_may_change_while_it_is_away() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    assert_eq!(cluster.offers(&scheduler).len(), 1);
    cluster.break_link(&slave);
    cluster.lines(&scheduler);
    let link = cluster.open_link();
    let mut register = registration("cpus:8;mem:500", Some(&slave.id));
    let rack = r#"{"name":"rack","type":"TEXT","text":{"value":"r1"}}"#;
    register.agent.attributes = vec![crate::words::json(rack)];
    cluster.tell(link, Message::Register(Box::new(register.clone())));
    let offer = cluster.offer(&scheduler);
    assert_eq!(crate::words::offered(&offer), "cpus:8;mem:500");
    assert_eq!(offer.attributes.len(), 1);
    assert_eq!(cluster.registry.agents[0].info.attributes.len(), 1);
    // Another host is another agent.
    let elsewhere = v1::Register {
        agent: tepui_proto::mesos::AgentInfo {
            hostname: "elsewhere".to_owned(),
            ..register.agent
        },
        ..register
    };
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(elsewhere)));
    assert!(cluster.told(link)[0].starts_with("Refused for ever"));
    assert_eq!(cluster.registry.agents[0].info.hostname, "host");
}

/// The store has done it, and its answer was that it had not: what the leader writes of the agent next is what counts.
#[test]
fn an_agent_is_in_one_list_of_the_registry() {
    let rows = [
        (
            OperatorCall::DeactivateAgent {
                agent: "m-S0".parse().unwrap(),
            },
            (1, 0, 0),
        ),
        (
            OperatorCall::MarkAgentGone {
                agent: "m-S0".parse().unwrap(),
            },
            (0, 0, 1),
        ),
    ];
    for (next, expected) in rows {
        let mut cluster = Cluster::new();
        cluster.agent("cpus:4;mem:1000");
        cluster.hold_stores = true;
        cluster.operate(OperatorCall::MarkAgentGone {
            agent: "m-S0".parse().unwrap(),
        });
        for operation in cluster.stores[0].1.clone() {
            cluster.registry.apply(operation);
        }
        cluster.answer_store(Err(StoreError::Failed("no answer".to_owned())));
        cluster.hold_stores = false;
        assert_eq!(cluster.operate(next), "200");
        let Registry {
            agents,
            unreachable,
            gone,
            ..
        } = &cluster.registry;
        assert_eq!((agents.len(), unreachable.len(), gone.len()), expected);
    }
}
