//! What the core knows of one app besides its definition, kept so that each event costs little.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tepui_model::Time;
use tepui_proto::mesos::Offer;

use super::{
    ordinals::{Held, Ordinals},
    seats::{Seats, Sitter},
};
use crate::{
    definition::{App, KillSelection},
    instance::{Condition, Goal, Instance, Replaces, TaskFailure},
    launch::Delay,
    matching::{Counted, Placed, Reasons, Summary},
    timestamp::Timestamp,
    view::{Definition, TaskCounts},
};

/// Agents of which the last unused offer is kept for each app.
const MAX_UNUSED_OFFERS: usize = 100;

/// An app, or what is left of a deleted one while its instances end.
#[derive(Debug)]
pub(super) struct AppState {
    pub(super) definition: Arc<Definition>,
    /// All stored definitions by version, the current one included.
    pub(super) versions: BTreeMap<Timestamp, Arc<Definition>>,
    pub(super) instances: BTreeSet<u64>,
    pub(super) tally: Tally,
    /// Instances that want an offer.
    pub(super) scheduled: BTreeSet<u64>,
    /// Of these, those that keep no place.
    pub(super) unplaced: BTreeSet<u64>,
    /// Instances of another configuration that shall go on: those that may serve, those that do last, each by its age; and the others.
    pub(super) old_serving: BTreeSet<(bool, Timestamp, u64)>,
    pub(super) old_idle: BTreeSet<u64>,
    /// Wanted instances that are to take the place of others.
    pub(super) pairs: BTreeMap<u64, Replaces>,
    /// Offers are looked at to spread it.
    pub(super) looking: bool,
    /// Goes up with whatever changes in the tally and the sets.
    pub(super) changes: u64,
    pub(super) placed: Placed,
    pub(super) delay: Option<Delay>,
    /// Of a daemon app.
    pub(super) seats: Option<Seats>,
    /// Of an app whose instances are numbered.
    pub(super) ordinals: Option<Ordinals>,
    /// The deployment that changes it.
    pub(super) lock: Option<Arc<str>>,
    pub(super) last_failure: Option<Arc<TaskFailure>>,
    pub(super) offers: OfferStats,
    /// Why the last launch that an offer would have done for came to nothing, until one is made.
    pub(super) unmade: Option<String>,
}

/// How many instances there are of which sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Goal Running, and not given up as unreachable.
    pub(super) wanted: usize,
    /// Of these, of the current configuration.
    pub(super) wanted_new: usize,
    /// Goal Running, running, all checks passed.
    pub(super) ready: usize,
    /// Of these, of the current configuration.
    pub(super) ready_new: usize,
    /// Of another configuration, with a task that exists or may.
    pub(super) active_old: usize,
    /// Shall end and have not ended.
    pub(super) leaving: usize,
    /// Launched and not yet running.
    pub(super) launching: usize,
    /// A deployment waits for them.
    pub(super) awaited: usize,
    /// As clients see them.
    pub(super) counts: TaskCounts,
}

/// What became of the offers that an app looked at.
#[derive(Debug, Default)]
pub(super) struct OfferStats {
    /// Since when it waits.
    pub(super) since: Option<Timestamp>,
    pub(super) attempt: Summary,
    pub(super) processed: u64,
    pub(super) unused: u64,
    pub(super) last_used: Option<Timestamp>,
    pub(super) last_unused: Option<Timestamp>,
    /// By agent.
    pub(super) unused_offers: BTreeMap<Arc<str>, (Arc<Offer>, Reasons, Timestamp)>,
}

/// All that the tally and the sets of an app depend on, of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    key: u64,
    new: bool,
    running_goal: bool,
    scheduled: bool,
    reserved: bool,
    leaving: bool,
    active: bool,
    launching: bool,
    ready: bool,
    inactive: bool,
    awaited: bool,
    serving_since: Option<Timestamp>,
    agent: Option<Arc<crate::instance::Agent>>,
    staged: bool,
    running: bool,
    checked: Option<bool>,
    sitter: Option<Sitter>,
    held: Option<Held>,
    replaces: Option<Replaces>,
}

