//! What is stored, under which keys, in which form.
//!
//! One record for each object, so that a change writes what it changed and nothing else. Every value is `{"v": <version>, "data": …}`.
//!
//! | key | data |
//! | --- | --- |
//! | `framework` | the framework id |
//! | `former` | framework ids that it had before, whose tasks were ended with them |
//! | `app/<id>` | the current definition |
//! | `version/<id>/<timestamp>` | a definition of its history |
//! | `instance/<instance id>` | an instance |
//! | `deployment/<id>` | a deployment under way |
//! | `part/<id>/<number>` | a part of a deployment that is too large for one record |
//! | `policy/<id>` | what goes on with an app over time |
//! | `rebalance/<id>` | that somebody asked for an app to be spread more evenly, until that is done |
//! | `ended/<id>/<number>` | some of the last tasks of an app that have ended, also of one that is deleted |
//! | `failure/<id>` | the last failed task of an app |
//! | `group/<id>` | a group, without what lies below it |
//! | `history/<timestamp>` | what a change of the root group replaced: versions of apps, groups as they were |
//! | `remains/<instance id>` | what an instance that was forgotten has left reserved on its agent |
//! | `restored` | when a backup was put here, until an operator has said what shall become of what it does not know |
//! | `past/<id>/<timestamp>` | a definition that no app has any more and a state of the past needs |

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::RecoverError;
use crate::{
    group::{Before, Group},
    output::{Mutation, Record},
    path::PathId,
    timestamp::Timestamp,
};

/// Version of the form of all records.
const FORM: u64 = 1;

pub(super) const FRAMEWORK: &str = "framework";
pub(super) const FORMER: &str = "former";
pub(super) const RESTORED: &str = "restored";

pub(super) fn app_key(id: &PathId) -> String {
    format!("app/{}", encoded(id))
}

pub(super) fn version_key(id: &PathId, version: Timestamp) -> String {
    format!("version/{}/{version}", encoded(id))
}

pub(super) fn instance_key(id: &str) -> String {
    format!("instance/{id}")
}

pub(super) fn deployment_key(id: &str) -> String {
    format!("deployment/{id}")
}

pub(super) fn deployment_part_key(id: &str, at: usize) -> String {
    format!("part/{id}/{at:06}")
}

pub(super) fn policy_key(id: &PathId) -> String {
    format!("policy/{}", encoded(id))
}

pub(super) fn rebalance_key(id: &PathId) -> String {
    format!("rebalance/{}", encoded(id))
}

pub(super) fn ended_key(id: &PathId, chunk: u64) -> String {
    format!("ended/{}/{chunk:010}", encoded(id))
}

pub(super) fn failure_key(id: &PathId) -> String {
    format!("failure/{}", encoded(id))
}

pub(super) fn group_key(id: &PathId) -> String {
    format!("group/{}", encoded(id))
}

pub(super) fn history_key(version: Timestamp) -> String {
    format!("history/{version}")
}

pub(super) fn remains_key(instance: &str) -> String {
    format!("remains/{instance}")
}

pub(super) fn past_key(id: &PathId, version: Timestamp) -> String {
    format!("past/{}/{version}", encoded(id))
}

/// What a change of the root group replaced: of apps only which version, since their definitions have records of their own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HistoryRecord {
    pub(super) version: Timestamp,
    pub(super) apps: BTreeMap<PathId, Option<Timestamp>>,
    pub(super) groups: BTreeMap<PathId, Option<Group>>,
    /// It was a change of the autoscaler.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) autoscaled: bool,
}

pub(super) fn history(version: Timestamp, before: &Before) -> Mutation {
    let apps = before.apps.iter();
    let groups = before.groups.iter();
    let record = HistoryRecord {
        version,
        apps: apps
            .map(|(id, app)| (id.clone(), app.as_ref().map(|app| app.version)))
            .collect(),
        groups: groups
            .map(|(id, group)| (id.clone(), group.as_deref().cloned()))
            .collect(),
        autoscaled: before.autoscaled,
    };
    put(history_key(version), &record)
}

/// Ids hold letters, digits, dashes, dots and slashes; a slash would end the segment of the key.
fn encoded(id: &PathId) -> String {
    id.as_str().replace('/', "%2F")
}

pub(super) fn put<T: Serialize + ?Sized>(key: String, data: &T) -> Mutation {
    #[derive(Serialize)]
    struct Envelope<'a, T: ?Sized> {
        v: u64,
        data: &'a T,
    }
    // Only maps with keys that are not strings fail to serialise, and none of ours has any.
    let value = serde_json::to_vec(&Envelope { v: FORM, data }).unwrap_or_default();
    Mutation::Put {
        key,
        value: Bytes::from(value),
    }
}

/// Reads the data of a record, if its form is known.
pub(super) fn read<T: DeserializeOwned>(record: &Record) -> Result<T, RecoverError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        v: Option<u64>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let unreadable = |reason: String| RecoverError::Record {
        key: record.key.clone(),
        reason,
    };
    let envelope: Envelope<'_> =
        serde_json::from_slice(&record.value).map_err(|error| unreadable(error.to_string()))?;
    match envelope.v {
        None => Err(unreadable("it has no version".to_owned())),
        Some(version) if version > FORM => Err(RecoverError::Newer {
            key: record.key.clone(),
            version,
        }),
        Some(_) => serde_json::from_str(envelope.data.map_or("null", RawValue::get))
            .map_err(|error| unreadable(error.to_string())),
    }
}
