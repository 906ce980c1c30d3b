//! What the master tells: registration and the statuses of tasks.

use std::{sync::Arc, time::Duration};

use tepui_proto::mesos::{TaskState, TaskStatus, task_status::Reason};

use super::{
    Marathon, Timer,
    daemons::{status_tells_of_loss, tells_of_draining},
    records,
};
use crate::{
    definition::{UnreachableStrategy, check},
    ended::{Cause, container_id},
    event::EventKind,
    input::ProbeOutcome,
    instance::{
        Condition, Goal, Instance, IpAddress, NetworkStatus, TaskFailure, instance_id_of,
        state_name,
    },
    launch::Delay,
    output::Output,
    path::PathId,
    timestamp::Timestamp,
};

/// Longer messages are cut, in characters.
const MAX_MESSAGE: usize = 10_000;
/// Of more ids that it had before, the oldest are forgotten.
const MAX_FORMER_IDS: usize = 100;

impl Marathon {
    pub(super) fn on_registered(&mut self, framework_id: String, master: String) {
        self.registered = true;
        if self.framework_id.as_ref() == Some(&framework_id) {
            self.event(EventKind::SchedulerReregistered { master });
        } else {
            self.outbox
                .write(records::put(records::FRAMEWORK.to_owned(), &framework_id));
            if let Some(former) = self.framework_id.replace(framework_id.clone()) {
                self.note_former(former);
            }
            self.event(EventKind::SchedulerRegistered {
                framework_id,
                master,
            });
        }
        // The master knows nothing of what was suppressed or asked for before.
        self.revive.forget();
        self.revive.wanted =
            !self.waiting.is_empty() || !self.remains.is_empty() || self.hold.is_some();
        self.reconcile();
    }

    /// Remembers an id that is of no more use to subscribe with: somebody has torn that framework down, and what its instances keep is still there.
    fn note_former(&mut self, id: String) {
        self.former_ids.retain(|one| *one != id);
        self.former_ids.push(id);
        if self.former_ids.len() > MAX_FORMER_IDS {
            self.former_ids.remove(0);
        }
        let record = records::put(records::FORMER.to_owned(), &self.former_ids);
        self.outbox.write(record);
    }

    pub(super) fn on_disconnected(&mut self) {
        if std::mem::take(&mut self.registered) {
            self.event(EventKind::SchedulerDisconnected {});
        }
    }

    /// Asks the master about every task that may run, then about all that it knows.
    pub(super) fn reconcile(&mut self) {
        self.timers.retain(|(_, timer)| *timer != Timer::Reconcile);
        self.timers.insert((
            self.now + Duration::from_millis(self.config.reconciliation_interval_ms),
            Timer::Reconcile,
        ));
        if !self.registered {
            return;
        }
        let known = self
            .instances
            .values()
            .filter(|instance| !instance.condition.is_terminal())
            .flat_map(|instance| {
                let agent = instance.agent.as_ref().map(|agent| agent.id.to_string());
                let live = instance.task.iter().flat_map(|task| task.live());
                live.map(move |task| (task.to_string(), agent.clone()))
            });
        let tasks: Vec<_> = known.collect();
        if !tasks.is_empty() {
            self.outbox.push(Output::Reconcile { tasks });
        }
        self.outbox.push(Output::Reconcile { tasks: Vec::new() });
    }

