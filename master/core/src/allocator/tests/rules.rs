//! Who is offered what.

use super::super::{
    AgentOptions, Allocator, AllocatorConfig, FrameworkCapabilities, FrameworkOptions,
    HierarchicalDrf, Holding, Recovery,
};
use super::{
    START, agent, allocator, config, framework, options, refuse, resources, role, run, texts,
};
use std::time::Duration;
use tepui_model::resources::{
    DiskInfo, DiskVolume, Name, Persistence, Reservation, Resource, Scalar, Value,
};
use tepui_model::{FrameworkId, Resources};

/// A persistent volume on a disk reserved for `eng`.
fn volume(shared: bool) -> Resource {
    let disk = DiskInfo {
        persistence: Some(Persistence {
            id: "v1".into(),
            principal: None,
        }),
        volume: Some(DiskVolume {
            container_path: "data".into(),
            read_only: false,
        }),
        source: None,
    };
    let disk = Resource::new(Name::Disk, Value::Scalar(Scalar::whole(50)))
        .and_then(|disk| disk.reserved(Reservation::dynamic(role("eng"))))
        .and_then(|reserved| reserved.with_disk(disk))
        .unwrap();
    if shared { disk.shared().unwrap() } else { disk }
}

#[test]
fn capabilities_decide_what_is_shown() {
    let revocable = resources("cpus:2;mem:64")
        .iter()
        .map(Resource::revocable)
        .collect::<Resources>();
    let refined = resources("cpus(eng):1;mem(eng):64")
        .push_reservation(&Reservation::dynamic(role("eng/web")))
        .unwrap();
    let plain = || resources("cpus:1;mem:32");
    let near = |total: Resources| AgentOptions::from(total);
    let cases: Vec<(
        &str,
        AgentOptions,
        FrameworkCapabilities,
        Resources,
        Resources,
    )> = vec![
        (
            "gpus",
            near(resources("cpus:1;mem:32;gpus:1")),
            FrameworkCapabilities {
                gpu_resources: true,
                ..Default::default()
            },
            Resources::new(),
            resources("cpus:1;mem:32;gpus:1"),
        ),
        (
            "revocable",
            near(plain() + &revocable),
            FrameworkCapabilities {
                revocable_resources: true,
                ..Default::default()
            },
            plain(),
            plain() + &revocable,
        ),
        (
            "refined",
            near(plain() + &refined),
            FrameworkCapabilities {
                reservation_refinement: true,
                ..Default::default()
            },
            plain(),
            plain() + &refined,
        ),
        (
            "shared",
            near(plain() + &volume(true).into()),
            FrameworkCapabilities {
                shared_resources: true,
                ..Default::default()
            },
            plain(),
            plain() + &volume(true).into(),
        ),
        (
            "region",
            AgentOptions {
                remote_region: true,
                ..AgentOptions::from(plain())
            },
            FrameworkCapabilities {
                region_aware: true,
                ..Default::default()
            },
            Resources::new(),
            plain(),
        ),
    ];
    for (name, agent, capable, without, with) in cases {
        for (capabilities, expected) in
            [(FrameworkCapabilities::default(), without), (capable, with)]
        {
            let mut allocator = allocator();
            allocator.add_agent(&agent, &[]);
            let options = FrameworkOptions {
                capabilities,
                ..options(&["eng/web"])
            };
            allocator.add_framework(&FrameworkId::new("f").unwrap(), &options);
            let offered = run(&mut allocator, START)
                .iter()
                .fold(Resources::new(), |sum, offer| {
                    sum + &offer.resources.unallocated()
                });
            assert_eq!(offered, expected, "{name} with {capabilities:?}");
        }
    }
    // MULTI_ROLE works the other way round: such a framework is not shown agents that lack it.
    let mut allocator = allocator();
    allocator.add_agent(
        &AgentOptions {
            multi_role: false,
            ..AgentOptions::from(plain())
        },
        &[],
    );
    let capabilities = FrameworkCapabilities {
        multi_role: true,
        ..Default::default()
    };
    let multi_role = FrameworkOptions {
        capabilities,
        ..options(&["eng"])
    };
    allocator.add_framework(&FrameworkId::new("multi").unwrap(), &multi_role);
    assert!(run(&mut allocator, START).is_empty());
    let single = framework(&mut allocator, "single", &["eng"]);
    assert_eq!(run(&mut allocator, START)[0].framework, single);
}

