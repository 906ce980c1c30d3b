//! What comes back, what is refused, what goes.

use super::super::{
    AgentHandle, AgentOptions, Allocator, FrameworkHandle, FrameworkOptions, HierarchicalDrf,
    Holding, Recovery,
};
use super::{START, agent, allocator, framework, give_back, refuse, resources, role, run, texts};
use std::time::Duration;
use tepui_model::FrameworkId;
use tepui_model::resources::{Kind, Name, Reservation, Scalar};

#[test]
fn not_this_time_means_not_before_the_interval_unless_the_agent_gains() {
    let mut allocator = allocator();
    let agent = agent(&mut allocator, "cpus:4;mem:400");
    let first = framework(&mut allocator, "first", &["eng"]);
    let offer = run(&mut allocator, START).remove(0);
    give_back(&mut allocator, START, &offer, "cpus:4;mem:400", refuse(0));
    assert!(run(&mut allocator, START).is_empty());
    // Another framework gets it at once, returns it in the same way, and nobody is left.
    let second = framework(&mut allocator, "second", &["eng"]);
    let other = run(&mut allocator, START).remove(0);
    assert_eq!(other.framework, second);
    give_back(&mut allocator, START, &other, "cpus:3;mem:300", refuse(0));
    assert_eq!(run(&mut allocator, START).len(), 0);
    // A task of the second ends: the agent has gained something, so the first may have another look.
    give_back(
        &mut allocator,
        START,
        &other,
        "cpus:1;mem:100",
        Recovery::Freed,
    );
    let again = run(&mut allocator, START);
    assert_eq!(
        texts(&again),
        ["cpus(allocated: eng):4; mem(allocated: eng):400"]
    );
    // Otherwise time has to pass, and the allocator says when.
    let holder = again[0].framework;
    give_back(
        &mut allocator,
        START,
        &again[0],
        "cpus:4;mem:400",
        refuse(0),
    );
    let next = run(&mut allocator, START).remove(0);
    assert_ne!(next.framework, holder);
    give_back(&mut allocator, START, &next, "cpus:4;mem:400", refuse(0));
    assert!(run(&mut allocator, START).is_empty());
    assert_eq!(
        allocator.next_deadline(),
        Some(START + Duration::from_secs(1))
    );
    assert!(run(&mut allocator, START + Duration::from_millis(990)).is_empty());
    assert_eq!(run(&mut allocator, START + Duration::from_secs(1)).len(), 1);
    assert!(allocator.free(agent).unwrap().is_empty());
    assert!(allocator.held_by(first, &role("eng")).get(&Name::Cpus) <= Scalar::whole(4));
}

#[test]
fn refused_is_what_is_no_more_than_was_refused() {
    let mut allocator = allocator();
    agent(&mut allocator, "cpus:4;mem:400");
    let other = agent_in_use(&mut allocator);
    let handle = framework(&mut allocator, "f", &["eng"]);
    let offers = run(&mut allocator, START);
    assert_eq!(offers.len(), 1);
    give_back(
        &mut allocator,
        START,
        &offers[0],
        "cpus:4;mem:400",
        refuse(3600),
    );
    assert!(run(&mut allocator, START).is_empty());
    assert_eq!(allocator.refusals(), 1);
    // The refusal is of that agent alone.
    let holder = other.1;
    allocator.recover(
        START,
        other.0,
        holder,
        &role("ops"),
        &resources("cpus:1;mem:64"),
        Recovery::Freed,
    );
    assert_eq!(run(&mut allocator, START)[0].agent, other.0);
    // REVIVE ends it, and so does a bigger offer.
    allocator.revive(handle, &[]);
    let again = run(&mut allocator, START);
    assert_eq!(again[0].agent, offers[0].agent);
    give_back(
        &mut allocator,
        START,
        &again[0],
        "cpus:4;mem:400",
        refuse(3600),
    );
    assert!(run(&mut allocator, START).is_empty());
    allocator.update_agent(
        offers[0].agent,
        &AgentOptions::from(resources("cpus:5;mem:400")),
    );
    assert_eq!(
        texts(&run(&mut allocator, START)),
        ["cpus(allocated: eng):5; mem(allocated: eng):400"]
    );
}

/// An agent that is wholly held by a framework without offers.
fn agent_in_use(allocator: &mut HierarchicalDrf) -> (AgentHandle, FrameworkHandle) {
    let holder = allocator.add_framework(
        &FrameworkId::new("holder").unwrap(),
        &FrameworkOptions::default(),
    );
    let total = resources("cpus:1;mem:64");
    let holding = Holding {
        framework: holder,
        role: role("ops"),
        resources: total.allocated_to(&role("ops")),
    };
    (
        allocator.add_agent(&AgentOptions::from(total), &[holding]),
        holder,
    )
}

