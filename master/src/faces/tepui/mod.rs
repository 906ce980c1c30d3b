//! `/tepui/v1/…`: what Mesos does not have.
//!
//! | call | answer |
//! | --- | --- |
//! | GET `/tepui/v1/info` | who this master is and who leads |
//! | GET `/tepui/v1/events` | everything operators see, as server-sent events: see [`events`](self::events) |
//! | POST `/tepui/v1/tasks/<framework id>/<task id>/kill[?grace=5secs]` | 202; the framework sees an ordinary TASK_KILLED |

mod events;
mod objects;

use std::sync::Arc;

use http::{Method, StatusCode};
use tepui_master_core::OperatorCall;
use tepui_model::{FrameworkId, TaskId};

use super::asked::{Asked, Response, not_allowed, text};
use super::legacy::{json, operate};
use super::{Face, pieces};
use crate::config::parse_duration;
use crate::reign::{MESOS_VERSION, Standing};

pub(super) use events::events;

/// `/tepui/v1/info`; any master answers.
pub(super) async fn info(face: Arc<Face>, asked: Asked) -> Response {
    let standing = face.standing();
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            object.string("version", env!("CARGO_PKG_VERSION"));
            object.string("mesos_version", MESOS_VERSION);
            object.string("id", &face.identity.id);
            object.string("hostname", &face.identity.hostname);
            object.string("address", &face.identity.address.to_string());
            if let Some(cluster) = &face.config.cluster {
                object.string("cluster", cluster);
            }
            object.double("started", face.identity.started_at.as_secs_f64());
            let (name, leader) = match &standing {
                Standing::Nobody => ("no_leader", None),
                Standing::Following(leader) => {
                    ("following", leader.as_ref().map(ToString::to_string))
                }
                Standing::Recovering => ("recovering", None),
                Standing::Leading(_) => (
                    "leading",
                    Some(format!(
                        "{}:{}",
                        face.identity.hostname,
                        face.identity.address.port()
                    )),
                ),
            };
            object.string("standing", name);
            if let Some(leader) = leader {
                object.string("leader", &leader);
            }
            if let Standing::Leading(reign) = &standing {
                object.integer("epoch", i64::try_from(reign.epoch()).unwrap_or(i64::MAX));
                object.double("elected", reign.elected_at.as_secs_f64());
            }
        });
    })
}

/// `/tepui/v1/tasks/<framework id>/<task id>/kill`
pub(super) async fn tasks(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8_lossy()
            .into_owned()
    };
    let parts: Vec<String> = asked
        .path
        .trim_end_matches('/')
        .split('/')
        .skip(4)
        .map(decode)
        .collect();
    let [framework, task, verb] = parts.as_slice() else {
        return text(
            StatusCode::NOT_FOUND,
            "Expecting /tepui/v1/tasks/<framework id>/<task id>/kill",
        );
    };
    if verb != "kill" {
        return text(
            StatusCode::NOT_FOUND,
            "Expecting /tepui/v1/tasks/<framework id>/<task id>/kill",
        );
    }
    if asked.method != Method::POST {
        return not_allowed("POST", &asked.method);
    }
    let (Ok(framework), Ok(task)) = (FrameworkId::new(framework), TaskId::new(task)) else {
        return text(StatusCode::NOT_FOUND, "There is no such task");
    };
    let grace = match asked
        .parameters()
        .get("grace")
        .map(|grace| parse_duration(grace))
    {
        None => None,
        Some(Some(grace)) => Some(grace),
        Some(None) => {
            return text(
                StatusCode::BAD_REQUEST,
                "Expecting 'grace' to be a duration such as 5secs",
            );
        }
    };
    operate(
        &reign,
        OperatorCall::KillTask {
            framework,
            task,
            grace,
        },
    )
    .await
}

/// Anything else below `/tepui`: it is nobody's page.
pub(super) async fn nothing(_: Arc<Face>, asked: Asked) -> Response {
    text(
        StatusCode::NOT_FOUND,
        format!("There is nothing at {}", asked.path),
    )
}
