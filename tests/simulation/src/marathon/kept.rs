//! I19: what a user of Marathon was told to be done is in the store, and every later leader has it. Kept apart from every core.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::invariants::Invariant;
use crate::world::Simulation;

/// Where the number of instances stands in a definition.
pub(super) const INSTANCES: &str = "/instances";

/// How an app stands, as far as users can know.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is there, and what stands at this place of its definition is so.
    Has(&'static str, Value),
    /// It is not there.
    Gone,
}

/// What was promised.
#[derive(Debug, Default)]
pub(super) struct Kept {
    standing: BTreeMap<String, Standing>,
    /// Of each app, the last request that changes it in a way that only time tells.
    doubts: BTreeMap<String, u64>,
    all_doubted: u64,
    /// Deployments that end by themselves may change it later.
    timed: BTreeSet<String>,
    /// Their numbers of instances may change at any time.
    autoscaled: BTreeSet<String>,
}

impl Kept {
    /// A request was sent after which nobody knows how the app stands until another is answered.
    pub(super) fn doubt(&mut self, app: &str, request: u64) {
        self.standing.remove(app);
        self.doubts.insert(app.to_owned(), request);
    }

    /// Its deployment may be undone at any time.
    pub(super) fn doubt_always(&mut self, app: &str, request: u64) {
        self.doubt(app, request);
        self.timed.insert(app.to_owned());
    }

    /// How many instances it has is no longer for users to say.
    pub(super) fn autoscales(&mut self, app: &str, request: u64) {
        self.doubt(app, request);
        self.autoscaled.insert(app.to_owned());
    }

    /// A request may have changed any app.
    pub(super) fn doubt_all(&mut self, request: u64) {
        self.standing.clear();
        self.all_doubted = request;
    }

    /// It was answered that the app is as it was to be, or is gone. `whole`: nothing else is under way with it.
    pub(super) fn told(
        &mut self,
        app: &str,
        request: u64,
        has: Option<(&'static str, Value)>,
        whole: bool,
    ) {
        if whole {
            self.timed.remove(app);
        }
        let last = self.doubts.get(app).copied().unwrap_or_default();
        let scaled = has.as_ref().is_some_and(|(place, _)| *place == INSTANCES);
        if request < last.max(self.all_doubted)
            || self.timed.contains(app)
            || scaled && self.autoscaled.contains(app)
        {
            return;
        }
        let standing = has.map_or(Standing::Gone, |(place, value)| Standing::Has(place, value));
        self.standing.insert(app.to_owned(), standing);
    }
}

impl Simulation {
    /// Whether the store has all that users were told to be done.
    pub(super) fn check_kept(&mut self) {
        let records = &self.marathons.store.records;
        let wrong = self.marathons.kept.standing.iter().find_map(|(app, told)| {
            let key = format!("app/{}", app.replace('/', "%2F"));
            let stored = records.get(&key).map(|value| {
                let value: Value = serde_json::from_slice(value).unwrap_or_default();
                value["data"].clone()
            });
            let holds = match (told, &stored) {
                (Standing::Gone, stored) => stored.is_none(),
                (Standing::Has(place, value), Some(stored)) => stored.pointer(place) == Some(value),
                (Standing::Has(..), None) => false,
            };
            (!holds)
                .then(|| format!("of {app} the store has {stored:?}, and users were told {told:?}"))
        });
        if let Some(what) = wrong {
            self.breach(Invariant::Kept, what);
        }
    }
}
