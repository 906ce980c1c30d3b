//! How willingly the kernel ends a container's processes when the machine is out of memory.

use super::Isolator;
use crate::containerizer::LaunchFailure;
use crate::supervisor::message::failed_io;

pub(super) struct OomScore(Option<i32>);

impl OomScore {
    pub(super) fn new(adjustment: Option<i32>) -> Self {
        Self(adjustment)
    }
}

impl Isolator for OomScore {
    fn enter(&self) -> Result<(), LaunchFailure> {
        let Some(adjustment) = self.0 else {
            return Ok(());
        };
        std::fs::write("/proc/self/oom_score_adj", adjustment.to_string()).map_err(failed_io(
            "adjust the score for lack of memory to",
            adjustment.to_string(),
        ))
    }
}
