//! Policies of apps: `/v3/apps/{id}/policy` and its parts.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::{Marathon, records, upkeep::Kept};
use crate::{
    definition::Faults,
    input::{PolicyAction, PolicyPart},
    output::Mutation,
    path::PathId,
    policy::{Autoscaling, Policy},
    response::Response,
};

impl Marathon {
    /// Shows, sets or takes away the policy of an app, or a part of it.
    pub(super) fn policy_call(
        &mut self,
        id: &PathId,
        part: PolicyPart,
        action: &PolicyAction,
    ) -> Result<Response, Response> {
        let Some(app) = self.root.get(id).cloned() else {
            return Err(Response::no_app(id, None));
        };
        let old = self.policies.get(id).cloned().unwrap_or_default();
        let mut policy = Policy::clone(&old);
        match (part, action) {
            (_, PolicyAction::Show) => return Ok(self.policy_view(id, part)),
            (PolicyPart::All, PolicyAction::Put(body)) => policy = self.read_policy(body)?,
            (PolicyPart::All, PolicyAction::Delete) => policy = Policy::default(),
            (PolicyPart::Autoscaling, PolicyAction::Put(body)) => {
                policy.autoscaling = Some(self.read_policy::<Autoscaling>(body)?);
            }
            (PolicyPart::Autoscaling, PolicyAction::Delete) => policy.autoscaling = None,
        }
        let mut faults = Faults::default();
        policy.validate(&app, &mut faults);
        faults.into_result("Object is not valid")?;
        if policy != *old {
            self.set_policy(id, policy);
        }
        Ok(self.policy_view(id, part))
    }

    fn read_policy<T: serde::de::DeserializeOwned>(&self, body: &Bytes) -> Result<T, Response> {
        let value = self.object(body)?;
        serde_json::from_value(value)
            .map_err(|error| Response::message(422, format!("The policy cannot be read: {error}")))
    }

    fn policy_view(&self, id: &PathId, part: PolicyPart) -> Response {
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let (status, upkeep) = (self.scaler_view(id), self.upkeep_view(id));
        Response::json(
            200,
            &match part {
                PolicyPart::All => json!({ "id": id, "policy": *policy, "upkeep": upkeep }),
                PolicyPart::Autoscaling => {
                    json!({ "id": id, "autoscaling": policy.autoscaling, "status": status })
                }
            },
        )
    }

    /// Puts a policy in force, and writes it.
    pub(super) fn set_policy(&mut self, id: &PathId, policy: Policy) {
        let old = self.policies.get(id).cloned().unwrap_or_default();
        let kept = self.kept_of(id, &old, &policy);
        if policy.is_empty() {
            let key = records::policy_key(id);
            self.outbox.write(Mutation::Delete { key });
            self.policies.remove(id);
        } else {
            self.policies.insert(id.clone(), Arc::new(policy));
        }
        self.follow_policy(id);
        let new = self.policies.get(id).cloned().unwrap_or_default();
        let upkeep = |policy: &Policy| {
            let Policy {
                restarts,
                rebalance,
                disruption_budget,
                ..
            } = policy.clone();
            (restarts, rebalance, disruption_budget)
        };
        if upkeep(&old) != upkeep(&new) {
            self.follow_upkeep(id, kept);
        }
        self.touch_upkeep(id);
        self.store_policy(id);
    }

    /// Writes a policy with what is kept beside it, if there is one.
    pub(super) fn store_policy(&mut self, id: &PathId) {
        let Some(policy) = self.policies.get(id) else {
            return;
        };
        let record = PolicyRecord {
            app: id.clone(),
            policy: Policy::clone(policy),
            upkeep: self.kept(id),
        };
        self.outbox
            .write(records::put(records::policy_key(id), &record));
    }

    /// Forgets the policy of an app that is no more.
    pub(super) fn drop_policy(&mut self, id: &PathId) {
        if self.policies.contains_key(id) {
            self.set_policy(id, Policy::default());
        }
        // Also what was asked for once.
        if self.upkeeps.contains_key(id) {
            self.end_asked(id);
        }
        self.follow_upkeep(id, Kept::default());
    }

    /// Takes over what is stored; of an app that is gone nothing should be.
    pub(super) fn recover_policies(&mut self, stored: Vec<PolicyRecord>) {
        for record in stored {
            if self.root.get(&record.app).is_some() {
                let id = record.app.clone();
                self.policies.insert(record.app, Arc::new(record.policy));
                self.follow_policy(&id);
                self.recover_upkeep(&id, record.upkeep.unwrap_or_default());
            }
        }
    }
}

/// What is stored of a policy.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct PolicyRecord {
    app: PathId,
    policy: Policy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upkeep: Option<Kept>,
}
