//! Quota: guarantees, limits, and what wakes those who were cut short.

use super::super::{
    AgentOptions, Allocation, Allocator, FrameworkHandle, HierarchicalDrf, Quota, Recovery,
};
use super::{config, options, resources, role};
use proptest::prelude::*;
use std::time::Duration;
use tepui_model::resources::{Name, Scalar};
use tepui_model::{FrameworkId, Quantities, Time};

const START: Time = Time::from_secs(1_000);

fn quota(guarantee: i64, limit: Option<i64>) -> Quota {
    Quota {
        guarantees: Quantities::new().with(&Name::Cpus, Scalar::whole(guarantee)),
        limits: limit
            .into_iter()
            .map(|limit| (Name::Cpus, Scalar::whole(limit)))
            .collect(),
    }
}

fn run(allocator: &mut HierarchicalDrf, now: Time) -> Vec<Allocation> {
    let mut out = Vec::new();
    while allocator.has_work() || out.is_empty() {
        let before = out.len();
        allocator.allocate(now, &mut out);
        if out.len() == before {
            break;
        }
    }
    out
}

fn add(allocator: &mut HierarchicalDrf, id: &str, roles: &[&str]) -> FrameworkHandle {
    allocator.add_framework(&FrameworkId::new(id).unwrap(), &options(roles))
}

fn agents(allocator: &mut HierarchicalDrf, number: usize, total: &str) {
    for _ in 0..number {
        allocator.add_agent(&AgentOptions::from(resources(total)), &[]);
    }
}

fn cpus(allocator: &HierarchicalDrf, of: &str) -> i64 {
    allocator.held_in(&role(of)).get(&Name::Cpus).thousandths() / 1000
}