#[test]
fn crumbs_join_for_a_moment() {
    let mut allocator = allocator();
    agent(&mut allocator, "cpus:4;mem:400");
    framework(&mut allocator, "f", &["eng"]);
    let offer = run(&mut allocator, START).remove(0);
    let leftover = Recovery::Leftover {
        refuse: Duration::ZERO,
    };
    give_back(&mut allocator, START, &offer, "cpus:1;mem:100", leftover);
    assert!(!allocator.has_work());
    assert_eq!(
        allocator.next_deadline(),
        Some(START + Duration::from_millis(10))
    );
    give_back(
        &mut allocator,
        START + Duration::from_millis(9),
        &offer,
        "cpus:2;mem:100",
        leftover,
    );
    assert!(run(&mut allocator, START + Duration::from_millis(9)).is_empty());
    let joined = run(&mut allocator, START + Duration::from_millis(10));
    assert_eq!(
        texts(&joined),
        ["cpus(allocated: eng):3; mem(allocated: eng):200"]
    );
}

#[test]
fn an_operation_changes_holding_and_total_alike() {
    let mut allocator = allocator();
    agent(&mut allocator, "cpus:4;mem:400");
    let handle = framework(&mut allocator, "f", &["eng"]);
    let offer = run(&mut allocator, START).remove(0);
    let before = resources("cpus:1");
    let after = before
        .push_reservation(&Reservation::dynamic(role("eng")))
        .unwrap();
    assert!(!allocator.convert(
        offer.agent,
        handle,
        &role("eng"),
        &resources("cpus:5"),
        &after
    ));
    assert!(allocator.convert(offer.agent, handle, &role("eng"), &before, &after));
    assert_eq!(
        allocator.held_by(handle, &role("eng")),
        "cpus:4;mem:400".parse().unwrap()
    );
    allocator.recover(
        START,
        offer.agent,
        handle,
        &role("eng"),
        &after,
        Recovery::Freed,
    );
    give_back(
        &mut allocator,
        START,
        &offer,
        "cpus:3;mem:400",
        Recovery::Freed,
    );
    assert_eq!(
        allocator.free(offer.agent),
        Some(&(resources("cpus:3;mem:400") + &after))
    );
    // It stays reserved: the role gets all of it, another one only the rest.
    allocator.suppress(handle, &[]);
    framework(&mut allocator, "g", &["ops"]);
    let offers = run(&mut allocator, START);
    assert_eq!(
        texts(&offers),
        ["cpus(allocated: ops):3; mem(allocated: ops):400"]
    );
}

#[test]
fn what_has_gone_is_ignored() {
    let mut allocator = allocator();
    let gone_agent = agent(&mut allocator, "cpus:4;mem:400");
    let gone_framework = framework(&mut allocator, "f", &["eng"]);
    let offer = run(&mut allocator, START).remove(0);
    allocator.remove_agent(gone_agent);
    allocator.recover(
        START,
        gone_agent,
        gone_framework,
        &role("eng"),
        &offer.resources,
        Recovery::Freed,
    );
    assert!(allocator.held_in(&role("eng")).is_empty());
    let heir = agent(&mut allocator, "cpus:1;mem:100");
    allocator.recover(
        START,
        gone_agent,
        gone_framework,
        &role("eng"),
        &offer.resources,
        Recovery::Freed,
    );
    assert_eq!(run(&mut allocator, START).len(), 1);
    allocator.remove_framework(gone_framework);
    allocator.recover(
        START,
        heir,
        gone_framework,
        &role("eng"),
        &offer.resources,
        Recovery::Freed,
    );
    allocator.revive(gone_framework, &[]);
    assert_eq!(allocator.free(heir), Some(&resources("cpus:1;mem:100")));
    assert_eq!(allocator.free(gone_agent), None);
    assert!(run(&mut allocator, START).is_empty());
}

#[test]
fn what_was_in_use_beyond_a_shrunken_agent_is_not_offered() {
    let mut allocator = allocator();
    let agent = agent(&mut allocator, "cpus:8;mem:800");
    framework(&mut allocator, "f", &["eng"]);
    let offer = run(&mut allocator, START).remove(0);
    allocator.update_agent(agent, &AgentOptions::from(resources("cpus:4;mem:800")));
    give_back(
        &mut allocator,
        START,
        &offer,
        "cpus:3;mem:300",
        Recovery::Freed,
    );
    assert_eq!(allocator.free(agent), Some(&resources("mem:300")));
    give_back(
        &mut allocator,
        START,
        &offer,
        "cpus:3;mem:300",
        Recovery::Freed,
    );
    assert_eq!(allocator.free(agent), Some(&resources("cpus:2;mem:600")));
    assert!(
        allocator
            .free(agent)
            .unwrap()
            .filter(Kind::is_plain)
            .contains(&resources("cpus:2"))
    );
}
