//! After a restore: what is reserved for instances that nobody knows is left alone until an operator says what shall become of it.
//!
//! A backup knows nothing of instances that came after it, and what these have on their agents looks like what an instance forgot to free. So a
//! restore leaves a record, and while it is there the leader frees what its own records name as left, and nothing else: what else is offered
//! with this framework's labels is listed. An operator frees it by name, or all of it, and ends the hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tepui_proto::mesos::Resource;

use super::{Marathon, offers::Using, records};
use crate::{
    definition::App,
    instance::{InstanceRecord, Remains, persistence_id},
    output::{Mutation, Output, Record},
    response::Response,
    timestamp::Timestamp,
    view::{Change, HeldView},
};

/// The most reservations that are listed; more are left alone too, and listed once others are freed.
const MAX_HELD: usize = 10_000;

/// What a restore leaves for those who lead after it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RestoredRecord {
    at: Timestamp,
    /// Roles that what was replaced used: offers in these may show something that was made since the backup.
    #[serde(default)]
    roles: BTreeSet<String>,
}

/// What is left alone.
#[derive(Debug)]
pub(super) struct Hold {
    record: RestoredRecord,
    held: BTreeMap<Arc<str>, Held>,
    /// Some were seen for which the list had no room.
    more: bool,
    /// Roles of all definitions of the past, and of what instances keep or have left, when this leader began.
    past: BTreeSet<String>,
}

/// What is reserved for one instance that nobody knows.
#[derive(Debug)]
struct Held {
    agent: Arc<str>,
    host: Arc<str>,
    role: String,
    first_seen: Timestamp,
    last_seen: Timestamp,
    resources: Vec<Resource>,
}

/// What a restore replaces, as far as it says in which roles something may be that the backup does not know.
#[derive(Debug, Default)]
pub struct ReplacedByRestore {
    roles: BTreeSet<String>,
}

impl ReplacedByRestore {
    /// Roles of which somebody knows that something may be in them.
    #[must_use]
    pub fn with_roles(roles: &[String]) -> Self {
        Self {
            roles: roles.iter().cloned().collect(),
        }
    }

    /// Takes note of a record that is replaced.
    pub fn note(&mut self, record: &Record) {
        let roles = &mut self.roles;
        // What cannot be read is being replaced, perhaps for that reason.
        if record.key.starts_with("app/") {
            let app = records::read::<App>(record).ok();
            roles.extend(app.map(|app| app.role));
        } else if record.key.starts_with("instance/") {
            let read = records::read::<InstanceRecord>(record).ok();
            roles.extend(read.and_then(|one| Some(one.reservation?.role)));
        } else if record.key.starts_with("remains/") {
            // What was left there is nobody's once the record of it is replaced.
            let left = records::read::<Remains>(record).ok();
            roles.extend(left.map(|left| left.role));
        } else if record.key == records::RESTORED {
            // What an earlier restore knew of is held still.
            let before = records::read::<RestoredRecord>(record).ok();
            roles.extend(before.into_iter().flat_map(|before| before.roles));
        }
    }

    /// The record that the restore leaves; until an operator ends the hold, no leader frees what it has no record of.
    #[must_use]
    pub fn hold(self, at: Timestamp) -> Mutation {
        let roles = self.roles;
        records::put(records::RESTORED.to_owned(), &RestoredRecord { at, roles })
    }
}

/// Whether a record is of the place where it is stored, so that no backup has it.
#[must_use]
pub fn is_of_place(key: &str) -> bool {
    key == records::RESTORED
}

impl Hold {
    pub(super) fn new(record: RestoredRecord) -> Self {
        Self {
            record,
            held: BTreeMap::new(),
            more: false,
            past: BTreeSet::new(),
        }
    }

    /// When the backup was restored.
    pub(super) fn since(&self) -> Timestamp {
        self.record.at
    }

    fn view(&self) -> HeldView {
        HeldView {
            since: self.record.at,
            reservations: self.held.len(),
        }
    }
}