    pub(super) fn on_update(&mut self, status: &TaskStatus) {
        let agent_id = status.agent_id.as_ref().map(|agent| agent.value.clone());
        let task_id = status.task_id.value.as_str();
        match self.by_instance_id.get(instance_id_of(task_id)).copied() {
            Some(key)
                if self
                    .instance(key)
                    .is_some_and(|instance| instance.has_task(task_id)) =>
            {
                self.update_instance(key, status);
            }
            found => self.update_unknown(found, status, agent_id.clone()),
        }
        if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), agent_id) {
            self.outbox.push(Output::Acknowledge {
                agent_id,
                task_id: task_id.to_owned(),
                uuid,
            });
        }
    }

    /// A task that no instance has, or has no more.
    fn update_unknown(
        &mut self,
        found: Option<u64>,
        status: &TaskStatus,
        agent_id: Option<String>,
    ) {
        let condition = Condition::of(status);
        let task_id = status.task_id.value.clone();
        if condition.is_terminal() || condition == Condition::Unreachable {
            if found.is_none() {
                let instance_id = instance_id_of(&task_id).to_owned();
                let run_spec_id = instance_id
                    .rsplit_once('.')
                    .map_or_else(String::new, |(safe, _)| {
                        format!("/{}", safe.replace('_', "/"))
                    });
                self.event(EventKind::UnknownInstanceTerminated {
                    instance_id,
                    run_spec_id,
                    condition: condition.name(),
                });
            }
        } else {
            self.outbox.push(Output::Kill { task_id, agent_id });
        }
    }

    fn update_instance(&mut self, key: u64, status: &TaskStatus) {
        let (Some(before), now) = (
            self.instance(key).map(|instance| instance.condition),
            self.stamp(),
        ) else {
            return;
        };
        if before.is_terminal() {
            // It was taken for lost, and lives: what is reserved for its instance stays taken until it ends.
            if Condition::of(status).is_active() && status.state() != TaskState::TaskUnreachable {
                self.outbox.push(Output::Kill {
                    task_id: status.task_id.value.clone(),
                    agent_id: status.agent_id.as_ref().map(|agent| agent.value.clone()),
                });
            }
            return;
        }
        let Some((condition, news)) = self.condition_of(key, status) else {
            return;
        };
        let addresses = addresses(status);
        let networks = networks(status);
        let container = container_id(status);
        let unreachable_since = status
            .unreachable_time
            .as_ref()
            .map(|time| Timestamp::from_millis(time.nanoseconds / 1_000_000));
        let must_be_ready = condition == Condition::Running && self.must_be_ready(key);
        self.change(key, |instance| {
            let unreachable = condition == Condition::Unreachable;
            // One that was given up stays given up until its task is heard of again.
            if !(unreachable && instance.condition == Condition::UnreachableInactive) {
                instance.condition = condition;
            }
            if condition == Condition::Running {
                instance.active_since = instance.active_since.or(Some(now));
            }
            if let Some(task) = &mut instance.task {
                if condition == Condition::Running {
                    if task.started_at.is_none() && must_be_ready {
                        task.ready = Some(false);
                    }
                    task.started_at = task.started_at.or(Some(now));
                }
                if let Some(result) = status.check_status.as_ref().and_then(check::result) {
                    task.check_result = Some(result);
                }
                if !addresses.is_empty() {
                    task.addresses = addresses;
                    if !task.containers.is_empty() {
                        task.networks = networks;
                    }
                }
                if !task.containers.is_empty() && container.is_some() {
                    task.container = container;
                }
                task.unreachable_since = if unreachable {
                    task.unreachable_since.or(unreachable_since).or(Some(now))
                } else {
                    None
                };
            }
        });
        if before.is_out_of_reach() != condition.is_out_of_reach() {
            self.reach_changed(key);
        }
        if news {
            self.publish_status(key, status);
        }
        if condition.is_terminal() {
            self.note_end(key, status);
        }
        if before != condition {
            self.adjust_delay(key, condition, status);
        }
        if condition == Condition::Running {
            self.start_checks(key);
            self.start_readiness(key);
            self.mesos_health(key, status);
        } else if condition != Condition::Killing {
            self.stop_checks(key);
            self.stop_readiness(key, true);
        }
        if self
            .instance(key)
            .is_some_and(|one| one.reservation.is_some())
        {
            self.update_resident(key, condition, status);
        }
        if condition.is_terminal() {
            self.terminated(key, condition, status);
        } else if condition == Condition::Unreachable {
            self.check_unreachable(key);
        }
    }

    /// What an instance does after a status of one of its tasks, and whether that task does something new. None if the status says nothing:
    /// the task has ended before.
    fn condition_of(&mut self, key: u64, status: &TaskStatus) -> Option<(Condition, bool)> {
        let (condition, now) = (Condition::of(status), self.stamp());
        let instance = self.instance(key)?;
        let task = instance.task.as_ref()?;
        if task.containers.is_empty() {
            return Some((condition, instance.condition != condition));
        }
        let id = status.task_id.value.as_str();
        let at = task.containers.iter().position(|one| *one.id == *id)?;
        let before = task.containers[at].condition;
        if before.is_terminal() {
            return None;
        }
        let text = message(status);
        self.change(key, |instance| {
            let task = instance.task.as_mut();
            if let Some(one) = task.and_then(|task| task.containers.get_mut(at)) {
                if one.condition != condition {
                    one.condition = condition;
                    one.since = now;
                }
                one.message = text;
                one.healthy = match condition {
                    Condition::Running => status.healthy.or(one.healthy),
                    _ => None,
                };
            }
            instance.healthy = instance.health_of_containers();
        });
        self.dirty.unstored.insert(key);
        let together = self.instance(key)?.task.as_ref()?.aggregate()?;
        Some((together, before != condition))
    }

    /// What a status means for an instance that keeps its place.
    fn update_resident(&mut self, key: u64, condition: Condition, status: &TaskStatus) {
        let started = matches!(
            condition,
            Condition::Staging | Condition::Starting | Condition::Running | Condition::Killing
        );
        // What has only been sent may lack its volumes: then it never runs.
        if matches!(condition, Condition::Running | Condition::Finished) {
            self.confirm(key);
        }
        let stopped = self
            .instance(key)
            .is_some_and(|one| one.goal == Goal::Stopped);
        if started && stopped {
            // It could not be told to end while its agent was unreachable.
            self.kill(key, Cause::ScaledDown);
        }
        if status.state() == TaskState::TaskGoneByOperator {
            self.lose_reservation(key);
            if stopped {
                self.decommission(key, Cause::AgentLost);
            }
        }
    }

    fn terminated(&mut self, key: u64, condition: Condition, status: &TaskStatus) {
        self.end_kill(key);
        if condition == Condition::Finished {
            self.tell_trial(key, "its task has finished");
        }
        let failed = matches!(
            condition,
            Condition::Failed
                | Condition::Error
                | Condition::Gone
                | Condition::Dropped
                | Condition::Unknown
        );
        if failed {
            // Of a pod the container that began it.
            let begun = self.instance(key).and_then(|instance| {
                let containers = &instance.task.as_ref()?.containers;
                let one = containers.iter().find(|one| one.condition == condition)?;
                Some((one.condition.mesos_state(), one.message.clone()))
            });
            let (state, text) = begun.unwrap_or_else(|| (state_name(status), message(status)));
            if matches!(condition, Condition::Failed | Condition::Error) {
                self.tell_trial(key, &text);
            }
            self.record_failure(key, state.to_owned(), text);
        }
        if self.instance(key).is_some_and(|instance| {
            instance.goal == Goal::Decommissioned || self.seats_of(instance)
        }) {
            self.forget(key, status_tells_of_loss(condition, status));
        }
    }

    /// Whether it is of a daemon app, whose agents get another instance when they are offered.
    fn seats_of(&self, instance: &Instance) -> bool {
        let state = self.apps.get(&instance.spec.id);
        state.is_some_and(|state| state.seats.is_some())
    }

    /// Remembers why a task of the app failed last.
    pub(super) fn record_failure(&mut self, key: u64, state: String, message: String) {
        let timestamp = self.stamp();
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        let (Some(agent), Some(task)) = (&instance.agent, &instance.task) else {
            return;
        };
        // Of a pod the container that began it.
        let failed = task
            .containers
            .iter()
            .find(|one| one.condition == instance.condition);
        let failed = failed.map_or(&task.id, |one| &one.id);
        let id = instance.spec.id.clone();
        if self.root.get(&id).is_none() {
            return;
        }
        let failure = TaskFailure {
            app_id: id.clone(),
            host: agent.host.to_string(),
            message,
            state,
            task_id: failed.to_string(),
            started_at: task.started_at,
            timestamp,
            version: instance.spec.version,
            slave_id: Some(agent.id.to_string()),
        };
        self.outbox
            .write(records::put(records::failure_key(&id), &failure));
        if let Some(state) = self.apps.get_mut(&id) {
            state.last_failure = Some(Arc::new(failure));
        }
        self.dirty.apps.insert(id);
    }

    fn publish_status(&mut self, key: u64, status: &TaskStatus) {
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        let (Some(agent), Some(task)) = (&instance.agent, &instance.task) else {
            return;
        };
        let event = EventKind::StatusUpdate {
            slave_id: agent.id.to_string(),
            task_id: status.task_id.value.clone(),
            task_status: state_name(status),
            message: message(status),
            app_id: instance.spec.id.clone(),
            host: agent.host.clone(),
            ip_addresses: task.addresses.clone(),
            ports: task.ports.clone(),
            version: instance.spec.version,
        };
        self.event(event);
    }

    /// Lets the app wait after a failure, and counts its delay from the last sign of life otherwise.
    fn adjust_delay(&mut self, key: u64, condition: Condition, status: &TaskStatus) {
        let (Some(spec), now) = (self.app_of(key), self.now) else {
            return;
        };
        let old_goes_on = self.old_definition(&spec.id).is_some();
        let Some(state) = self.apps.get_mut(&spec.id) else {
            return;
        };
        if !state.fits(&spec) && !old_goes_on {
            return;
        }
        if tells_of_draining(status) {
            state.delay = None;
        } else if condition.delays_launch() {
            if self.delay_agent(key, &spec.id) {
                return;
            }
            let Some(state) = self.apps.get_mut(&spec.id) else {
                return;
            };
            let delay = Delay::after_failure(state.delay, state.app(), now);
            state.delay = Some(delay);
            self.timers
                .insert((delay.deadline(), Timer::Delay(spec.id.clone())));
        } else if matches!(
            condition,
            Condition::Staging | Condition::Starting | Condition::Running
        ) {
            state.delay = state.delay.map(|delay| delay.advanced(now));
        }
    }

    /// The app may launch again, if its delay was not prolonged meanwhile; a delay that is no longer needed is forgotten.
    pub(super) fn delay_over(&mut self, id: &PathId) {
        let now = self.now;
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let Some(delay) = state.delay else { return };
        let forgotten = delay.forgotten_at(state.app());
        if now >= forgotten {
            state.delay = None;
        } else if now < delay.deadline() {
            self.timers
                .insert((delay.deadline(), Timer::Delay(id.clone())));
        } else {
            self.timers.insert((forgotten, Timer::Delay(id.clone())));
        }
        self.touch(id, true);
    }

    /// Gives an unreachable instance up, or forgets it, when its time has come.
    pub(super) fn check_unreachable(&mut self, key: u64) {
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        if !matches!(
            instance.condition,
            Condition::Unreachable | Condition::UnreachableInactive
        ) {
            return;
        }
        if instance.goal == Goal::Decommissioned {
            self.expunge(key);
            return;
        }
        let UnreachableStrategy::Replace {
            inactive_after_seconds,
            expunge_after_seconds,
        } = instance.spec.unreachable_strategy
        else {
            return;
        };
        let since = instance
            .task
            .as_ref()
            .and_then(|task| task.unreachable_since)
            .unwrap_or(instance.since);
        let after = |seconds: u64| {
            tepui_model::Time::from_millis(since.millis()) + Duration::from_secs(seconds)
        };
        let (inactive_at, expunge_at) =
            (after(inactive_after_seconds), after(expunge_after_seconds));
        if self.now >= expunge_at {
            self.expunge(key);
        } else if self.now >= inactive_at {
            self.change(key, |instance| {
                instance.condition = Condition::UnreachableInactive
            });
            self.timers.insert((expunge_at, Timer::Unreachable(key)));
        } else {
            self.timers.insert((inactive_at, Timer::Unreachable(key)));
        }
    }

    /// Results of checks that the executor runs come in statuses.
    fn mesos_health(&mut self, key: u64, status: &TaskStatus) {
        let (Some(healthy), Some(spec)) = (status.healthy, self.app_of(key)) else {
            return;
        };
        let Some(at) = spec
            .health_checks
            .iter()
            .position(|check| check.protocol.is_mesos())
        else {
            return;
        };
        let repeated = status
            .reason
            .is_some_and(|reason| reason == Reason::Reconciliation as i32);
        let known = self.instance(key).is_some_and(|instance| {
            let check = instance.checks.get(at);
            check.is_some_and(|check| !check.is_unknown() && check.alive() == healthy)
        });
        // What is told again counts once. What the executor found since may have been told to another leader, which took the news.
        if repeated && known {
            return;
        }
        let cause = || {
            status
                .message
                .clone()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "the executor found it unhealthy".to_owned())
        };
        let outcome = if healthy {
            ProbeOutcome::Healthy
        } else {
            ProbeOutcome::Unhealthy(cause())
        };
        self.apply_result(key, at, outcome);
    }
}

fn message(status: &TaskStatus) -> String {
    status.message().chars().take(MAX_MESSAGE).collect()
}

/// The networks of a pod's container, which all have in common.
fn networks(status: &TaskStatus) -> Vec<NetworkStatus> {
    let infos = status.container_status.iter();
    let infos = infos.flat_map(|container| &container.network_infos);
    infos
        .map(|network| NetworkStatus {
            name: network.name.clone(),
            addresses: network
                .ip_addresses
                .iter()
                .filter_map(|address| address.ip_address.clone())
                .collect(),
        })
        .collect()
}

fn addresses(status: &TaskStatus) -> Vec<IpAddress> {
    let networks = status
        .container_status
        .iter()
        .flat_map(|container| &container.network_infos);
    let addresses = networks
        .flat_map(|network| &network.ip_addresses)
        .filter_map(|address| {
            Some(IpAddress {
                ip_address: address.ip_address.clone()?,
                protocol: address.protocol().as_str_name().to_owned(),
            })
        });
    addresses.collect()
}
