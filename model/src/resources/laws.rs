//! The laws of the arithmetic, against a naive model: a list of (kind, name, amount) in which ports and set items are counted
//! one by one.

use super::{DiskInfo, Name, Persistence, Reservation, Resource, Resources, Scalar, Value};
use crate::Role;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Everything about a resource but its amount, as text.
type Key = String;

/// Thousandths by key; a port or an item is a key of its own with the amount 1.
type Naive = BTreeMap<Key, i64>;

fn naive(resources: &Resources) -> Naive {
    let mut sums = Naive::new();
    for resource in resources.iter() {
        let key = format!("{}{}", resource.name(), resource.kind());
        match resource.value() {
            // One piece: the size is part of what it is.
            Value::Scalar(size) if resource.kind().is_whole() => {
                *sums.entry(format!("{key}:{size}")).or_default() += 1
            }
            Value::Scalar(scalar) => *sums.entry(key).or_default() += scalar.thousandths(),
            Value::Ranges(ranges) => {
                sums.extend(ranges.numbers().map(|port| (format!("{key}:{port}"), 1)))
            }
            Value::Set(set) => sums.extend(set.iter().map(|item| (format!("{key}:{item}"), 1))),
        }
    }
    sums
}

fn naive_contains(left: &Naive, right: &Naive) -> bool {
    right
        .iter()
        .all(|(key, amount)| left.get(key).is_some_and(|have| have >= amount))
}

fn naive_sub(left: &Naive, right: &Naive) -> Naive {
    let rest = left
        .iter()
        .map(|(key, amount)| (key.clone(), amount - right.get(key).unwrap_or(&0)));
    rest.filter(|(_, amount)| *amount > 0).collect()
}

/// Of numbers or items that may come twice only one is kept by a sum; amounts add up.
fn naive_add(left: &Naive, right: &Naive, divisible: impl Fn(&Key) -> bool) -> Naive {
    let mut sum = left.clone();
    for (key, amount) in right {
        let entry = sum.entry(key.clone()).or_default();
        *entry = if divisible(key) {
            *entry + amount
        } else {
            (*entry).max(*amount)
        };
    }
    sum
}

fn is_divisible(key: &Key) -> bool {
    !key.starts_with("ports") && !key.starts_with("names") && !key.starts_with("vlans")
}

fn role(index: usize) -> Role {
    Role::new(["eng", "eng/web", "ops"][index]).unwrap()
}

/// Resources of few names, kinds and sizes, so that they meet often.
fn resource() -> impl Strategy<Value = Resource> {
    let amount = (0usize..8, 0i64..4000, 0u64..12, 0u64..6).prop_map(
        |(name, thousandths, begin, length)| {
            let scalar = Value::Scalar(Scalar::from_thousandths(thousandths));
            match name {
                0 | 1 => Resource::new(Name::Cpus, scalar),
                2 => Resource::new(Name::Mem, scalar),
                3 | 4 => {
                    Resource::new(Name::Disk, Value::Scalar(Scalar::whole(thousandths / 2000)))
                }
                5 => Resource::new(Name::from("bandwidth"), scalar),
                6 => Resource::ranges(
                    if length % 2 == 0 { "ports" } else { "vlans" },
                    [(begin, begin + length)],
                ),
                _ => Resource::set(
                    "names",
                    (begin..begin + length).map(|item| item.to_string()),
                ),
            }
            .unwrap()
        },
    );
    let kind = (0usize..6, 0usize..6, any::<bool>(), 0usize..4);
    (amount, kind).prop_map(|(mut resource, (reserved, refined, revocable, volume))| {
        if reserved < 3 {
            resource = resource
                .reserved(Reservation::fixed(role(reserved)))
                .unwrap();
            if refined == 0 && reserved == 0 {
                resource = resource
                    .reserved(Reservation::dynamic(role(1)).by("someone"))
                    .unwrap();
            }
        }
        if *resource.name() == Name::Disk && volume > 0 {
            let id = format!("v{volume}").as_str().into();
            let persistence = Some(Persistence {
                id,
                principal: None,
            });
            resource = resource
                .with_disk(DiskInfo {
                    persistence,
                    ..DiskInfo::default()
                })
                .unwrap();
            if volume == 3 {
                resource = resource.shared().unwrap();
            }
        } else if revocable && reserved > 4 {
            resource = resource.revocable();
        }
        resource
    })
}