impl Marathon {
    /// Whether what is offered for an unknown instance is left alone; then it is listed.
    pub(super) fn holds(&mut self, instance: &str, offer: &Using, resources: &[Resource]) -> bool {
        let now = self.stamp();
        let Some(hold) = &mut self.hold else {
            return false;
        };
        if self.remains.contains_key(instance) {
            return false;
        }
        if !hold.held.contains_key(instance) && hold.held.len() >= MAX_HELD {
            hold.more = true;
            return true;
        }
        let before = hold.held.len();
        let entry = hold.held.entry(instance.into()).or_insert_with(|| Held {
            agent: Arc::default(),
            host: Arc::default(),
            role: String::new(),
            first_seen: now,
            last_seen: now,
            resources: Vec::new(),
        });
        entry.agent = offer.state.agent.id.clone();
        entry.host = offer.state.agent.host.clone();
        entry.role = resources
            .iter()
            .find_map(|one| one.reservations.last()?.role.clone())
            .unwrap_or_else(|| offer.state.role().to_owned());
        entry.last_seen = now;
        entry.resources = resources.to_vec();
        if hold.held.len() != before {
            self.show_hold();
        }
        true
    }

    /// Begins, or goes on, with the hold that a restore has left.
    pub(super) fn recover_hold(&mut self, record: Option<RestoredRecord>) {
        self.hold = record.map(Hold::new);
        if self.hold.is_some() {
            // Nothing may wait for offers, and they alone show what there is.
            self.revive.wanted = true;
            self.show_hold();
        }
    }

    /// Whether an instance waited for its place when the backup was made: what may have been made for it since must not mix with what is made
    /// for it now, so another takes its place.
    pub(super) fn may_have_come_to_more(&self, record: &InstanceRecord, spec: &App) -> bool {
        let restored = self.hold.as_ref().map(Hold::since);
        restored.is_some_and(|at| record.since <= at)
            && spec.is_resident()
            && record.reservation.is_none()
            && !record.condition.is_active()
    }

