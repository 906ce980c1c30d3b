//! Restarts and rebalancing of any app while nothing goes wrong: its budget holds at every moment (B1), nothing runs beyond its upgrade
//! strategy (B2), everything due is replaced, and rebalancing ends with an even spread (B3).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::{cell::Cell, collections::BTreeSet};

use cluster::{Agent, Cluster, body, daemons::places};
use proptest::prelude::*;
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, PolicyAction, PolicyPart, Timestamp, view::Query};

thread_local! {
    /// The fewest instances that were ready at any moment, and the most that were wanted.
    static SEEN: Cell<(usize, usize)> = const { Cell::new((usize::MAX, 0)) };
}

fn see(cluster: &Cluster) {
    let (fewest, most) = SEEN.get();
    let running = cluster.running("/a").len();
    let launched = cluster.tasks.len();
    SEEN.set((fewest.min(running), most.max(launched)));
}

#[derive(Clone, Debug)]
struct World {
    instances: usize,
    /// Of one zone or the other, those that are there from the first on, and those that come later.
    agents: Vec<bool>,
    first: usize,
    strategy: (f64, f64),
    budget: Option<Value>,
    ordinals: bool,
    over: Vec<&'static str>,
    fail_over_after: u64,
    /// So many more are wanted before the leader fails over.
    grows: usize,
}

fn world() -> impl Strategy<Value = World> {
    let budget = prop::option::of(prop::sample::select(vec![
        json!({ "maxUnavailable": 1 }),
        json!({ "maxUnavailable": "40%" }),
        json!({ "minAvailable": 2 }),
        json!({ "minAvailable": "50%", "minIntervalSeconds": 3 }),
    ]));
    let strategies = vec![(1.0, 1.0), (1.0, 0.0), (0.5, 0.2), (0.0, 0.0), (0.5, 0.0)];
    let over = vec![vec!["hostname"], vec!["zone"], vec!["zone", "hostname"]];
    (
        1..8usize,
        prop::collection::vec(any::<bool>(), 2..6),
        prop::sample::select(strategies),
        budget,
        prop::bool::weighted(0.2),
        prop::sample::select(over),
        20..90u64,
        0..3usize,
    )
        .prop_map(
            |(instances, agents, strategy, budget, ordinals, over, fail_over_after, grows)| World {
                instances,
                first: 1 + agents.len() / 3,
                agents,
                strategy,
                budget,
                ordinals,
                over,
                fail_over_after,
                grows,
            },
        )
}

impl World {
    fn agent(&self, at: usize) -> Agent {
        let mut agent = Agent::new(at);
        let zone = if self.agents[at] { "x" } else { "y" };
        agent.attributes.insert("zone".to_owned(), zone.to_owned());
        agent
    }

    /// So many have to be ready.
    fn least(&self) -> usize {
        let wanted = self.instances;
        let percent = |percent: usize| (wanted * percent).div_ceil(100);
        match self.budget.as_ref().map(|budget| {
            (
                budget["maxUnavailable"].clone(),
                budget["minAvailable"].clone(),
            )
        }) {
            Some((Value::Number(one), _)) => {
                wanted.saturating_sub(usize::try_from(one.as_u64().unwrap()).unwrap())
            }
            Some((Value::String(_), _)) => wanted - percent(40),
            Some((_, Value::Number(two))) => {
                wanted.min(usize::try_from(two.as_u64().unwrap()).unwrap())
            }
            Some(_) => percent(50),
            None => {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "small numbers"
                )]
                let least = (wanted as f64 * self.strategy.0).ceil() as usize;
                // What has no room beside it goes one below.
                if self.ordinals {
                    least.min(wanted - 1)
                } else {
                    least
                }
            }
        }
    }

    /// So many may run.
    fn most(&self) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small numbers"
        )]
        let bounds = {
            let wanted = self.instances as f64;
            let (minimum, over) = self.strategy;
            (
                (wanted * minimum).ceil() as usize,
                (wanted * (1.0 + over)).floor() as usize,
            )
        };
        if self.ordinals {
            self.instances
        } else {
            // One more where nothing could move.
            bounds.1 + usize::from(bounds.0 == bounds.1)
        }
    }
}

