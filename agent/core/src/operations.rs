//! Operations on the agent's own resources: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME.
//!
//! One is applied to the total when it comes, written down, and answered when that is durable and the shell has done its part (volumes
//! are directories). Answers leave in the order in which the operations came. One with an id is held, and its status sent again, until
//! it is acknowledged; one without is over with its answer. What fails, or was meant for another total, changes nothing, and goes to the
//! master behind the whole total under a new version: whatever the master has done since to the old one is dropped when it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use tepui_model::Resources;
use tepui_proto::convert::operation::{Conversion, conversion, disk_of};
use tepui_proto::convert::resources::{Encoding, from_wire, one_from_wire, to_wire};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::offer::operation::Type;
use tepui_proto::mesos::v1::resource::reservation_info::Type as ReservationType;
use tepui_proto::mesos::v1::{OperationState, OperationStatus, Resource, Uuid};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{ApplyOperation, OperationUpdate, ResourcesChanged};

use crate::agent::{Agent, Framework, Timer};
use crate::change::Change;
use crate::output::{Output, Volumes};
use crate::record::{OperationRecord, Record, TotalRecord};
use crate::timers::TimerId;
use crate::updates::{RETRY_FIRST, RETRY_LONGEST};

/// The longest name of an operation, in bytes; masters give 16.
const LONGEST_UUID: usize = 64;

/// An operation that is not over.
#[derive(Debug)]
pub(crate) struct Held {
    framework: Option<mesos::FrameworkId>,
    info: mesos::offer::Operation,
    /// What became of it; `None` while the shell is at work on its volumes.
    status: Option<OperationStatus>,
    /// Of the record that says so; 0 when it is durable.
    sequence: u64,
    answered: bool,
    timer: Option<TimerId>,
    pause: Duration,
}

impl Held {
    fn is_ready(&self) -> bool {
        self.status.is_some() && self.sequence == 0
    }

    fn wants_feedback(&self) -> bool {
        self.info.id.is_some()
    }
}

/// Everything about operations.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    /// In the order in which they came.
    pub(crate) held: IndexMap<Bytes, Held>,
    /// Those that the master has not been answered yet.
    pub(crate) unanswered: VecDeque<Bytes>,
    /// Names the total as this agent has last told it.
    pub(crate) version: Bytes,
}

/// What the agent was configured with. What is malformed (the shell checks) is left out.
pub(crate) fn configured(resources: &[Resource]) -> Resources {
    resources
        .iter()
        .filter_map(|resource| one_from_wire(resource).ok())
        .collect()
}