impl AppState {
    pub(super) fn new(definition: Arc<Definition>) -> Self {
        Self {
            placed: Placed::new(&definition.app),
            seats: definition.app.is_daemon().then(Seats::default),
            ordinals: definition.app.has_ordinals().then(Ordinals::default),
            definition,
            versions: BTreeMap::new(),
            instances: BTreeSet::new(),
            tally: Tally::default(),
            scheduled: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            old_serving: BTreeSet::new(),
            old_idle: BTreeSet::new(),
            pairs: BTreeMap::new(),
            looking: false,
            changes: 0,
            delay: None,
            lock: None,
            last_failure: None,
            offers: OfferStats::default(),
            unmade: None,
        }
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.definition.app
    }

    /// True if an instance of `spec` need not be replaced.
    pub(super) fn fits(&self, spec: &App) -> bool {
        spec.config_version() == self.app().config_version()
    }

    /// Instances of another configuration that may serve, in the order in which they are to end: those first of which nobody knows that they
    /// are healthy.
    pub(super) fn old_serving_by(
        &self,
        selection: KillSelection,
    ) -> Box<dyn Iterator<Item = u64> + '_> {
        let key = |(_, _, key): &(bool, Timestamp, u64)| *key;
        match selection {
            KillSelection::OldestFirst => Box::new(self.old_serving.iter().map(key)),
            KillSelection::YoungestFirst => {
                let first_ready = (true, Timestamp::from_millis(i64::MIN), 0);
                let unready = self.old_serving.range(..first_ready).rev();
                let ready = self.old_serving.range(first_ready..).rev();
                Box::new(unready.chain(ready).map(key))
            }
        }
    }

    pub(super) fn class(&self, instance: &Instance) -> Class {
        let running_goal = instance.goal == Goal::Running;
        let condition = instance.condition;
        let new = self.fits(&instance.spec);
        let scheduled = instance.is_scheduled();
        let lost = matches!(condition, Condition::Unreachable | Condition::Scheduled)
            || condition.is_terminal();
        let reserved = instance.reservation.is_some();
        // What keeps its place will come back there.
        let placed = new && (!lost || reserved);
        // An instance whose checks fail, that is not ready yet, or that does not run, serves nobody. One without results may serve.
        let serves = condition == Condition::Running
            && instance.healthy != Some(false)
            && !instance.is_unready();
        let counted_health =
            condition.is_active() && instance.checks.iter().any(|check| !check.is_unknown());
        let sits = self.seats.is_some();
        Class {
            key: instance.key,
            replaces: instance.replaces.filter(|_| running_goal),
            held: Held::of(instance, new, condition == Condition::UnreachableInactive)
                .filter(|_| self.ordinals.is_some()),
            sitter: sits.then(|| Sitter::of(instance, self.app(), &self.placed, new)),
            new,
            running_goal,
            scheduled,
            reserved,
            leaving: match instance.goal {
                Goal::Running => false,
                // Whether an unreachable one has ended nobody can tell.
                Goal::Stopped => condition.is_active() && condition != Condition::Unreachable,
                Goal::Decommissioned => true,
            },
            active: condition.is_active(),
            launching: matches!(
                condition,
                Condition::Provisioned | Condition::Staging | Condition::Starting
            ),
            ready: running_goal && instance.is_ready(),
            inactive: condition == Condition::UnreachableInactive,
            // Of one that was given up another is the one to wait for.
            awaited: instance.awaited && condition != Condition::UnreachableInactive,
            serving_since: (running_goal && serves)
                .then(|| instance.active_since.unwrap_or(instance.since)),
            agent: instance.agent.clone().filter(|_| placed),
            staged: instance.agent.is_some()
                && matches!(condition, Condition::Provisioned | Condition::Staging),
            running: condition == Condition::Running,
            checked: counted_health.then(|| {
                instance
                    .checks
                    .iter()
                    .all(|check| check.is_unknown() || check.alive())
            }),
        }
    }

    pub(super) fn add(&mut self, class: &Class) {
        self.count(class, true);
        if let Some(replaces) = class.replaces {
            self.pairs.insert(class.key, replaces);
        }
        if class.scheduled {
            self.scheduled.insert(class.key);
            if !class.reserved {
                self.unplaced.insert(class.key);
            }
        }
        if !class.new && class.running_goal && !class.inactive {
            match class.serving_since {
                Some(since) => self.old_serving.insert((class.ready, since, class.key)),
                None => self.old_idle.insert(class.key),
            };
        }
    }

    pub(super) fn remove(&mut self, class: &Class) {
        self.count(class, false);
        self.pairs.remove(&class.key);
        self.scheduled.remove(&class.key);
        self.unplaced.remove(&class.key);
        self.old_idle.remove(&class.key);
        if let Some(since) = class.serving_since {
            self.old_serving.remove(&(class.ready, since, class.key));
        }
    }

    fn count(&mut self, class: &Class, added: bool) {
        self.changes = self.changes.wrapping_add(1);
        if let (Some(seats), Some(sitter)) = (&mut self.seats, &class.sitter) {
            seats.change(sitter, added);
        }
        let bump = |number: &mut usize, counts: bool| {
            if counts {
                *number = if added {
                    *number + 1
                } else {
                    number.saturating_sub(1)
                };
            }
        };
        if let (Some(ordinals), Some(held)) = (&mut self.ordinals, &class.held) {
            ordinals.change(held, added);
        }
        let wanted = class.running_goal && !class.inactive;
        let tally = &mut self.tally;
        bump(&mut tally.wanted, wanted);
        bump(&mut tally.wanted_new, wanted && class.new);
        bump(&mut tally.ready, class.ready);
        bump(&mut tally.ready_new, class.ready && class.new);
        bump(&mut tally.active_old, class.active && !class.new);
        bump(&mut tally.leaving, class.leaving);
        bump(&mut tally.launching, class.launching);
        bump(&mut tally.awaited, class.awaited);
        let bump = |number: &mut u32, counts: bool| {
            if counts {
                *number = if added {
                    *number + 1
                } else {
                    number.saturating_sub(1)
                };
            }
        };
        let counts = &mut tally.counts;
        bump(&mut counts.staged, class.staged);
        bump(&mut counts.running, class.running);
        bump(&mut counts.healthy, class.checked == Some(true));
        bump(&mut counts.unhealthy, class.checked == Some(false));
        if let Some(agent) = &class.agent {
            let counted = if class.inactive {
                Counted::NotForShares
            } else {
                Counted::ForAll
            };
            self.placed
                .change(&self.definition.app, agent, added, counted);
        }
    }
}

