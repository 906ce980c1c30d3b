//! An app's policy: what goes on with it over time, beside its definition. It is stored per app, outlives versions, and is changed without a
//! deployment.

mod autoscaling;
mod budget;
mod cron;
mod maintenance;
mod rebalance;
mod restarts;

pub use autoscaling::{Autoscaling, Metric};
pub(crate) use autoscaling::{Reading, Verdict, decide};
pub use budget::{Amount, DisruptionBudget, Window};
pub use maintenance::Maintenance;
pub use rebalance::Rebalance;
pub(crate) use rebalance::{Gain, Spot, Spread, stays_put};
pub(crate) use restarts::Course;
pub use restarts::Restarts;
use serde::{Deserialize, Serialize};

use crate::definition::{App, Faults};

/// The longest time that may be set, in seconds: a hundred years.
const MAX_SECONDS: u32 = 100 * 366 * 24 * 3600;

fn too_long() -> String {
    format!("must not be greater than {MAX_SECONDS}")
}

fn utc() -> String {
    "Z".to_owned()
}

fn is_utc(offset: &str) -> bool {
    offset == "Z"
}

/// See the module. What is absent is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// How many instances there are follows what they use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Instances are replaced at times, and before they are too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// Instances are moved where that spreads them more evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<Rebalance>,
    /// What all of these may take away, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// What becomes of instances on machines that go down for maintenance; without it they leave beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

impl Policy {
    /// Nothing is on.
    pub(crate) const fn is_empty(&self) -> bool {
        self.autoscaling.is_none()
            && self.restarts.is_none()
            && self.rebalance.is_none()
            && self.disruption_budget.is_none()
            && self.maintenance.is_none()
    }

    pub(crate) fn validate(&self, app: &App, faults: &mut Faults) {
        if let Some(autoscaling) = &self.autoscaling {
            autoscaling.validate(app, faults);
        }
        if let Some(restarts) = &self.restarts {
            restarts.validate(faults);
        }
        if let Some(rebalance) = &self.rebalance {
            rebalance.validate(app, faults);
        }
        if let Some(budget) = &self.disruption_budget {
            budget.validate(faults);
        }
        if let Some(maintenance) = &self.maintenance {
            maintenance.validate(faults);
        }
    }
}