#[test]
fn reservations_go_to_their_role_and_below() {
    for (subscribed, expected) in [
        (
            "ops",
            vec!["cpus(allocated: ops):1; mem(allocated: ops):64"],
        ),
        (
            "eng",
            vec![
                "cpus(allocated: eng):1; mem(allocated: eng):64; cpus(allocated: eng)(reservations: [(STATIC,eng)]):2; \
                 mem(allocated: eng)(reservations: [(STATIC,eng)]):99",
            ],
        ),
        (
            "eng/web",
            vec![
                "cpus(allocated: eng/web):1; mem(allocated: eng/web):64; \
                 cpus(allocated: eng/web)(reservations: [(STATIC,eng)]):2; \
                 mem(allocated: eng/web)(reservations: [(STATIC,eng)]):99; \
                 cpus(allocated: eng/web)(reservations: [(STATIC,eng/web)]):4",
            ],
        ),
    ] {
        let mut allocator = allocator();
        agent(
            &mut allocator,
            "cpus:1;mem:64;cpus(eng):2;mem(eng):99;cpus(eng/web):4",
        );
        framework(&mut allocator, "f", &[subscribed]);
        assert_eq!(texts(&run(&mut allocator, START)), expected, "{subscribed}");
    }
    // A role whose own part of the tree has nothing is passed over on the way to one that is deep below.
    let mut allocator = allocator();
    agent(&mut allocator, "cpus(a/b/c):1");
    framework(&mut allocator, "above", &["a", "a/b"]);
    framework(&mut allocator, "beside", &["a/x", "b"]);
    let below = framework(&mut allocator, "below", &["a/b/c/d"]);
    let offers = run(&mut allocator, START);
    assert_eq!((offers.len(), offers[0].framework), (1, below));
}

#[test]
fn too_little_is_no_offer() {
    for (total, own_minima, expected) in [
        ("cpus:0.01", None, 1),
        ("mem:32", None, 1),
        ("cpus:0.009;mem:31;disk:100;ports:[1-9]", None, 0),
        ("disk:100", Some(vec!["disk:100"]), 1),
        ("disk:99", Some(vec!["disk:100"]), 0),
        ("cpus:8;mem:99", Some(vec!["mem:100", "disk:1"]), 0),
        ("ports:[1-9]", Some(vec![]), 1),
        ("", Some(vec![]), 0),
    ] {
        let mut allocator = allocator();
        agent(&mut allocator, total);
        let mut options = options(&["eng"]);
        options.roles[0].min_allocatable =
            own_minima.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
        let handle = allocator.add_framework(&FrameworkId::new("f").unwrap(), &options);
        assert_eq!(run(&mut allocator, START).len(), expected, "{total}");
        allocator.remove_framework(handle);
        assert!(run(&mut allocator, START).is_empty());
    }
}

