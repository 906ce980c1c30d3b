//! Which capabilities a container can ever have.
//!
//! Only the bounding set is cut, in the task's own process: until it executes its program it still has what it takes to become the task's user;
//! from then on root inside has what is left, and nobody else has any.

use super::Isolator;
use crate::containerizer::LaunchFailure;
use crate::supervisor::message::failed;
use crate::supervisor::sys;

pub(super) struct Privileges(Option<u64>);

impl Privileges {
    /// `kept`: bit n stands for capability n; `None` leaves everything.
    pub(super) fn new(kept: Option<u64>) -> Self {
        Self(kept)
    }
}

impl Isolator for Privileges {
    fn enter(&self) -> Result<(), LaunchFailure> {
        match self.0 {
            // Without any to give up (not root, no user namespace) there is nothing to do, nor a right to do it.
            Some(kept) if nix::unistd::geteuid().is_root() => {
                sys::bound_capabilities(kept).map_err(failed("give up capabilities", ""))
            }
            _ => Ok(()),
        }
    }
}
