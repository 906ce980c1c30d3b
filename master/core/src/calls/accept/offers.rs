//! The offers of an ACCEPT: one agent, one role, all of them the framework's and none twice; and what happens if not.

use std::collections::BTreeSet;

use tepui_model::{Resources, TaskState};
use tepui_proto::mesos;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::task_status::Reason;

use super::Pool;
use crate::allocator::Recovery;
use crate::change::OfferKey;
use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::{Capabilities, FrameworkIx};

impl Master {
    /// Take the offers' resources together. If anything is wrong with one of them, those that are the framework's own go back
    /// without filter.
    pub(super) fn pool(
        &mut self,
        framework: FrameworkIx,
        ids: &[mesos::OfferId],
        unused: bool,
        out: &mut Vec<Output>,
    ) -> Result<Pool, String> {
        let mut keys = BTreeSet::new();
        if let Err(error) = self.check_offers(framework, ids, &mut keys) {
            for key in keys {
                if let Some(offer) = self.end_offer(key, out) {
                    self.recover(
                        offer.agent,
                        framework,
                        &offer.role,
                        &offer.resources,
                        Recovery::Freed,
                    );
                }
            }
            return Err(error);
        }
        let ended: Vec<_> = keys
            .into_iter()
            .filter_map(|key| self.end_offer(key, out))
            .collect();
        let count = ended.len() as u64;
        for offers in [
            &mut self.counters.offers,
            &mut self.frameworks[framework].counters.offers,
        ] {
            *(if unused {
                &mut offers.declined
            } else {
                &mut offers.accepted
            }) += count;
        }
        let mut left = Resources::new();
        for offer in &ended {
            left += &offer.resources;
        }
        let first = ended.into_iter().next().ok_or("No offers specified")?;
        Ok(Pool {
            framework,
            agent: first.agent,
            role: first.role,
            left,
            before: None,
            launched: 0,
            operated: 0,
        })
    }

    /// `keys` gets all valid offers that are the framework's, whatever is wrong with the others.
    fn check_offers(
        &self,
        framework: FrameworkIx,
        ids: &[mesos::OfferId],
        keys: &mut BTreeSet<OfferKey>,
    ) -> Result<(), String> {
        let mut first_error = if ids.is_empty() {
            Some("No offers specified".to_owned())
        } else {
            None
        };
        let mut error = |message: String| {
            first_error.get_or_insert(message);
        };
        let mut expected = None;
        for id in ids.iter().map(|id| id.value.as_str()) {
            let Some((key, offer)) = self
                .offer_key(id)
                .and_then(|key| Some((key, self.offers.get(&key)?)))
            else {
                error(format!("Offer {id} is no longer valid"));
                continue;
            };
            if offer.framework != framework {
                let (owner, expected) = (
                    &self.frameworks[offer.framework].id,
                    &self.frameworks[framework].id,
                );
                error(format!(
                    "Offer {id} has invalid framework {owner} while framework {expected} is expected"
                ));
                continue;
            }
            if !keys.insert(key) {
                error(format!("Duplicate offer {id} in offer list"));
                continue;
            }
            let (agent, role) = *expected.get_or_insert((offer.agent, &offer.role));
            if offer.agent != agent {
                let (uses, expected) = (&self.agents[offer.agent].id, &self.agents[agent].id);
                error(format!(
                    "Aggregated offers must belong to one single agent. Offer {id} uses agent {uses} and agent {expected}"
                ));
            } else if offer.role != *role {
                error(format!(
                    "Aggregated offers must be allocated to the same role. Offer {id} uses role {} but another is using role {role}",
                    offer.role
                ));
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Tell what becomes of each operation of a call without valid offers.
    pub(super) fn accept_failed(
        &mut self,
        framework: FrameworkIx,
        operations: Vec<Operation>,
        error: &str,
        out: &mut Vec<Output>,
    ) {
        let state = self.dropped(framework);
        let message = format!("Task launched with invalid offers: {error}");
        for operation in operations {
            let tasks = operation
                .launch
                .into_iter()
                .flat_map(|launch| launch.task_infos);
            let grouped = operation
                .launch_group
                .into_iter()
                .flat_map(|launch| launch.task_group.tasks);
            for task in tasks.chain(grouped) {
                self.refuse_task(
                    framework,
                    task.task_id,
                    Some(task.agent_id),
                    state,
                    Reason::InvalidOffers,
                    &message,
                    out,
                );
            }
            if let Some(id) = operation.id {
                let kind = operation.r#type.unwrap_or_default();
                let kind = Type::try_from(kind).unwrap_or(Type::Unknown);
                self.operation_error(
                    framework,
                    kind,
                    id,
                    format!("Operation attempted with invalid offers: {error}"),
                    out,
                );
            }
        }
    }

    /// What a framework is told of tasks that never started.
    pub(super) fn dropped(&self, framework: FrameworkIx) -> TaskState {
        let Capabilities {
            partition_aware, ..
        } = self.frameworks[framework].capabilities;
        TaskState::Dropped.told_to(partition_aware)
    }

    /// Tell the end of a task that the master never took in.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn refuse_task(
        &mut self,
        framework: FrameworkIx,
        task: mesos::TaskId,
        agent: Option<mesos::AgentId>,
        state: TaskState,
        reason: Reason,
        message: &str,
        out: &mut Vec<Output>,
    ) {
        let status = events::master_status(task, agent, state, reason, message, self.now);
        self.count_end(framework, state, &status);
        self.event(framework, events::update(status), out);
    }
}
