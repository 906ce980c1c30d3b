//! What people are told of all this.

use serde_json::{Value, json};

use crate::{core::Marathon, path::PathId};

impl Marathon {
    /// Why nothing happens though something is due.
    pub(in crate::core) fn reasons_of_upkeep(&self, id: &PathId) -> Vec<String> {
        self.upkeeps
            .get(id)
            .map_or_else(Vec::new, |one| one.status.held.clone())
    }

    /// What goes on with an app, and comes next; null: nothing.
    pub(in crate::core) fn upkeep_view(&self, id: &PathId) -> Value {
        let Some(upkeep) = self.upkeeps.get(id) else {
            return Value::Null;
        };
        let (status, course) = (&upkeep.status, upkeep.kept.course);
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let next = policy
            .restarts
            .as_ref()
            .and_then(|one| one.next(self.stamp()));
        let mut told = Vec::new();
        if let Some(at) = course.under_way {
            told.push(format!(
                "restart of {at}: {} instances still to be replaced",
                status.due
            ));
        }
        told.extend(next.map(|at| format!("next restart at {at}")));
        if let Some(at) = course
            .missed
            .filter(|at| course.last.is_none_or(|last| last < *at))
        {
            told.push(format!("restart of {at} was left out"));
        }
        if let Some(at) = self.goes_down(id) {
            told.push(format!(
                "instances leave agents that go down for maintenance from {at} on"
            ));
        }
        if let Some(at) = status.next_expiry {
            told.push(format!("the next instance is replaced for its age at {at}"));
        }
        told.extend(upkeep.balance.told());
        json!({
            "nextRestart": next,
            "restarting": course.under_way,
            "lastRestart": course.last,
            "missedRestart": course.missed,
            "nextExpiry": status.next_expiry,
            "due": status.due,
            "leaving": status.leaving,
            "available": status.available,
            "minAvailable": status.min_available,
            "lastDisruption": upkeep.kept.disrupted_at,
            "told": told,
        })
    }
}