fn policy(cluster: &mut Cluster, policy: &Value) {
    let answer = cluster.call(ApiCall::Policy {
        id: "/a".to_owned(),
        part: PolicyPart::All,
        action: PolicyAction::Put(policy.to_string().into()),
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
}

fn walk(world: &World) -> Result<(), TestCaseError> {
    SEEN.set((usize::MAX, 0));
    let mut cluster = Cluster::new(0);
    for at in 0..world.first {
        cluster.agents.push(world.agent(at));
    }
    let labels = if world.ordinals {
        json!({ "TEPUI_ORDINALS": "true" })
    } else {
        json!({})
    };
    let (minimum, over) = world.strategy;
    let app = json!({
        "id": "/a", "cmd": "run", "cpus": 0.5, "mem": 1, "instances": world.instances, "labels": labels,
        "upgradeStrategy": { "minimumHealthCapacity": minimum, "maximumOverCapacity": over },
    });
    cluster.create(&app.to_string());
    cluster.offer();
    cluster.run();
    cluster.pass(2);
    let first: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    prop_assert_eq!(first.len(), world.instances);
    let minute = Timestamp::from_millis((cluster.now.as_secs() / 60 + 1) * 60_000).to_string();
    let mut settings = json!({
        "rebalance": { "over": world.over, "intervalSeconds": 5 },
        "restarts": { "schedule": format!("{} * * * *", &minute[14..16]) },
    });
    if let Some(budget) = &world.budget {
        settings["disruptionBudget"] = budget.clone();
    }
    policy(&mut cluster, &settings);
    cluster.invariant = Some(see);
    for at in world.first..world.agents.len() {
        cluster.agents.push(world.agent(at));
    }
    cluster.pass(world.fail_over_after / 2);
    let grown = World {
        instances: world.instances + world.grows,
        ..world.clone()
    };
    if world.grows > 0 {
        cluster.update("/a", &json!({ "instances": grown.instances }).to_string());
    }
    cluster.pass(world.fail_over_after.div_ceil(2));
    cluster.fail_over();
    cluster.run();
    cluster.pass(300);
    let (fewest, most) = SEEN.get();
    prop_assert!(
        fewest >= world.least(),
        "B1: {} ready of at least {}",
        fewest,
        world.least()
    );
    prop_assert!(
        most <= grown.most(),
        "B2: {} of at most {}",
        most,
        grown.most()
    );
    let last: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    prop_assert_eq!(last.len(), grown.instances);
    // Something has to be able to move.
    let stuck = grown.least() == grown.instances && grown.most() == grown.instances;
    if !stuck {
        prop_assert!(last.is_disjoint(&first), "all are replaced");
        let on = places(&cluster, "/a");
        let by = |at: usize| {
            if world.over[0] == "zone" {
                usize::from(world.agents[at])
            } else {
                at
            }
        };
        let mut counts = vec![None; world.agents.len().max(2)];
        for at in 0..world.agents.len() {
            *counts[by(at)].get_or_insert(0) += on.get(&at).copied().unwrap_or(0);
        }
        let counts: Vec<usize> = counts.into_iter().flatten().collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 1, "B3: {:?}", counts);
    }
    cluster.pass(60);
    let rest: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    prop_assert_eq!(rest, last, "B3: it ends");
    prop_assert_eq!(cluster.get(&Query::Deployments).1, json!([]));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn budgets_hold_and_rebalancing_ends(world in world()) {
        walk(&world)?;
    }
}

/// An app grows while its only instance is being replaced, and the strategy has no room for three.
#[test]
fn an_app_that_grows_needs_no_more_room_for_what_is_being_replaced() {
    let world = World {
        instances: 1,
        agents: vec![false, false],
        first: 1,
        strategy: (0.5, 0.2),
        budget: None,
        ordinals: false,
        over: vec!["hostname"],
        fail_over_after: 36,
        grows: 1,
    };
    walk(&world).unwrap();
}
