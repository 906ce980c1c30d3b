//! Tables: which offers suit which apps, what is taken, and why not.

use tepui_model::Time;
use tepui_proto::mesos::{
    AgentId, Attribute, DomainInfo, FrameworkId, Offer, OfferId, Resource, domain_info, resource,
    value,
};

use super::{Counted, OfferState, Placed};
use crate::{
    config::Config,
    definition::{App, tests::app},
    instance::Agent,
};

fn scalar(name: &str, role: &str, amount: f64) -> Resource {
    let reservation = resource::ReservationInfo {
        role: Some(role.to_owned()),
        ..resource::ReservationInfo::default()
    };
    Resource {
        name: name.to_owned(),
        scalar: Some(value::Scalar { value: amount }),
        reservations: if role == "*" {
            Vec::new()
        } else {
            vec![reservation]
        },
        ..Resource::default()
    }
}

fn ports(begin: u64, end: u64) -> Resource {
    Resource {
        name: "ports".to_owned(),
        ranges: Some(value::Ranges {
            range: vec![value::Range { begin, end }],
        }),
        ..Resource::default()
    }
}

fn offer(resources: Vec<Resource>) -> Offer {
    let text = |name: &str, text: &str| Attribute {
        name: name.to_owned(),
        text: Some(value::Text {
            value: text.to_owned(),
        }),
        ..Attribute::default()
    };
    Offer {
        id: OfferId {
            value: "o".to_owned(),
        },
        framework_id: FrameworkId {
            value: "f".to_owned(),
        },
        agent_id: AgentId {
            value: "a".to_owned(),
        },
        hostname: "host1".to_owned(),
        resources,
        attributes: vec![text("rack", "r1")],
        ..Offer::default()
    }
}

fn with(extra: &str) -> App {
    app(&format!(
        r#"{{"id":"/dev/x","cmd":"sleep 1","cpus":1,"mem":10{extra}}}"#
    ))
}

