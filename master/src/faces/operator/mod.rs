//! `POST /api/v1`: Mesos' v1 operator API, with the checks in Mesos' order.
//!
//! Reads are answered from the view. JSON of tasks, the bulk of any large answer, comes from beside the objects, piece by piece.

mod files;
mod messages;
mod subscribe;

use std::sync::Arc;

use http::{Method, StatusCode};
use tepui_master_core::OperatorCall;
use tepui_model::{AgentId, FrameworkId};
use tepui_proto::mesos::master::{Call, Response as Message, call, response};
use tepui_proto::mesos::{Flag, Metric, VersionInfo};

use super::Face;
use super::asked::{Asked, Response, not_allowed, text};
use super::legacy::{self, operate};
use super::negotiate::{Format, accepts_gzip};
use super::pieces::{self, Piece, Pieces};
pub(crate) use subscribe::Subscribers;

use crate::metrics;
use crate::reign::{MESOS_VERSION, Reign};
use crate::view::State;

/// Answers one call.
pub(super) async fn call(face: Arc<Face>, mut asked: Asked) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    if asked.method != Method::POST {
        return not_allowed("POST", &asked.method);
    }
    let format = match Format::of_body(&asked.headers) {
        Ok(format) => format,
        Err(refusal) => return refusal,
    };
    let body = match asked.read_body(face.config.limits.body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let call: Call = match format.decode(&body) {
        Ok(call) => call,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    if let Err(why) = well_formed(&call) {
        return text(StatusCode::BAD_REQUEST, why);
    }
    let answer_in = match Format::of_answer(&asked.headers) {
        Ok(format) => format,
        Err(refusal) => return refusal,
    };
    answer(&face, &reign, &asked, call, answer_in).await
}

fn well_formed(call: &Call) -> Result<(), String> {
    use call::Type as T;
    if call.r#type.is_none() {
        return Err("Failed to validate master::Call: Expecting 'type' to be present".to_owned());
    }
    let (field, present) = match call.r#type() {
        T::GetMetrics => ("get_metrics", call.get_metrics.is_some()),
        T::SetLoggingLevel => ("set_logging_level", call.set_logging_level.is_some()),
        T::ListFiles => ("list_files", call.list_files.is_some()),
        T::ReadFile => ("read_file", call.read_file.is_some()),
        T::UpdateWeights => ("update_weights", call.update_weights.is_some()),
        T::ReserveResources => ("reserve_resources", call.reserve_resources.is_some()),
        T::UnreserveResources => ("unreserve_resources", call.unreserve_resources.is_some()),
        T::CreateVolumes => ("create_volumes", call.create_volumes.is_some()),
        T::DestroyVolumes => ("destroy_volumes", call.destroy_volumes.is_some()),
        T::GrowVolume => ("grow_volume", call.grow_volume.is_some()),
        T::ShrinkVolume => ("shrink_volume", call.shrink_volume.is_some()),
        T::UpdateMaintenanceSchedule => (
            "update_maintenance_schedule",
            call.update_maintenance_schedule.is_some(),
        ),
        T::StartMaintenance => ("start_maintenance", call.start_maintenance.is_some()),
        T::StopMaintenance => ("stop_maintenance", call.stop_maintenance.is_some()),
        T::DrainAgent => ("drain_agent", call.drain_agent.is_some()),
        T::DeactivateAgent => ("deactivate_agent", call.deactivate_agent.is_some()),
        T::ReactivateAgent => ("reactivate_agent", call.reactivate_agent.is_some()),
        T::UpdateQuota => ("update_quota", call.update_quota.is_some()),
        T::Teardown => ("teardown", call.teardown.is_some()),
        T::MarkAgentGone => ("mark_agent_gone", call.mark_agent_gone.is_some()),
        T::Unknown => {
            return Err(
                "Failed to validate master::Call: The type of the call is not known".to_owned(),
            );
        }
        _ => return Ok(()),
    };
    if present {
        Ok(())
    } else {
        Err(format!(
            "Failed to validate master::Call: Expecting '{field}' to be present"
        ))
    }
}

