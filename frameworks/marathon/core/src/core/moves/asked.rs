//! What operators ask for, and are told. That an app is to be spread is stored until it is done, so the next leader goes on with it; a plan is
//! asked for again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Asked;
use crate::{
    core::{Marathon, records},
    input::RebalanceAction,
    output::Mutation,
    path::PathId,
    policy::stays_put,
    response::Response,
    timestamp::Timestamp,
};

/// What is stored of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::core) struct RebalanceRecord {
    app: PathId,
    asked_at: Timestamp,
}

impl Marathon {
    /// Begins or ends what somebody asked for, and writes it down if it is to be done by whoever leads.
    pub(super) fn set_asked(&mut self, id: &PathId, asked: Option<Asked>) {
        let before = self.upkeeps.get(id).and_then(|one| one.balance.asked);
        if before == asked {
            return;
        }
        self.upkeeps.entry(id.clone()).or_default().balance.asked = asked;
        let key = records::rebalance_key(id);
        if asked == Some(Asked::Once) {
            let record = RebalanceRecord {
                app: id.clone(),
                asked_at: self.stamp(),
            };
            self.outbox.write(records::put(key, &record));
        } else if before == Some(Asked::Once) {
            self.outbox.write(Mutation::Delete { key });
        }
    }

    /// Nothing is asked for any more.
    pub(in crate::core) fn end_asked(&mut self, id: &PathId) {
        self.set_asked(id, None);
    }

    /// Goes on with what a former leader was asked for; of an app that is gone nothing should be stored.
    pub(in crate::core) fn recover_asked(&mut self, stored: Vec<RebalanceRecord>) {
        for RebalanceRecord { app, .. } in stored {
            if self.root.get(&app).is_some() {
                let upkeep = self.upkeeps.entry(app.clone()).or_default();
                upkeep.balance.asked = Some(Asked::Once);
                self.wake_upkeep(&app, self.now);
            } else {
                let key = records::rebalance_key(&app);
                self.outbox.write(Mutation::Delete { key });
            }
        }
    }

    /// `/v3/apps/{id}/rebalance`.
    pub(in crate::core) fn rebalance_call(
        &mut self,
        id: &PathId,
        action: RebalanceAction,
    ) -> Result<Response, Response> {
        let Some(app) = self.root.get(id) else {
            return Err(Response::no_app(id, None));
        };
        if let RebalanceAction::Ask { dry_run } = action {
            if let Some(why) = stays_put(app) {
                return Err(Response::message(
                    422,
                    format!("{id} cannot be rebalanced: {why}."),
                ));
            }
            let asked = if dry_run { Asked::Plan } else { Asked::Once };
            let before = self.upkeeps.get(id).and_then(|one| one.balance.asked);
            // To move is more than to plan.
            let asked = before.filter(|one| *one == Asked::Once).or(Some(asked));
            self.set_asked(id, asked);
            let balance = &mut self.upkeeps.entry(id.clone()).or_default().balance;
            balance.plan = None;
            balance.next_look = None;
            balance.hold_until = balance.hold_until.filter(|_| dry_run);
            self.wake_upkeep(id, self.now);
        }
        if action == RebalanceAction::Cancel {
            self.end_asked(id);
            self.wake_upkeep(id, self.now);
        }
        Ok(self.rebalance_view(id))
    }

    pub(super) fn rebalance_view(&self, id: &PathId) -> Response {
        let policy = self.policies.get(id);
        let settings = policy.and_then(|policy| policy.rebalance.clone());
        let balance = self.upkeeps.get(id).map(|one| &one.balance);
        let asked = balance.and_then(|one| one.asked).map(|asked| match asked {
            Asked::Once => "once",
            Asked::Plan => "plan",
        });
        Response::json(
            200,
            &json!({
                "id": id,
                "rebalance": settings,
                "asked": asked,
                "looking": balance.is_some_and(|one| one.look.is_some()),
                "move": balance.and_then(|one| one.doing.as_ref()),
                "held": balance.and_then(|one| one.held.as_ref()),
                "plan": balance.map_or(Value::Null, |one| json!(one.plan)),
            }),
        )
    }
}
