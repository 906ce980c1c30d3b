//! Metrics that are read off the view: operations, what roles hold, and what frameworks wish.

use std::collections::BTreeMap;

use tepui_model::Quantities;
use tepui_model::resources::Name;

use super::RoleSums;
use crate::config::Config;
use crate::metrics::{Kind, Labelled};
use crate::view::{State, Totals, is_passing};

/// All of them.
pub(super) fn of(state: &State, totals: &Totals, config: &Config) -> Vec<Labelled> {
    let mut all = operations(state);
    roles(state, totals, config, &mut all);
    if config.publish_per_framework_metrics {
        frameworks(state, &mut all);
    }
    all
}

fn operations(state: &State) -> Vec<Labelled> {
    let mut by_type_and_state = BTreeMap::<(String, String), (Kind, f64)>::new();
    let lower = |name: &str| name.trim_start_matches("OPERATION_").to_lowercase();
    for known in state.operations.values() {
        let state = known.object.operation.latest_status.state();
        if is_passing(state) {
            let key = (
                lower(known.object.operation.info.r#type().as_str_name()),
                lower(state.as_str_name()),
            );
            by_type_and_state.entry(key).or_insert((Kind::Gauge, 0.0)).1 += 1.0;
        }
    }
    for (kind, state, count) in state.operation_counts.ended() {
        let key = (lower(kind.as_str_name()), lower(state.as_str_name()));
        by_type_and_state.insert(key, (Kind::Counter, count as f64));
    }
    let mut of_type = BTreeMap::<&str, f64>::new();
    let mut of_state = BTreeMap::<&str, (Kind, f64)>::new();
    // Those that operators watch are there from the beginning.
    for state in ["pending", "recovering", "unreachable"] {
        of_state.insert(state, (Kind::Gauge, 0.0));
    }
    for state in ["finished", "failed", "error", "dropped", "gone_by_operator"] {
        of_state.insert(state, (Kind::Counter, 0.0));
    }
    for ((kind, state), (sort, count)) in &by_type_and_state {
        *of_type.entry(kind).or_default() += count;
        of_state.entry(state).or_insert((*sort, 0.0)).1 += count;
    }
    let total = of_type.values().sum();
    let mut all = vec![Labelled::plain(
        Kind::Gauge,
        "master/operations/total".to_owned(),
        total,
    )];
    for (state, (sort, count)) in of_state {
        all.push(Labelled::plain(
            sort,
            format!("master/operations/{state}"),
            count,
        ));
    }
    for (kind, count) in of_type {
        all.push(Labelled::plain(
            Kind::Gauge,
            format!("master/operations/{kind}/total"),
            count,
        ));
    }
    for ((kind, state), (sort, count)) in &by_type_and_state {
        all.push(Labelled::plain(
            *sort,
            format!("master/operations/{kind}/{state}"),
            *count,
        ));
    }
    all
}

fn roles(state: &State, totals: &Totals, config: &Config, all: &mut Vec<Labelled>) {
    let names = ["cpus", "gpus", "mem", "disk"];
    for (role, sums) in RoleSums::of(state, config) {
        let mut held = sums.allocated.clone();
        held.add_all(&sums.offered);
        let share = names
            .iter()
            .zip(totals.total)
            .filter(|(_, total)| *total > 0.0)
            .map(|(name, total)| held.scalar(name) / total)
            .fold(0.0, f64::max);
        all.push(Labelled {
            name: format!("allocator/mesos/roles/{role}/shares/dominant"),
            kind: Kind::Gauge,
            value: share,
            family: "allocator_mesos_roles_shares_dominant".to_owned(),
            labels: vec![("role", role.clone())],
        });
        let limits = sums
            .quota
            .limits
            .iter()
            .map(|(name, limit)| (name.clone(), *limit));
        let limits = limits.fold(Quantities::new(), |all, (name, limit)| {
            all.with(&name, limit)
        });
        let mut push = |name: &Name, what: &str, value: f64| {
            all.push(Labelled {
                name: format!(
                    "allocator/mesos/quota/roles/{role}/resources/{}/{what}",
                    name.as_str()
                ),
                kind: Kind::Gauge,
                value,
                family: format!("allocator_mesos_quota_roles_resources_{what}"),
                labels: vec![
                    ("role", role.clone()),
                    ("resource", name.as_str().to_owned()),
                ],
            });
        };
        let mut with_quota: Vec<Name> =
            sums.quota.guarantees.iter().map(|(name, _)| name).collect();
        for (name, amount) in sums.quota.guarantees.iter() {
            push(&name, "guarantee", amount.as_f64());
        }
        for (name, amount) in limits.iter() {
            push(&name, "limit", amount.as_f64());
            if !with_quota.contains(&name) {
                with_quota.push(name);
            }
        }
        for name in with_quota {
            push(&name, "offered_or_allocated", held.scalar(name.as_str()));
        }
    }
}

fn frameworks(state: &State, all: &mut Vec<Labelled>) {
    for (id, framework) in &state.frameworks {
        let known = &framework.shown.object;
        let name = &known.info.name;
        let mut push = |rest: String, value: bool| {
            all.push(Labelled::of_framework(
                name,
                id.as_str(),
                Kind::Gauge,
                &rest,
                f64::from(u8::from(value)),
            ));
        };
        push("subscribed".to_owned(), known.connected);
        for role in super::shapes::roles(&known.info) {
            let suppressed = known
                .suppressed_roles
                .iter()
                .any(|one| one.as_str() == role);
            push(format!("roles/{role}/suppressed"), suppressed);
        }
    }
}
