//! What becomes of instances on machines that are to go down for maintenance: they leave beforehand, as after `kubectl drain` or in Nomad,
//! unless the policy says that they stay until they are ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::Faults;

/// How long before a window instances begin to leave, in seconds, if nothing else is said.
const LEAD: u32 = 900;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Maintenance {
    /// False: instances stay where they are until the machine goes down.
    #[serde(default = "leaves")]
    pub leave: bool,
    /// So long before the window they begin to leave, and none is launched there any more.
    #[serde(default = "lead")]
    pub lead_seconds: u32,
}

const fn leaves() -> bool {
    true
}

const fn lead() -> u32 {
    LEAD
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            leave: leaves(),
            lead_seconds: lead(),
        }
    }
}

impl Maintenance {
    pub(super) fn validate(&self, faults: &mut Faults) {
        if self.lead_seconds > super::MAX_SECONDS {
            faults.add("/maintenance/leadSeconds", super::too_long());
        }
    }

    /// How long before a window instances leave; none: they do not.
    pub(crate) fn lead(&self) -> Option<Duration> {
        let lead = Duration::from_secs(u64::from(self.lead_seconds));
        self.leave.then_some(lead)
    }
}
