//! Operations on agents' resources that are not over, or whose end is not acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use tepui_model::{AgentId, FrameworkId};
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::{self, OperationState};

use super::AgentIx;
use crate::change::OperationKey;

/// An operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// `None` for an operator's. The framework may be gone, or not known yet.
    pub(crate) framework: Option<FrameworkId>,
    pub(crate) agent: AgentIx,
    pub(crate) message: mesos::Operation,
}

impl Operation {
    pub(crate) fn kind(&self) -> Type {
        self.message.info.r#type()
    }

    /// The id by which its framework asked for feedback.
    pub(crate) fn id(&self) -> Option<&mesos::OperationId> {
        self.message.info.id.as_ref()
    }

    pub(crate) fn state(&self) -> OperationState {
        self.message.latest_status.state()
    }
}

/// Whether nothing can happen to an operation any more.
pub(crate) fn is_over(state: OperationState) -> bool {
    match state {
        OperationState::OperationFinished
        | OperationState::OperationFailed
        | OperationState::OperationError
        | OperationState::OperationDropped
        | OperationState::OperationGoneByOperator => true,
        OperationState::OperationUnsupported
        | OperationState::OperationPending
        | OperationState::OperationUnreachable
        | OperationState::OperationRecovering
        | OperationState::OperationUnknown => false,
    }
}

/// All of them, found by uuid, agent and framework. Those of one master are in the order in which they began.
#[derive(Debug)]
pub(crate) struct Operations {
    all: BTreeMap<OperationKey, Operation>,
    by_agent: BTreeMap<AgentIx, BTreeSet<OperationKey>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OperationKey>>,
    /// How many of each type were under way on agents that are now out of reach, for the gauges.
    pub(crate) unreachable: BTreeMap<AgentId, [u64; 16]>,
    /// The first half of the uuids that this master makes: another for every seed and epoch.
    prefix: [u8; 8],
    next: u64,
}

impl Operations {
    pub(crate) fn new(seed: u64, epoch: u64) -> Self {
        let mut prefix = scramble(seed ^ scramble(epoch)).to_be_bytes();
        // Version 4.
        prefix[6] = prefix[6] & 0x0f | 0x40;
        Self {
            all: BTreeMap::new(),
            by_agent: BTreeMap::new(),
            by_framework: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            prefix,
            next: 0,
        }
    }

    /// A uuid that no operation had before.
    pub(crate) fn new_key(&mut self) -> OperationKey {
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&self.prefix);
        // The two highest bits say the variant; the count does not get there.
        uuid[8..].copy_from_slice(&(self.next | 1 << 63).to_be_bytes());
        self.next += 1;
        OperationKey(uuid)
    }

    pub(crate) fn get(&self, key: OperationKey) -> Option<&Operation> {
        self.all.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: OperationKey) -> Option<&mut Operation> {
        self.all.get_mut(&key)
    }

    pub(crate) fn insert(&mut self, key: OperationKey, operation: Operation) {
        self.by_agent
            .entry(operation.agent)
            .or_default()
            .insert(key);
        if let Some(framework) = &operation.framework {
            self.by_framework
                .entry(framework.clone())
                .or_default()
                .insert(key);
        }
        self.all.insert(key, operation);
    }

    pub(crate) fn remove(&mut self, key: OperationKey) -> Option<Operation> {
        let operation = self.all.remove(&key)?;
        if let Some(keys) = self.by_agent.get_mut(&operation.agent) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_agent.remove(&operation.agent);
            }
        }
        if let Some(framework) = &operation.framework
            && let Some(keys) = self.by_framework.get_mut(framework)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_framework.remove(framework);
            }
        }
        Some(operation)
    }

    pub(crate) fn on(&self, agent: AgentIx) -> Vec<OperationKey> {
        let keys = self.by_agent.get(&agent);
        keys.into_iter().flatten().copied().collect()
    }

    pub(crate) fn of(&self, framework: &FrameworkId) -> Vec<OperationKey> {
        let keys = self.by_framework.get(framework);
        keys.into_iter().flatten().copied().collect()
    }

    pub(crate) fn count_on(&self, agent: AgentIx) -> usize {
        self.by_agent.get(&agent).map_or(0, BTreeSet::len)
    }

    pub(crate) fn count_of(&self, framework: &FrameworkId) -> usize {
        self.by_framework.get(framework).map_or(0, BTreeSet::len)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OperationKey, &Operation)> {
        self.all.iter().map(|(key, operation)| (*key, operation))
    }

    /// The tables agree with one another.
    pub(crate) fn check(&self) -> Result<(), String> {
        let listed: usize = self.by_agent.values().map(BTreeSet::len).sum();
        let owned: usize = self.by_framework.values().map(BTreeSet::len).sum();
        let with_owner = self
            .all
            .values()
            .filter(|operation| operation.framework.is_some())
            .count();
        if listed != self.all.len() || owned != with_owner {
            return Err(format!(
                "tables: {listed} operations on agents, {owned} of frameworks, {} there",
                self.all.len()
            ));
        }
        Ok(())
    }
}

/// The finisher of splitmix64: every bit of the input touches every bit of the output.
fn scramble(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_uuids_in_order_and_of_their_master() {
        let mut first = Operations::new(1, 1);
        let (a, b) = (first.new_key(), first.new_key());
        assert!(a < b);
        assert_eq!(a.0[6] >> 4, 4, "the version");
        assert_eq!(a.0[8] >> 6, 2, "the variant");
        assert_ne!(a, Operations::new(1, 2).new_key(), "another epoch");
        assert_ne!(a, Operations::new(2, 1).new_key(), "another seed");
        assert_eq!(a, Operations::new(1, 1).new_key());
    }
}