#[test]
fn guarantees_and_limits() {
    // Two roles, each with a framework that wants everything; quota (guarantee, limit) of `a`; cpus of `a` and of `b` in the end.
    for (name, guarantee, limit, a_is_there, expected) in [
        ("none", 0, None, true, (5, 5)),
        ("limit", 0, Some(2), true, (2, 8)),
        (
            "no limit is no bound, zero is one",
            0,
            Some(0),
            true,
            (0, 10),
        ),
        ("guarantee above the fair share", 8, None, true, (8, 2)),
        (
            "guarantee kept free while nobody is there",
            8,
            None,
            false,
            (0, 2),
        ),
        ("guarantee and limit", 3, Some(4), true, (4, 6)),
        ("more than there is", 20, None, true, (10, 0)),
    ] {
        let mut allocator = HierarchicalDrf::new(config());
        allocator.set_quota(&role("a"), &quota(guarantee, limit));
        agents(&mut allocator, 10, "cpus:1;mem:100");
        if a_is_there {
            add(&mut allocator, "fa", &["a/x"]);
        }
        add(&mut allocator, "fb", &["b"]);
        run(&mut allocator, START);
        assert_eq!(
            (cpus(&allocator, "a"), cpus(&allocator, "b")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn an_offer_is_cut_and_the_rest_stays_for_others() {
    let mut allocator = HierarchicalDrf::new(config());
    agents(&mut allocator, 1, "cpus:8;mem:800;ports:[1-9]");
    let a = add(&mut allocator, "fa", &["a"]);
    allocator.set_quota(&role("a"), &quota(0, Some(3)));
    let offers = run(&mut allocator, START);
    assert_eq!(
        offers[0].resources,
        resources("cpus:3;mem:800;ports:[1-9]").allocated_to(&role("a"))
    );
    // A role below others has no quota of its own.
    allocator.set_quota(&role("b/c"), &quota(0, Some(0)));
    let b = add(&mut allocator, "fb", &["b/c"]);
    assert_eq!(
        run(&mut allocator, START)[0].resources,
        resources("cpus:5").allocated_to(&role("b/c"))
    );
    // What is reserved for a role counts against its limit, used or not.
    allocator.suppress(b, &[]);
    allocator.set_quota(&role("a"), &quota(0, Some(5)));
    agents(&mut allocator, 1, "cpus:8;cpus(a):1");
    assert_eq!(cpus(&allocator, "a"), 3);
    run(&mut allocator, START);
    assert_eq!(
        allocator.held_by(a, &role("a")).get(&Name::Cpus),
        Scalar::whole(3 + 1 + 1)
    );
}

#[test]
fn those_who_were_cut_short_hear_of_it_when_there_is_more() {
    // A role at its limit gives something back: it may have as much elsewhere.
    let mut allocator = HierarchicalDrf::new(config());
    allocator.set_quota(&role("a"), &quota(0, Some(2)));
    agents(&mut allocator, 3, "cpus:2;mem:100");
    add(&mut allocator, "fa", &["a"]);
    let offers = run(&mut allocator, START);
    assert_eq!(cpus(&allocator, "a"), 2);
    let first = offers
        .iter()
        .find(|offer| offer.resources.scalar(&Name::Cpus) > Scalar::ZERO)
        .unwrap();
    let refuse = Recovery::Declined {
        refuse: Duration::from_secs(1_000),
    };
    let back = resources("cpus:2");
    allocator.recover(
        START,
        first.agent,
        first.framework,
        &first.role,
        &back,
        refuse,
    );
    let again = run(&mut allocator, START);
    assert_eq!(cpus(&allocator, "a"), 2);
    assert!(again.iter().all(|offer| offer.agent != first.agent));

    // What a guarantee has kept from others is theirs when it is taken away, or when the cluster grows.
    let mut allocator = HierarchicalDrf::new(config());
    allocator.set_quota(&role("a"), &quota(4, None));
    agents(&mut allocator, 4, "cpus:1;mem:31");
    add(&mut allocator, "fb", &["b"]);
    run(&mut allocator, START);
    assert_eq!(cpus(&allocator, "b"), 0);
    agents(&mut allocator, 1, "cpus:1;mem:31");
    run(&mut allocator, START);
    assert_eq!(cpus(&allocator, "b"), 1);
    allocator.set_quota(&role("a"), &Quota::default());
    run(&mut allocator, START);
    assert_eq!(cpus(&allocator, "b"), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes back and goes out: a limit is never passed; what is guaranteed to `a` stays free for it or is held by it; and in
    /// the end nothing is free that somebody may have.
    #[test]
    fn quota_holds_at_every_step(
        guarantee in 0i64..8,
        limit in 0i64..12,
        sizes in prop::collection::vec(1i64..4, 3..8),
        events in prop::collection::vec((0usize..50, 0i64..4), 1..60),
        seed in any::<u64>(),
    ) {
        let limit = limit.max(guarantee);
        let total: i64 = sizes.iter().sum();
        let mut allocator = HierarchicalDrf::new(super::super::AllocatorConfig { seed, ..config() });
        allocator.set_quota(&role("a"), &quota(guarantee, Some(limit)));
        for size in &sizes {
            agents(&mut allocator, 1, &format!("cpus:{size}"));
        }
        for (id, subscribed) in [("f1", "a"), ("f2", "a/x"), ("f3", "b"), ("f4", "*")] {
            add(&mut allocator, id, &[subscribed]);
        }
        let mut held = Vec::new();
        let mut now = START;
        for (index, why) in events {
            let offers = run(&mut allocator, now);
            held.extend(offers);
            let (a, all) = (cpus(&allocator, "a"), cpus(&allocator, "a") + cpus(&allocator, "b") + cpus(&allocator, "*"));
            prop_assert!(a <= limit, "{a} of {limit}");
            prop_assert!(total - all >= (guarantee - a).min(total - all).min(guarantee), "kept free");
            prop_assert!(all - a <= (total - guarantee).max(0) , "others hold {} of {total} with {guarantee} guaranteed", all - a);
            if held.is_empty() {
                continue;
            }
            let offer: Allocation = held.swap_remove(index % held.len());
            let why = match why {
                0 => Recovery::Declined { refuse: Duration::from_secs(3) },
                1 => Recovery::Declined { refuse: Duration::ZERO },
                _ => Recovery::Freed,
            };
            allocator.recover(now, offer.agent, offer.framework, &offer.role, &offer.resources, why);
            now += Duration::from_millis(500);
        }
        // Refusals are over: everything is out, but what the guarantee still keeps.
        now += Duration::from_secs(10);
        run(&mut allocator, now);
        let (a, all) = (cpus(&allocator, "a"), cpus(&allocator, "a") + cpus(&allocator, "b") + cpus(&allocator, "*"));
        prop_assert!(a >= guarantee.min(total), "the guarantee is met: {a} of {guarantee}");
        prop_assert_eq!(all, total);
    }
}