#[test]
fn a_shared_volume_is_handed_out_once_a_visit_and_counts_once() {
    let mut allocator = allocator();
    let total = resources("cpus:2;mem:64;cpus(eng/a):1;cpus(eng/b):1") + &volume(true).into();
    let agent = allocator.add_agent(&AgentOptions::from(total), &[]);
    let mut handles = Vec::new();
    for (id, subscribed) in [("a", "eng/a"), ("b", "eng/b")] {
        let mut options = options(&[subscribed]);
        options.capabilities.shared_resources = true;
        handles.push(allocator.add_framework(&FrameworkId::new(id).unwrap(), &options));
    }
    let offers = run(&mut allocator, START);
    assert_eq!(offers.len(), 2);
    assert_eq!(
        offers
            .iter()
            .filter(|offer| !offer.resources.shared().is_empty())
            .count(),
        1
    );
    let offer = offers
        .iter()
        .find(|offer| !offer.resources.shared().is_empty())
        .unwrap();
    assert_eq!(
        allocator
            .held_by(offer.framework, &offer.role)
            .get(&Name::Disk),
        Scalar::whole(50)
    );
    // A second task with the volume: held twice, counted once.
    let volume: Resources = volume(true).into();
    let holding = Holding {
        framework: offer.framework,
        role: offer.role.clone(),
        resources: volume.clone(),
    };
    allocator.hold(agent, &holding);
    assert_eq!(
        allocator
            .held_by(offer.framework, &offer.role)
            .get(&Name::Disk),
        Scalar::whole(50)
    );
    for left in [50, 0, 0] {
        allocator.recover(
            START,
            agent,
            offer.framework,
            &offer.role,
            &volume,
            Recovery::Freed,
        );
        assert_eq!(
            allocator
                .held_by(offer.framework, &offer.role)
                .get(&Name::Disk),
            Scalar::whole(left)
        );
    }
    // Freed cpus take the volume along, also to the other framework.
    let other = offers
        .iter()
        .find(|other| other.framework != offer.framework)
        .unwrap();
    allocator.recover(
        START,
        agent,
        other.framework,
        &other.role,
        &other.resources,
        Recovery::Freed,
    );
    assert!(
        run(&mut allocator, START)
            .iter()
            .any(|offer| !offer.resources.shared().is_empty())
    );
}

#[test]
fn weights_share_out_a_cluster() {
    let mut allocator = allocator();
    for _ in 0..600 {
        agent(&mut allocator, "cpus:1;mem:100");
    }
    // Top level 1 : 2; within `b` its own framework and its child role count alike.
    let a = framework(&mut allocator, "a", &["a"]);
    let b = framework(&mut allocator, "b", &["b"]);
    let child = framework(&mut allocator, "child", &["b/child"]);
    allocator.set_weight(&role("b"), 2.0);
    assert_eq!(run(&mut allocator, START).len(), 600);
    for (framework, subscribed, cpus) in [(a, "a", 200), (b, "b", 200), (child, "b/child", 200)] {
        let held = allocator
            .held_by(framework, &role(subscribed))
            .get(&Name::Cpus);
        assert!(
            (held.thousandths() - cpus * 1000).abs() <= 3_000,
            "{subscribed} has {held}"
        );
    }
    assert!((allocator.share_of(a, &role("a")) - 1.0 / 3.0).abs() < 0.01);
}

/// The example of the paper on dominant-resource fairness: 9 cpus and 18 GB; tasks of 1 cpu and 4 GB against tasks of 3 cpus
/// and 1 GB end at two thirds each.
#[test]
fn dominant_shares_meet() {
    let config = AllocatorConfig {
        coalesce: Duration::ZERO,
        ..config()
    };
    let mut allocator = HierarchicalDrf::new(config);
    agent(&mut allocator, "cpus:9;mem:18000");
    let tasks = [
        (
            framework(&mut allocator, "a", &["a"]),
            resources("cpus:1;mem:4000"),
        ),
        (
            framework(&mut allocator, "b", &["b"]),
            resources("cpus:3;mem:1000"),
        ),
    ];
    let mut launched = [0, 0];
    for _ in 0..20 {
        for offer in run(&mut allocator, START) {
            let index = usize::from(offer.framework == tasks[1].0);
            let offered = offer.resources.unallocated();
            let (rest, why) = match offered.checked_sub(&tasks[index].1) {
                Some(rest) => {
                    launched[index] += 1;
                    (
                        rest,
                        Recovery::Leftover {
                            refuse: Duration::ZERO,
                        },
                    )
                }
                None => (offered, refuse(5)),
            };
            allocator.recover(START, offer.agent, offer.framework, &offer.role, &rest, why);
        }
    }
    assert_eq!(launched, [3, 2]);
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let decide = |seed| {
        let mut allocator = HierarchicalDrf::new(AllocatorConfig { seed, ..config() });
        for _ in 0..50 {
            agent(&mut allocator, "cpus:1;mem:100");
        }
        for index in 0..7 {
            framework(&mut allocator, &format!("f{index}"), &["eng"]);
        }
        run(&mut allocator, START)
    };
    assert_eq!(decide(1), decide(1));
    assert_ne!(decide(1), decide(2));
}
