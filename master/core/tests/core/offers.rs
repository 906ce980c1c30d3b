//! Who is offered what, and when an offer ends.

use std::time::Duration;

use tepui_master_core::{Config, Input, Registry};

use crate::cluster::{Cluster, config};

const AGENT: &str = "cpus:4;mem:1000";

fn decline(offer: &str, filters: &str) -> String {
    format!(
        r#"{{"type":"DECLINE","decline":{{"offer_ids":[{{"value":"{offer}"}},{{"value":"unknown"}}]{filters}}}}}"#
    )
}

#[test]
fn declined_resources_come_back_after_the_refusal() {
    for (filters, seconds) in [
        ("", 5),
        (r#","filters":{"refuse_seconds":0}"#, 1),
        (r#","filters":{"refuse_seconds":60}"#, 60),
    ] {
        let mut cluster = Cluster::new();
        let scheduler = cluster.scheduler("a");
        cluster.agent(AGENT);
        let offer = cluster.offer(&scheduler);
        cluster.call(&scheduler, &decline(&offer.id.value, filters));
        assert_eq!(cluster.offers(&scheduler).len(), 0, "{filters}");
        cluster.pass(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!(cluster.offers(&scheduler).len(), 0, "{filters}");
        cluster.pass(Duration::from_secs(1));
        assert_eq!(cluster.offers(&scheduler).len(), 1, "{filters}");
    }
}

#[test]
fn declined_resources_go_to_others_at_once() {
    let mut cluster = Cluster::new();
    let first = cluster.scheduler("a");
    cluster.agent(AGENT);
    let second = cluster.scheduler("b");
    cluster.lines(&second);
    let offer = cluster.offer(&first);
    cluster.call(&first, &decline(&offer.id.value, ""));
    assert_eq!(cluster.lines(&second), ["OFFERS m-S0 cpus:4;mem:1000"]);
    // It is not the first one's any more.
    cluster.call(&first, &decline("m-O1", ""));
    assert_eq!(cluster.master.counters().outstanding_offers, 1);
}

#[test]
fn an_accept_without_operations_declines() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.call(
        &scheduler,
        &format!(
            r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{{"value":"{}"}}]}}}}"#,
            offer.id.value
        ),
    );
    assert_eq!(cluster.offers(&scheduler).len(), 0);
    assert_eq!(cluster.master.counters().offers.declined, 1);
}

