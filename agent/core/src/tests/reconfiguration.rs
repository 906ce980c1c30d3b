//! Each change under each policy: what is said of it, or that it is allowed.

use super::*;
use tepui_proto::mesos::v1::domain_info::{FaultDomain, fault_domain};
use tepui_proto::mesos::v1::{DomainInfo, resource};

fn ranges(spans: &[(u64, u64)]) -> Option<value::Ranges> {
    let range = spans
        .iter()
        .map(|(begin, end)| value::Range {
            begin: *begin,
            end: *end,
        })
        .collect();
    Some(value::Ranges { range })
}

fn scalar_of(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value }),
        ..Default::default()
    }
}

fn ports(spans: &[(u64, u64)]) -> Resource {
    Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges.into(),
        ranges: ranges(spans),
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        r#type: value::Type::Text.into(),
        text: Some(value::Text {
            value: value.to_owned(),
        }),
        ..Default::default()
    }
}

fn domain(region: &str) -> Option<DomainInfo> {
    Some(DomainInfo {
        fault_domain: Some(FaultDomain {
            region: fault_domain::RegionInfo {
                name: region.to_owned(),
            },
            zone: fault_domain::ZoneInfo {
                name: "z".to_owned(),
            },
        }),
    })
}

fn info() -> AgentInfo {
    AgentInfo {
        hostname: "h".to_owned(),
        port: Some(5051),
        resources: vec![scalar_of("cpus", 4.0), ports(&[(10, 19), (30, 39)])],
        attributes: vec![text("rack", "a"), text("rack", "b")],
        id: None,
        domain: None,
    }
}

fn with(change: impl FnOnce(&mut AgentInfo)) -> AgentInfo {
    let mut info = info();
    change(&mut info);
    info
}

fn said(policy: ReconfigurationPolicy, before: &AgentInfo, now: &AgentInfo) -> String {
    changes(policy, before, now).join(", ")
}

#[test]
fn what_each_policy_says_of_each_change() {
    use ReconfigurationPolicy::{Additive, Any, Equal};
    let reserved = |cpus| Resource {
        reservations: vec![resource::ReservationInfo {
            r#type: Some(resource::reservation_info::Type::Static.into()),
            role: Some("r".to_owned()),
            ..Default::default()
        }],
        ..scalar_of("cpus", cpus)
    };
    // Now, what `equal` says, what `additive` says.
    let cases: Vec<(AgentInfo, &str, &str)> = vec![
        (info(), "", ""),
        (with(|now| now.port = Some(1)), "", ""),
        (
            // The same, said differently.
            with(|now| {
                now.resources = vec![
                    ports(&[(30, 39), (10, 14), (15, 19)]),
                    scalar_of("cpus", 1.0),
                    scalar_of("cpus", 3.0),
                ];
            }),
            "",
            "",
        ),
        (
            with(|now| now.hostname = "g".to_owned()),
            "the hostname was h and is g",
            "the hostname was h and is g",
        ),
        (
            with(|now| now.resources[0] = scalar_of("cpus", 5.0)),
            "the resource cpus:4 is now cpus:5",
            "",
        ),
        (
            with(|now| now.resources[0] = scalar_of("cpus", 3.5)),
            "the resource cpus:4 is now cpus:3.5",
            "the resource cpus:4 is now cpus:3.5",
        ),
        (
            with(|now| now.resources[1] = ports(&[(5, 50)])),
            "the resource ports:[10-19, 30-39] is now ports:[5-50]",
            "",
        ),
        (
            with(|now| now.resources[1] = ports(&[(10, 38)])),
            "the resource ports:[10-19, 30-39] is now ports:[10-38]",
            "the resource ports:[10-19, 30-39] is now ports:[10-38]",
        ),
        (
            with(|now| now.resources.push(scalar_of("gpus", 1.0))),
            "the resource gpus:1 is new",
            "",
        ),
        (
            with(|now| drop(now.resources.remove(0))),
            "the resource cpus:4 is missing",
            "the resource cpus:4 is missing",
        ),
        (
            // Reserved for a role they are not what everybody had.
            with(|now| now.resources[0] = reserved(4.0)),
            "the resource cpus:4 is missing, the resource cpus(reservations: [(STATIC,r)]):4 is new",
            "the resource cpus:4 is missing",
        ),
        (
            with(|now| now.attributes.push(text("os", "x"))),
            "the attributes were [rack:a; rack:b] and are [rack:a; rack:b; os:x]",
            "",
        ),
        (
            with(|now| now.attributes[1] = text("rack", "c")),
            "the attributes were [rack:a; rack:b] and are [rack:a; rack:c]",
            "the attribute rack:b is now rack:a; rack:c",
        ),
        (
            with(|now| now.attributes.clear()),
            "the attributes were [rack:a; rack:b] and are []",
            "the attribute rack:a is missing, the attribute rack:b is missing",
        ),
        (
            with(|now| now.domain = domain("r")),
            "the domain was none and is r/z",
            "",
        ),
    ];
    for (now, equal, additive) in cases {
        assert_eq!(said(Equal, &info(), &now), equal);
        assert_eq!(said(Additive, &info(), &now), additive);
        assert_eq!(said(Any, &info(), &now), "");
    }
    let placed = with(|before| before.domain = domain("r"));
    for policy in [Equal, Additive] {
        assert_eq!(
            said(policy, &placed, &info()),
            "the domain was r/z and is none"
        );
    }
}

#[test]
fn ranges_of_an_attribute_may_grow_and_scalars_may_not() {
    let attribute = |ranges, scalar: Option<f64>| Attribute {
        name: "n".to_owned(),
        r#type: if scalar.is_some() {
            value::Type::Scalar.into()
        } else {
            value::Type::Ranges.into()
        },
        ranges,
        scalar: scalar.map(|value| value::Scalar { value }),
        ..Default::default()
    };
    let told = |before: Attribute, now: Attribute| {
        let mut told = Vec::new();
        attributes(false, &[before], &[now], &mut told);
        told.join(", ")
    };
    let span = |begin, end| attribute(ranges(&[(begin, end)]), None);
    assert_eq!(told(span(1, 5), span(0, u64::MAX)), "");
    assert_eq!(told(span(0, u64::MAX), span(0, u64::MAX)), "");
    assert_eq!(
        told(span(1, 5), span(2, 5)),
        "the attribute n:[1-5] is now n:[2-5]"
    );
    let number = |value| attribute(None, Some(value));
    assert_eq!(
        told(number(1.0), number(2.0)),
        "the attribute n:1 is now n:2"
    );
    assert_eq!(
        told(number(1.0), span(1, 1)),
        "the attribute n:1 is now n:[1-1]"
    );
}

#[test]
fn only_an_agent_with_an_id_is_held_to_what_it_was() {
    let entry = |record| Entry {
        record: Some(record),
    };
    let identity = |id: &str| entry(Record::Identity(id.to_owned()));
    let smaller = with(|now| now.resources.clear());
    let other = Agent::configuration(&smaller);
    let was = Agent::configuration(&info());
    for (records, changed) in [
        (vec![], 0),
        (vec![identity("S0")], 0),
        (vec![was.clone()], 0),
        (vec![was.clone(), identity("S0")], 2),
        (vec![was.clone(), identity("S0"), identity("")], 0),
        (vec![was, identity("S0"), other], 0),
    ] {
        let told = Agent::reconfigured(ReconfigurationPolicy::Equal, &records, &smaller);
        assert_eq!(told.len(), changed, "{records:?}");
    }
}
