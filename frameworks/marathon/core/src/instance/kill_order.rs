//! Which instances are killed when some are too many.
//!
//! First as many as keep GROUP_BY constraints balanced when they go (from the fullest groups), each group and the rest in the order of
//! kill selection: those that wait for an offer, unreachable ones, then staging, starting, running.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Condition, Instance};
use crate::{
    definition::{App, KillSelection, Operator},
    matching::field_value,
    timestamp::Timestamp,
};

/// The keys of `count` of the candidates.
pub(crate) fn kill_order(app: &App, mut candidates: Vec<&Instance>, count: usize) -> Vec<u64> {
    let moment = |instance: &Instance| match (app.kill_selection, timestamp(instance)) {
        (KillSelection::YoungestFirst, at) => (Reverse(at), 0),
        (KillSelection::OldestFirst, at) => (Reverse(Timestamp::default()), at.millis()),
    };
    candidates.sort_by_key(|instance| (rank(instance.condition), moment(instance), instance.key));
    let mut chosen: Vec<u64> = Vec::with_capacity(count);
    let spread = app
        .constraints
        .iter()
        .find(|constraint| constraint.operator == Operator::GroupBy);
    if let Some(constraint) = spread {
        let mut groups: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
        for instance in candidates.iter().rev() {
            match instance
                .agent
                .as_ref()
                .filter(|_| instance.condition.is_active())
            {
                Some(agent) => {
                    if let Some(value) = field_value(&constraint.field, agent) {
                        groups.entry(value).or_default().push(instance.key);
                    }
                }
                // Instances without an agent stand in no group and cost no balance.
                None => chosen.push(instance.key),
            }
        }
        chosen.truncate(count);
        while chosen.len() < count {
            let Some(fullest) = groups.values_mut().max_by_key(|group| group.len()) else {
                break;
            };
            let Some(key) = fullest.pop() else { break };
            chosen.push(key);
        }
    }
    for instance in candidates {
        if chosen.len() >= count {
            break;
        }
        if spread.is_none() || !chosen.contains(&instance.key) {
            chosen.push(instance.key);
        }
    }
    chosen
}

fn rank(condition: Condition) -> u8 {
    match condition {
        Condition::Unreachable => 1,
        Condition::Provisioned | Condition::Staging => 2,
        Condition::Starting => 3,
        Condition::Running => 4,
        Condition::Killing => 5,
        // Nothing of these runs: their end costs nothing.
        _ => 0,
    }
}

/// The moment by which age is judged; instances that run without one come first among the youngest.
fn timestamp(instance: &Instance) -> Timestamp {
    match instance.condition {
        Condition::Provisioned | Condition::Staging => instance
            .task
            .as_ref()
            .map_or(instance.since, |task| task.staged_at),
        Condition::Running => instance
            .active_since
            .unwrap_or(Timestamp::from_millis(i64::MAX)),
        _ => instance.since,
    }
}