    /// Takes note of roles that were used before, in which something may have been made since the backup too.
    pub(super) fn note_roles_of_the_past<'a>(&mut self, past: impl Iterator<Item = &'a Arc<App>>) {
        let kept = self.instances.values();
        let kept = kept.filter_map(|one| Some(one.reservation.as_ref()?.role.clone()));
        let left = self.remains.values().map(|one| one.role.clone());
        let roles = kept.chain(left).chain(past.map(|app| app.role.clone()));
        if let Some(hold) = &mut self.hold {
            hold.past = roles.collect();
        }
    }

    /// Roles in which something may be reserved that is to be listed: of apps as they are and were, of what they keep, of groups, whose apps
    /// have their names as roles where that is enforced, and those that the restore knew or was told.
    pub(super) fn roles_on_hold(&self) -> BTreeSet<String> {
        let Some(hold) = &self.hold else {
            return BTreeSet::new();
        };
        let own = self.root.iter().map(|app| app.role.clone());
        let known = hold.record.roles.iter().chain(&hold.past).cloned();
        let groups = self.root.groups().map(|group| &group.id);
        let enforced = groups.filter(|id| self.root.enforces_role(id) == Some(true));
        let enforced = enforced.filter_map(|id| Some(id.segments().next()?.to_owned()));
        let own = own.chain(known).chain(enforced);
        own.chain([self.config.mesos_role.clone()]).collect()
    }

    fn show_hold(&mut self) {
        let view = self.hold.as_ref().map(Hold::view);
        self.outbox
            .push(Output::Change(Change::Held(view.map(Arc::new))));
    }

    /// `GET /v3/store/held`.
    pub(super) fn list_held(&self) -> Response {
        Response::json(200, &self.held_json())
    }

    fn held_json(&self) -> Value {
        let hold = self.hold.as_ref();
        let held = hold.into_iter().flat_map(|hold| &hold.held);
        let held: Vec<Value> = held.map(|(id, one)| one.json(id)).collect();
        json!({
            "restoredAt": hold.map(Hold::since),
            "held": held,
            "complete": hold.is_none_or(|hold| !hold.more),
        })
    }

    /// `POST /v3/store/free`.
    pub(super) fn free_held(&mut self, body: &Bytes) -> Result<Response, Response> {
        let order: Order = serde_json::from_value(self.object(body)?).map_err(|error| {
            Response::message(422, format!("What shall be freed cannot be read: {error}"))
        })?;
        let Some(hold) = &self.hold else {
            let nothing = "Nothing is held: no backup was restored here, or the hold was ended.";
            return Err(Response::message(409, nothing));
        };
        if let Some(unknown) = order.ids.iter().find(|id| !hold.held.contains_key(&***id)) {
            let message = format!("Nothing is held for an instance {unknown}; nothing was freed.");
            return Err(Response::message(404, message));
        }
        if !order.all && !order.end && order.ids.is_empty() {
            let message = "Say what: `ids` of held reservations, `all`, or `end`.";
            return Err(Response::message(422, message));
        }
        let named = order.ids.into_iter().map(Arc::<str>::from);
        let freed: BTreeSet<Arc<str>> = if order.all {
            hold.held.keys().cloned().collect()
        } else {
            named.collect()
        };
        let left = hold.held.len() - freed.len();
        if order.end && (left > 0 || hold.more) {
            let message = format!(
                "The hold is not ended, and nothing was freed: {left} more reservations are held{}, and would be freed without a record of them. Free them by name, or all of them.",
                if hold.more {
                    ", and some are not listed yet"
                } else {
                    ""
                }
            );
            return Err(Response::message(409, message));
        }
        for instance in &freed {
            self.free_one(instance);
        }
        if order.end {
            self.hold = None;
            self.outbox.write(Mutation::Delete {
                key: records::RESTORED.to_owned(),
            });
        }
        self.show_hold();
        let mut answer = self.held_json();
        answer["freed"] = json!(freed);
        Ok(Response::json(200, &answer))
    }

    /// From now on it is something that was left, with a record of it.
    fn free_one(&mut self, instance: &Arc<str>) {
        let left_at = self.stamp();
        let Some(hold) = &mut self.hold else {
            return;
        };
        let Some(held) = hold.held.remove(instance) else {
            return;
        };
        // There is room for one that was not listed, if it is offered again.
        hold.more = false;
        let remains = Remains {
            instance: instance.clone(),
            agent: held.agent,
            role: held.role,
            left_at,
            freed_at: None,
        };
        self.note_remains(remains);
    }
}

impl Held {
    fn json(&self, id: &str) -> Value {
        let mut amounts: BTreeMap<&str, f64> = BTreeMap::new();
        for resource in &self.resources {
            if let Some(scalar) = &resource.scalar {
                *amounts.entry(resource.name.as_str()).or_default() += scalar.value;
            }
        }
        let volumes: Vec<Value> = self
            .resources
            .iter()
            .filter_map(|one| {
                let mount = one.disk.as_ref()?.volume.as_ref();
                Some(json!({
                    "persistenceId": persistence_id(one)?,
                    "containerPath": mount.map(|mount| &mount.container_path),
                    "sizeMib": one.scalar.as_ref().map(|size| size.value),
                }))
            })
            .collect();
        let labels = self.resources.iter().find_map(|one| {
            let reservation = one.reservations.last().or(one.reservation.as_deref())?;
            reservation.labels.as_ref()
        });
        let labels = labels.into_iter().flat_map(|labels| &labels.labels);
        let labels: BTreeMap<&str, Option<&str>> = labels
            .map(|label| (label.key.as_str(), label.value.as_deref()))
            .collect();
        json!({
            "id": id,
            "agentId": self.agent,
            "host": self.host,
            "role": self.role,
            "resources": amounts,
            "volumes": volumes,
            "labels": labels,
            "firstSeen": self.first_seen,
            "lastSeen": self.last_seen,
        })
    }
}

/// What an operator wants to be freed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// By instance.
    #[serde(default)]
    ids: Vec<String>,
    /// All that is listed.
    #[serde(default)]
    all: bool,
    /// And from now on whatever is reserved for an unknown instance, as without a restore.
    #[serde(default)]
    end: bool,
}
