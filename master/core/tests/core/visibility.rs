//! Which agents a framework is shown: offer constraints, the whitelist, fault domains.

use std::collections::BTreeSet;

use tepui_master_core::{Config, Input, Registry, Reply};
use tepui_proto::mesos::{self, domain_info};
use tepui_proto::tepui::v1::agent_message;

use crate::cluster::{Cluster, Scheduler, Slave, config, registration};

fn domain(region: &str, zone: &str) -> mesos::DomainInfo {
    mesos::DomainInfo {
        fault_domain: Some(domain_info::FaultDomain {
            region: domain_info::fault_domain::RegionInfo {
                name: region.to_owned(),
            },
            zone: domain_info::fault_domain::ZoneInfo {
                name: zone.to_owned(),
            },
        }),
    }
}

/// Tries to register an agent of this host name, with a text attribute, and perhaps a domain.
fn agent(
    cluster: &mut Cluster,
    hostname: &str,
    rack: Option<&str>,
    of: Option<mesos::DomainInfo>,
) -> Result<Slave, String> {
    let mut register = registration("cpus:1;mem:100", None);
    register.agent.hostname = hostname.to_owned();
    register.agent.domain = of;
    register.agent.attributes = rack
        .map(|rack| mesos::Attribute {
            name: "rack".to_owned(),
            r#type: mesos::value::Type::Text as i32,
            text: Some(mesos::value::Text {
                value: rack.to_owned(),
            }),
            ..mesos::Attribute::default()
        })
        .into_iter()
        .collect();
    let link = cluster.open_link();
    cluster.tell(link, agent_message::Message::Register(Box::new(register)));
    match cluster.registered_id(link) {
        Some(id) => Ok(Slave { link, id }),
        None => Err(cluster.closed_links.pop().expect("let in or closed").1),
    }
}