fn bag() -> impl Strategy<Value = Resources> {
    prop::collection::vec(resource(), 0..7).prop_map(|list| list.into_iter().collect())
}

/// Whether a sum keeps everything: no port or item is on both sides.
fn disjoint(a: &Resources, b: &Resources) -> bool {
    naive(a)
        .keys()
        .all(|key| is_divisible(key) || !naive(b).contains_key(key))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_naive_model_does(a in bag(), b in bag()) {
        let (x, y) = (naive(&a), naive(&b));
        prop_assert_eq!(naive(&(a.clone() + &b)), naive_add(&x, &y, is_divisible));
        prop_assert_eq!(a.contains(&b), naive_contains(&x, &y));
        prop_assert_eq!(a == b, x == y);
        prop_assert_eq!(a.checked_sub(&b).map(|rest| naive(&rest)), naive_contains(&x, &y).then(|| naive_sub(&x, &y)));
        let mut rest = a.clone();
        rest.subtract_overlap(&b);
        prop_assert_eq!(naive(&rest), naive_sub(&x, &y));
    }

    #[test]
    fn addition_is_associative_and_commutative(a in bag(), b in bag(), c in bag()) {
        prop_assert_eq!((a.clone() + &b) + &c, a.clone() + &(b.clone() + &c));
        prop_assert_eq!(a.clone() + &b, b + &a);
        prop_assert_eq!(a.clone() + &Resources::new(), a);
    }

    #[test]
    fn what_was_added_can_be_taken_away(a in bag(), b in bag()) {
        let sum = a.clone() + &b;
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        let rest = sum.checked_sub(&b);
        prop_assert!(rest.is_some());
        if disjoint(&a, &b) {
            prop_assert_eq!(rest, Some(a));
        }
    }

    #[test]
    fn contains_is_exactly_when_it_can_be_taken(a in bag(), b in bag()) {
        let rest = a.checked_sub(&b);
        prop_assert_eq!(a.contains(&b), rest.is_some());
        let mut tried = a.clone();
        prop_assert_eq!(tried.try_subtract(&b).is_ok(), rest.is_some());
        prop_assert_eq!(tried, rest.clone().unwrap_or_else(|| a.clone()));
        if let Some(rest) = rest {
            prop_assert_eq!(rest + &b, a);
        }
    }

    #[test]
    fn what_shares_no_item_can_be_added_and_taken(a in bag(), b in bag(), to in 0usize..3) {
        let mut rest = b.clone();
        rest.subtract_items(&a.allocated_to(&role(to)));
        prop_assert_eq!(rest.quantities(), b.quantities());
        prop_assert!(b.contains(&rest));
        prop_assert_eq!((a.clone() + &rest).checked_sub(&rest), Some(a));
    }

    #[test]
    fn allocation_and_reservation_can_be_undone(a in bag(), to in 0usize..3) {
        let allocated = a.allocated_to(&role(to));
        prop_assert_eq!(allocated.unallocated(), a.clone());
        prop_assert_eq!(allocated.allocation_of(&role(to)), allocated.clone());
        prop_assert_eq!(allocated.quantities(), a.quantities());
        let plain = a.unreserved();
        let reserved = plain.push_reservation(&Reservation::dynamic(role(to))).unwrap();
        prop_assert_eq!(reserved.reserved_for(&role(to)), reserved.clone());
        prop_assert_eq!(reserved.pop_reservation().unwrap(), plain.clone());
        prop_assert_eq!(reserved.to_unreserved(), plain);
    }

    #[test]
    fn filters_split_without_loss(a in bag(), index in 0usize..3) {
        prop_assert_eq!(a.reserved() + &a.unreserved(), a.clone());
        prop_assert_eq!(a.revocable() + &a.non_revocable(), a.clone());
        prop_assert_eq!(a.shared() + &a.non_shared(), a.clone());
        let owners = a.reservation_roles();
        let parts = owners.iter().fold(a.unreserved(), |sum, owner| sum + &a.reserved_for(owner));
        prop_assert_eq!(parts, a.clone());
        let available = a.available_to(&role(index));
        prop_assert!(a.contains(&available));
        prop_assert_eq!(a.scalars().quantities(), a.quantities());
    }

    #[test]
    fn what_is_found_is_there(a in bag(), wanted in bag(), to in 0usize..3) {
        let wanted = wanted.to_unreserved().filter(|kind| !kind.is_whole() && !kind.is_revocable());
        let mine = a.allocated_to(&role(to));
        match mine.find(&wanted, &role(to)) {
            Some(found) => {
                prop_assert!(mine.contains(&found));
                prop_assert_eq!(found.unallocated().to_unreserved(), wanted);
            }
            None => {
                let usable = a.available_to(&role(to)).filter(|kind| !kind.is_whole() && !kind.is_revocable());
                prop_assert!(!usable.to_unreserved().contains(&wanted));
            }
        }
    }

    #[test]
    fn the_text_form_of_plain_resources_reads_back(a in bag()) {
        let plain = a.to_unreserved().filter(|kind| kind.is_plain());
        prop_assert_eq!(plain.to_string().parse::<Resources>(), Ok(plain));
    }
}

