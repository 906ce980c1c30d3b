//! UPDATE_WEIGHTS. Offers were made by the old shares, so all of them end if anybody subscribes to a role that is affected.

use std::collections::BTreeMap;

use tepui_model::Role;
use tepui_proto::mesos::WeightInfo;

use super::{PolicyChange, check_count};
use crate::change::OfferKey;
use crate::master::{Master, log};
use crate::operator::refused;
use crate::output::{LogLevel, Output, Reply};

impl Master {
    pub(super) fn decide_weights(&self, weights: &[WeightInfo]) -> Result<PolicyChange, Reply> {
        check_count(weights.len())?;
        let mut decided: BTreeMap<Role, f64> = BTreeMap::new();
        for info in weights {
            let Some(name) = info.role.as_deref().map(str::trim) else {
                return Err(refused(400, "A weight names no role".to_owned()));
            };
            let role = self.named_role(name)?;
            let weight = info.weight;
            if !weight.is_finite() || weight <= 0.0 {
                return Err(refused(
                    400,
                    format!(
                        "Invalid weight '{weight}' for role '{name}': Weights must be positive"
                    ),
                ));
            }
            if decided.insert(role, weight).is_some() {
                return Err(refused(400, format!("Role '{name}' is named twice")));
            }
        }
        Ok(PolicyChange::Weights(decided.into_iter().collect()))
    }

    pub(super) fn weights_stored(&mut self, weights: Vec<(Role, f64)>, out: &mut Vec<Output>) {
        let known = weights.iter().any(|(role, _)| self.is_subscribed(role));
        for (role, weight) in weights {
            log(
                LogLevel::Info,
                format!("the weight of role '{role}' is {weight}"),
                out,
            );
            self.allocation_set_weight(&role, weight);
            self.policy.weights.insert(role, weight);
        }
        self.show_weights(out);
        if known {
            let all: Vec<OfferKey> = self.offers.keys().copied().collect();
            for key in all {
                self.take_back(key, true, out);
            }
        }
    }

    /// Whether a framework is subscribed to the role or to one below it.
    fn is_subscribed(&self, role: &Role) -> bool {
        self.frameworks.iter().any(|(_, framework)| {
            framework
                .roles
                .iter()
                .any(|own| own == role || own.is_strict_subrole_of(role))
        })
    }
}
