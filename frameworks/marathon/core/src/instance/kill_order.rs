//! Which instances are killed when some are too many.
//!
//! First as many as keep GROUP_BY constraints balanced when they go (from groups that are too many, then from the fullest), each group and the rest in the order of
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
        let most = constraint.groups().map_or(usize::MAX, |most| most as usize);
        while chosen.len() < count {
            let too_many = groups.len() > most;
            let mut all = groups.iter_mut();
            let first = match all.next() {
                Some(first) if too_many => all.fold(first, |least, one| {
                    if one.1.len() < least.1.len() {
                        one
                    } else {
                        least
                    }
                }),
                Some(first) => all.fold(first, |most, one| {
                    if one.1.len() >= most.1.len() {
                        one
                    } else {
                        most
                    }
                }),
                None => break,
            };
            chosen.extend(first.1.pop());
            if first.1.is_empty() {
                let value = first.0.clone();
                groups.remove(&value);
            }
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