#[test]
fn whole_things_are_whole() {
    let disk = |id: &str, size: &str| -> Resources {
        let disk = DiskInfo {
            persistence: Some(Persistence {
                id: id.into(),
                principal: None,
            }),
            ..DiskInfo::default()
        };
        let resource = format!("disk:{size}")
            .parse::<Resources>()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        resource
            .reserved(Reservation::dynamic(role(0)))
            .unwrap()
            .with_disk(disk)
            .unwrap()
            .into()
    };
    let volume = disk("v", "10");
    assert!(!volume.contains(&disk("v", "5")), "not divisible");
    assert!(!volume.contains(&disk("w", "10")));
    let twice = volume.clone() + &volume;
    assert_eq!(
        (twice.iter().count(), twice.quantities().get(&Name::Disk)),
        (2, Scalar::whole(20))
    );
    let shared: Resources = volume
        .iter()
        .map(|volume| volume.shared().unwrap())
        .collect();
    let copies = shared.clone() + &shared;
    assert_eq!(
        (copies.iter().count(), copies.quantities().get(&Name::Disk)),
        (2, Scalar::whole(10))
    );
    assert_eq!(copies.checked_sub(&shared), Some(shared.clone()));
    assert!(!shared.contains(&copies) && !shared.contains(&volume));
}

#[test]
fn bad_kinds_are_refused() {
    let cpus = || Resource::scalar("cpus", 1.0).unwrap();
    let web = Role::new("eng/web").unwrap();
    assert!(cpus().reserved(Reservation::fixed(Role::star())).is_err());
    assert!(cpus().with_disk(DiskInfo::default()).is_err());
    assert!(cpus().shared().is_err());
    let eng = || cpus().reserved(Reservation::dynamic(role(0))).unwrap();
    assert!(
        eng().reserved(Reservation::fixed(web.clone())).is_err(),
        "only the first may be static"
    );
    assert!(
        eng().reserved(Reservation::dynamic(role(2))).is_err(),
        "not below eng"
    );
    assert!(
        eng().reserved(Reservation::dynamic(role(0))).is_err(),
        "not strictly below eng"
    );
    assert!(
        eng()
            .reserved(Reservation::dynamic(web))
            .unwrap()
            .kind()
            .is_refined()
    );
    assert!(Resources::from(cpus()).pop_reservation().is_err());
}

#[test]
fn the_common_agent_is_small() {
    assert!(
        size_of::<Resources>() <= 144,
        "{} bytes",
        size_of::<Resources>()
    );
    let agent: Resources = "cpus:4;mem:1024;disk:100;ports:[31000-32000]"
        .parse()
        .unwrap();
    assert_eq!(agent.lots().len(), 1);
}
