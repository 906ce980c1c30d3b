//! Limits per process (setrlimit), as root would have them or as far as the hard limits of the agent allow.

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::Isolator;
use crate::containerizer::{LaunchFailure, Rlimit, RlimitKind};
use crate::supervisor::message::failed;

pub(super) struct Rlimits(Vec<Rlimit>);

impl Rlimits {
    pub(super) fn new(limits: Vec<Rlimit>) -> Self {
        Self(limits)
    }
}

impl Isolator for Rlimits {
    fn enter(&self) -> Result<(), LaunchFailure> {
        for limit in &self.0 {
            let value = |value: Option<u64>| value.unwrap_or(RLIM_INFINITY);
            setrlimit(resource(limit.kind), value(limit.soft), value(limit.hard)).map_err(
                failed("set the resource limit", format!("{:?}", limit.kind)),
            )?;
        }
        Ok(())
    }
}

fn resource(kind: RlimitKind) -> Resource {
    match kind {
        RlimitKind::As => Resource::RLIMIT_AS,
        RlimitKind::Core => Resource::RLIMIT_CORE,
        RlimitKind::Cpu => Resource::RLIMIT_CPU,
        RlimitKind::Data => Resource::RLIMIT_DATA,
        RlimitKind::Fsize => Resource::RLIMIT_FSIZE,
        RlimitKind::Locks => Resource::RLIMIT_LOCKS,
        RlimitKind::Memlock => Resource::RLIMIT_MEMLOCK,
        RlimitKind::Msgqueue => Resource::RLIMIT_MSGQUEUE,
        RlimitKind::Nice => Resource::RLIMIT_NICE,
        RlimitKind::Nofile => Resource::RLIMIT_NOFILE,
        RlimitKind::Nproc => Resource::RLIMIT_NPROC,
        RlimitKind::Rss => Resource::RLIMIT_RSS,
        RlimitKind::Rtprio => Resource::RLIMIT_RTPRIO,
        RlimitKind::Rttime => Resource::RLIMIT_RTTIME,
        RlimitKind::Sigpending => Resource::RLIMIT_SIGPENDING,
        RlimitKind::Stack => Resource::RLIMIT_STACK,
    }
}
