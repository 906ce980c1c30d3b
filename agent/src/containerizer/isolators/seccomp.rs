//! What a program can never have again, whatever it executes: new privileges by setuid, and system calls that its filter does not allow.
//!
//! The filter comes last, in the task's own process, while that still has what it takes to put it in force. What is left to do then is
//! setgroups, setgid and setuid (for another user than root), rt_sigprocmask, execve, and to tell why that failed: write and exit_group. A
//! profile that does not allow them ends the launch.

use nix::errno::Errno;

use super::Isolator;
use crate::containerizer::LaunchFailure;
use crate::containerizer::spec::Seal;
use crate::supervisor::message::failed;
use crate::supervisor::sys;

pub(super) struct Seccomp(Seal);

impl Seccomp {
    pub(super) fn new(seal: Seal) -> Self {
        Self(seal)
    }
}

impl Isolator for Seccomp {
    fn seal(&self) -> Result<(), LaunchFailure> {
        let no_more =
            || nix::sys::prctl::set_no_new_privs().map_err(failed("forgo new privileges", ""));
        if self.0.no_new_privileges {
            no_more()?;
        }
        let Some(filter) = &self.0.filter else {
            return Ok(());
        };
        let put = |filter| sys::filter_calls(filter);
        match put(filter) {
            // Who is not privileged may only confine those that can never become so.
            Err(Errno::EACCES) => {
                no_more()?;
                put(filter)
            }
            done => done,
        }
        .map_err(failed("filter system calls", ""))
    }
}
