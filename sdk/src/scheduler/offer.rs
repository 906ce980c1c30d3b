//! An offer as a guard: what is taken and launched goes out as one ACCEPT, what is not wanted is declined, once, when it is dropped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tepui_model::resources::{Name, Ranges};
use tepui_model::{AgentId, OfferId, Resource, Resources, Role};
use tepui_proto::mesos;
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::scheduler::{Call, call};

use super::outbox::Outbox;
use crate::convert;
use crate::task::Task;

/// The most offers that are held; one more is declined instead.
const HELD_LIMIT: usize = 10_000;

/// Offers put aside.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<OfferId, Offer>>);

impl Held {
    fn offers(&self) -> MutexGuard<'_, HashMap<OfferId, Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_all(&self) -> Vec<Offer> {
        // Bound first, so that the lock is free again when offers are dropped.
        let offers = std::mem::take(&mut *self.offers());
        offers.into_values().collect()
    }

    pub(super) fn forget(&self, id: &OfferId) {
        let offer = self.offers().remove(id);
        drop(offer);
    }

    fn put(&self, offer: Offer) {
        let mut offers = self.offers();
        if offers.len() < HELD_LIMIT {
            offers.insert(offer.id.clone(), offer);
        } else {
            drop(offers);
            tracing::warn!(
                limit = HELD_LIMIT,
                "too many offers are held; one more is declined"
            );
        }
    }
}

/// What all offers of a subscription share.
#[derive(Clone, Debug)]
pub(super) struct OfferContext {
    pub(super) outbox: Arc<Outbox>,
    pub(super) held: Arc<Held>,
    pub(super) subscription: u64,
    /// For offers that say nothing of it: the framework's first role.
    pub(super) role: Role,
    /// The framework's, which reservations and volumes have to carry.
    pub(super) principal: Option<Arc<str>>,
    /// How long not to be offered again what was left.
    pub(super) refuse: Duration,
}

/// Resources of one agent for one role, to be used, held or declined.
///
/// Dropping it sends what was launched as one ACCEPT, which also declines the rest; without launches it declines all. Until then the resources are
/// this framework's alone: keep offers only as long as they are thought about, or [`hold`](Offer::hold) them on purpose.
#[derive(Debug)]
pub struct Offer {
    id: OfferId,
    agent_id: AgentId,
    role: Role,
    message: Arc<mesos::Offer>,
    pub(super) left: Resources,
    /// For the operation that is added next.
    pub(super) next_id: Option<String>,
    launches: Vec<mesos::TaskInfo>,
    operations: Vec<Operation>,
    refuse: Duration,
    /// The master has taken it back, or it has been answered: nothing is to be sent.
    void: Arc<AtomicBool>,
    pub(super) context: OfferContext,
}

impl Offer {
    pub(super) fn new(
        id: OfferId,
        agent_id: AgentId,
        message: mesos::Offer,
        void: Arc<AtomicBool>,
        context: OfferContext,
    ) -> Self {
        let role = message
            .allocation_info
            .as_ref()
            .and_then(|info| Role::new(info.role.as_deref()?).ok());
        Self {
            id,
            agent_id,
            role: role.unwrap_or_else(|| context.role.clone()),
            left: convert::usable(&message.resources),
            message: Arc::new(message),
            next_id: None,
            launches: Vec::new(),
            operations: Vec::new(),
            refuse: context.refuse,
            void,
            context,
        }
    }

    /// Its id.
    pub fn id(&self) -> &OfferId {
        &self.id
    }

    /// The agent whose resources these are.
    pub fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    /// The agent's host name.
    pub fn hostname(&self) -> &str {
        &self.message.hostname
    }

    /// The role for which they are offered.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The offer as it came: attributes, executors, fault domain, volumes.
    pub fn message(&self) -> &mesos::Offer {
        &self.message
    }

    /// What has not been taken yet, volumes included.
    pub fn resources(&self) -> &Resources {
        &self.left
    }

    /// Whether the master has taken it back. What is launched then is answered with TASK_LOST or TASK_DROPPED.
    pub fn is_rescinded(&self) -> bool {
        self.void.load(Ordering::Relaxed)
    }

    /// Whether [`Offer::take`] would give this.
    pub fn fits(&self, wanted: &Resources) -> bool {
        self.left.find(wanted, &self.role).is_some()
    }

    /// Takes resources out, by name and amount: first what is reserved for the role, then what is unreserved. The result is for
    /// [`Task::resources`]. `None`, and nothing taken, if there is not enough.
    pub fn take(&mut self, wanted: &Resources) -> Option<Resources> {
        let found = self.left.find(wanted, &self.role)?;
        self.left.try_subtract(&found).ok()?;
        Some(found)
    }