async fn answer(
    face: &Arc<Face>,
    reign: &Arc<Reign>,
    asked: &Asked,
    call: Call,
    format: Format,
) -> Response {
    use call::Type as T;
    let kind = call.r#type();
    let plain = |message: Message| plain(asked, format, &message);
    let of = |kind: response::Type| Message {
        r#type: Some(kind.into()),
        ..Message::default()
    };
    match kind {
        T::GetHealth => plain(Message {
            get_health: Some(response::GetHealth { healthy: true }),
            ..of(response::Type::GetHealth)
        }),
        T::GetVersion => {
            let version_info = VersionInfo {
                version: MESOS_VERSION.to_owned(),
                build_date: Some(legacy::BUILD_DATE.to_owned()),
                build_time: Some(0.0),
                build_user: Some("tepui".to_owned()),
                ..VersionInfo::default()
            };
            plain(Message {
                get_version: Some(response::GetVersion { version_info }),
                ..of(response::Type::GetVersion)
            })
        }
        T::GetFlags => {
            let flags = face
                .config
                .flags
                .iter()
                .map(|(name, value)| Flag {
                    name: name.clone(),
                    value: Some(value.clone()),
                })
                .collect();
            plain(Message {
                get_flags: Some(response::GetFlags { flags }),
                ..of(response::Type::GetFlags)
            })
        }
        T::GetMetrics => {
            // A time-out that no clock can hold is refused; any other is never needed.
            if let Some(timeout) = call.get_metrics.and_then(|get| get.timeout)
                && timeout.nanoseconds < 0
            {
                return text(
                    StatusCode::BAD_REQUEST,
                    "Failed to validate master::Call: 'get_metrics.timeout' must not be negative",
                );
            }
            let sources = legacy::sources(face).await;
            let metrics = metrics::snapshot(&sources, &face.metrics)
                .map(|(name, value)| Metric {
                    name,
                    value: Some(value),
                })
                .collect();
            plain(Message {
                get_metrics: Some(response::GetMetrics { metrics }),
                ..of(response::Type::GetMetrics)
            })
        }
        T::GetLoggingLevel => plain(Message {
            get_logging_level: Some(response::GetLoggingLevel { level: 0 }),
            ..of(response::Type::GetLoggingLevel)
        }),
        T::ListFiles => match files::list(face, &call.list_files.unwrap_or_default().path) {
            Ok(list_files) => plain(Message {
                list_files: Some(list_files),
                ..of(response::Type::ListFiles)
            }),
            Err(refusal) => refusal,
        },
        T::ReadFile => match files::read(face, call.read_file.unwrap_or_default()).await {
            Ok(read_file) => plain(Message {
                read_file: Some(read_file),
                ..of(response::Type::ReadFile)
            }),
            Err(refusal) => refusal,
        },
        T::GetMaster => {
            let get_master = response::GetMaster {
                master_info: Some(reign.master.clone()),
                start_time: Some(face.identity.started_at.as_secs_f64()),
                elected_time: Some(reign.elected_at.as_secs_f64()),
            };
            plain(Message {
                get_master: Some(get_master),
                ..of(response::Type::GetMaster)
            })
        }
        T::GetAgents => {
            let get_agents = reign.view.read(messages::agents);
            plain(Message {
                get_agents: Some(get_agents),
                ..of(response::Type::GetAgents)
            })
        }
        T::GetFrameworks => {
            let get_frameworks = reign
                .view
                .read(|state| messages::frameworks(&reign.master.id, state));
            plain(Message {
                get_frameworks: Some(get_frameworks),
                ..of(response::Type::GetFrameworks)
            })
        }
        T::GetExecutors => {
            let get_executors = reign.view.read(messages::executors);
            plain(Message {
                get_executors: Some(get_executors),
                ..of(response::Type::GetExecutors)
            })
        }
        T::GetOperations => plain(Message {
            get_operations: Some(response::GetOperations::default()),
            ..of(response::Type::GetOperations)
        }),
        T::GetRoles => {
            let get_roles = reign
                .view
                .read(|state| messages::roles(state, &face.config));
            plain(Message {
                get_roles: Some(get_roles),
                ..of(response::Type::GetRoles)
            })
        }
        T::GetWeights => {
            let get_weights = messages::weights(&face.config);
            plain(Message {
                get_weights,
                ..of(response::Type::GetWeights)
            })
        }
        T::GetTasks if format == Format::Json => {
            let mut pieces = Pieces::default();
            pieces
                .text()
                .extend_from_slice(b"{\"type\":\"GET_TASKS\",\"get_tasks\":");
            reign.view.read(|state| tasks_json(state, &mut pieces));
            pieces.text().push(b'}');
            pieces.answer("application/json", &asked.headers)
        }
        T::GetTasks => {
            let get_tasks = reign.view.read(messages::tasks);
            plain(Message {
                get_tasks: Some(get_tasks),
                ..of(response::Type::GetTasks)
            })
        }
        T::GetState if format == Format::Json => {
            let mut pieces = Pieces::default();
            pieces
                .text()
                .extend_from_slice(b"{\"type\":\"GET_STATE\",\"get_state\":");
            reign
                .view
                .read(|state| state_json(&reign.master.id, state, &mut pieces));
            pieces.text().push(b'}');
            pieces.answer("application/json", &asked.headers)
        }
        T::GetState => {
            let get_state = reign
                .view
                .read(|state| messages::state(&reign.master.id, state));
            plain(Message {
                get_state: Some(get_state),
                ..of(response::Type::GetState)
            })
        }
        T::Subscribe => subscribe::subscribe(face, reign, format),
        T::Teardown => match call
            .teardown
            .and_then(|teardown| FrameworkId::new(teardown.framework_id.value).ok())
        {
            Some(framework) => operate(reign, OperatorCall::Teardown { framework }).await,
            None => text(
                StatusCode::BAD_REQUEST,
                "No framework found with specified ID",
            ),
        },
        T::MarkAgentGone => match agent_id(call.mark_agent_gone.map(|call| call.agent_id)) {
            Some(agent) => operate(reign, OperatorCall::MarkAgentGone { agent }).await,
            None => text(StatusCode::NOT_FOUND, "No agent found with specified ID"),
        },
        T::DeactivateAgent => match agent_id(call.deactivate_agent.map(|call| call.agent_id)) {
            Some(agent) => operate(reign, OperatorCall::DeactivateAgent { agent }).await,
            None => text(StatusCode::BAD_REQUEST, "No agent found with specified ID"),
        },
        T::ReactivateAgent => match agent_id(call.reactivate_agent.map(|call| call.agent_id)) {
            Some(agent) => operate(reign, OperatorCall::ReactivateAgent { agent }).await,
            None => text(StatusCode::BAD_REQUEST, "No agent found with specified ID"),
        },
        other => text(
            StatusCode::NOT_IMPLEMENTED,
            format!("{} is not built yet", other.as_str_name()),
        ),
    }
}