impl Class {
    /// Where it counts among those that are shared out, if it does.
    pub(super) fn has_share(self) -> Option<Arc<crate::instance::Agent>> {
        self.agent.filter(|_| !self.inactive)
    }
}

impl OfferStats {
    /// Begins a new attempt to launch.
    pub(super) fn begin(&mut self, now: Timestamp) {
        *self = Self {
            since: Some(now),
            ..Self::default()
        };
    }

    /// Counts an offer that was looked at; no reasons: it was used.
    pub(super) fn count(
        &mut self,
        offer: &Arc<Offer>,
        agent: &Arc<str>,
        reasons: Reasons,
        now: Timestamp,
    ) {
        self.processed += 1;
        self.attempt.count(reasons);
        if reasons.is_empty() {
            self.last_used = Some(now);
            self.unused_offers.remove(agent);
            return;
        }
        self.unused += 1;
        self.last_unused = Some(now);
        if self.unused_offers.len() < MAX_UNUSED_OFFERS || self.unused_offers.contains_key(agent) {
            self.unused_offers
                .insert(agent.clone(), (offer.clone(), reasons, now));
        }
    }

    /// Over the last unused offer of each agent.
    pub(super) fn last_offers(&self) -> Summary {
        let mut summary = Summary::default();
        for (_, reasons, _) in self.unused_offers.values() {
            summary.count(*reasons);
        }
        summary
    }
}

/// Whether launches of an app have to wait.
pub(super) fn is_delayed(delay: Option<Delay>, now: Time) -> bool {
    delay.is_some_and(|delay| now < delay.deadline())
}