    /// Takes any `count` ports, the lowest ones. With [`Resources::ports`] of the result they can be told to the task.
    pub fn take_ports(&mut self, count: usize) -> Option<Resources> {
        let numbers: Vec<(u64, u64)> = self
            .free_ports()
            .numbers()
            .take(count)
            .map(|port| (port, port))
            .collect();
        if numbers.len() < count {
            return None;
        }
        if count == 0 {
            return Some(Resources::new());
        }
        let mut wanted = Resources::new();
        wanted.add_resource(Resource::ranges(Name::Ports, numbers).ok()?);
        self.take(&wanted)
    }

    /// The ports that the role may take.
    fn free_ports(&self) -> Ranges {
        self.left.available_to(&self.role).ports()
    }

    /// Adds a task, on this agent. Several tasks of an offer go out together.
    pub fn launch(&mut self, task: impl Into<mesos::TaskInfo>) {
        let mut task = task.into();
        task.agent_id = self.message.agent_id.clone();
        self.launches.push(task);
    }

    /// Takes what the task wants and launches it, or gives it back.
    ///
    /// # Errors
    /// The task, when there is not enough for it.
    // The error is the caller's own task, handed back.
    #[allow(clippy::result_large_err)]
    pub fn try_launch(&mut self, task: Task) -> Result<(), Task> {
        match self.take(task.wanted()) {
            Some(resources) => {
                self.launch(task.resources(resources));
                Ok(())
            }
            None => Err(task),
        }
    }

    /// Adds a group of tasks that share an executor, and are launched all or none.
    pub fn launch_group(&mut self, executor: mesos::ExecutorInfo, mut tasks: Vec<mesos::TaskInfo>) {
        for task in &mut tasks {
            task.agent_id = self.message.agent_id.clone();
        }
        let launch_group = operation::LaunchGroup {
            executor,
            task_group: mesos::TaskGroupInfo { tasks },
        };
        self.operation(Operation {
            r#type: Some(operation::Type::LaunchGroup.into()),
            launch_group: Some(launch_group.into()),
            ..Operation::default()
        });
    }

    /// Adds any other operation. Operations happen in the order in which they are added. What it changes in the offer is not reckoned
    /// with; [`Offer::reserve`], [`Offer::create_volume`] and their like do that.
    pub fn operation(&mut self, mut operation: Operation) {
        self.flush_launches();
        // The API knows no ids of launches.
        if operation.id.is_none() && operation.r#type() != operation::Type::LaunchGroup {
            operation.id = self
                .next_id
                .take()
                .map(|value| mesos::OperationId { value });
        }
        self.operations.push(operation);
    }

    /// Does not want what is left of this agent's resources for so long; the framework's usual time otherwise.
    pub fn refuse_for(&mut self, time: Duration) {
        self.refuse = time;
    }

    /// Declines, or accepts what was launched and declines the rest, and wants nothing of this agent's rest for `refuse`.
    pub fn decline(mut self, refuse: Duration) {
        self.refuse = refuse;
    }

    /// Puts the offer aside instead of declining it: [`Framework::take_held`](super::Framework::take_held) gives it back, unless it was
    /// rescinded meanwhile. With launches it is accepted now, and what is left comes in another offer.
    pub fn hold(self) {
        if !self.is_used() && !self.is_rescinded() {
            let held = Arc::clone(&self.context.held);
            held.put(self);
        }
    }

    /// Whether something was launched or another operation added.
    pub fn is_used(&self) -> bool {
        !self.launches.is_empty() || !self.operations.is_empty()
    }

    fn flush_launches(&mut self) {
        if !self.launches.is_empty() {
            self.operations.push(Operation {
                r#type: Some(operation::Type::Launch.into()),
                launch: Some(operation::Launch {
                    task_infos: std::mem::take(&mut self.launches),
                }),
                ..Operation::default()
            });
        }
    }

    fn answer(&mut self) -> Call {
        self.flush_launches();
        let offer_ids = vec![self.message.id.clone()];
        let filters = Some(mesos::Filters {
            refuse_seconds: Some(self.refuse.as_secs_f64()),
        });
        if self.operations.is_empty() {
            return Call {
                r#type: Some(call::Type::Decline.into()),
                decline: Some(call::Decline { offer_ids, filters }),
                ..Call::default()
            };
        }
        let operations = std::mem::take(&mut self.operations);
        Call {
            r#type: Some(call::Type::Accept.into()),
            accept: Some(call::Accept {
                offer_ids,
                operations,
                filters,
            }),
            ..Call::default()
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // A rescinded offer with launches is sent all the same: the master then answers for each task, so that none is forgotten.
        if !self.void.swap(true, Ordering::Relaxed) || self.is_used() {
            let call = self.answer();
            self.context
                .outbox
                .push_for_offer(self.context.subscription, call);
        }
    }
}
