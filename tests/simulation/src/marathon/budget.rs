//! I21: what Marathon does by itself. Restarts, moves and whoever leaves a machine keep to the disruption budget, written anew here, and
//! the autoscaler to its bounds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tepui_marathon_core::Mutation;

use super::apps::{Kind, kind};
use super::judge::{Bounds, Fault};
use super::process::Process;
use super::records::{Instance, Records, data};
use crate::invariants::Invariant;

/// Why instances end that Marathon ends by itself, though they are wanted.
const OWN_CAUSES: [&str; 2] = ["restarted", "moved"];

/// Of so many instances; a percentage is rounded up.
fn amount(value: &Value, wanted: usize) -> Option<usize> {
    if let Some(count) = value.as_u64() {
        return usize::try_from(count).ok();
    }
    let percent: usize = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    Some((wanted * percent).div_ceil(100))
}

/// How many of so many instances have to serve.
fn least(app: &Value, budget: &Value, wanted: usize) -> usize {
    let id = app["id"].as_str().unwrap_or_default();
    if let Some(away) = amount(&budget["maxUnavailable"], wanted) {
        return wanted.saturating_sub(away);
    }
    if let Some(there) = amount(&budget["minAvailable"], wanted) {
        return there.min(wanted);
    }
    let bounds = Bounds::of(app, wanted as u64, wanted, false);
    // What cannot have another beside it has to go one below.
    let alone = matches!(kind(id), Kind::Resident | Kind::Numbered);
    bounds.least.min(wanted.saturating_sub(usize::from(alone)))
}

/// A step in which Marathon by itself takes away what serves, and leaves too few. `tightened`: as if none might be away.
pub(super) fn takes_too_many(
    process: &Process,
    touched: &BTreeMap<String, Option<Instance>>,
    tightened: bool,
) -> Option<Fault> {
    let records = &process.records;
    let serves = |one: &Instance| one.is_ready(records.is_checked(one), &process.health);
    let stays = |one: &Instance| one.wanted() && one.cause.is_none() && serves(one);
    let own = |cause: &str| OWN_CAUSES.contains(&cause);
    let mut disrupted: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, before) in touched {
        let after = records.instances.get(id);
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        // One that has ceased to serve in this very step is no loss.
        let ends = after.cause.as_deref().is_some_and(own) && after.condition == "Running";
        if stays(before) && ends {
            disrupted.insert(&before.app, &before.id);
        }
    }
    for (id, instance) in disrupted {
        let Some(app) = records.apps.get(id) else {
            continue;
        };
        // Where a deployment is at work, its own bounds hold; how many agents a daemon app has is not written down.
        if kind(id) == Kind::Daemon || records.is_deployed(id) {
            continue;
        }
        let wanted = usize::try_from(app["instances"].as_u64().unwrap_or_default()).unwrap_or(0);
        let budget = &records.policy(id)["disruptionBudget"];
        let least = if tightened {
            wanted
        } else {
            least(app, budget, wanted)
        };
        let left = records.of(id).filter(|one| stays(one)).count();
        if left < least {
            let what = format!(
                "{instance} is taken away, and {id} is left with {left} that serve: of {wanted}, {least} must by its budget {budget}"
            );
            return Some((Invariant::Budget, what));
        }
    }
    None
}

/// A change that the autoscaler makes, beyond its bounds. `narrowed`: as if none might be more than the least.
pub(super) fn scales_too_far(
    records: &Records,
    mutations: &[Mutation],
    narrowed: bool,
) -> Option<Fault> {
    // A record of history takes in later changes of the autoscaler: only what is written in this step is judged.
    let written: BTreeSet<&str> = mutations
        .iter()
        .filter_map(|mutation| match mutation {
            Mutation::Put { key, .. } => key.strip_prefix("app/"),
            Mutation::Delete { .. } => None,
        })
        .collect();
    let autoscaled: BTreeSet<String> = mutations
        .iter()
        .filter_map(|mutation| match mutation {
            Mutation::Put { key, value } if key.starts_with("history/") => Some(data(value)),
            _ => None,
        })
        .filter(|history| history["autoscaled"] == true)
        .filter_map(|history| {
            Some(
                history["apps"]
                    .as_object()?
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>(),
            )
        })
        .flatten()
        .filter(|id| written.contains(id.replace('/', "%2F").as_str()))
        .collect();
    for id in autoscaled {
        let Some(app) = records.apps.get(&id) else {
            continue;
        };
        let policy = records.policy(&id);
        let (instances, bounds) = (&app["instances"], &policy["autoscaling"]);
        let (least, most) = (
            bounds["minInstances"].as_u64(),
            bounds[if narrowed {
                "minInstances"
            } else {
                "maxInstances"
            }]
            .as_u64(),
        );
        let within = instances.as_u64() >= least && instances.as_u64() <= most;
        if bounds.is_null() || !within {
            let what =
                format!("{id} is scaled to {instances} by itself, and may be so by {bounds}");
            return Some((Invariant::Budget, what));
        }
    }
    None
}
