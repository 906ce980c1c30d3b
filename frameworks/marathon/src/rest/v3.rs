//! Routes under `/v3`: what Marathon never had.

use http::Method;
use tepui_marathon_core::{
    ApiCall, PolicyAction, PolicyPart, RebalanceAction, Response, TaskQuery, Trial,
};

use super::route::{Parameters, Parts, Wanted, not_allowed, only, with_body};

/// `rest` is what follows `/v3`.
pub(super) fn route(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    let partial = parameters.flag("partialUpdate", true);
    match (parts.method.as_str(), rest) {
        (_, ["apps", id @ .., "explain"]) if !id.is_empty() => only(
            parts.method,
            &[Method::GET],
            Wanted::Call(ApiCall::Explain {
                id: format!("/{}", id.join("/")),
            }),
        ),
        (method, ["apps", id @ .., part @ ("policy" | "autoscaling")]) if !id.is_empty() => {
            let id = format!("/{}", id.join("/"));
            let part = match *part {
                "autoscaling" => PolicyPart::Autoscaling,
                _ => PolicyPart::All,
            };
            let call = |action| ApiCall::Policy { id, part, action };
            match method {
                "GET" => Wanted::Call(call(PolicyAction::Show)),
                "DELETE" => Wanted::Call(call(PolicyAction::Delete)),
                "PUT" => with_body(parts, |body, _| call(PolicyAction::Put(body))),
                _ => not_allowed(),
            }
        }
        (_, [kind @ ("apps" | "pods"), id @ .., "history"]) if !id.is_empty() => {
            let wanted = match ended_tasks(parameters) {
                Ok(query) => Wanted::Call(ApiCall::EndedTasks {
                    id: format!("/{}", id.join("/")),
                    of_pod: *kind == "pods",
                    query,
                }),
                Err(refusal) => Wanted::Answer(refusal),
            };
            only(parts.method, &[Method::GET], wanted)
        }
        (method, ["apps", id @ .., "rebalance"]) if !id.is_empty() => {
            let id = format!("/{}", id.join("/"));
            let action = match method {
                "GET" => RebalanceAction::Show,
                "POST" => RebalanceAction::Ask {
                    dry_run: parameters.flag("dryRun", false),
                },
                "DELETE" => RebalanceAction::Cancel,
                _ => return not_allowed(),
            };
            Wanted::Call(ApiCall::Rebalance { id, action })
        }
        (_, ["apps", id @ .., "instances"]) if !id.is_empty() => only(
            parts.method,
            &[Method::GET],
            Wanted::Call(ApiCall::Instances {
                id: format!("/{}", id.join("/")),
            }),
        ),
        (_, ["backup"]) => only(parts.method, &[Method::GET], Wanted::Backup),
        (_, ["store", "held"]) => only(parts.method, &[Method::GET], Wanted::Call(ApiCall::Held)),
        ("POST", ["store", "free"]) => with_body(parts, |body, _| ApiCall::FreeHeld { body }),
        (_, ["store", "free"]) => not_allowed(),
        (_, ["openapi.json"]) => only(parts.method, &[Method::GET], Wanted::OpenApi),
        ("POST", ["plan"]) => match trial(parameters) {
            Ok(trial) => with_body(parts, |body, _| ApiCall::Plan {
                body,
                partial,
                trial,
            }),
            Err(refusal) => Wanted::Answer(refusal),
        },
        ("POST", ["apply"]) => {
            let deadline = seconds(parameters, "deadlineSeconds");
            match deadline.and_then(|deadline| Ok((deadline, trial(parameters)?))) {
                Ok((deadline_seconds, trial)) => with_body(parts, |body, _| ApiCall::Apply {
                    body,
                    partial,
                    force: parameters.flag("force", false),
                    deadline_seconds,
                    trial,
                }),
                Err(refusal) => Wanted::Answer(refusal),
            }
        }
        ("POST", ["deployments", id, "promote"]) => Wanted::Call(ApiCall::Promote {
            id: (*id).to_owned(),
            force: parameters.flag("force", false),
        }),
        ("GET", ["deployments"]) => Wanted::Call(ApiCall::Deployments),
        ("PUT", ["deployments", id, "deadline"]) => match seconds(parameters, "seconds") {
            Ok(Some(seconds)) => Wanted::Call(ApiCall::Deadline {
                id: (*id).to_owned(),
                seconds: Some(seconds),
            }),
            Ok(None) => Wanted::Answer(Response::message(
                422,
                "`seconds` is missing: PUT /v3/deployments/ID/deadline?seconds=600",
            )),
            Err(refusal) => Wanted::Answer(refusal),
        },
        ("DELETE", ["deployments", id, "deadline"]) => Wanted::Call(ApiCall::Deadline {
            id: (*id).to_owned(),
            seconds: None,
        }),
        (_, ["plan" | "apply" | "deployments"] | ["deployments", _, "deadline" | "promote"]) => {
            not_allowed()
        }
        _ => Wanted::Answer(Response::message(404, "URI not found")),
    }
}

/// How a new version is tried, if it is.
fn trial(parameters: &Parameters) -> Result<Option<Trial>, Response> {
    let canary = parameters.first("canary");
    let blue_green = parameters.flag("blueGreen", false);
    let after = seconds(parameters, "promoteAfterSeconds")?;
    Trial::parse(canary.as_deref(), blue_green, after)
        .map_err(|reason| Response::message(422, reason))
}

/// Which ended tasks are wanted.
fn ended_tasks(parameters: &Parameters) -> Result<TaskQuery, Response> {
    TaskQuery::parse(parameters.pairs()).map_err(|reason| Response::message(422, reason))
}

/// A number of seconds, if it is given.
fn seconds(parameters: &Parameters, name: &str) -> Result<Option<u64>, Response> {
    let Some(text) = parameters.first(name) else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        _ => Err(Response::message(
            422,
            format!("`{name}` is `{text}`, and must be a number of seconds above 0"),
        )),
    }
}
