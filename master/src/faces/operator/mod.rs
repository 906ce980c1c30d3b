//! `POST /api/v1`: Mesos' v1 operator API, with the checks in Mesos' order.
//!
//! Reads are answered from the view. JSON of tasks, the bulk of any large answer, comes from beside the objects, piece by piece.

pub(crate) mod calls;
pub(crate) mod files;
pub(crate) mod messages;
mod subscribe;
pub(crate) mod writes;

use std::sync::Arc;

use http::{Method, StatusCode};
use tepui_http::negotiate::{Format, accepts_gzip};
use tepui_master_core::{AgentSnapshot, ExecutorSnapshot, OperationSnapshot};
use tepui_proto::mesos::master::{Call, Response as Message, call, response};
use tepui_proto::mesos::{Flag, Metric, VersionInfo};

use super::Face;
use super::asked::{Asked, Response, not_allowed, text};
use super::legacy::{self, operate};
use super::pieces::{self, Piece, Pieces};
pub(crate) use subscribe::Subscribers;

use crate::metrics;
use crate::reign::{MESOS_VERSION, Reign};
use crate::view::{Framework, ShownAgent, State};

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
        Err(refusal) => return refusal.into(),
    };
    let body = match asked.read_body(face.config.limits.body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let call: Call = match format.decode(&body) {
        Ok(call) => call,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    if let Err(why) = calls::well_formed(&call) {
        return text(StatusCode::BAD_REQUEST, why);
    }
    let answer_in = match Format::of_answer(&asked.headers) {
        Ok(format) => format,
        Err(refusal) => return refusal.into(),
    };
    answer(&face, &reign, &asked, call, answer_in).await
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
        T::GetLoggingLevel => {
            let level = face.logging.level();
            plain(Message {
                get_logging_level: Some(response::GetLoggingLevel { level }),
                ..of(response::Type::GetLoggingLevel)
            })
        }
        T::SetLoggingLevel => {
            let call = call.set_logging_level.unwrap_or_default();
            match u64::try_from(call.duration.nanoseconds) {
                Ok(nanoseconds) => {
                    let lasting = std::time::Duration::from_nanos(nanoseconds);
                    super::logging::set(face, call.level, lasting)
                }
                Err(_) => text(
                    StatusCode::BAD_REQUEST,
                    "Failed to validate master::Call: 'set_logging_level.duration' must not be negative",
                ),
            }
        }
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
        T::GetExecutors if format == Format::Json => {
            let kind = response::Type::GetExecutors;
            in_json(asked, kind, "get_executors", |pieces| {
                reign.view.read(|state| executors_json(state, pieces));
            })
        }
        T::GetOperations if format == Format::Json => {
            let kind = response::Type::GetOperations;
            in_json(asked, kind, "get_operations", |pieces| {
                reign.view.read(|state| operations_json(state, pieces));
            })
        }
        T::GetExecutors => {
            let get_executors = reign.view.read(messages::executors);
            plain(Message {
                get_executors: Some(get_executors),
                ..of(response::Type::GetExecutors)
            })
        }
        T::GetOperations => {
            let get_operations = reign.view.read(messages::operations);
            plain(Message {
                get_operations: Some(get_operations),
                ..of(response::Type::GetOperations)
            })
        }
        T::GetQuota => {
            let status = reign.view.read(messages::quota);
            plain(Message {
                get_quota: Some(response::GetQuota { status }),
                ..of(response::Type::GetQuota)
            })
        }
        T::GetMaintenanceSchedule => {
            let schedule = reign.view.read(|state| state.maintenance.schedule.clone());
            plain(Message {
                get_maintenance_schedule: Some(response::GetMaintenanceSchedule { schedule }),
                ..of(response::Type::GetMaintenanceSchedule)
            })
        }
        T::GetMaintenanceStatus => {
            let status = reign.view.read(|state| state.maintenance.status.clone());
            plain(Message {
                get_maintenance_status: Some(response::GetMaintenanceStatus { status }),
                ..of(response::Type::GetMaintenanceStatus)
            })
        }
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
            let get_weights = reign
                .view
                .read(|state| messages::weights(state, &face.config));
            plain(Message {
                get_weights,
                ..of(response::Type::GetWeights)
            })
        }
        T::GetTasks if format == Format::Json => {
            in_json(asked, response::Type::GetTasks, "get_tasks", |pieces| {
                reign.view.read(|state| tasks_json(state, pieces));
            })
        }
        T::GetAgents if format == Format::Json => {
            in_json(asked, response::Type::GetAgents, "get_agents", |pieces| {
                reign.view.read(|state| agents_json(state, pieces));
            })
        }
        T::GetFrameworks if format == Format::Json => {
            let kind = response::Type::GetFrameworks;
            in_json(asked, kind, "get_frameworks", |pieces| {
                let master = &reign.master.id;
                reign
                    .view
                    .read(|state| frameworks_json(master, state, pieces));
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
        T::GetTasks => {
            let get_tasks = reign.view.read(messages::tasks);
            plain(Message {
                get_tasks: Some(get_tasks),
                ..of(response::Type::GetTasks)
            })
        }
        T::GetState if format == Format::Json => {
            in_json(asked, response::Type::GetState, "get_state", |pieces| {
                let master = &reign.master.id;
                reign.view.read(|state| state_json(master, state, pieces));
            })
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
        _ => match writes::operator_call(call) {
            Some(Ok(call)) => operate(reign, call).await,
            Some(Err((status, why))) => text(status, why),
            None => text(
                StatusCode::NOT_IMPLEMENTED,
                format!("{} is not known here", kind.as_str_name()),
            ),
        },
    }
}

fn plain(asked: &Asked, format: Format, message: &Message) -> Response {
    let mut body = Vec::with_capacity(1024);
    format.encode(message, &mut body);
    pieces::whole(format.media_type(), body, accepts_gzip(&asked.headers))
}

/// Appends an object of lists; empty ones are left out, as everywhere in Mesos' JSON.
fn lists<const N: usize>(pieces: &mut Pieces, lists: [(&str, &mut dyn Iterator<Item = Piece>); N]) {
    let mut before = b'{';
    for (key, list) in lists {
        let mut list = list.peekable();
        if list.peek().is_some() {
            pieces.text().push(before);
            legacy::json::string(key, pieces.text());
            pieces.text().push(b':');
            pieces.list(list);
            before = b',';
        }
    }
    if before == b'{' {
        pieces.text().push(b'{');
    }
    pieces.text().push(b'}');
}

/// Appends a GetTasks.
fn tasks_json(state: &State, pieces: &mut Pieces) {
    let all = || {
        state
            .frameworks
            .values()
            .chain(state.completed_frameworks.values())
    };
    let piece = |task: &Arc<_>| Piece::Task(Arc::clone(task));
    lists(
        pieces,
        [
            (
                "tasks",
                &mut all().flat_map(|one| one.tasks.values()).map(piece),
            ),
            (
                "unreachable_tasks",
                &mut all()
                    .flat_map(|one| one.unreachable_tasks.values())
                    .map(piece),
            ),
            (
                "completed_tasks",
                &mut all()
                    .flat_map(|one| one.completed_tasks.values())
                    .map(piece),
            ),
        ],
    );
}

/// Appends a GetAgents.
fn agents_json(state: &State, pieces: &mut Pieces) {
    let agent = |agent: &Arc<ShownAgent>| {
        let write = |agent: &AgentSnapshot, out: &mut Vec<u8>| {
            tepui_proto::json::write(&messages::agent(agent), out);
        };
        Piece::Bytes(agent.v1(write).clone())
    };
    let recovered = state
        .recovered_agents
        .values()
        .map(|info| Piece::Bytes(info.v1(tepui_proto::json::write).clone()));
    lists(
        pieces,
        [
            ("agents", &mut state.agents.values().map(agent)),
            ("recovered_agents", &mut { recovered }),
        ],
    );
}

/// Appends a GetExecutors.
fn executors_json(state: &State, pieces: &mut Pieces) {
    let write = |executor: &ExecutorSnapshot, out: &mut Vec<u8>| {
        tepui_proto::json::write(&messages::executor(executor), out);
    };
    let all = state.frameworks.values();
    let mut all = all
        .flat_map(|framework| framework.executors.values())
        .map(|executor| Piece::Bytes(executor.v1(write).clone()));
    lists(pieces, [("executors", &mut all)]);
}

/// Appends a GetOperations.
fn operations_json(state: &State, pieces: &mut Pieces) {
    let write = |known: &OperationSnapshot, out: &mut Vec<u8>| {
        tepui_proto::json::write(&known.operation, out);
    };
    let all = state.operations.values();
    let mut all = all.map(|known| Piece::Bytes(known.v1(write).clone()));
    lists(pieces, [("operations", &mut all)]);
}

/// Appends a GetFrameworks.
fn frameworks_json(master: &str, state: &State, pieces: &mut Pieces) {
    let framework = |framework: &Framework| {
        let write = |framework: &Framework| {
            tepui_proto::json::to_vec(&messages::framework(master, state, framework))
        };
        Piece::Bytes(framework.v1(write).clone())
    };
    lists(
        pieces,
        [
            ("frameworks", &mut state.frameworks.values().map(framework)),
            (
                "completed_frameworks",
                &mut state.completed_frameworks.values().map(framework),
            ),
        ],
    );
}

/// Appends a GetState.
fn state_json(master: &str, state: &State, pieces: &mut Pieces) {
    pieces.text().extend_from_slice(b"{\"get_tasks\":");
    tasks_json(state, pieces);
    pieces.text().extend_from_slice(b",\"get_executors\":");
    executors_json(state, pieces);
    pieces.text().extend_from_slice(b",\"get_frameworks\":");
    frameworks_json(master, state, pieces);
    pieces.text().extend_from_slice(b",\"get_agents\":");
    agents_json(state, pieces);
    pieces.text().push(b'}');
}

/// An answer in JSON of which `fill` appends the only member.
fn in_json(
    asked: &Asked,
    kind: response::Type,
    key: &str,
    fill: impl FnOnce(&mut Pieces),
) -> Response {
    let mut pieces = Pieces::default();
    let begin = format!("{{\"type\":\"{}\",\"{key}\":", kind.as_str_name());
    pieces.text().extend_from_slice(begin.as_bytes());
    fill(&mut pieces);
    pieces.text().push(b'}');
    pieces.answer("application/json", &asked.headers)
}
