//! Which system calls a container may make: from a profile to the program that the kernel runs at each call.
//!
//! | file | what for |
//! | --- | --- |
//! | [`profile`] | reads a profile in Docker's and Mesos' JSON for one container: its capabilities, this machine |
//! | [`builtin`] | the profile that is there without a file |
//! | [`policy`] | what both become: actions, rules, numbers of calls |
//! | [`compile`] | from there to classic BPF |
//!
//! All of it is pure. The filter is put in force by `isolators::seccomp`, last of all, in the task's own process.
//!
//! The compiler is our own because the crate there is (`seccompiler`) has one action a filter and one architecture: it would end every
//! 32-bit program, and a profile that answers some calls with ENOSYS and others with EPERM, as Docker's does, cannot be said in it.
//! Numbers of calls come from the crate `syscalls`.

mod builtin;
mod compile;
mod policy;
mod profile;

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use profile::{MAX_PROFILE_BYTES, Situation};

/// The most instructions that the kernel takes.
const MAX_INSTRUCTIONS: usize = 4096;
/// What one has: code, two jumps, a constant.
pub(crate) const INSTRUCTION_BYTES: usize = 8;

/// A compiled filter. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter(Arc<[u8]>);

impl Filter {
    /// Compiles a profile in JSON.
    ///
    /// # Errors
    /// What in it is wrong, or not known here, by name.
    pub fn from_json(json: &[u8], situation: &Situation) -> Result<Self, String> {
        compile::compile(&profile::read(json, situation)?)
    }

    /// The profile that is there without a file, for a container with these capabilities.
    ///
    /// # Errors
    /// This machine's kind of processor is not known here.
    pub fn builtin(situation: &Situation) -> Result<Self, String> {
        compile::compile(&builtin::policy(situation)?)
    }

    /// The program, as the kernel takes it: [`INSTRUCTION_BYTES`] for each instruction.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether this machine's kernel filters system calls, and this kind of processor is known here.
pub(crate) fn available() -> bool {
    policy::Architecture::native().is_some()
        && Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

impl TryFrom<String> for Filter {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "no base64")?;
        let whole = bytes.len().is_multiple_of(INSTRUCTION_BYTES);
        if !whole || bytes.is_empty() || bytes.len() > MAX_INSTRUCTIONS * INSTRUCTION_BYTES {
            return Err("no program of seccomp");
        }
        Ok(Self(bytes.into()))
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        STANDARD.encode(&filter.0)
    }
}
