//! Weights and quota: what operators may set, what they are refused, and what becomes of offers.

use tepui_master_core::{Change, Config, Input, OperatorCall, Registry, ReplyToken, StoreError};
use tepui_proto::mesos::WeightInfo;
use tepui_proto::mesos::quota::{QuotaConfig, QuotaRequest};

use crate::cluster::{Cluster, Scheduler, Slave, config};
use crate::words::json;

const AGENT: &str = "cpus:4;mem:1000";

fn weights(list: &[(&str, f64)]) -> OperatorCall {
    let weight = |(role, weight): &(&str, f64)| WeightInfo {
        role: Some((*role).to_owned()),
        weight: *weight,
    };
    OperatorCall::UpdateWeights {
        weights: list.iter().map(weight).collect(),
    }
}

fn amounts(text: &str) -> String {
    let each = text.split(';').filter(|item| !item.is_empty()).map(|item| {
        let (name, value) = item.split_once(':').unwrap();
        format!(r#""{name}":{{"value":{value}}}"#)
    });
    each.collect::<Vec<_>>().join(",")
}

fn quota_config(role: &str, guarantees: &str, limits: &str) -> QuotaConfig {
    json(&format!(
        r#"{{"role":"{role}","guarantees":{{{}}},"limits":{{{}}}}}"#,
        amounts(guarantees),
        amounts(limits)
    ))
}

fn quotas(list: &[(&str, &str, &str)], force: bool) -> OperatorCall {
    let configs = list
        .iter()
        .map(|(role, guarantees, limits)| quota_config(role, guarantees, limits));
    OperatorCall::UpdateQuota {
        configs: configs.collect(),
        force,
    }
}

fn set_quota(text: &str) -> OperatorCall {
    let request: QuotaRequest = json(text);
    OperatorCall::SetQuota { request }
}

fn in_role(cluster: &mut Cluster, role: &str) -> Scheduler {
    cluster.subscribe(&format!(
        r#"{{"user":"u","name":"{role}","failover_timeout":3600,"roles":["{role}"],"capabilities":[{{"type":"MULTI_ROLE"}}]}}"#
    ))
}

/// Role `a` has a framework whose task uses 1 cpu and 100 MiB of 4 cpus and 1000 MiB, and is offered the rest.
fn busy() -> (Cluster, Scheduler, Slave) {
    let mut cluster = Cluster::new();
    let scheduler = in_role(&mut cluster, "a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.lines(&scheduler);
    (cluster, scheduler, slave)
}

#[test]
fn weights_are_checked_whole() {
    let long = "r".repeat(500);
    let cases: [(&[(&str, f64)], &str); 9] = [
        (&[("a", 2.0), ("b", 0.5)], "200"),
        (&[(" a ", 2.0)], "200"),
        (&[("a/b", 2.0)], "200"),
        (&[], "200"),
        (
            &[("b", 1.0), ("a", 0.0)],
            "400 Invalid weight '0' for role 'a'",
        ),
        (&[("b", 1.0), ("a", -1.0)], "400 Invalid weight '-1'"),
        (&[("b", 1.0), ("a", f64::NAN)], "400 Invalid weight 'NaN'"),
        (&[("b", 1.0), ("a/..", 1.0)], "400 "),
        (&[("b", 1.0), ("b", 2.0)], "400 Role 'b' is named twice"),
    ];
    for (list, expected) in cases {
        let (mut cluster, scheduler, _) = busy();
        let before = cluster.registry.clone();
        let answer = cluster.operate(weights(list));
        assert!(answer.starts_with(expected), "{list:?}: {answer}");
        if !expected.starts_with("200") {
            assert_eq!(cluster.registry, before, "{list:?}");
            assert_eq!(cluster.lines(&scheduler), [""; 0], "{list:?}");
        }
    }
    let mut cluster = Cluster::new();
    assert!(
        cluster
            .operate(weights(&[(&long, 1.0)]))
            .starts_with("400 ")
    );
    let nameless = OperatorCall::UpdateWeights {
        weights: vec![WeightInfo::default()],
    };
    assert_eq!(cluster.operate(nameless), "400 A weight names no role");
    let only = Config {
        roles: Some(vec!["a".to_owned()]),
        ..config()
    };
    let mut cluster = Cluster::with(only, Registry::default());
    assert_eq!(cluster.operate(weights(&[("a", 2.0)])), "200");
    assert_eq!(
        cluster.operate(weights(&[("b", 2.0)])),
        "400 Unknown role 'b'"
    );
}

#[test]
fn weights_end_offers_if_somebody_is_concerned() {
    let cases: [(&str, bool); 3] = [("a", true), ("b", false), ("a/b", false)];
    for (role, ends) in cases {
        let (mut cluster, scheduler, _) = busy();
        assert_eq!(cluster.operate(weights(&[(role, 2.0)])), "200");
        let lines = cluster.lines(&scheduler);
        assert_eq!(
            lines.first().is_some_and(|line| line == "RESCIND m-O1"),
            ends,
            "{role}: {lines:?}"
        );
    }
    // The role above a framework's counts, too.
    let mut cluster = Cluster::new();
    let scheduler = in_role(&mut cluster, "a/b");
    cluster.agent(AGENT);
    cluster.lines(&scheduler);
    cluster.operate(weights(&[("a", 3.0)]));
    assert_eq!(cluster.lines(&scheduler)[0], "RESCIND m-O0");
}

#[test]
fn quota_is_checked_whole() {
    type Row = (
        &'static [(&'static str, &'static str, &'static str)],
        bool,
        &'static str,
    );
    let cases: [Row; 16] = [
        (&[("a", "cpus:1", "cpus:2")], false, "200"),
        (&[("b", "cpus:4;mem:1000", "")], false, "200"),
        (&[("b", "", "cpus:0")], false, "200"),
        (&[("*", "cpus:1", "")], false, "200"),
        (&[], false, "200"),
        (
            &[("b", "cpus:1", ""), ("a/b", "cpus:1", "")],
            true,
            "400 Role 'a/b' lies below another",
        ),
        (
            &[("b", "cpus:1", ""), ("b", "cpus:2", "")],
            true,
            "400 Role 'b' is named twice",
        ),
        (
            &[("b", "cpus:-1", "")],
            true,
            "400 Invalid quota for role 'b': 'cpus' of -1",
        ),
        (
            &[("b", "", "cpus:0.0001")],
            true,
            "400 Invalid quota for role 'b': 'cpus' of 0.0001 is less",
        ),
        (
            &[("b", "cpus:1e15", "")],
            true,
            "400 Invalid quota for role 'b': 'cpus' of",
        ),
        (
            &[("b", "cpus:3", "cpus:2")],
            true,
            "400 Invalid quota for role 'b': the guarantee of 3",
        ),
        (
            &[("b", "cpus:5", "")],
            false,
            "400 All guarantees together would be cpus:5",
        ),
        (
            &[("b", "cpus:2", ""), ("c", "cpus:3", "")],
            false,
            "400 All guarantees together",
        ),
        (&[("b", "cpus:5", "")], true, "200"),
        (
            &[("b", "cpus:1", ""), ("a", "", "cpus:0.5")],
            false,
            "400 The limit of 0.5 cpus for role 'a' lies below its present consumption of 1",
        ),
        (&[("a", "", "cpus:0.5")], true, "200"),
    ];
    for (list, force, expected) in cases {
        let (mut cluster, scheduler, _) = busy();
        let before = cluster.registry.clone();
        let answer = cluster.operate(quotas(list, force));
        assert!(answer.starts_with(expected), "{list:?}: {answer}");
        if !expected.starts_with("200") {
            assert_eq!(cluster.registry, before, "{list:?}");
            assert_eq!(cluster.lines(&scheduler), [""; 0], "{list:?}");
        }
    }
}

