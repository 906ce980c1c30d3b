//! Laws about who has how much in the end: fair shares, guarantees and limits, reckoned from nothing but what was handed out.

use super::super::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkHandle,
    HierarchicalDrf, Quota,
};
use super::{START, config, options, refuse, resources, role};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use tepui_model::resources::{DiskInfo, DiskSource, DiskSourceKind, Name, Resource, Scalar, Value};
use tepui_model::{FrameworkId, Quantities, Resources, Role, Time};

/// Runs until nothing is left to do.
fn settle(allocator: &mut HierarchicalDrf, now: Time) -> Vec<Allocation> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        allocator.allocate(now, &mut out);
        if !allocator.has_work() && out.len() == before {
            return out;
        }
    }
}

fn add(allocator: &mut HierarchicalDrf, index: usize, subscribed: &str) -> FrameworkHandle {
    let id = FrameworkId::new(format!("f{index}")).unwrap();
    allocator.add_framework(&id, &options(&[subscribed]))
}

/// Roles of a small tree; a number for each place in it.
const TREE: [&str; 6] = ["a", "b", "a/x", "a/y", "b/x", "b/x/z"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Everybody wants everything: then, at each level of the tree, no sibling is ahead of another by more than the largest offer (in
    /// weighted shares): taken back one offer, whoever is ahead would be behind. Frameworks of one role are siblings without weights.
    #[test]
    fn shares_are_within_one_offer_of_ideal(
        weights in prop::collection::vec(1u8..6, TREE.len()),
        subscribed in prop::collection::vec(0..TREE.len(), 2..8),
        sizes in prop::collection::vec((1u64..5, 1u64..5), 20..60),
        seed in any::<u64>(),
    ) {
        let mut allocator = HierarchicalDrf::new(AllocatorConfig { seed, ..config() });
        for (name, weight) in TREE.iter().zip(&weights) {
            allocator.set_weight(&role(name), f64::from(*weight));
        }
        let mut total = Quantities::new();
        let mut largest = Quantities::new();
        for (cpus, mem) in &sizes {
            let has = resources(&format!("cpus:{cpus};mem:{}", mem * 100));
            total += &has.quantities();
            let has_more = |name: &Name| has.quantities().get(name).max(largest.get(name));
            largest = Quantities::new()
                .with(&Name::Cpus, has_more(&Name::Cpus))
                .with(&Name::Mem, has_more(&Name::Mem));
            allocator.add_agent(&AgentOptions::from(has), &[]);
        }
        let frameworks: Vec<(FrameworkHandle, Role)> = subscribed
            .iter()
            .enumerate()
            .map(|(index, place)| (add(&mut allocator, index, TREE[*place]), role(TREE[*place])))
            .collect();
        prop_assert_eq!(settle(&mut allocator, START).len(), sizes.len(), "all of it is handed out");
        let share = |held: &Quantities| held.dominant_share(&total, |_| true);
        let step = share(&largest);
        // A role's children, and its own frameworks together, by their parent; and the frameworks of each role.
        let mut siblings: BTreeMap<String, Vec<(String, f64, f64)>> = BTreeMap::new();
        let live = |name: &str| subscribed.iter().any(|place| {
            TREE[*place] == name || TREE[*place].starts_with(&format!("{name}/"))
        });
        for (name, weight) in TREE.iter().zip(&weights).filter(|(name, _)| live(name)) {
            let parent = role(name).parent().map(|parent| parent.to_string()).unwrap_or_default();
            let weighted = share(&allocator.held_in(&role(name))) / f64::from(*weight);
            siblings.entry(parent).or_default().push(((*name).to_owned(), weighted, step / f64::from(*weight)));
        }
        for (handle, of) in &frameworks {
            let mine = share(&allocator.held_by(*handle, of));
            siblings.entry(format!("{of} itself")).or_default().push((format!("{handle:?}"), mine, step));
        }
        for (parent, children) in &siblings {
            for (one, ahead, last) in children {
                for (other, behind, _) in children {
                    prop_assert!(
                        ahead - last <= behind + 1e-9,
                        "under '{parent}', {one} has {ahead} and {other} {behind}, with steps of {last}"
                    );
                }
            }
        }
    }
}

/// What is counted by hand for the laws of quota.
struct Books {
    agents: BTreeMap<AgentHandle, Resources>,
    held: Vec<Allocation>,
}

impl Books {
    fn common(resources: &Resources) -> i64 {
        let cpus = resources
            .filter(|kind| !kind.is_reserved())
            .quantities()
            .get(&Name::Cpus);
        cpus.thousandths() / 1000
    }

    /// Unreserved cpus that a top-level role and all below it hold.
    fn held(&self, top: &str) -> i64 {
        let mine = self.held.iter().filter(|offer| offer.role.top() == top);
        mine.map(|offer| Self::common(&offer.resources)).sum()
    }

    /// Cpus that are reserved for it or below it, used or not.
    fn reserved(&self, top: &str) -> i64 {
        let of_agent = |total: &Resources| {
            let mine = total.filter(|kind| {
                kind.reservation_role()
                    .is_some_and(|role| role.top() == top)
            });
            mine.quantities().get(&Name::Cpus).thousandths() / 1000
        };
        self.agents.values().map(of_agent).sum()
    }

    fn free(&self) -> i64 {
        let all: i64 = self.agents.values().map(Self::common).sum();
        let used: i64 = self
            .held
            .iter()
            .map(|offer| Self::common(&offer.resources))
            .sum();
        all - used
    }
}

const AGENTS: [&str; 5] = [
    "cpus:2",
    "cpus:4;ports:[1-9]",
    "cpus:3;cpus(a):1",
    "cpus:1;cpus(b/y):2",
    "cpus:2;cpus(a/x):1;cpus(c):1",
];

fn quota_of((guarantee, extra): (i64, Option<i64>)) -> Quota {
    Quota {
        guarantees: Quantities::new().with(&Name::Cpus, Scalar::whole(guarantee)),
        limits: extra
            .map(|extra| (Name::Cpus, Scalar::whole(guarantee + extra)))
            .into_iter()
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two top-level roles with quota, their sub-roles and reservations, and others beside them. At every step: no offer takes a role
    /// beyond its limit; what is missing to all guarantees stays free; a reservation goes to its role and below only. In the end, when
    /// all refusals are over, every guarantee is met, and nothing is free that somebody may have.
    #[test]
    fn guarantees_limits_and_reservations_hold_in_a_tree(
        first in (0i64..6, prop::option::of(0i64..4)),
        second in (0i64..6, prop::option::of(0i64..4)),
        agents in prop::collection::vec(0..AGENTS.len(), 4..10),
        events in prop::collection::vec((any::<prop::sample::Index>(), 0u64..6, 0..AGENTS.len()), 1..50),
        seed in any::<u64>(),
    ) {
        let quotas = [("a", first), ("b", second)];
        let mut allocator = HierarchicalDrf::new(AllocatorConfig { seed, ..config() });
        for (name, quota) in quotas {
            allocator.set_quota(&role(name), &quota_of(quota));
        }
        let mut books = Books { agents: BTreeMap::new(), held: Vec::new() };
        let join = |allocator: &mut HierarchicalDrf, books: &mut Books, kind: usize| {
            let total = resources(AGENTS[kind]);
            let handle = allocator.add_agent(&AgentOptions::from(total.clone()), &[]);
            books.agents.insert(handle, total);
        };
        agents.iter().for_each(|kind| join(&mut allocator, &mut books, *kind));
        let missing = |books: &Books| -> i64 {
            let of_role = |(name, (guarantee, _)): (&str, (i64, _))| {
                (guarantee - books.reserved(name) - books.held(name)).max(0)
            };
            quotas.into_iter().map(of_role).sum()
        };
        prop_assume!(missing(&books) <= books.free());
        for (index, name) in ["a", "a/x", "b/y", "b", "c", "*"].iter().enumerate() {
            add(&mut allocator, index, name);
        }
        let mut now = START;
        for (index, what, kind) in events {
            for offer in settle(&mut allocator, now) {
                for lot in offer.resources.lots() {
                    if let Some(owner) = lot.kind().reservation_role() {
                        prop_assert!(
                            offer.role == *owner || offer.role.is_strict_subrole_of(owner),
                            "{owner}'s goes to {}", offer.role
                        );
                    }
                }
                let takes = Books::common(&offer.resources);
                books.held.push(offer.clone());
                for (name, (guarantee, extra)) in quotas {
                    let limit = extra.map_or(i64::MAX, |extra| guarantee + extra);
                    prop_assert!(
                        takes == 0 || offer.role.top() != name || books.held(name) + books.reserved(name) <= limit,
                        "{name} is beyond its limit of {limit}"
                    );
                }
            }
            for (handle, total) in &books.agents {
                let used = books.held.iter().filter(|offer| offer.agent == *handle);
                let used = used.fold(Resources::new(), |sum, offer| sum + &offer.resources.unallocated());
                prop_assert!(total.contains(&used), "I1");
            }
            prop_assert!(missing(&books) <= books.free(), "{} of {} stay free", books.free(), missing(&books));
            if what == 5 {
                join(&mut allocator, &mut books, kind);
            } else if !books.held.is_empty() {
                let offer = books.held.swap_remove(index.index(books.held.len()));
                let why = if what == 0 { super::Recovery::Freed } else { refuse(what) };
                allocator.recover(now, offer.agent, offer.framework, &offer.role, &offer.resources, why);
            }
            now += Duration::from_millis(300);
        }
        now += Duration::from_secs(10);
        books.held.extend(settle(&mut allocator, now));
        prop_assert_eq!(missing(&books), 0, "guarantees are met");
        prop_assert_eq!(books.free(), 0, "and the rest is not kept from the others");
    }
}

/// A role that asks for nothing keeps its guarantee free, and no more: what is unlimited for others is theirs.
#[test]
fn a_guarantee_counts_what_is_reserved_below_the_role() {
    // Reserved for the role or below it, guarantee; what others may have of 6 unreserved cpus.
    for (reserved, guarantee, others) in [
        ("", 4, 2),
        (";cpus(a):1", 4, 3),
        (";cpus(a/x):3", 4, 5),
        (";cpus(a/x):5", 4, 6),
        (";cpus(b):3", 4, 2),
    ] {
        let mut allocator = HierarchicalDrf::new(config());
        allocator.set_quota(&role("a"), &quota_of((guarantee, None)));
        let total = resources(&format!("cpus:6{reserved}"));
        allocator.add_agent(&AgentOptions::from(total), &[]);
        add(&mut allocator, 0, "c");
        let offers = settle(&mut allocator, START);
        let got: i64 = offers
            .iter()
            .map(|offer| Books::common(&offer.resources))
            .sum();
        assert_eq!(got, others, "{reserved}");
    }
}

/// A piece that cannot be divided, and is larger than what a limit leaves, is not offered at all; the rest is.
#[test]
fn what_is_one_piece_is_offered_whole_or_not() {
    let mount = |size: i64| {
        let disk = DiskInfo {
            persistence: None,
            volume: None,
            source: Some(DiskSource {
                root: Some("/mnt".into()),
                ..DiskSource::new(DiskSourceKind::Mount)
            }),
        };
        let disk = Resource::new(Name::Disk, Value::Scalar(Scalar::whole(size)))
            .and_then(|plain| plain.with_disk(disk))
            .unwrap();
        Resources::from(disk)
    };
    for (limit, whole) in [(99, false), (100, true)] {
        let mut allocator = HierarchicalDrf::new(config());
        let quota = Quota {
            guarantees: Quantities::new(),
            limits: vec![(Name::Disk, Scalar::whole(limit))],
        };
        allocator.set_quota(&role("a"), &quota);
        let total = resources("cpus:1") + &mount(100);
        allocator.add_agent(&AgentOptions::from(total.clone()), &[]);
        add(&mut allocator, 0, "a");
        let expected = if whole { total } else { resources("cpus:1") };
        let offers = settle(&mut allocator, START);
        assert_eq!(offers[0].resources.unallocated(), expected, "{limit}");
    }
}
