//! What an offer lacks for an app, in words for people. Says the same as the matcher, and how much is missing.

use tepui_model::resources::Scalar;

use super::{OfferState, Placed, field_value, shares::Refusal};
use crate::{
    config::Config,
    definition::{App, Constraint, PortDemand},
};

/// One thing that an offer lacks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lack {
    /// What: the same text for all offers that lack the same.
    pub(crate) what: String,
    /// How much is missing, of what can be measured.
    pub(crate) missing: Option<f64>,
}

impl Lack {
    fn of(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            missing: None,
        }
    }
}

impl OfferState {
    /// All that it lacks for one instance of `app`; empty if it would do.
    pub(crate) fn lacks(&self, app: &App, placed: &Placed, config: &Config) -> Vec<Lack> {
        let mut lacks = Vec::new();
        if let Some(role) = self.role.as_ref().filter(|role| **role != app.role) {
            lacks.push(Lack::of(format!(
                "role: offered to {role}, the app's is {}",
                app.role
            )));
        }
        if let Some(region) = self
            .agent
            .region
            .as_ref()
            .filter(|_| self.is_too_far_for(app))
        {
            lacks.push(Lack::of(format!(
                "region: its agent is in {region}, not in the master's; that takes a constraint on @region or @zone"
            )));
        }
        for (at, constraint) in app.constraints.iter().enumerate() {
            if placed.admits(app, at, &self.agent) {
                continue;
            }
            let value = field_value(&constraint.field, &self.agent);
            let shares = placed.shares(app, at).zip(value.as_deref());
            let why = match shares.and_then(|(shares, value)| shares.refusal(value)) {
                Some(Refusal::Full) => ", its value has its share",
                Some(Refusal::TooMany) => ", its value would be one too many",
                None => "",
            };
            lacks.push(Lack::of(format!("constraint {}{why}", constraint.told())));
        }
        if self.in_maintenance {
            lacks.push(Lack::of("its agent is in a maintenance window"));
        }
        if self.keeps_gpus_from(app, config) {
            lacks.push(Lack::of(
                "it has GPUs, which are kept for apps that want some",
            ));
        }
        let accepted = |role: &str| app.accepts_role(role, config);
        let demand = app.demand(&config.executor);
        for (name, amount) in demand {
            let wanted = Scalar::from_f64(amount).unwrap_or(Scalar::from_thousandths(i64::MAX));
            let there = self.pool.amount(name, accepted);
            if there >= wanted {
                continue;
            }
            let mut missing = wanted;
            missing -= there;
            let what = if self.pool.amount(name, |_| true) >= wanted {
                format!("{name} of a role that the app accepts")
            } else {
                name.to_owned()
            };
            lacks.push(Lack {
                what,
                missing: Some(missing.as_f64()),
            });
        }
        let on_root = super::disks::on_root(app);
        let needed = on_root + Scalar::from_f64(demand[2].1).unwrap_or_default();
        if on_root > Scalar::ZERO && !self.pool.has_whole("disk", needed, accepted) {
            lacks.push(Lack::of("disk for persistent volumes"));
        }
        if self.pool.find_disks(app).is_none() {
            lacks.push(Lack::of(
                "a disk of the kind and size of a persistent volume",
            ));
        }
        let demands: Vec<PortDemand> = app.ports().iter().map(|slot| slot.demand).collect();
        if self.pool.find_ports(&demands, 0, accepted).is_none() {
            let fixed = demands.iter().filter_map(|demand| match demand {
                PortDemand::Fixed(port) if !self.pool.has_ports(&[*port], accepted) => {
                    Some(port.to_string())
                }
                _ => None,
            });
            let fixed: Vec<String> = fixed.collect();
            lacks.push(Lack::of(if fixed.is_empty() {
                "free ports".to_owned()
            } else {
                format!("port {}", fixed.join(", "))
            }));
        }
        lacks
    }
}

impl Constraint {
    /// As people read it: `rack:GROUP_BY:3`.
    pub(crate) fn told(&self) -> String {
        let value = self.value.as_ref();
        let value = value.map_or_else(String::new, |value| format!(":{value}"));
        format!("{}:{}{value}", self.field, self.operator.name())
    }
}
