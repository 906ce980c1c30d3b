//! Marathon as one more framework of the simulated world: its real core, in processes that are elected, die, are cut off from the store
//! and succeed one another, with users who ask for all that its API can do.
//!
//! A process takes what the store holds, subscribes to the leading master under the stored id, and carries out what its core wants done:
//! calls to the master over the same streams that all frameworks have, writes to a store that is slow, fails, refuses the epochs of the
//! past and sometimes has written what it said to have failed, probes that ask the containers themselves. It may die between any two
//! outputs; of what it had asked the store for, the first part is done or not.
//!
//! What is checked is read off what the core stores, at the step in which it decides, before anything of it is done ([`judge`]); off the
//! containers on the machines; and, once the faults have ended, off what its leader shows ([`settled`]).

mod apps;
mod budget;
mod judge;
mod kept;
mod master;
mod measures;
mod nature;
mod process;
mod records;
mod settled;
mod store;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tepui_marathon_core::CheckId;

pub(crate) use nature::{Nature, task_of};
use process::Process;

use crate::world::Simulation;

/// All of Marathon, over its processes.
#[derive(Default)]
pub(crate) struct Marathons {
    pub(crate) processes: Vec<Process>,
    store: store::Store,
    /// Framework ids that masters have given to it.
    ids: BTreeSet<String>,
    /// Updates that were acknowledged.
    acknowledged: BTreeSet<Bytes>,
    users: users::Users,
    kept: kept::Kept,
    silences: BTreeMap<String, u32>,
    /// Users have put right what could not work.
    mended: bool,
}

/// Something that will happen to Marathon.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    Elect,
    Subscribe(usize),
    /// The subscription was ended by another: it is begun again by who leads.
    Anew(usize),
    Tick(usize),
    Stored(usize),
    Probe {
        process: usize,
        check: CheckId,
    },
    Measure {
        process: usize,
        check: CheckId,
    },
    Depose(usize),
    /// A user asks for something.
    Ask,
    /// Users put right what cannot work, or end all.
    Mend,
}

impl Marathons {
    /// The process that was elected last.
    fn leader(&self) -> Option<usize> {
        let last = self.processes.len().checked_sub(1)?;
        self.processes[last].alive.then_some(last)
    }

    /// Whether Marathon's leader subscribes under this id.
    pub(crate) fn has(&self, framework: &str) -> bool {
        let leader = self.leader().map(|leader| &self.processes[leader]);
        leader.is_some_and(|leader| leader.id.as_deref() == Some(framework))
    }

    /// The ids that its leader, once it is subscribed, has no more use for.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = &String> {
        let leader = self.leader().map(|leader| &self.processes[leader]);
        let own = leader
            .filter(|it| it.subscribed)
            .and_then(|it| it.id.as_ref());
        self.ids
            .iter()
            .filter(move |id| own.is_some_and(|own| own != *id))
    }

    /// Whether a framework is, or was, Marathon.
    pub(crate) fn is(&self, framework: &str) -> bool {
        self.ids.contains(framework)
    }

    /// Whether this update was acknowledged.
    pub(crate) fn has_acknowledged(&self, uuid: &Bytes) -> bool {
        self.acknowledged.contains(uuid)
    }
}

impl Simulation {
    pub(crate) fn marathon_happens(&mut self, happening: Happening) {
        match happening {
            Happening::Elect => self.elect_marathon(),
            Happening::Subscribe(process) => self.marathon_subscribes(process),
            Happening::Anew(process) => self.marathon_begins_anew(process),
            Happening::Tick(process) => self.marathon_tick(process),
            Happening::Stored(process) => self.marathon_store_answers(process),
            Happening::Probe { process, check } => self.marathon_probes(process, check),
            Happening::Measure { process, check } => self.marathon_measures(process, check),
            Happening::Depose(process) => self.depose_marathon(process),
            Happening::Ask => self.user_asks(),
            Happening::Mend => self.users_mend(),
        }
    }
}