/// What operations have made of the configured resources, carried over to resources as they are configured now: dynamic
/// reservations and volumes stay. `None` if they do not fit any more.
pub(crate) fn rebase(configured: &Resources, total: &Resources) -> Option<Resources> {
    let dynamic = |resource: &Resource| {
        resource
            .disk
            .as_ref()
            .is_some_and(|disk| disk.persistence.is_some())
            || resource
                .reservations
                .iter()
                .any(|reservation| reservation.r#type() == ReservationType::Dynamic)
    };
    let mut before = Vec::new();
    let mut after = Vec::new();
    for resource in to_wire(total, Encoding::Stack).into_iter().filter(dynamic) {
        let mut base = if resource
            .disk
            .as_ref()
            .is_some_and(|disk| disk.persistence.is_some())
        {
            disk_of(&resource)
        } else {
            resource.clone()
        };
        base.reservations
            .retain(|reservation| reservation.r#type() != ReservationType::Dynamic);
        before.push(base);
        after.push(resource);
    }
    let change = Conversion {
        before: from_wire(&before).ok()?,
        after: from_wire(&after).ok()?,
    };
    change.apply(configured)
}

/// The volumes to be made and to be removed for an operation.
fn volumes(operation: Bytes, info: &mesos::offer::Operation) -> Option<Volumes> {
    let none = Vec::new();
    let (make, remove) = match info.r#type() {
        Type::Create => (
            info.create.as_ref().map(|create| create.volumes.clone()),
            none,
        ),
        Type::Destroy => (None, info.destroy.as_ref()?.volumes.clone()),
        _ => return None,
    };
    Some(Volumes {
        operation,
        make: make.unwrap_or_default(),
        remove,
    })
}

impl Agent {
    /// The total as it goes over the wire.
    pub(crate) fn total_on_wire(&self) -> Vec<Resource> {
        to_wire(&self.total, Encoding::Stack)
    }

    /// The master wants an operation applied. One that is held is not applied again.
    pub(crate) fn apply_operation(&mut self, asked: ApplyOperation, out: &mut Vec<Output>) {
        let uuid = asked.operation_uuid.value;
        if uuid.is_empty() || uuid.len() > LONGEST_UUID {
            return;
        }
        if let Some(held) = self.operations.held.get(&uuid) {
            if held.answered {
                self.send_operation(&uuid, RETRY_FIRST, out);
            }
            return;
        }
        let stale = asked
            .resource_version
            .is_some_and(|version| version != self.operations.version);
        let outcome = if stale {
            let why = "the operation was made for resources of this agent that are no more";
            Err((OperationState::OperationDropped, why.to_owned()))
        } else if self.operations.held.len() >= self.config.max_operations {
            let why = format!(
                "the agent holds as many operations as it can ({})",
                self.config.max_operations
            );
            Err((OperationState::OperationDropped, why))
        } else if self.ending.is_some() || self.link.is_refused() {
            let why = "the agent is shutting down".to_owned();
            Err((OperationState::OperationDropped, why))
        } else {
            self.convert(&asked.info)
                .map_err(|why| (OperationState::OperationFailed, why))
        };
        self.operations.held.insert(
            uuid.clone(),
            Held {
                framework: asked.framework_id,
                info: asked.info,
                status: None,
                sequence: 0,
                answered: false,
                timer: None,
                pause: RETRY_FIRST,
            },
        );
        self.operations.unanswered.push_back(uuid.clone());
        match outcome {
            Err((state, why)) => self.settle(&uuid, state, Some(why), out),
            Ok(total) => {
                self.total = total;
                self.operated = true;
                self.show_agent(out);
                let Some(held) = self.operations.held.get(&uuid) else {
                    return;
                };
                match volumes(uuid.clone(), &held.info) {
                    None => self.settle(&uuid, OperationState::OperationFinished, None, out),
                    Some(volumes) => {
                        self.record_operation(&uuid, out);
                        out.push(Output::Volumes(Box::new(volumes)));
                    }
                }
            }
        }
    }

    /// The total after the operation.
    fn convert(&self, info: &mesos::offer::Operation) -> Result<Resources, String> {
        let change = conversion(info)?;
        if let Some(destroy) = &info.destroy
            && let Some(user) = self.user_of(&destroy.volumes, |_| true)
        {
            return Err(format!("a volume is in use by {user}"));
        }
        change.apply(&self.total).ok_or_else(|| {
            format!(
                "the agent does not have {}, only {}",
                change.before, self.total
            )
        })
    }

    /// What is left of a removed framework and has a volume among these. The master offers at once what such a framework had, and its tasks take
    /// a while to end: nothing else is to write there before they have.
    pub(crate) fn held_by_one_removed(&self, used: &[&[Resource]]) -> Option<String> {
        let own = |one: &&Resource| one.shared.is_none() && identity(one).is_some();
        let volumes = used.iter().copied().flatten().filter(own).cloned();
        let volumes: Vec<Resource> = volumes.collect();
        let removed = |framework: &Framework| framework.shutting_down;
        (!volumes.is_empty()).then(|| self.user_of(&volumes, removed))?
    }

    /// Who of these frameworks uses one of these volumes.
    fn user_of(&self, volumes: &[Resource], of: impl Fn(&Framework) -> bool) -> Option<String> {
        let uses = |resources: &[Resource]| {
            resources
                .iter()
                .filter_map(identity)
                .any(|used| volumes.iter().filter_map(identity).any(|one| one == used))
        };
        for framework in self.frameworks.values().filter(|one| of(one)) {
            for (id, executor) in &framework.executors {
                if uses(&executor.info.resources) {
                    return Some(format!("executor '{id}'"));
                }
            }
            for (id, task) in &framework.tasks {
                if !task.state.is_terminal() && uses(&task.info.resources) {
                    return Some(format!("task '{id}'"));
                }
            }
        }
        None
    }

    /// The first dynamic reservation or volume among these that the agent does not have.
    pub(crate) fn lacks(&self, resources: &[Resource]) -> Option<String> {
        let lacking = |resource: &Resource| {
            let Ok(read) = one_from_wire(resource) else {
                return Some(format!("a malformed resource '{}'", resource.name));
            };
            let read = Resources::from(read).unallocated();
            let special = read.lots().any(|lot| {
                lot.kind().is_persistent_volume()
                    || lot.kind().reservations().iter().any(|reservation| {
                        reservation.kind == tepui_model::resources::ReservationKind::Dynamic
                    })
            });
            (special && !self.total.contains(&read)).then(|| read.to_string())
        };
        resources.iter().find_map(lacking)
    }

    /// It is decided what became of an operation: it is written down, and told once that is durable.
    fn settle(
        &mut self,
        uuid: &Bytes,
        state: OperationState,
        message: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let fresh = self.ids.uuid_bytes();
        if state != OperationState::OperationFinished {
            self.operations.version = self.ids.uuid_bytes();
        }
        let agent_id = self.id.as_ref().map(crate::executor::agent_id);
        let Some(held) = self.operations.held.get_mut(uuid) else {
            return;
        };
        held.status = Some(OperationStatus {
            operation_id: held.info.id.clone(),
            state: state.into(),
            message,
            uuid: held.wants_feedback().then_some(Uuid { value: fresh }),
            agent_id,
            ..Default::default()
        });
        let sequence = self.record_operation(uuid, out);
        if let Some(held) = self.operations.held.get_mut(uuid) {
            held.sequence = sequence;
        }
        self.show_operation(uuid, out);
    }

    fn record_operation(&mut self, uuid: &Bytes, out: &mut Vec<Output>) -> u64 {
        let Some(record) = self.operation_record(uuid) else {
            return self.sequence;
        };
        self.checkpoint(Record::Operation(Box::new(record)), out)
    }

    pub(crate) fn operation_record(&self, uuid: &Bytes) -> Option<OperationRecord> {
        let held = self.operations.held.get(uuid)?;
        Some(OperationRecord {
            uuid: uuid.clone(),
            framework_id: held.framework.clone(),
            info: Some(held.info.clone()),
            status: held.status.clone(),
            total: self.total_on_wire(),
        })
    }

    /// The shell has made and removed the volumes of an operation, or could not.
    pub(crate) fn volumes_done(
        &mut self,
        uuid: &Bytes,
        result: Result<(), String>,
        out: &mut Vec<Output>,
    ) {
        let Some(held) = self.operations.held.get(uuid) else {
            return;
        };
        if held.status.is_some() {
            return;
        }
        match result {
            Ok(()) => self.settle(uuid, OperationState::OperationFinished, None, out),
            Err(why) => {
                self.total = undone(&self.total, &held.info);
                self.show_agent(out);
                self.settle(uuid, OperationState::OperationFailed, Some(why), out);
            }
        }
        // A record may have become durable before the next one was asked for.
        self.answer_operations(out);
    }

    /// Records up to this one are durable.
    pub(crate) fn operations_durable(&mut self, sequence: u64, out: &mut Vec<Output>) {
        for held in self.operations.held.values_mut() {
            if held.sequence <= sequence {
                held.sequence = 0;
            }
        }
        self.answer_operations(out);
    }

    /// Tells what is decided and durable, in the order in which the operations came.
    fn answer_operations(&mut self, out: &mut Vec<Output>) {
        while let Some(uuid) = self.operations.unanswered.front().cloned() {
            match self.operations.held.get_mut(&uuid) {
                Some(held) if !held.is_ready() => return,
                Some(held) => held.answered = true,
                None => {}
            }
            self.operations.unanswered.pop_front();
            self.first_answer(&uuid, out);
        }
    }

    fn first_answer(&mut self, uuid: &Bytes, out: &mut Vec<Output>) {
        let Some(held) = self.operations.held.get(uuid) else {
            return;
        };
        if volumes(uuid.clone(), &held.info).is_some() {
            out.push(Output::VolumesSettled {
                operation: uuid.clone(),
            });
        }
        let failed = held
            .status
            .as_ref()
            .is_some_and(|status| status.state() != OperationState::OperationFinished);
        if failed && self.link.registered().is_some() {
            let total = self.total_on_wire();
            self.to_master(
                Message::ResourcesChanged(ResourcesChanged {
                    total,
                    resource_version: Some(self.operations.version.clone()),
                }),
                out,
            );
        }
        self.send_operation(uuid, RETRY_FIRST, out);
        if self
            .operations
            .held
            .get(uuid)
            .is_some_and(|held| !held.wants_feedback())
        {
            self.operation_over(uuid, out);
        }
    }

    /// Sends the status of an operation, and again after the pause if it is to be acknowledged.
    pub(crate) fn send_operation(&mut self, uuid: &Bytes, pause: Duration, out: &mut Vec<Output>) {
        let at = self.now + pause;
        if self.link.registered().is_none() {
            return;
        }
        let Some(held) = self.operations.held.get_mut(uuid) else {
            return;
        };
        let Some(status) = held.status.clone() else {
            return;
        };
        let update = OperationUpdate {
            framework_id: held.framework.clone(),
            status: status.clone(),
            latest_status: status,
            operation_uuid: Uuid {
                value: uuid.clone(),
            },
        };
        if held.wants_feedback() {
            self.timers.cancel(held.timer.take());
            held.pause = pause;
            held.timer = Some(self.timers.set(at, Timer::Operation(uuid.clone())));
        }
        self.to_master(Message::OperationUpdate(Box::new(update)), out);
    }

    pub(crate) fn resend_operation(&mut self, uuid: &Bytes, out: &mut Vec<Output>) {
        let Some(held) = self.operations.held.get_mut(uuid) else {
            return;
        };
        held.timer = None;
        let pause = (held.pause * 2).min(RETRY_LONGEST);
        self.send_operation(uuid, pause, out);
    }

    /// After a registration every status that waits for its acknowledgement is told again.
    pub(crate) fn resend_operations(&mut self, out: &mut Vec<Output>) {
        let answered: Vec<Bytes> = self
            .operations
            .held
            .iter()
            .filter(|(_, held)| held.answered)
            .map(|(uuid, _)| uuid.clone())
            .collect();
        for uuid in answered {
            self.send_operation(&uuid, RETRY_FIRST, out);
        }
    }

    /// Nothing is sent while there is nobody to send it to.
    pub(crate) fn pause_operations(&mut self) {
        for held in self.operations.held.values_mut() {
            self.timers.cancel(held.timer.take());
        }
    }

    /// The framework has heard what became of its operation.
    pub(crate) fn acknowledge_operation(
        &mut self,
        uuid: &Bytes,
        status: &Bytes,
        out: &mut Vec<Output>,
    ) {
        let known = self
            .operations
            .held
            .get(uuid)
            .filter(|held| held.answered)
            .and_then(|held| held.status.as_ref()?.uuid.as_ref())
            .is_some_and(|known| known.value == *status);
        if known {
            self.operation_over(uuid, out);
        }
    }

    fn operation_over(&mut self, uuid: &Bytes, out: &mut Vec<Output>) {
        let Some(held) = self.operations.held.shift_remove(uuid) else {
            return;
        };
        self.timers.cancel(held.timer);
        if held.wants_feedback() {
            self.checkpoint(Record::OperationOver(uuid.clone()), out);
        }
        out.push(Output::Changed(Change::OperationEnded(uuid.clone())));
        self.drain_may_be_over(out);
    }

    fn show_operation(&self, uuid: &Bytes, out: &mut Vec<Output>) {
        if let Some(held) = self.operations.held.get(uuid) {
            let operation = Arc::new(self.operation(uuid, held));
            out.push(Output::Changed(Change::Operation(operation)));
        }
    }

    pub(crate) fn show_operations(&self, out: &mut Vec<Output>) {
        for uuid in self.operations.held.keys() {
            self.show_operation(uuid, out);
        }
    }

    fn operation(&self, uuid: &Bytes, held: &Held) -> mesos::Operation {
        let agent_id = self.id.as_ref().map(crate::executor::agent_id);
        let latest_status = held.status.clone().unwrap_or_else(|| OperationStatus {
            operation_id: held.info.id.clone(),
            state: OperationState::OperationPending.into(),
            agent_id: agent_id.clone(),
            ..Default::default()
        });
        mesos::Operation {
            framework_id: held.framework.clone(),
            agent_id,
            info: held.info.clone(),
            statuses: held.status.iter().cloned().collect(),
            latest_status,
            uuid: Uuid {
                value: uuid.clone(),
            },
        }
    }

    /// Those that a registration lists: with an id, and not acknowledged.
    pub(crate) fn operations_to_tell(&self) -> impl Iterator<Item = mesos::Operation> + '_ {
        self.operations
            .held
            .iter()
            .filter(|(_, held)| held.wants_feedback())
            .map(|(uuid, held)| self.operation(uuid, held))
    }

    // ---- a new life -------------------------------------------------------------------------------------------------------------

    pub(crate) fn replay_operation(&mut self, record: OperationRecord) {
        let Some(info) = record.info else { return };
        if !record.total.is_empty() {
            self.replay_total(&record.total);
        }
        let over = record.status.is_some() && info.id.is_none();
        if over {
            self.operations.held.shift_remove(&record.uuid);
            return;
        }
        self.operations.held.insert(
            record.uuid,
            Held {
                framework: record.framework_id,
                info,
                answered: record.status.is_some(),
                status: record.status,
                sequence: 0,
                timer: None,
                pause: RETRY_FIRST,
            },
        );
    }

    pub(crate) fn replay_total(&mut self, total: &[Resource]) {
        self.total = configured(total);
        self.operated = true;
    }

    /// For a snapshot: what operations have made of the resources, and those that are not over.
    pub(crate) fn operation_records(&self, records: &mut Vec<Record>) {
        if !self.operated {
            return;
        }
        records.push(Record::Total(TotalRecord {
            total: self.total_on_wire(),
        }));
        let held = self.operations.held.keys();
        records.extend(held.filter_map(|uuid| {
            let record = OperationRecord {
                total: Vec::new(),
                ..self.operation_record(uuid)?
            };
            Some(Record::Operation(Box::new(record)))
        }));
    }

    pub(crate) fn replay_operation_over(&mut self, uuid: &Bytes) {
        self.operations.held.shift_remove(uuid);
    }

    /// What the shell may not have finished before the end of the last life is done again.
    pub(crate) fn recover_operations(&mut self, out: &mut Vec<Output>) {
        let unfinished: Vec<Volumes> = self
            .operations
            .held
            .iter()
            .filter(|(_, held)| held.status.is_none())
            .filter_map(|(uuid, held)| volumes(uuid.clone(), &held.info))
            .collect();
        for work in unfinished {
            self.operations.unanswered.push_back(work.operation.clone());
            out.push(Output::Volumes(Box::new(work)));
        }
    }

    /// Operations whose volumes the shell has been asked for and that are not settled: what is left of their volumes is still needed.
    pub fn unsettled_volumes(&self) -> impl Iterator<Item = &Bytes> {
        self.operations
            .held
            .iter()
            .filter(|(_, held)| held.status.is_none())
            .map(|(uuid, _)| uuid)
    }
}

