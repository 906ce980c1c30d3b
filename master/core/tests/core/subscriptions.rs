//! SUBSCRIBE: what is refused at once, what is refused on the stream, and what a good one gets.

use std::time::Duration;

use tepui_master_core::{Config, Registry, Reply};

use crate::cluster::{Cluster, config};

const USER: &str = r#""user":"u","name":"n""#;

#[test]
fn refused_before_the_stream_opens() {
    let cases = [
        (
            r#"{"type":"SUBSCRIBE"}"#.to_owned(),
            "Failed to validate scheduler::Call: Expecting 'subscribe' to be present",
        ),
        (
            r#"{"type":"TEARDOWN"}"#.to_owned(),
            "Failed to validate scheduler::Call: Expecting a SUBSCRIBE call",
        ),
        (
            format!(
                r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"a"}},"subscribe":{{"framework_info":{{{USER}}}}}}}"#
            ),
            "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'",
        ),
        (
            format!(
                r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{USER},"id":{{"value":"a"}}}}}}}}"#
            ),
            "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'",
        ),
    ];
    for (call, expected) in cases {
        let mut cluster = Cluster::new();
        let (stream, reply) = cluster.try_subscribe(&call, None);
        assert_eq!(
            reply,
            Reply::Refused {
                status: 400,
                message: expected.to_owned()
            },
            "{call}"
        );
        assert!(!cluster.events.contains_key(&stream));
    }
}

#[test]
fn refused_by_an_error_event() {
    let role_flag = || Config {
        roles: Some(vec!["known".to_owned()]),
        root_submissions: false,
        ..config()
    };
    let multi = r#""capabilities":[{"type":"MULTI_ROLE"}]"#;
    let cases = [
        (
            format!(r#"{USER},"role":"a b""#),
            "Role 'a b' cannot contain white space or backspace",
        ),
        (
            format!(r#"{USER},"roles":["a"]"#),
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
        ),
        (
            format!(r#"{USER},"role":"a",{multi}"#),
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
        ),
        (
            format!(r#"{USER},"roles":["known","known"],{multi}"#),
            "'FrameworkInfo.roles' contains the duplicate item 'known'",
        ),
        (
            format!(r#"{USER},"role":"other""#),
            "Role 'other' is not present in the master's --roles",
        ),
        (
            format!(r#"{USER},"failover_timeout":-1"#),
            "The framework failover_timeout (-1) is invalid",
        ),
        (
            format!(r#"{USER},"failover_timeout":1e300"#),
            "The framework failover_timeout",
        ),
        (
            r#""user":"root","name":"n""#.to_owned(),
            "User 'root' is not allowed to run frameworks without root submissions enabled",
        ),
        (
            format!(
                r#"{USER},"offer_filters":{{"*":{{"min_allocatable_resources":{{"quantities":[{{"quantities":{{"cpus":{{"value":-1}}}}}}]}}}}}}"#
            ),
            "Invalid offer filters of role '*'",
        ),
    ];
    for (info, expected) in cases {
        let mut cluster = Cluster::with(role_flag(), Registry::default());
        let call = format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{info}}}}}}}"#);
        check_error(&mut cluster, &call, expected);
    }
    let cases = [
        (
            r#""suppressed_roles":["x"]"#,
            "Suppressed role 'x' is not contained in the list of roles",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"x":{"groups":[]}}}"#,
            "Offer constraints specify `role_constraints` for a role 'x', which is not contained in the set of roles",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[]}}}"#,
            "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role *",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[]}]}}}"#,
            "'OfferConstraints::RoleConstraints::groups' for role * contains an empty RoleConstraints::Group",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[{"selector":{},"predicate":{"exists":{}}}]}]}}}"#,
            "A role * has an invalid 'AttributeConstraint': Exactly one of 'AttributeConstraint::Selector::name' or 'AttributeConstraint::Selector::pseudoattribute_type' must be set",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[{"selector":{"pseudoattribute_type":"UNKNOWN"},"predicate":{"exists":{}}}]}]}}}"#,
            "A role * has an invalid 'AttributeConstraint': Unknown pseudoattribute type",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"a"},"predicate":{}}]}]}}}"#,
            "A role * has an invalid 'AttributeConstraint': Unknown predicate type",
        ),
        (
            r#""offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"a"},"predicate":{"text_matches":{"regex":"("}}}]}]}}}"#,
            "A role * has an invalid 'AttributeConstraint': Failed to construct regex from pattern '(': ",
        ),
    ];
    for (rest, expected) in cases {
        let mut cluster = Cluster::new();
        check_error(
            &mut cluster,
            &format!(
                r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{USER}}},{rest}}}}}"#
            ),
            expected,
        );
    }
    let call = format!(
        r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"a/b"}},"subscribe":{{"framework_info":{{{USER},"id":{{"value":"a/b"}}}}}}}}"#
    );
    check_error(
        &mut Cluster::new(),
        &call,
        "Framework ID is invalid: 'a/b' contains invalid characters",
    );
}

fn check_error(cluster: &mut Cluster, call: &str, expected: &str) {
    let (stream, reply) = cluster.try_subscribe(call, None);
    assert_eq!(reply, Reply::Ok, "{call}");
    let lines: Vec<String> = cluster.events[&stream]
        .iter()
        .map(crate::cluster::line)
        .collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with(&format!("ERROR {expected}")),
        "{lines:?} for {call}"
    );
    assert_eq!(
        cluster.closed_streams,
        [(stream, "the subscription is invalid")]
    );
    assert_eq!(cluster.master.counters().frameworks_connected, 0);
}

#[test]
fn a_good_one_is_answered_with_its_id_and_heartbeats() {
    let mut cluster = Cluster::new();
    let first = cluster.scheduler("a");
    let second = cluster.scheduler("b");
    assert_eq!(
        (first.id.as_str(), second.id.as_str()),
        ("m-0000", "m-0001")
    );
    let events = cluster.take_events(&first);
    let subscribed = events[0].subscribed.as_ref().unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(subscribed.master_info.as_ref().unwrap().id, "m");
    let names: Vec<&str> = events
        .iter()
        .map(|event| event.r#type().as_str_name())
        .collect();
    assert_eq!(names, ["SUBSCRIBED", "HEARTBEAT"]);
    cluster.pass(Duration::from_secs(31));
    assert_eq!(cluster.take_events(&first).len(), 2);
}

#[test]
fn an_invented_id_is_taken_as_it_is() {
    let mut cluster = Cluster::new();
    let call = format!(
        r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"mine"}},"subscribe":{{"framework_info":{{{USER},"id":{{"value":"mine"}}}}}}}}"#
    );
    let (stream, _) = cluster.try_subscribe(&call, None);
    assert_eq!(
        cluster.events[&stream][0]
            .subscribed
            .as_ref()
            .unwrap()
            .framework_id
            .value,
        "mine"
    );
}

#[test]
fn no_more_frameworks_than_the_bound() {
    let mut cluster = Cluster::with(
        Config {
            max_frameworks: 1,
            ..config()
        },
        Registry::default(),
    );
    cluster.scheduler("a");
    let call = format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{USER}}}}}}}"#);
    let (stream, _) = cluster.try_subscribe(&call, None);
    assert_eq!(
        crate::cluster::line(&cluster.events[&stream][0]),
        "ERROR This master serves at most 1 frameworks"
    );
}
