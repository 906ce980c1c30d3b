//! Instances that keep their place: what is reserved for them, how it is used again, and how it is freed.
//!
//! Promises: an instance with persistent volumes is launched on its own volumes or not at all, so no volume ever has two tasks; its volumes
//! are destroyed when the instance is forgotten, and never otherwise; what is reserved for an instance that is not known is freed when it is
//! offered. RESERVE, CREATE and LAUNCH leave in one ACCEPT; if they were lost on their way, nothing of the instance is ever seen, and
//! another takes its place.

use std::{sync::Arc, time::Duration};

use tepui_proto::mesos::Resource;

use super::{Marathon, Timer, app_state::is_delayed, offers::Using, reach::AWAY, records};
use crate::{
    ended::Cause,
    instance::{
        Condition, Goal, Instance, LocalVolume, Remains, Reservation, free, labels, reserve,
    },
    matching::{Reason, Reasons, Taken, take_reserved},
    output::Mutation,
    path::PathId,
};

/// So long after it asked for something to be freed a master has heard from the agent whether it is: it gives up one that does not answer after
/// 75 s, unless its flags say otherwise, and one that returns tells what it has.
const SETTLED: Duration = Duration::from_secs(150);
/// What to do about an instance that cannot be launched on its volumes any more.
pub(super) const GIVE_UP: &str = "give the instance up (DELETE its task with wipe=true: its volumes are destroyed, and another takes its place)";

impl Marathon {
    /// Ends an instance that is not wanted for now: one with volumes is kept for later, any other is forgotten.
    pub(super) fn retire(&mut self, key: u64, cause: Cause) {
        let Some(instance) = self.instance(key) else {
            return;
        };
        if instance.reservation.is_none() || instance.goal == Goal::Decommissioned {
            self.decommission(key, cause);
            return;
        }
        let has_task = instance.condition.is_active();
        self.blame(key, cause);
        self.change(key, |instance| instance.goal = Goal::Stopped);
        if has_task {
            self.kill(key, cause);
        }
    }