/// The host names of what is offered now; all of it is declined for ten seconds.
fn hosts(cluster: &mut Cluster, scheduler: &Scheduler) -> BTreeSet<String> {
    let offers = cluster.offers(scheduler);
    for offer in &offers {
        let decline = format!(
            r#"{{"type":"DECLINE","decline":{{"offer_ids":[{{"value":"{}"}}],"filters":{{"refuse_seconds":10}}}}}}"#,
            offer.id.value
        );
        assert_eq!(cluster.call(scheduler, &decline), Reply::Accepted);
    }
    offers.into_iter().map(|offer| offer.hostname).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn constraints_choose_agents_and_change_with_the_framework() {
    let with_domain = |of| {
        let mut config = config();
        config.master.domain = of;
        Cluster::with(config, Registry::default())
    };
    let mut cluster = with_domain(Some(domain("eu", "eu-1")));
    for (name, rack, of) in [
        ("db-1", Some("r1"), Some(domain("eu", "eu-1"))),
        ("db-2", Some("r2"), Some(domain("eu", "eu-2"))),
        ("web-1", None, None),
    ] {
        agent(&mut cluster, name, rack, of).expect("it is let in");
    }
    let info = r#"{"user":"u","name":"n","failover_timeout":3600}"#;
    let constraints = |groups: &str| {
        format!(r#""offer_constraints":{{"role_constraints":{{"*":{{"groups":[{groups}]}}}}}}"#)
    };
    let one = |selector: &str, predicate: &str| {
        format!(
            r#"{{"attribute_constraints":[{{"selector":{{{selector}}},"predicate":{{{predicate}}}}}]}}"#
        )
    };
    let host = r#""pseudoattribute_type":"HOSTNAME""#;
    let (zone, rack) = (
        r#""pseudoattribute_type":"ZONE""#,
        r#""attribute_name":"rack""#,
    );
    let first = one(host, r#""text_matches":{"regex":"db-\\d+"}"#);
    let (stream, reply) = cluster.try_subscribe(
        &format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{info},{}}}}}"#,
            constraints(&first)
        ),
        None,
    );
    assert_eq!(reply, Reply::Ok);
    let id = cluster.events[&stream][0]
        .subscribed
        .as_ref()
        .expect("the first event")
        .framework_id
        .value
        .clone();
    let scheduler = Scheduler {
        stream,
        id: id.clone(),
        http_stream_id: None,
    };
    assert_eq!(hosts(&mut cluster, &scheduler), set(&["db-1", "db-2"]));
    for (groups, expected) in [
        (
            one(zone, r#""text_equals":{"value":"eu-2"}"#),
            &["db-2"][..],
        ),
        (
            one(zone, r#""text_not_equals":{"value":"eu-2"}"#),
            &["db-1", "web-1"],
        ),
        (one(rack, r#""not_exists":{}"#), &["web-1"]),
        (
            format!(
                "{},{}",
                one(rack, r#""text_equals":{"value":"r1"}"#),
                one(host, r#""text_equals":{"value":"web-1"}"#)
            ),
            &["db-1", "web-1"],
        ),
        (one(rack, r#""text_equals":{"value":"r9"}"#), &[]),
    ] {
        let update = format!(
            r#"{{"type":"UPDATE_FRAMEWORK","update_framework":{{"framework_info":{},{}}}}}"#,
            info.replacen('{', &format!(r#"{{"id":{{"value":"{id}"}},"#), 1),
            constraints(&groups)
        );
        assert_eq!(cluster.call(&scheduler, &update), Reply::Ok, "{groups}");
        cluster.call(&scheduler, r#"{"type":"REVIVE"}"#);
        assert_eq!(hosts(&mut cluster, &scheduler), set(expected), "{groups}");
    }
    // Without any, all of them.
    let update = format!(
        r#"{{"type":"UPDATE_FRAMEWORK","update_framework":{{"framework_info":{}}}}}"#,
        info.replacen('{', &format!(r#"{{"id":{{"value":"{id}"}},"#), 1)
    );
    assert_eq!(cluster.call(&scheduler, &update), Reply::Ok);
    cluster.call(&scheduler, r#"{"type":"REVIVE"}"#);
    assert_eq!(
        hosts(&mut cluster, &scheduler),
        set(&["db-1", "db-2", "web-1"])
    );
}

#[test]
fn only_what_is_on_the_whitelist_is_offered() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    cluster.send(Input::Whitelist(Some(set(&["h1", "h2"]))));
    for name in ["h1", "h3"] {
        agent(&mut cluster, name, None, None).expect("it is let in");
    }
    assert_eq!(hosts(&mut cluster, &scheduler), set(&["h1"]));
    // An agent that comes onto it is offered at once; one that leaves it is not offered again.
    cluster.send(Input::Whitelist(Some(set(&["h3"]))));
    assert_eq!(hosts(&mut cluster, &scheduler), set(&["h3"]));
    cluster.pass(std::time::Duration::from_secs(11));
    assert_eq!(hosts(&mut cluster, &scheduler), set(&["h3"]));
    cluster.send(Input::Whitelist(Some(BTreeSet::new())));
    cluster.pass(std::time::Duration::from_secs(11));
    assert_eq!(hosts(&mut cluster, &scheduler), set(&[]));
    cluster.send(Input::Whitelist(None));
    assert_eq!(hosts(&mut cluster, &scheduler), set(&["h1", "h3"]));
}

#[test]
fn fault_domains_decide_who_is_let_in_and_who_sees_whom() {
    let near = || Some(domain("eu", "eu-1"));
    let far = || Some(domain("us", "us-1"));
    // The master's domain, whether it requires one, the agent's; whether it is let in.
    for (master, required, own, expected) in [
        (None, false, None, true),
        (None, false, near(), false),
        (near(), false, None, true),
        (near(), true, None, false),
        (near(), true, near(), true),
        (near(), true, far(), true),
    ] {
        let mut config = Config {
            require_agent_domain: required,
            ..config()
        };
        config.master.domain = master;
        let mut cluster = Cluster::with(config, Registry::default());
        let outcome = agent(&mut cluster, "h", None, own);
        assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
    }
    // Only who is REGION_AWARE sees agents of another region; one without a domain is near.
    let mut config = config();
    config.master.domain = near();
    let mut cluster = Cluster::with(config, Registry::default());
    for (name, of) in [("near", near()), ("far", far()), ("nowhere", None)] {
        agent(&mut cluster, name, None, of).expect("it is let in");
    }
    let plain = cluster.scheduler("a");
    assert_eq!(hosts(&mut cluster, &plain), set(&["near", "nowhere"]));
    let aware =
        cluster.subscribe(r#"{"user":"u","name":"b","capabilities":[{"type":"REGION_AWARE"}]}"#);
    assert_eq!(
        hosts(&mut cluster, &aware),
        set(&["near", "far", "nowhere"])
    );
}