#[test]
fn suppress_and_revive() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    cluster.call(&scheduler, r#"{"type":"SUPPRESS"}"#);
    cluster.agent(AGENT);
    assert_eq!(cluster.offers(&scheduler).len(), 0);
    cluster.call(
        &scheduler,
        r#"{"type":"REVIVE","revive":{"roles":["not-mine"]}}"#,
    );
    assert_eq!(
        cluster.offers(&scheduler).len(),
        0,
        "a role that is not the framework's drops the call"
    );
    cluster.call(&scheduler, r#"{"type":"REVIVE"}"#);
    let offer = cluster.offer(&scheduler);
    cluster.call(
        &scheduler,
        &decline(&offer.id.value, r#","filters":{"refuse_seconds":1000}"#),
    );
    cluster.call(&scheduler, r#"{"type":"REVIVE"}"#);
    assert_eq!(cluster.offers(&scheduler).len(), 1, "REVIVE drops filters");
}

#[test]
fn offers_end_with_the_agents_stream_and_with_the_frameworks() {
    let mut cluster = Cluster::new();
    let first = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let second = cluster.scheduler("b");
    cluster.lines(&first);
    cluster.lines(&second);
    cluster.send(Input::StreamClosed {
        stream: first.stream,
    });
    assert_eq!(cluster.lines(&second), ["OFFERS m-S0 cpus:4;mem:1000"]);
    cluster.break_link(&slave);
    assert_eq!(cluster.lines(&second), ["RESCIND m-O1"]);
}

#[test]
fn an_overdue_offer_is_rescinded_when_somebody_else_wants_it() {
    let config = Config {
        offer_timeout: Some(Duration::from_secs(10)),
        ..config()
    };
    let mut cluster = Cluster::with(config, Registry::default());
    let first = cluster.scheduler("a");
    cluster.agent(AGENT);
    cluster.lines(&first);
    cluster.pass(Duration::from_secs(100));
    assert_eq!(cluster.lines(&first), [""; 0], "nobody else is there");
    let second = cluster.scheduler("b");
    assert_eq!(cluster.lines(&first)[0], "RESCIND m-O0");
    assert_eq!(cluster.master.counters().outstanding_offers, 1);
    // The one that did not get it gets it when it is overdue again.
    cluster.lines(&second);
    cluster.pass(Duration::from_secs(11));
    assert_eq!(cluster.master.counters().offers.rescinded, 2);
}

/// A framework that hoards what another has refused keeps it only as long as the other does not want it.
#[test]
fn an_overdue_offer_stays_while_all_others_refuse_it() {
    let timeout = Duration::from_secs(10);
    let hour = r#","filters":{"refuse_seconds":3600}"#;
    // How long the other refuses, whether it revives, and after how many seconds it has the offer.
    for (filters, revives, expected) in [
        (hour, false, None),
        (hour, true, Some(35)),
        (r#","filters":{"refuse_seconds":32}"#, false, Some(40)),
    ] {
        let config = Config {
            offer_timeout: Some(timeout),
            ..config()
        };
        let mut cluster = Cluster::with(config, Registry::default());
        let other = cluster.scheduler("other");
        cluster.agent(AGENT);
        let hoarder = cluster.scheduler("hoarder");
        cluster.lines(&hoarder);
        let offer = cluster.offer(&other);
        cluster.call(&other, &decline(&offer.id.value, filters));
        assert_eq!(cluster.offers(&hoarder).len(), 1);
        let mut taken_at = None;
        for second in 1..=100 {
            cluster.pass(Duration::from_secs(1));
            if second == 35 && revives {
                cluster.call(&other, r#"{"type":"REVIVE"}"#);
            }
            if taken_at.is_none() && !cluster.offers(&other).is_empty() {
                taken_at = Some(second);
            }
        }
        let rescinded = cluster.lines(&hoarder).contains(&"RESCIND m-O1".to_owned());
        assert_eq!((taken_at, rescinded), (expected, expected.is_some()));
    }
}

/// Many offers that nobody else wants are each looked at once in a time-out, in steps of a bounded size.
#[test]
fn a_hoard_is_looked_at_piece_by_piece() {
    let config = Config {
        offer_timeout: Some(Duration::from_secs(10)),
        ..config()
    };
    let mut cluster = Cluster::with(config, Registry::default());
    let hoarder = cluster.scheduler("hoarder");
    for _ in 0..200 {
        cluster.agent(AGENT);
    }
    let other = cluster.scheduler("other");
    cluster.call(&other, r#"{"type":"SUPPRESS"}"#);
    cluster.pass(Duration::from_secs(25));
    assert_eq!(cluster.offers(&hoarder).len(), 200);
    assert_eq!(cluster.master.counters().offers.rescinded, 0);
    cluster.call(&other, r#"{"type":"REVIVE"}"#);
    let fair = cluster.offers(&other).len();
    assert_eq!((fair, cluster.offers(&hoarder).len()), (100, 100));
    assert_eq!(cluster.master.counters().offers.rescinded, 200);
}

#[test]
fn reserved_resources_and_roles() {
    let mut cluster = Cluster::new();
    let multi = r#"{"user":"u","name":"n","roles":["a","b"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"}]}"#;
    let scheduler = cluster.subscribe(multi);
    cluster.agent("cpus(a):1;mem(a):100;cpus(b):2;mem(b):200");
    let mut roles: Vec<(String, f64)> = cluster
        .offers(&scheduler)
        .iter()
        .map(|offer| {
            let role = offer
                .allocation_info
                .as_ref()
                .unwrap()
                .role
                .clone()
                .unwrap();
            assert!(
                offer
                    .resources
                    .iter()
                    .all(|resource| resource.reservations[0].role.as_ref() == Some(&role))
            );
            (role, offer.resources[0].scalar.as_ref().unwrap().value)
        })
        .collect();
    roles.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(roles, [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
}

#[test]
fn a_deactivated_agent_is_not_offered() {
    use tepui_master_core::{OperatorCall, Reply, ReplyToken};
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    cluster.lines(&scheduler);
    let agent: tepui_model::AgentId = slave.id.parse().unwrap();
    let ask = |cluster: &mut Cluster, call: OperatorCall| {
        let token = ReplyToken(cluster.key());
        cluster.send(Input::Operator {
            call,
            reply: Some(token),
        });
        cluster.replies.remove(&token).unwrap()
    };
    assert!(matches!(
        ask(
            &mut cluster,
            OperatorCall::ReactivateAgent {
                agent: agent.clone()
            }
        ),
        Reply::Refused { status: 400, .. }
    ));
    assert_eq!(
        ask(
            &mut cluster,
            OperatorCall::DeactivateAgent {
                agent: agent.clone()
            }
        ),
        Reply::Ok
    );
    assert_eq!(cluster.lines(&scheduler), ["RESCIND m-O0"]);
    assert_eq!(
        ask(&mut cluster, OperatorCall::ReactivateAgent { agent }),
        Reply::Ok
    );
    assert_eq!(cluster.lines(&scheduler), ["OFFERS m-S0 cpus:4;mem:1000"]);
}
