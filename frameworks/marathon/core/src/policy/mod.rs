//! An app's policy: what goes on with it over time, beside its definition. It is stored per app, outlives versions, and is changed without a
//! deployment.

mod autoscaling;

pub use autoscaling::{Autoscaling, Metric};
pub(crate) use autoscaling::{Reading, Verdict, decide};
use serde::{Deserialize, Serialize};

use crate::definition::{App, Faults};

/// See the module. What is absent is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// How many instances there are follows what they use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

impl Policy {
    /// Nothing is on.
    pub(crate) const fn is_empty(&self) -> bool {
        self.autoscaling.is_none()
    }

    pub(crate) fn validate(&self, app: &App, faults: &mut Faults) {
        if let Some(autoscaling) = &self.autoscaling {
            autoscaling.validate(app, faults);
        }
    }
}
