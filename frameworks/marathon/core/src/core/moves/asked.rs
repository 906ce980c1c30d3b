//! What operators ask for, and are told.

use serde_json::{Value, json};

use super::Asked;
use crate::{
    core::Marathon, input::RebalanceAction, path::PathId, policy::stays_put, response::Response,
};

impl Marathon {
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
            let balance = &mut self.upkeeps.entry(id.clone()).or_default().balance;
            let asked = if dry_run { Asked::Plan } else { Asked::Once };
            // To move is more than to plan.
            balance.asked = balance
                .asked
                .filter(|one| *one == Asked::Once)
                .or(Some(asked));
            balance.plan = None;
            balance.next_look = None;
            balance.hold_until = balance.hold_until.filter(|_| dry_run);
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