    /// One more instance: one that was stopped, the last first, or else a new one. With `idle` only those whose task has ended.
    pub(super) fn add_instance(&mut self, id: &PathId, awaited: bool, idle: bool) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        if !state.app().is_resident() {
            self.create_instance(id, awaited);
            return;
        }
        let app = state.app().clone();
        let stopped = state
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key))
            .filter(|one| one.goal == Goal::Stopped && !(idle && one.condition.is_active()))
            .filter(|one| state.may_resume(one));
        let best = stopped.max_by_key(|one| {
            let first = one.ordinal.map(std::cmp::Reverse);
            (first, one.condition.is_active(), one.since, one.key)
        });
        let Some(key) = best.map(|one| one.key) else {
            self.create_instance(id, awaited);
            return;
        };
        self.change(key, |instance| {
            instance.goal = Goal::Running;
            instance.awaited = awaited;
            // The configuration of a task that still runs is its own.
            if !instance.condition.is_active() {
                instance.spec = app;
            }
        });
    }

    /// Makes the reservation of an instance that is launched for the first time: with which operations, and what its task then has.
    pub(super) fn make_reservation(
        &mut self,
        instance_id: &str,
        app: &crate::definition::App,
        taken: &Taken,
    ) -> Option<(
        Reservation,
        Vec<tepui_proto::mesos::offer::Operation>,
        Vec<Resource>,
    )> {
        let framework_id = self.framework_id.clone()?;
        let volumes = app.persistent_volumes();
        let volumes = volumes.map(|(path, _)| LocalVolume::new(&app.id, path, self.ids.uuid()));
        let reservation = Reservation {
            role: app.role.clone(),
            volumes: volumes.collect(),
            confirmed: false,
        };
        let labels = labels(&framework_id, instance_id);
        let (operations, resources) =
            reserve(&reservation, &labels, &taken.resources, &taken.disks);
        Some((reservation, operations, resources))
    }

    /// Whether a framework's id is, or was, Marathon's own.
    pub(super) fn is_own(&self, id: &str) -> bool {
        let former = || self.former_ids.iter().any(|former| former == id);
        self.framework_id.as_deref() == Some(id) || former()
    }

    /// Looks at what offers hold that is reserved for instances: launches those that wait for it, frees what belongs to none.
    pub(super) fn use_reservations(&mut self, offers: &mut [Using]) {
        if self.framework_id.is_none() {
            return;
        }
        let reserved: Vec<_> = offers
            .iter()
            .map(|offer| offer.state.reserved(|id| self.is_own(id)))
            .collect();
        self.note_freed(offers, |instance| {
            reserved.iter().any(|one| one.contains_key(instance))
        });
        for (offer, reserved) in offers.iter_mut().zip(reserved) {
            for (instance_id, resources) in reserved {
                let known = self.by_instance_id.get(instance_id.as_str()).copied();
                // An agent may come back under another id, with what it keeps: only who is not known, or keeps nothing, has left something.
                let known = known.filter(|key| {
                    let instance = self.instances.get(key);
                    instance.is_some_and(|one| one.reservation.is_some())
                });
                match known {
                    Some(key) => {
                        if let Some(instance) = self.instances.get_mut(&key) {
                            let kept = instance.reservation.as_ref();
                            let whole = kept.map(|kept| kept.volumes_in(&resources).is_some());
                            instance.offered_whole = whole;
                        }
                        self.launch_on_own(key, offer, &resources);
                    }
                    None => {
                        if !self.holds(&instance_id, offer, &resources)
                            && self.may_free(&instance_id, offer)
                        {
                            offer.operations.extend(free(resources));
                        }
                    }
                }
            }
        }
        self.count_foreign(offers);
    }

    /// Whether to free what is reserved for an instance that is not known: again only after a while, if it was in vain.
    fn may_free(&mut self, instance_id: &str, offer: &Using) -> bool {
        let (now, left_at) = (self.now, self.stamp());
        let timeout = Duration::from_millis(self.config.task_reservation_timeout_ms);
        let instance: Arc<str> = instance_id.into();
        let remains = self
            .remains
            .entry(instance.clone())
            .or_insert_with(|| Remains {
                instance,
                agent: offer.state.agent.id.clone(),
                role: offer.state.role().to_owned(),
                left_at,
                freed_at: None,
            });
        if remains.freed_at.is_some_and(|at| now < at + timeout) {
            return false;
        }
        remains.freed_at = Some(now);
        self.await_remains();
        true
    }

    /// Offers without what an instance waits for are of no use to it; that is counted for `/v2/queue`.
    fn count_foreign(&mut self, offers: &[Using]) {
        let now = self.stamp();
        let mut reasons = Reasons::default();
        reasons.add(Reason::NoCorrespondingReservationFound);
        for id in &self.waiting_for_own {
            let Some(state) = self.apps.get_mut(id) else {
                continue;
            };
            for offer in offers.iter().filter(|offer| offer.launched == 0) {
                let agent = &offer.state.agent.id;
                state.offers.count(&offer.state.offer, agent, reasons, now);
            }
        }
    }

    fn launch_on_own(&mut self, key: u64, offer: &mut Using, resources: &[Resource]) {
        let Some(instance) = self.instance(key).filter(|one| one.is_scheduled()) else {
            return;
        };
        let id = instance.spec.id.clone();
        let state = self.apps.get(&id);
        if state.is_some_and(|state| state.awaits_ordinal(instance)) {
            return;
        }
        let Some((app, kept)) = self.apps.get(&id).and_then(|state| {
            let launches = !is_delayed(state.delay, self.now) && offer.state.serves_reserved();
            let kept = instance.reservation.clone().filter(|_| launches)?;
            Some((state.app().clone(), kept))
        }) else {
            return;
        };
        let ports = instance.task.as_ref().map(|task| task.ports.clone());
        let ports = ports.unwrap_or_default();
        let taken = take_reserved(&app, &kept, resources, &ports, &self.config);
        let Some(mut taken) = taken else {
            // Without all of its volumes it waits for the rest of them.
            if kept.volumes_in(resources).is_some() {
                let agent = offer.state.agent.clone();
                let too_little = format!(
                    "what is reserved for it there is less than its app, or its executor, asks for now; ask for no more than when it was first \
                     launched, or {GIVE_UP}"
                );
                self.not_launched(key, &id, &agent, &too_little, offer);
            }
            return;
        };
        taken.resources.append(&mut taken.disks);
        let (offered, agent) = (offer.state.offer.clone(), offer.state.agent.clone());
        let now = self.stamp();
        if let Some(state) = self.apps.get_mut(&id) {
            state
                .offers
                .count(&offered, &agent.id, Reasons::default(), now);
        }
        self.start_task(key, app, &agent, taken, Some(kept), offer);
    }

    /// Takes note that what is reserved for an instance is there.
    pub(super) fn confirm(&mut self, key: u64) {
        let unconfirmed = self
            .instance(key)
            .and_then(|instance| instance.reservation.as_ref())
            .is_some_and(|reservation| !reservation.confirmed);
        if unconfirmed {
            self.change(key, |instance| {
                if let Some(reservation) = &mut instance.reservation {
                    reservation.confirmed = true;
                }
            });
            self.dirty.unstored.insert(key);
        }
    }

    /// Looks again, when it should have been seen, whether what was asked for came to be.
    pub(super) fn await_reservation(&mut self, key: u64) {
        let timeout = Duration::from_millis(self.config.task_reservation_timeout_ms);
        self.timers
            .insert((self.now + timeout, Timer::Reservation(key)));
    }

    /// Gives an instance up that has never run, has no task, and of whose reservation nothing was seen, or not all.
    pub(super) fn check_reservation(&mut self, key: u64) {
        let Some(instance) = self.instance(key) else {
            return;
        };
        let unconfirmed = instance
            .reservation
            .as_ref()
            .is_some_and(|reservation| !reservation.confirmed);
        if !unconfirmed {
            return;
        }
        let offered = instance.offered_whole == Some(true);
        if instance.condition.is_active() || offered || !self.registered {
            // Its task may yet be heard of, or nothing can be; or it is there, as far as the master knew. Should its agent have failed to make it, it
            // is not offered again: that is asked for, once it may be used.
            let app = self.apps.get(&instance.spec.id);
            if offered && app.is_some_and(|state| !is_delayed(state.delay, self.now)) {
                if let Some(instance) = self.instances.get_mut(&key) {
                    instance.offered_whole = None;
                }
                self.revive.wanted = true;
            }
            self.await_reservation(key);
        } else {
            if self.hold.is_some() {
                // It may have come to be after the backup, and have been used: should it be offered yet, it is held.
                self.change(key, |instance| instance.reservation = None);
            }
            self.decommission(key, Cause::NotStarted);
        }
    }

    /// Remembers what an instance leaves behind, so that offers are asked for until it is free.
    pub(super) fn leave(&mut self, instance: &Instance) {
        let (Some(reservation), Some(agent)) = (&instance.reservation, &instance.agent) else {
            return;
        };
        let remains = Remains {
            instance: instance.id.clone(),
            agent: agent.id.clone(),
            role: reservation.role.clone(),
            left_at: self.stamp(),
            freed_at: None,
        };
        self.note_remains(remains);
    }

    /// Remembers what is to be freed.
    pub(super) fn note_remains(&mut self, remains: Remains) {
        let key = records::remains_key(&remains.instance);
        self.outbox.write(records::put(key, &remains));
        self.remains.insert(remains.instance.clone(), remains);
        self.revive.wanted = true;
        self.await_remains();
    }

    /// Asks for offers once more when what was left should have been seen: it may never have come to be.
    pub(super) fn await_remains(&mut self) {
        let timeout = Duration::from_millis(self.config.task_reservation_timeout_ms);
        for look in [timeout, timeout.max(SETTLED)] {
            self.timers.insert((self.now + look, Timer::Remains));
        }
    }

    /// Asks for offers of what was left. What was left a day ago on an agent that was not offered since is given up: should the agent come back, it
    /// is freed as what is reserved for nobody known.
    pub(super) fn look_for_remains(&mut self) {
        let now = self.now;
        let given_up = self.remains.values().filter(|one| {
            let left_at = tepui_model::Time::from_millis(one.left_at.millis());
            left_at + AWAY <= now && !self.agents.was_offered(&one.agent, now)
        });
        let given_up: Vec<Arc<str>> = given_up.map(|one| one.instance.clone()).collect();
        for instance in given_up {
            self.forget_remains(&instance);
        }
        if !self.remains.is_empty() {
            self.revive.wanted = true;
            // One time for all.
            let day = i64::try_from(AWAY.as_secs()).unwrap_or(i64::MAX);
            let next = (now.as_secs() / day + 1).saturating_mul(day);
            self.timers
                .insert((tepui_model::Time::from_secs(next), Timer::Remains));
        }
    }

    fn forget_remains(&mut self, instance: &str) {
        self.remains.remove(instance);
        self.outbox.write(Mutation::Delete {
            key: records::remains_key(instance),
        });
    }

    /// Forgets remains that their agent no longer offers: they were freed, or are not there.
    ///
    /// An offer may have been made before it was left, or while another had it: one that came soon after it was left, or after it should be free,
    /// proves nothing; nor does one of several that came together. If it was not freed, it comes again: also when the master believed it to be
    /// free, and hears from the agent, which it had lost, that it is not.
    fn note_freed(&mut self, offers: &[Using], is_there: impl Fn(&str) -> bool) {
        let timeout = Duration::from_millis(self.config.task_reservation_timeout_ms).max(SETTLED);
        let now = self.now;
        let gone = self.remains.values().filter(|one| {
            let left_at = tepui_model::Time::from_millis(one.left_at.millis());
            one.freed_at.unwrap_or(left_at) + timeout <= now
                && offers
                    .iter()
                    .any(|offer| offer.state.agent.id == one.agent && offer.state.is_for(&one.role))
                && !is_there(&one.instance)
        });
        let gone: Vec<Arc<str>> = gone.map(|one| one.instance.clone()).collect();
        for instance in gone {
            self.forget_remains(&instance);
        }
    }

    /// An agent is gone for good, by an operator's word: what was kept there is too.
    pub(super) fn lose_reservation(&mut self, key: u64) {
        let Some(instance) = self.instance(key) else {
            return;
        };
        if instance.reservation.is_none() || instance.condition != Condition::Gone {
            return;
        }
        self.change(key, |instance| instance.reservation = None);
        self.dirty.unstored.insert(key);
    }
}