fn agent_id(id: Option<tepui_proto::mesos::AgentId>) -> Option<AgentId> {
    id.and_then(|id| AgentId::new(id.value).ok())
}

fn plain(asked: &Asked, format: Format, message: &Message) -> Response {
    let mut body = Vec::with_capacity(1024);
    format.encode(message, &mut body);
    pieces::whole(format.media_type(), body, accepts_gzip(&asked.headers))
}

/// Appends a GetTasks.
fn tasks_json(state: &State, pieces: &mut Pieces) {
    let mut before = b'{';
    let all = || {
        state
            .frameworks
            .values()
            .chain(state.completed_frameworks.values())
    };
    for key in ["tasks", "unreachable_tasks", "completed_tasks"] {
        let mut tasks = all()
            .flat_map(|framework| match key {
                "tasks" => framework.tasks.values(),
                "unreachable_tasks" => framework.unreachable_tasks.values(),
                _ => framework.completed_tasks.values(),
            })
            .peekable();
        // Empty lists are left out, as everywhere in Mesos' JSON.
        if tasks.peek().is_some() {
            pieces.text().push(before);
            legacy::json::string(key, pieces.text());
            pieces.text().push(b':');
            pieces.list(tasks.map(|task| Piece::Task(task.clone())));
            before = b',';
        }
    }
    if before == b'{' {
        pieces.text().push(b'{');
    }
    pieces.text().push(b'}');
}

/// Appends a GetState.
fn state_json(master: &str, state: &State, pieces: &mut Pieces) {
    pieces.text().extend_from_slice(b"{\"get_tasks\":");
    tasks_json(state, pieces);
    let text = pieces.text();
    text.extend_from_slice(b",\"get_executors\":");
    tepui_proto::json::write(&messages::executors(state), text);
    text.extend_from_slice(b",\"get_frameworks\":");
    tepui_proto::json::write(&messages::frameworks(master, state), text);
    text.extend_from_slice(b",\"get_agents\":");
    tepui_proto::json::write(&messages::agents(state), text);
    text.push(b'}');
}