/// What makes a volume this one: its id, and for whom it is reserved.
fn identity(resource: &Resource) -> Option<(&str, &str)> {
    let id = resource.disk.as_ref()?.persistence.as_ref()?.id.as_str();
    let role = resource
        .reservations
        .last()
        .map_or(resource.role.as_deref(), |reservation| {
            reservation.role.as_deref()
        });
    Some((id, role.unwrap_or("*")))
}

/// The total without what an operation, whose volumes could not be made or removed, has done to it. What others have made of it since
/// stays.
fn undone(total: &Resources, info: &mesos::offer::Operation) -> Resources {
    if let Ok(change) = conversion(info) {
        let back = Conversion {
            before: change.after,
            after: change.before,
        };
        if let Some(before) = back.apply(total) {
            return before;
        }
    }
    // A volume that was resized meanwhile: it becomes the disk that it is on.
    let made = info.create.as_ref().map(|create| create.volumes.as_slice());
    let is_made = |resource: &Resource| {
        identity(resource).is_some_and(|one| {
            made.unwrap_or_default()
                .iter()
                .filter_map(identity)
                .any(|made| made == one)
        })
    };
    let rest: Vec<Resource> = to_wire(total, Encoding::Stack)
        .into_iter()
        .map(|resource| {
            if is_made(&resource) {
                disk_of(&resource)
            } else {
                resource
            }
        })
        .collect();
    configured(&rest)
}
