//! What operators decide about roles and machines, not about single agents: weights, quota, maintenance.
//!
//! Each decision is checked against those before it, so they take turns: while one is being stored the next ones wait (a bounded
//! number of them). A decision is stored whole, and nothing of it is in force before.

mod quota;
mod weights;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tepui_model::Role;

use crate::allocator::Quota;
use crate::change::Change;
use crate::input::{OperatorCall, ReplyToken};
use crate::master::{Master, reply};
use crate::operator::refused;
use crate::output::{Output, Reply};
use crate::registry::{Maintenance, RegistryOperation};
use crate::stores::Waiting;

/// The most calls that wait for their turn.
const MOST_WAITING: usize = 256;
/// The most roles in one call: a decision is one write of the store.
const MOST_ROLES: usize = 900;
/// The longest role, in bytes, of which something can be stored.
const LONGEST_ROLE: usize = 400;

/// What operators have set.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) weights: BTreeMap<Role, f64>,
    pub(crate) quotas: BTreeMap<Role, Quota>,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: bool,
    pub(crate) waiting: VecDeque<(OperatorCall, Option<ReplyToken>)>,
}

/// A decision that is being stored.
#[derive(Debug)]
pub(crate) enum PolicyChange {
    Weights(Vec<(Role, f64)>),
    Quotas(Vec<(Role, Quota)>),
    Maintenance(Box<Maintenance>),
}

impl Master {
    /// Carry out a call when it is its turn.
    pub(crate) fn in_turn(
        &mut self,
        call: OperatorCall,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        if self.turn.taken {
            if self.turn.waiting.len() < MOST_WAITING {
                self.turn.waiting.push_back((call, token));
            } else {
                let busy = "Too many changes wait for the registry, try again".to_owned();
                reply(token, refused(503, busy), out);
            }
            return;
        }
        let decided = match call {
            OperatorCall::DrainAgent { agent, config } => {
                return self.drain(agent, config, token, out);
            }
            OperatorCall::UpdateWeights { weights } => self.decide_weights(&weights),
            OperatorCall::UpdateQuota { configs, force } => self.decide_quotas(&configs, force),
            OperatorCall::SetQuota { request } => self.decide_new_quota(&request),
            OperatorCall::RemoveQuota { role } => self.decide_no_quota(&role),
            OperatorCall::UpdateMaintenanceSchedule { schedule } => self.decide_schedule(schedule),
            OperatorCall::StartMaintenance { machines } => self.decide_down(&machines),
            OperatorCall::StopMaintenance { machines } => self.decide_up(&machines),
            // Of no concern here: `operator` has them.
            _ => Err(refused(400, "Not a change of policy".to_owned())),
        };
        let change = match decided {
            Err(refusal) => return reply(token, refusal, out),
            Ok(PolicyChange::Weights(weights)) if weights.is_empty() => {
                return reply(token, Reply::Ok, out);
            }
            Ok(PolicyChange::Quotas(quotas)) if quotas.is_empty() => {
                return reply(token, Reply::Ok, out);
            }
            Ok(change) => change,
        };
        let operations = match &change {
            PolicyChange::Weights(weights) => weights
                .iter()
                .map(|(role, weight)| RegistryOperation::SetWeight {
                    role: role.clone(),
                    weight: *weight,
                })
                .collect(),
            PolicyChange::Quotas(quotas) => quotas
                .iter()
                .map(|(role, quota)| RegistryOperation::SetQuota {
                    role: role.clone(),
                    quota: quota.clone(),
                })
                .collect(),
            PolicyChange::Maintenance(next) => {
                vec![RegistryOperation::SetMaintenance(next.clone())]
            }
        };
        self.turn.taken = true;
        let waiting = Waiting::Policy {
            change,
            reply: token,
        };
        self.store_all(operations, waiting, out);
    }

    /// The registry has answered: whoever waits is next.
    pub(crate) fn next_turn(&mut self, out: &mut Vec<Output>) {
        self.turn.taken = false;
        while !self.turn.taken
            && let Some((call, token)) = self.turn.waiting.pop_front()
        {
            self.in_turn(call, token, out);
        }
    }

    /// The registry knows: now it is in force.
    pub(crate) fn policy_stored(&mut self, change: PolicyChange, out: &mut Vec<Output>) {
        match change {
            PolicyChange::Weights(weights) => self.weights_stored(weights, out),
            PolicyChange::Quotas(quotas) => self.quotas_stored(&quotas, out),
            PolicyChange::Maintenance(next) => self.maintenance_stored(*next, out),
        }
    }

    pub(crate) fn show_weights(&self, out: &mut Vec<Output>) {
        let all: Arc<[_]> = self
            .policy
            .weights
            .iter()
            .map(|(role, weight)| (role.clone(), *weight))
            .collect();
        out.push(Output::Change(Change::WeightsChanged(all)));
    }

    pub(crate) fn show_quotas(&self, out: &mut Vec<Output>) {
        let all: Arc<[_]> = self
            .policy
            .quotas
            .iter()
            .map(|(role, quota)| (role.clone(), quota.clone()))
            .collect();
        out.push(Output::Change(Change::QuotasChanged(all)));
    }

    /// A role of which an operator sets something.
    fn named_role(&self, name: &str) -> Result<Role, Reply> {
        let wrong = |why: String| refused(400, why);
        let role = Role::new(name).map_err(|error| wrong(error.to_string()))?;
        if name.len() > LONGEST_ROLE {
            return Err(wrong(format!(
                "Role names of more than {LONGEST_ROLE} bytes cannot be stored"
            )));
        }
        match &self.config.roles {
            Some(roles) if !role.is_star() && !roles.iter().any(|known| known == name) => {
                Err(wrong(format!("Unknown role '{name}'")))
            }
            _ => Ok(role),
        }
    }
}

/// Too many roles in one call.
fn check_count(count: usize) -> Result<(), Reply> {
    if count > MOST_ROLES {
        let why = format!("{count} roles in one call; at most {MOST_ROLES} are possible");
        return Err(refused(400, why));
    }
    Ok(())
}