#[test]
fn offers_suit_or_are_refused_with_every_reason() {
    let plenty = || {
        vec![
            scalar("cpus", "*", 4.0),
            scalar("mem", "*", 100.0),
            ports(100, 103),
        ]
    };
    for (extra, resources, want) in [
        ("", plenty(), Ok(vec!["cpus 1 *", "mem 10 *", "ports 1 *"])),
        (
            r#","portDefinitions":[]"#,
            plenty(),
            Ok(vec!["cpus 1 *", "mem 10 *"]),
        ),
        (
            r#","ports":[0,0,0,0]"#,
            plenty(),
            Ok(vec!["cpus 1 *", "mem 10 *", "ports 4 *"]),
        ),
        (
            r#","ports":[0,0,0,0,0]"#,
            plenty(),
            Err(vec!["InsufficientPorts"]),
        ),
        (
            r#","ports":[101,103],"requirePorts":true"#,
            plenty(),
            Ok(vec!["cpus 1 *", "mem 10 *", "ports 2 *"]),
        ),
        (
            r#","ports":[101,104],"requirePorts":true"#,
            plenty(),
            Err(vec!["InsufficientPorts"]),
        ),
        (r#","disk":1"#, plenty(), Err(vec!["InsufficientDisk"])),
        (
            "",
            vec![scalar("cpus", "*", 0.999), scalar("mem", "*", 9.0)],
            Err(vec![
                "InsufficientCpus",
                "InsufficientMemory",
                "InsufficientPorts",
            ]),
        ),
        // What is reserved for its role goes first, the rest is unreserved.
        (
            r#","role":"dev","ports":[]"#,
            vec![
                scalar("cpus", "*", 4.0),
                scalar("cpus", "dev", 0.25),
                scalar("mem", "dev", 20.0),
            ],
            Ok(vec!["cpus 0.25 dev", "cpus 0.75 *", "mem 10 dev"]),
        ),
        (
            r#","ports":[]"#,
            vec![scalar("cpus", "dev", 4.0), scalar("mem", "*", 20.0)],
            Err(vec!["UnfulfilledRole"]),
        ),
        (
            r#","role":"dev","acceptedResourceRoles":["*"],"ports":[]"#,
            vec![scalar("cpus", "dev", 4.0), scalar("mem", "*", 20.0)],
            Err(vec!["UnfulfilledRole"]),
        ),
        (
            r#","constraints":[["rack","LIKE","r[0-9]"],["zone","UNLIKE","x"],["hostname","CLUSTER","host1"]]"#,
            plenty(),
            Ok(vec!["cpus 1 *", "mem 10 *", "ports 1 *"]),
        ),
        (
            r#","constraints":[["rack","LIKE","r"]]"#,
            plenty(),
            Err(vec!["UnfulfilledConstraint"]),
        ),
        (
            r#","constraints":[["zone","UNIQUE"]],"cpus":9"#,
            plenty(),
            Err(vec!["UnfulfilledConstraint", "InsufficientCpus"]),
        ),
        (
            "",
            [plenty(), vec![scalar("gpus", "*", 1.0)]].concat(),
            Err(vec!["DeclinedScarceResources"]),
        ),
    ] {
        let app = with(extra);
        let mut state = OfferState::new(offer(resources), &Config::default(), None, Time::EPOCH);
        let taken = state.take(&app, &Placed::new(&app), &Config::default(), 7);
        let shown = taken.map(|taken| {
            let show = |one: &Resource| {
                let range = |range: &value::Range| range.end - range.begin + 1;
                let count = one
                    .ranges
                    .as_ref()
                    .map(|ranges| ranges.range.iter().map(range).sum::<u64>().to_string());
                let amount =
                    count.or_else(|| one.scalar.as_ref().map(|scalar| scalar.value.to_string()));
                let role = one
                    .reservations
                    .last()
                    .map_or("*", |reservation| reservation.role());
                format!("{} {} {role}", one.name, amount.unwrap_or_default())
            };
            taken.resources.iter().map(show).collect::<Vec<_>>()
        });
        let want = want.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(shown.map_err(super::Reasons::names), want, "{extra}");
    }
}

#[test]
fn an_offer_is_used_until_nothing_is_left_and_no_port_twice() {
    let app = with("");
    let resources = vec![
        scalar("cpus", "*", 3.5),
        scalar("mem", "*", 100.0),
        ports(100, 102),
    ];
    let mut state = OfferState::new(offer(resources), &Config::default(), None, Time::EPOCH);
    let mut seen = std::collections::BTreeSet::new();
    for random in [5, 5, 5] {
        let taken = state
            .take(&app, &Placed::new(&app), &Config::default(), random)
            .expect("there is enough");
        assert!(
            taken.ports.iter().all(|port| seen.insert(*port)),
            "{:?}",
            taken.ports
        );
    }
    let refused = state
        .take(&app, &Placed::new(&app), &Config::default(), 5)
        .expect_err("nothing is left");
    assert_eq!(refused.names(), ["InsufficientCpus", "InsufficientPorts"]);
}

#[test]
fn maintenance_refuses_from_its_beginning_until_its_end() {
    let app = with("");
    let window = |start: i64, length: Option<i64>| tepui_proto::mesos::Unavailability {
        start: tepui_proto::mesos::TimeInfo { nanoseconds: start },
        duration: length.map(|nanoseconds| tepui_proto::mesos::DurationInfo { nanoseconds }),
    };
    for (start, length, refused) in [
        (50, Some(60), true),
        (101, None, false),
        (50, Some(50), false),
        (50, None, true),
    ] {
        let mut offer = offer(vec![
            scalar("cpus", "*", 3.5),
            scalar("mem", "*", 100.0),
            ports(100, 102),
        ]);
        offer.unavailability = Some(window(start, length));
        let mut state = OfferState::new(offer, &Config::default(), None, Time::from_nanos(100));
        let taken = state.take(&app, &Placed::new(&app), &Config::default(), 0);
        assert_eq!(taken.is_err(), refused, "{start} {length:?}");
    }
}

#[test]
fn constraints_judge_a_value_by_what_is_placed() {
    let agent = |rack: Option<&str>| Agent {
        host: "h".into(),
        id: "a".into(),
        region: None,
        zone: None,
        attributes: rack
            .map(|rack| ("rack".to_owned(), rack.into()))
            .into_iter()
            .collect(),
    };
    // Placed instances by rack, the rack offered, the answer.
    for (constraint, placed, value, want) in [
        (r#"["rack","UNIQUE"]"#, "a", Some("a"), false),
        (r#"["rack","UNIQUE"]"#, "a", Some("b"), true),
        (r#"["rack","UNIQUE"]"#, "", None, false),
        (r#"["rack","CLUSTER","a"]"#, "", Some("b"), false),
        (r#"["rack","CLUSTER","a"]"#, "", Some("a"), true),
        (r#"["rack","CLUSTER"]"#, "", Some("b"), true),
        (r#"["rack","CLUSTER"]"#, "aa", Some("b"), false),
        (r#"["rack","CLUSTER"]"#, "aa", Some("a"), true),
        (r#"["rack","GROUP_BY"]"#, "a", Some("b"), true),
        (r#"["rack","GROUP_BY"]"#, "ab", Some("a"), true),
        (r#"["rack","GROUP_BY"]"#, "aab", Some("a"), false),
        // Of the app's seven instances 2 or 3 on each of 3 racks.
        (r#"["rack","GROUP_BY","3"]"#, "", Some("a"), true),
        (r#"["rack","GROUP_BY","3"]"#, "a", Some("a"), true),
        (r#"["rack","GROUP_BY","3"]"#, "aa", Some("a"), true),
        (r#"["rack","GROUP_BY","3"]"#, "aaa", Some("a"), false),
        (r#"["rack","GROUP_BY","3"]"#, "aaabb", Some("b"), false),
        (r#"["rack","GROUP_BY","3"]"#, "aaabb", Some("c"), true),
        (r#"["rack","GROUP_BY","3"]"#, "abc", Some("d"), false),
        (r#"["rack","GROUP_BY","3"]"#, "abcd", Some("d"), true),
        (r#"["rack","GROUP_BY","9"]"#, "a", Some("a"), false),
        (r#"["rack","GROUP_BY","9"]"#, "abcdef", Some("g"), true),
        (r#"["rack","GROUP_BY","0"]"#, "ab", Some("a"), true),
        (r#"["rack","GROUP_BY",""]"#, "aab", Some("a"), false),
        (r#"["rack","GROUP_BY","3"]"#, "", None, false),
        (r#"["rack","MAX_PER","2"]"#, "a", Some("a"), true),
        (r#"["rack","MAX_PER","2"]"#, "aa", Some("a"), false),
        (r#"["rack","LIKE","a|b"]"#, "", Some("ab"), false),
        (r#"["rack","LIKE","a|b"]"#, "", Some("b"), true),
        (r#"["rack","LIKE",".*"]"#, "", None, false),
        (r#"["rack","UNLIKE","a.*"]"#, "", Some("ab"), false),
        (r#"["rack","UNLIKE","a.*"]"#, "", None, true),
        (r#"["rack","IS","1.50"]"#, "", Some("1.5"), true),
        (r#"["rack","IS","x"]"#, "", Some("y"), false),
    ] {
        let app = with(&format!(r#","instances":7,"constraints":[{constraint}]"#));
        let mut counts = Placed::new(&app);
        for rack in placed.chars() {
            let agent = agent(Some(&rack.to_string()));
            counts.change(&app, &agent, true, Counted::ForAll);
        }
        // One that came and went leaves no trace.
        counts.change(&app, &agent(Some("gone")), true, Counted::ForAll);
        counts.change(&app, &agent(Some("gone")), false, Counted::ForAll);
        let got = counts.admit(&app, &agent(value));
        assert_eq!(got, want, "{constraint} {placed:?} {value:?}");
    }
}

#[test]
fn what_was_given_up_and_what_is_replaced_keep_all_but_their_shares() {
    let agent = |rack: &str| Agent {
        host: "h".into(),
        id: "a".into(),
        region: None,
        zone: None,
        attributes: [("rack".to_owned(), rack.into())].into(),
    };
    for (constraints, want) in [
        // None is left of the share of one: rack b may be the other one.
        (r#"["rack","GROUP_BY","1"]"#, [true, true]),
        (r#"["rack","UNIQUE"]"#, [false, true]),
        (r#"["rack","CLUSTER"]"#, [true, false]),
        (r#"["rack","MAX_PER","1"]"#, [false, true]),
        (
            r#"["rack","UNIQUE"],["rack","GROUP_BY","1"]"#,
            [false, true],
        ),
    ] {
        let app = with(&format!(r#","constraints":[{constraints}]"#));
        let mut given_up = Placed::new(&app);
        given_up.change(&app, &agent("a"), true, Counted::NotForShares);
        let mut replaced = Placed::new(&app);
        replaced.change(&app, &agent("a"), true, Counted::ForAll);
        replaced.change(&app, &agent("a"), false, Counted::OnlyForShares);
        for placed in [given_up, replaced] {
            let got = ["a", "b"].map(|rack| placed.admit(&app, &agent(rack)));
            assert_eq!(got, want, "{constraints}");
        }
    }
}

#[test]
fn other_regions_are_for_apps_that_speak_of_regions() {
    let there = |region: Option<&str>| {
        let resources = vec![
            scalar("cpus", "*", 3.5),
            scalar("mem", "*", 100.0),
            ports(100, 102),
        ];
        let fault_domain = |region: &str| domain_info::FaultDomain {
            region: domain_info::fault_domain::RegionInfo {
                name: region.to_owned(),
            },
            zone: domain_info::fault_domain::ZoneInfo {
                name: "z".to_owned(),
            },
        };
        Offer {
            domain: region.map(|region| DomainInfo {
                fault_domain: Some(fault_domain(region)),
            }),
            ..offer(resources)
        }
    };
    // What the app says, the agent's region, the master's, whether it is launched.
    for (extra, region, home, want) in [
        ("", Some("eu"), Some("eu"), true),
        ("", Some("us"), Some("eu"), false),
        ("", None, Some("eu"), true),
        ("", Some("us"), None, true),
        (
            r#","constraints":[["hostname","UNIQUE"]]"#,
            Some("us"),
            Some("eu"),
            false,
        ),
        (
            r#","constraints":[["@region","IS","us"]]"#,
            Some("us"),
            Some("eu"),
            true,
        ),
        (
            r#","constraints":[["@zone","GROUP_BY"]]"#,
            Some("us"),
            Some("eu"),
            true,
        ),
    ] {
        let app = with(extra);
        let config = Config::default();
        let mut state = OfferState::new(there(region), &config, home, Time::EPOCH);
        let lacks = state.lacks(&app, &Placed::new(&app), &config);
        assert_eq!(
            lacks.is_empty(),
            want,
            "{extra} {region:?} {home:?}: {lacks:?}"
        );
        let taken = state.take(&app, &Placed::new(&app), &config, 0);
        assert_eq!(taken.is_ok(), want, "{extra} {region:?} {home:?}");
    }
}

#[test]
fn gpus_are_kept_as_the_label_says_or_else_the_flag() {
    for (restricted, label, want) in [
        (true, None, false),
        (false, None, true),
        (true, Some("unrestricted"), true),
        (false, Some("restricted"), false),
    ] {
        let config = Config {
            gpus_restricted: restricted,
            ..Config::default()
        };
        let app = label.map_or_else(
            || with(""),
            |label| {
                with(&format!(
                    r#","labels":{{"GPU_SCHEDULING_BEHAVIOR":"{label}"}}"#
                ))
            },
        );
        let resources = vec![
            scalar("cpus", "*", 3.5),
            scalar("mem", "*", 100.0),
            ports(100, 102),
            scalar("gpus", "*", 1.0),
        ];
        let mut state = OfferState::new(offer(resources), &config, None, Time::EPOCH);
        let taken = state.take(&app, &Placed::new(&app), &config, 0);
        assert_eq!(taken.is_ok(), want, "{restricted} {label:?}");
    }
}