#[test]
fn the_old_calls_set_and_remove() {
    let cpus = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":2}}"#;
    let guarantee = |items: &str| format!(r#"{{"role":"b","guarantee":[{items}]}}"#);
    let cases: [(String, &str); 8] = [
        (guarantee(cpus), "200"),
        (
            guarantee(""),
            "400 Invalid quota for role 'b': it guarantees nothing",
        ),
        (
            guarantee(&format!("{cpus},{cpus}")),
            "400 Invalid quota for role 'b': 'cpus' is named twice",
        ),
        (
            guarantee(r#"{"name":"ports","type":"RANGES","ranges":{"range":[]}}"#),
            "400 Invalid quota for role 'b': 'ports' is no scalar",
        ),
        (
            guarantee(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"x"}"#),
            "400 Invalid quota for role 'b': 'cpus' must not be reserved",
        ),
        (
            guarantee(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":9}}"#),
            "409 All guarantees together would be cpus:9",
        ),
        (
            format!(r#"{{"guarantee":[{cpus}]}}"#),
            "400 The quota request names no role",
        ),
        (
            format!(r#"{{"role":"b/c","guarantee":[{cpus}]}}"#),
            "400 Role 'b/c' lies below",
        ),
    ];
    for (request, expected) in cases {
        let (mut cluster, ..) = busy();
        let before = cluster.registry.clone();
        let answer = cluster.operate(set_quota(&request));
        assert!(answer.starts_with(expected), "{request}: {answer}");
        assert_eq!(cluster.registry == before, expected != "200", "{request}");
    }
    let (mut cluster, ..) = busy();
    let remove = |role: &str| OperatorCall::RemoveQuota {
        role: role.to_owned(),
    };
    assert!(
        cluster
            .operate(remove("b"))
            .starts_with("400 Role 'b' has no quota")
    );
    assert_eq!(cluster.operate(set_quota(&guarantee(cpus))), "200");
    assert_eq!(
        cluster.operate(set_quota(&guarantee(cpus))),
        "400 Quota for role 'b' is set already; remove it first"
    );
    let forced = guarantee(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":9}}"#);
    assert_eq!(cluster.operate(remove("b")), "200");
    assert!(cluster.registry.quotas.is_empty());
    let forced = forced.replacen('{', r#"{"force":true,"#, 1);
    assert_eq!(cluster.operate(set_quota(&forced)), "200");
}

#[test]
fn a_limit_ends_offers_until_the_role_is_within_it() {
    let mut cluster = Cluster::new();
    let (a, b) = (in_role(&mut cluster, "a"), in_role(&mut cluster, "b"));
    for _ in 0..2 {
        cluster.agent(AGENT);
    }
    let (of_a, of_b) = (cluster.offers(&a), cluster.offers(&b));
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    // Within: nothing ends. Beyond: the role's, not the other's.
    assert_eq!(
        cluster.operate(quotas(&[("a", "", "cpus:4")], false)),
        "200"
    );
    assert_eq!((cluster.lines(&a), cluster.lines(&b)), (vec![], vec![]));
    assert_eq!(
        cluster.operate(quotas(&[("a", "", "cpus:1")], false)),
        "200"
    );
    let rescinded = format!("RESCIND {}", of_a[0].id.value);
    assert_eq!(cluster.lines(&a)[0], rescinded);
    assert!(
        !cluster
            .lines(&b)
            .iter()
            .any(|line| line.starts_with("RESCIND"))
    );
}

#[test]
fn a_guarantee_ends_offers_of_others_until_it_is_free() {
    let mut cluster = Cluster::new();
    let a = in_role(&mut cluster, "a");
    for _ in 0..3 {
        cluster.agent(AGENT);
    }
    assert_eq!(cluster.offers(&a).len(), 3);
    assert_eq!(
        cluster.operate(quotas(&[("b", "cpus:5", "")], false)),
        "200"
    );
    let lines = cluster.lines(&a);
    let ended = lines.iter().filter(|line| line.starts_with("RESCIND"));
    assert_eq!(ended.count(), 2, "{lines:?}");
    let b = in_role(&mut cluster, "b");
    let offered: f64 = cluster
        .offers(&b)
        .iter()
        .flat_map(|offer| &offer.resources)
        .filter(|resource| resource.name == "cpus")
        .map(|resource| resource.scalar.as_ref().unwrap().value)
        .sum();
    assert!(offered >= 5.0, "{offered}");
}

#[test]
fn nothing_holds_before_it_is_stored_and_decisions_take_turns() {
    let (mut cluster, scheduler, _) = busy();
    cluster.hold_stores = true;
    let tokens: Vec<ReplyToken> = [
        quotas(&[("b", "cpus:3", "")], false),
        set_quota(
            r#"{"role":"b","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}"#,
        ),
        quotas(&[("c", "cpus:3", "")], false),
        weights(&[("a", 2.0)]),
    ]
    .into_iter()
    .map(|call| {
        let token = ReplyToken(cluster.key());
        let reply = Some(token);
        cluster.send(Input::Operator { call, reply });
        token
    })
    .collect();
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
    assert!(
        !cluster
            .changes
            .iter()
            .any(|change| matches!(change, Change::QuotasChanged(_)))
    );
    for token in &tokens {
        assert_eq!(cluster.answer(*token), "no answer yet");
    }
    cluster.answer_store(Ok(()));
    // The second and third are judged by what the first has set.
    assert_eq!(cluster.answer(tokens[0]), "200");
    assert!(
        cluster
            .answer(tokens[1])
            .starts_with("400 Quota for role 'b' is set already")
    );
    assert!(
        cluster
            .answer(tokens[2])
            .starts_with("400 All guarantees together")
    );
    assert_eq!(cluster.answer(tokens[3]), "no answer yet");
    cluster.answer_store(Err(StoreError::Failed("disk full".to_owned())));
    assert_eq!(
        cluster.answer(tokens[3]),
        "503 The registry could not be written"
    );
    assert!(
        !cluster
            .changes
            .iter()
            .any(|change| matches!(change, Change::WeightsChanged(_)))
    );
    // Fenced: everybody who waits is told.
    let first = ReplyToken(cluster.key());
    let second = ReplyToken(cluster.key());
    for token in [first, second] {
        let call = weights(&[("a", 2.0)]);
        let reply = Some(token);
        cluster.send(Input::Operator { call, reply });
    }
    cluster.answer_store(Err(StoreError::Fenced("epoch 8".to_owned())));
    for token in [first, second] {
        assert_eq!(cluster.answer(token), "503 This master leads no more");
    }
}

#[test]
fn a_new_leader_has_what_was_set() {
    let (mut cluster, ..) = busy();
    cluster.operate(weights(&[("a", 2.0), ("b", 0.5)]));
    cluster.operate(quotas(
        &[("a", "cpus:1", "cpus:2;mem:500"), ("b", "mem:10", "")],
        false,
    ));
    cluster.operate(quotas(&[("b", "", "")], false));
    let start = Config {
        weights: vec![("a".to_owned(), 9.0), ("c".to_owned(), 3.0)],
        ..config()
    };
    let next = Cluster::with(start, cluster.registry.clone());
    let weights = next.changes.iter().find_map(|change| match change {
        Change::WeightsChanged(weights) => Some(weights.to_vec()),
        _ => None,
    });
    let weights: Vec<_> = weights.unwrap();
    let weights: Vec<(&str, f64)> = weights
        .iter()
        .map(|(role, weight)| (role.as_str(), *weight))
        .collect();
    // The registry overrides the start; what it does not know stays.
    assert_eq!(weights, [("a", 2.0), ("b", 0.5), ("c", 3.0)]);
    let told = |cluster: &Cluster| {
        let last = cluster
            .changes
            .iter()
            .rev()
            .find_map(|change| match change {
                Change::QuotasChanged(quotas) => Some(quotas.to_vec()),
                _ => None,
            });
        last.unwrap()
    };
    assert_eq!(told(&next), told(&cluster));
    assert_eq!(told(&next).len(), 1);
}

#[test]
fn with_quota_a_new_leader_waits_for_agents() {
    let info = |id: &str| tepui_master_core::AdmittedAgent {
        info: crate::words::registration(AGENT, Some(id)).agent,
        ..tepui_master_core::AdmittedAgent::default()
    };
    let known = |quota: bool| {
        let mut first = Cluster::new();
        if quota {
            assert_eq!(first.operate(quotas(&[("b", "", "cpus:3")], true)), "200");
        }
        let agents = ["o-S0", "o-S1", "o-S2", "o-S3", "o-S4"].map(info).to_vec();
        Cluster::with(
            config(),
            Registry {
                agents,
                ..first.registry
            },
        )
    };
    let back = |cluster: &mut Cluster, id: &str| {
        let link = cluster.open_link();
        let register = crate::words::registration(AGENT, Some(id));
        cluster.tell(
            link,
            tepui_proto::tepui::v1::agent_message::Message::Register(Box::new(register)),
        );
    };
    // Without quota there is nothing to wait for.
    let mut cluster = known(false);
    let scheduler = in_role(&mut cluster, "a");
    back(&mut cluster, "o-S0");
    assert_eq!(cluster.offers(&scheduler).len(), 1);
    // Four of five are 80 %.
    let mut cluster = known(true);
    let scheduler = in_role(&mut cluster, "a");
    for id in ["o-S0", "o-S1", "o-S2"] {
        back(&mut cluster, id);
        assert_eq!(cluster.offers(&scheduler).len(), 0, "{id}");
    }
    back(&mut cluster, "o-S3");
    assert_eq!(cluster.offers(&scheduler).len(), 4);
    // Or ten minutes.
    let mut cluster = known(true);
    let scheduler = in_role(&mut cluster, "a");
    back(&mut cluster, "o-S0");
    cluster.pass(std::time::Duration::from_secs(599));
    assert_eq!(cluster.offers(&scheduler).len(), 0);
    cluster.pass(std::time::Duration::from_secs(1));
    assert_eq!(cluster.offers(&scheduler).len(), 1);
}
