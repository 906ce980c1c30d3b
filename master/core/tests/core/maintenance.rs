//! Maintenance: schedules, machines that go down and up, and frameworks that are asked to leave.

use std::time::Duration;

use tepui_master_core::{
    AgentRemoval, Change, Config, MaintenanceSnapshot, OperatorCall, Registry, TaskList,
};
use tepui_model::TaskState;
use tepui_proto::mesos::MachineId;
use tepui_proto::tepui::v1::agent_message::Message;

use crate::cluster::{Cluster, Scheduler, Slave, config, registration};
use crate::words::json;

const AGENT: &str = "cpus:4;mem:1000";
/// The machine of all agents here: as they registered, and where their links come from.
const MACHINE: &str = r#"{"hostname":"host","ip":"127.0.0.1"}"#;
const OTHER: &str = r#"{"hostname":"other","ip":"10.0.0.9"}"#;

fn schedule(machines: &[&str]) -> OperatorCall {
    let windows: Vec<String> = machines
        .iter()
        .map(|machine| {
            format!(
                r#"{{"machine_ids":[{machine}],"unavailability":{{"start":{{"nanoseconds":5}}}}}}"#
            )
        })
        .collect();
    schedule_json(&format!(r#"{{"windows":[{}]}}"#, windows.join(",")))
}

fn schedule_json(text: &str) -> OperatorCall {
    OperatorCall::UpdateMaintenanceSchedule {
        schedule: json(text),
    }
}

fn machines(list: &[&str]) -> Vec<MachineId> {
    list.iter().map(|machine| json(machine)).collect()
}

fn down(list: &[&str]) -> OperatorCall {
    OperatorCall::StartMaintenance {
        machines: machines(list),
    }
}

fn up(list: &[&str]) -> OperatorCall {
    OperatorCall::StopMaintenance {
        machines: machines(list),
    }
}

fn with_task() -> (Cluster, Scheduler, Slave) {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.update(&slave, &scheduler, "t", TaskState::Running, 1);
    cluster.lines(&scheduler);
    cluster.told(slave.link);
    (cluster, scheduler, slave)
}

fn shown(cluster: &Cluster) -> MaintenanceSnapshot {
    let last = cluster
        .changes
        .iter()
        .rev()
        .find_map(|change| match change {
            Change::MaintenanceChanged(snapshot) => Some(MaintenanceSnapshot::clone(snapshot)),
            _ => None,
        });
    last.unwrap_or_default()
}

/// Answers of frameworks on draining machines: 2 is ACCEPT, 3 DECLINE.
fn answers(cluster: &Cluster) -> Vec<i32> {
    let machines = shown(cluster).status.draining_machines;
    let statuses = machines.iter().flat_map(|machine| &machine.statuses);
    statuses.map(|status| status.status).collect()
}

#[test]
fn a_schedule_is_checked_whole() {
    let window = |machines: &str, rest: &str| {
        format!(
            r#"{{"windows":[{{"machine_ids":[{OTHER}],"unavailability":{{"start":{{"nanoseconds":5}}}}}},{{"machine_ids":[{machines}],"unavailability":{{"start":{{"nanoseconds":5}}{rest}}}}}]}}"#
        )
    };
    let rows: [(String, &str); 11] = [
        (window(MACHINE, ""), "200"),
        (window(MACHINE, r#","duration":{"nanoseconds":0}"#), "200"),
        (window(r#"{"hostname":"only"}"#, ""), "200"),
        (window(r#"{"ip":"10.0.0.1"}"#, ""), "200"),
        ("{}".to_owned(), "200"),
        (
            window("", ""),
            "400 The list of machines in a maintenance window is empty",
        ),
        (
            window(r#"{"hostname":"","ip":""}"#, ""),
            "400 Both 'hostname' and 'ip'",
        ),
        (
            window(r#"{"hostname":"h","ip":"10.0.0"}"#, ""),
            "400 '10.0.0' is no IPv4 address",
        ),
        (
            window(&format!("{MACHINE},{MACHINE}"), ""),
            "400 Machine 'host' (127.0.0.1) appears more than once",
        ),
        (
            window(r#"{"hostname":"OTHER","ip":"10.0.0.9"}"#, ""),
            "400 Machine 'OTHER' (10.0.0.9) appears more than once",
        ),
        (
            window(MACHINE, r#","duration":{"nanoseconds":-1}"#),
            "400 Unavailability 'duration' is negative",
        ),
    ];
    for (text, expected) in rows {
        let (mut cluster, scheduler, _) = with_task();
        let before = cluster.registry.clone();
        let answer = cluster.operate(schedule_json(&text));
        assert!(answer.starts_with(expected), "{text}: {answer}");
        if expected != "200" {
            assert_eq!(cluster.registry, before, "{text}");
            assert_eq!(cluster.lines(&scheduler), [""; 0], "{text}");
        }
    }
}

#[test]
fn machines_go_down_and_up_in_order() {
    type Step = (OperatorCall, &'static str);
    let unplanned = r#"{"hostname":"third","ip":"10.0.0.3"}"#;
    let steps: Vec<Step> = vec![
        (
            down(&[MACHINE]),
            "400 Machine 'host' (127.0.0.1) is not part of a maintenance schedule",
        ),
        (
            up(&[MACHINE]),
            "400 Machine 'host' (127.0.0.1) is not part of a maintenance schedule",
        ),
        (schedule(&[MACHINE, OTHER]), "200"),
        (down(&[]), "400 The list of machines is empty"),
        (down(&["{}"]), "400 Both 'hostname' and 'ip'"),
        (
            down(&[OTHER, OTHER]),
            "400 Machine 'other' (10.0.0.9) appears more than once",
        ),
        (
            down(&[OTHER, unplanned]),
            "400 Machine 'third' (10.0.0.3) is not part",
        ),
        (up(&[OTHER]), "400 Machine 'other' (10.0.0.9) is not down"),
        (down(&[OTHER]), "200"),
        (
            down(&[OTHER]),
            "400 Machine 'other' (10.0.0.9) is down already",
        ),
        (
            schedule(&[MACHINE]),
            "400 Machine 'other' (10.0.0.9) is down and cannot be removed",
        ),
        (schedule(&[OTHER]), "200"),
        (up(&[OTHER]), "200"),
        (schedule(&[]), "200"),
    ];
    let mut cluster = Cluster::new();
    for (at, (call, expected)) in steps.into_iter().enumerate() {
        let before = cluster.registry.clone();
        let answer = cluster.operate(call);
        assert!(answer.starts_with(expected), "{at}: {answer}");
        assert_eq!(
            cluster.registry != before,
            expected == "200" && at != 13,
            "{at}"
        );
        let view = shown(&cluster);
        let names = |ids: Vec<&MachineId>| -> Vec<String> {
            ids.iter().map(|id| id.hostname().to_owned()).collect()
        };
        let status = &view.status;
        let draining = names(status.draining_machines.iter().map(|m| &m.id).collect());
        let downs = names(status.down_machines.iter().collect());
        match at {
            2 => assert_eq!(
                (draining, downs),
                (vec!["host".to_owned(), "other".to_owned()], vec![])
            ),
            8 | 9 => assert_eq!(
                (draining, downs),
                (vec!["host".to_owned()], vec!["other".to_owned()])
            ),
            11 => assert_eq!((draining, downs), (vec![], vec!["other".to_owned()])),
            12 => assert_eq!(view.schedule.windows, []),
            _ => {}
        }
        // A new leader says the same.
        let next = Cluster::with(config(), cluster.registry.clone());
        assert_eq!(shown(&next).schedule, view.schedule, "{at}");
        assert_eq!(
            shown(&next).status.down_machines,
            view.status.down_machines,
            "{at}"
        );
    }
}

#[test]
fn frameworks_are_asked_to_leave() {
    let (mut cluster, scheduler, slave) = with_task();
    let idle = cluster.scheduler("idle");
    assert_eq!(cluster.operate(schedule(&[MACHINE])), "200");
    let events = cluster.take_events(&scheduler);
    let lines: Vec<String> = events.iter().map(crate::words::line).collect();
    assert_eq!(lines[0], "RESCIND m-O1");
    assert!(
        lines.contains(&"INVERSE_OFFERS m-S0".to_owned()),
        "{lines:?}"
    );
    let inverse = events
        .iter()
        .find_map(|event| event.inverse_offers.as_ref());
    let inverse = inverse.unwrap().inverse_offers[0].clone();
    assert_eq!(inverse.unavailability.start.nanoseconds, 5);
    assert!(inverse.resources.is_empty());
    // Whoever is offered the rest sees the window, and is asked as well.
    let offers = events.into_iter().chain(cluster.take_events(&idle));
    let offers: Vec<_> = offers
        .filter_map(|event| event.offers)
        .flat_map(|o| o.offers)
        .collect();
    assert_eq!(offers.len(), 1);
    assert_eq!(offers[0].unavailability.unwrap().start.nanoseconds, 5);
    // Answers are recorded, and asked for again after their filter.
    let answer = |kind: &str, field: &str, id: &str, seconds: f64| {
        format!(
            r#"{{"type":"{kind}","{field}":{{"inverse_offer_ids":[{{"value":"{id}"}}],"filters":{{"refuse_seconds":{seconds}}}}}}}"#
        )
    };
    let decline = answer(
        "DECLINE_INVERSE_OFFERS",
        "decline_inverse_offers",
        &inverse.id.value,
        20.0,
    );
    cluster.call(&scheduler, &decline);
    assert_eq!(answers(&cluster), [3]);
    // Stale by now, and so without effect; so are ids of others.
    let stale = answer(
        "ACCEPT_INVERSE_OFFERS",
        "accept_inverse_offers",
        &inverse.id.value,
        1.0,
    );
    cluster.call(&scheduler, &stale);
    cluster.call(&idle, &stale);
    assert_eq!(answers(&cluster), [3]);
    cluster.lines(&scheduler);
    cluster.pass(Duration::from_secs(19));
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
    cluster.pass(Duration::from_secs(1));
    let events = cluster.take_events(&scheduler);
    let again = events
        .iter()
        .find_map(|event| event.inverse_offers.as_ref());
    let again = again.unwrap().inverse_offers[0].id.value.clone();
    let accept = answer(
        "ACCEPT_INVERSE_OFFERS",
        "accept_inverse_offers",
        &again,
        0.0,
    );
    cluster.call(&scheduler, &accept);
    assert_eq!(answers(&cluster), [2]);
    // Without an answer the question is void after the offer time-out, and comes anew.
    cluster.pass(Duration::from_secs(1));
    assert!(
        cluster
            .lines(&scheduler)
            .contains(&"INVERSE_OFFERS m-S0".to_owned())
    );
    cluster.pass(Duration::from_secs(300));
    let lines = cluster.lines(&scheduler);
    let at = lines
        .iter()
        .position(|line| line.starts_with("RESCIND_INVERSE_OFFER"));
    assert!(
        lines[at.unwrap()..].contains(&"INVERSE_OFFERS m-S0".to_owned()),
        "{lines:?}"
    );
    // Nothing left there: nothing to ask.
    cluster.call(&scheduler, r#"{"type":"SUPPRESS"}"#);
    cluster.finish(&slave, &scheduler, "t");
    assert!(
        cluster
            .lines(&scheduler)
            .iter()
            .any(|line| line.starts_with("RESCIND_INVERSE_OFFER"))
    );
}

#[test]
fn who_has_declined_is_asked_on_with_nothing_left_until_it_accepts() {
    let (mut cluster, scheduler, slave) = with_task();
    // What is free is offered to this one.
    let _idle = cluster.scheduler("idle");
    assert_eq!(cluster.operate(schedule(&[MACHINE])), "200");
    let asked = |cluster: &mut Cluster| {
        let events = cluster.take_events(&scheduler);
        let mut offers = events
            .iter()
            .filter_map(|event| event.inverse_offers.as_ref());
        offers
            .next()
            .map(|one| one.inverse_offers[0].id.value.clone())
    };
    let answer = |cluster: &mut Cluster, verb: &str, id: &str| {
        let (kind, field) = (
            format!("{verb}_INVERSE_OFFERS"),
            format!("{}_inverse_offers", verb.to_lowercase()),
        );
        let call = format!(
            r#"{{"type":"{kind}","{field}":{{"inverse_offer_ids":[{{"value":"{id}"}}],"filters":{{"refuse_seconds":10}}}}}}"#
        );
        cluster.call(&scheduler, &call);
    };
    let id = asked(&mut cluster).unwrap();
    answer(&mut cluster, "DECLINE", &id);
    cluster.call(&scheduler, r#"{"type":"SUPPRESS"}"#);
    cluster.finish(&slave, &scheduler, "t");
    assert_eq!((asked(&mut cluster), answers(&cluster)), (None, vec![3]));
    for verb in ["DECLINE", "ACCEPT"] {
        cluster.pass(Duration::from_secs(10));
        let id = asked(&mut cluster).unwrap();
        answer(&mut cluster, verb, &id);
    }
    assert_eq!(answers(&cluster), [2]);
    cluster.pass(Duration::from_secs(300));
    assert_eq!(asked(&mut cluster), None, "nothing is there, and it agrees");
}

#[test]
fn whoever_comes_back_is_asked_again() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.operate(schedule(&[MACHINE]));
    cluster.lines(&scheduler);
    let outstanding = |cluster: &Cluster| {
        let changes = cluster.changes.iter();
        changes.fold(0, |count, change| match change {
            Change::InverseOfferAdded(_) => count + 1,
            Change::InverseOfferRemoved(_) => count - 1,
            _ => count,
        })
    };
    assert_eq!(outstanding(&cluster), 1);
    let back = cluster.resubscribe(&scheduler);
    assert!(
        cluster
            .lines(&back)
            .contains(&"INVERSE_OFFERS m-S0".to_owned())
    );
    assert_eq!(outstanding(&cluster), 1);
    cluster.break_link(&slave);
    let lines = cluster.lines(&back);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("RESCIND_INVERSE_OFFER")),
        "{lines:?}"
    );
    assert_eq!(outstanding(&cluster), 0);
    let task = crate::cluster::running(&slave, &back, "t", TaskState::Running);
    cluster.return_agent(&slave, AGENT, vec![task]);
    assert!(
        cluster
            .lines(&back)
            .contains(&"INVERSE_OFFERS m-S0".to_owned())
    );
    // The window goes: so do question and answers, and offers come without it.
    cluster.operate(schedule(&[]));
    let events = cluster.take_events(&back);
    assert_eq!(outstanding(&cluster), 0);
    let offers: Vec<_> = events
        .into_iter()
        .filter_map(|event| event.offers)
        .flat_map(|o| o.offers)
        .collect();
    assert_eq!(offers.last().unwrap().unavailability, None);
    // Gone frameworks leave nothing behind.
    cluster.operate(schedule(&[MACHINE]));
    assert_eq!(outstanding(&cluster), 1);
    cluster.call(&back, r#"{"type":"TEARDOWN"}"#);
    assert_eq!(outstanding(&cluster), 0);
}

#[test]
fn a_machine_that_goes_down_takes_its_agents_along() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.operate(schedule(&[MACHINE]));
    cluster.lines(&scheduler);
    assert_eq!(cluster.operate(down(&[MACHINE])), "200");
    assert_eq!(
        cluster.told(slave.link),
        ["Shutdown: Machine is down for maintenance"]
    );
    assert!(cluster.registry.agents.is_empty());
    assert!(cluster.changes.iter().any(|change| matches!(
        change,
        Change::AgentRemoved {
            cause: AgentRemoval::Maintenance,
            ..
        }
    )));
    assert_eq!(cluster.listed(TaskList::Completed), ["t TASK_LOST"]);
    let lines = cluster.lines(&scheduler);
    let lost = "UPDATE t TASK_LOST REASON_SLAVE_REMOVED";
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("UPDATE t TASK_LOST")),
        "{lost}: {lines:?}"
    );
    assert!(lines.contains(&"FAILURE m-S0".to_owned()));
    // It may not come back, nor anybody new from there, also not to a new leader.
    let mut next = Cluster::with(config(), cluster.registry.clone());
    for cluster in [&mut cluster, &mut next] {
        for id in [Some("m-S0"), None] {
            let link = cluster.open_link();
            let register = registration(AGENT, id);
            cluster.tell(link, Message::Register(Box::new(register)));
            assert_eq!(
                cluster.told(link),
                ["Shutdown: Machine is down for maintenance"]
            );
        }
    }
    assert_eq!(cluster.operate(up(&[MACHINE])), "200");
    let back = cluster.return_agent(&slave, AGENT, vec![]);
    assert_eq!(cluster.told(back.link), ["Registered m-S0"]);
    let offer = cluster.offers(&scheduler);
    assert_eq!(offer.last().unwrap().unavailability, None);
}

#[test]
fn both_names_have_to_be_the_agents() {
    for (machine, meant) in [
        (MACHINE, true),
        (r#"{"hostname":"HOST","ip":"127.0.0.1"}"#, true),
        (r#"{"hostname":"host","ip":"127.0.0.2"}"#, false),
        (r#"{"hostname":"host"}"#, false),
        (r#"{"ip":"127.0.0.1"}"#, false),
    ] {
        let no_time_out = Config {
            offer_timeout: None,
            ..config()
        };
        let mut cluster = Cluster::with(no_time_out, Registry::default());
        let scheduler = cluster.scheduler("a");
        cluster.agent(AGENT);
        cluster.lines(&scheduler);
        cluster.operate(schedule(&[machine]));
        let lines = cluster.lines(&scheduler);
        assert_eq!(
            lines.contains(&"INVERSE_OFFERS m-S0".to_owned()),
            meant,
            "{machine}: {lines:?}"
        );
        // Agents that come later are meant, too.
        let late = cluster.agent(AGENT);
        let told = format!("INVERSE_OFFERS {}", late.id);
        assert_eq!(
            cluster.lines(&scheduler).contains(&told),
            meant,
            "{machine}"
        );
    }
}
