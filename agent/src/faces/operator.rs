//! Mesos' v1 operator API of agents, as far as it reads.

use std::sync::Arc;

use http::StatusCode;
use tepui_agent_core::TaskSnapshot;
use tepui_agent_core::view::{ExecutorView, FrameworkView, View};
use tepui_proto::mesos::v1::agent::{Call, Response as Answer, call, response};
use tepui_proto::mesos::v1::{
    AgentId, AgentInfo, ExecutorId, FileInfo, Flag, FrameworkId, Metric, Task, TimeInfo,
    VersionInfo,
};

use super::asked::{Asked, Response, text, typed};
use super::attach;
use super::files::{list_files, read_file};
use super::media::Media;
use super::statistics::{Shown, Which, proto_id, shown};
use super::{Face, MESOS_VERSION, metrics};
use std::os::unix::fs::MetadataExt;

/// The largest call that is read.
const CALL_BYTES: usize = 8 << 20;

pub(super) async fn answer(face: &Arc<Face>, mut asked: Asked) -> Response {
    match read(&mut asked).await {
        Ok((call, body, answer)) => answer_call(face, asked, call, body, answer).await,
        Err(refusal) => refusal,
    }
}

/// Reads the call, or the first of those that come, and in which form its answer is to be.
async fn read(asked: &mut Asked) -> Result<(Call, Option<attach::Calls>, Media), Response> {
    asked.check_method()?;
    let body = Media::of_body(&asked.headers)?;
    let answer = Media::of_answer(&asked.headers)?;
    if !body.is_stream {
        let call = asked.whole(body.format, CALL_BYTES).await?;
        return Ok((call, None, answer));
    }
    let mut calls = attach::Calls::new(body.format);
    let first = calls.next(asked).await?.ok_or_else(|| {
        text(
            StatusCode::BAD_REQUEST,
            "Received EOF while reading request body",
        )
    })?;
    Ok((first, Some(calls), answer))
}

async fn answer_call(
    face: &Arc<Face>,
    asked: Asked,
    call: Call,
    calls: Option<attach::Calls>,
    media: Media,
) -> Response {
    if call.r#type.is_none() {
        return missing("type");
    }
    let name = call.r#type().as_str_name();
    let unsupported = |problem| text(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem);
    match (call.r#type(), calls) {
        (call::Type::AttachContainerInput, Some(calls)) => {
            return attach::input(face, &call, calls, asked).await;
        }
        (call::Type::AttachContainerInput, None) => {
            return unsupported(format!(
                "Expecting 'Content-Type' to be application/recordio for {name} call"
            ));
        }
        (_, Some(_)) => {
            return unsupported(format!(
                "Streaming 'Content-Type' application/recordio is not supported for {name} call"
            ));
        }
        (_, None) => {}
    }
    match call.r#type() {
        call::Type::LaunchNestedContainerSession => {
            return attach::session(face, &call, media).await;
        }
        call::Type::AttachContainerOutput => return attach::output(face, &call, media),
        _ if media.is_stream => {
            return text(
                StatusCode::NOT_ACCEPTABLE,
                format!("Streaming response is not supported for {name} call"),
            );
        }
        // The one call that answers nothing.
        call::Type::PruneImages => {
            let asked = call.prune_images.unwrap_or_default();
            return super::images::prune(face, &asked.excluded_images).await;
        }
        _ => {}
    }
    let format = media.format;
    if let Some(answer) = super::nested::answer(face, &call, format).await {
        return answer;
    }
    match carry_out(face, call).await {
        Ok(answer) => typed(StatusCode::OK, format.media_type(), format.to_vec(&answer)),
        Err(refusal) => refusal,
    }
}

pub(super) fn missing(field: &str) -> Response {
    invalid(format!("Expecting '{field}' to be present"))
}

pub(super) fn invalid(problem: impl std::fmt::Display) -> Response {
    text(
        StatusCode::BAD_REQUEST,
        format!("Failed to validate agent::Call: {problem}"),
    )
}

fn of(kind: response::Type, answer: Answer) -> Answer {
    Answer {
        r#type: Some(kind.into()),
        ..answer
    }
}

async fn carry_out(face: &Arc<Face>, call: Call) -> Result<Answer, Response> {
    use call::Type;
    let none = Answer::default();
    Ok(match call.r#type() {
        Type::GetHealth => of(
            response::Type::GetHealth,
            Answer {
                get_health: Some(response::GetHealth { healthy: true }),
                ..none
            },
        ),
        Type::GetVersion => {
            let version_info = VersionInfo {
                version: MESOS_VERSION.to_owned(),
                build_time: Some(face.clock.then().as_secs_f64()),
                ..Default::default()
            };
            of(
                response::Type::GetVersion,
                Answer {
                    get_version: Some(response::GetVersion { version_info }),
                    ..none
                },
            )
        }
        Type::GetFlags => {
            let flag = |(name, value): (&String, &String)| Flag {
                name: name.clone(),
                value: Some(value.clone()),
            };
            let flags = face.config.flags.iter().map(flag).collect();
            of(
                response::Type::GetFlags,
                Answer {
                    get_flags: Some(response::GetFlags { flags }),
                    ..none
                },
            )
        }
        Type::GetMetrics => {
            let asked = call.get_metrics.ok_or_else(|| missing("get_metrics"))?;
            if asked.timeout.is_some_and(|timeout| timeout.nanoseconds < 0) {
                return Err(text(
                    StatusCode::BAD_REQUEST,
                    "'get_metrics.timeout' is negative",
                ));
            }
            let metrics = metrics::values(face)
                .into_iter()
                .map(|(name, value)| Metric {
                    name,
                    value: Some(value),
                })
                .collect();
            of(
                response::Type::GetMetrics,
                Answer {
                    get_metrics: Some(response::GetMetrics { metrics }),
                    ..none
                },
            )
        }
        Type::ListFiles => {
            let asked = call.list_files.ok_or_else(|| missing("list_files"))?;
            let listed = list_files(face, asked.path)
                .await
                .map_err(|problem| text(problem.status, problem.message))?;
            let file_infos = listed
                .into_iter()
                .map(|file| FileInfo {
                    nlink: i32::try_from(file.metadata.nlink()).ok(),
                    size: Some(file.metadata.len()),
                    mtime: Some(TimeInfo {
                        nanoseconds: file.metadata.mtime().saturating_mul(1_000_000_000),
                    }),
                    mode: Some(file.metadata.mode()),
                    uid: Some(super::files::user(file.metadata.uid())),
                    gid: Some(super::files::group(file.metadata.gid())),
                    path: file.path,
                })
                .collect();
            of(
                response::Type::ListFiles,
                Answer {
                    list_files: Some(response::ListFiles { file_infos }),
                    ..none
                },
            )
        }
        Type::ReadFile => {
            let asked = call.read_file.ok_or_else(|| missing("read_file"))?;
            let read = read_file(face, asked.path, Some(asked.offset), asked.length).await;
            let (data, size) = read.map_err(|problem| text(problem.status, problem.message))?;
            of(
                response::Type::ReadFile,
                Answer {
                    read_file: Some(response::ReadFile {
                        size,
                        data: data.into(),
                    }),
                    ..none
                },
            )
        }
        Type::GetContainers => of(
            response::Type::GetContainers,
            Answer {
                get_containers: Some(
                    containers(face, call.get_containers.unwrap_or_default()).await,
                ),
                ..none
            },
        ),
        Type::GetState => {
            let view = face.view.read();
            let state = response::GetState {
                get_tasks: Some(tasks(&view)),
                get_executors: Some(executors(&view)),
                get_frameworks: Some(frameworks(&view)),
            };
            of(
                response::Type::GetState,
                Answer {
                    get_state: Some(state),
                    ..none
                },
            )
        }
        Type::GetTasks => of(
            response::Type::GetTasks,
            Answer {
                get_tasks: Some(tasks(&face.view.read())),
                ..none
            },
        ),
        Type::GetExecutors => of(
            response::Type::GetExecutors,
            Answer {
                get_executors: Some(executors(&face.view.read())),
                ..none
            },
        ),
        Type::GetFrameworks => of(
            response::Type::GetFrameworks,
            Answer {
                get_frameworks: Some(frameworks(&face.view.read())),
                ..none
            },
        ),
        Type::GetOperations => of(
            response::Type::GetOperations,
            Answer {
                get_operations: Some(operations(&face.view.read())),
                ..none
            },
        ),
        Type::GetResourceProviders => {
            let none_yet = response::GetResourceProviders::default();
            of(
                response::Type::GetResourceProviders,
                Answer {
                    get_resource_providers: Some(none_yet),
                    ..none
                },
            )
        }
        Type::GetAgent => of(
            response::Type::GetAgent,
            Answer {
                get_agent: Some(agent(face)),
                ..none
            },
        ),
        Type::Unknown => return Err(text(StatusCode::NOT_IMPLEMENTED, "")),
        other => {
            let message = format!("{} is not built yet", other.as_str_name());
            return Err(text(StatusCode::NOT_IMPLEMENTED, message));
        }
    })
}

fn agent(face: &Face) -> response::GetAgent {
    let view = face.view.read();
    let id = face.agent.read().clone();
    let port = face
        .endpoint
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    response::GetAgent {
        agent_info: Some(AgentInfo {
            hostname: face.config.hostname.clone(),
            port,
            resources: face.config.resources.clone(),
            attributes: face.config.attributes.clone(),
            id: (!id.is_empty()).then_some(AgentId { value: id }),
            domain: face.config.domain.clone(),
        }),
        drain_config: view.agent.as_ref().and_then(|agent| agent.drain),
        estimated_drain_start_time: view.agent.as_ref().and_then(|agent| agent.drain_since).map(
            |since| TimeInfo {
                nanoseconds: since.as_nanos(),
            },
        ),
    }
}

async fn containers(face: &Arc<Face>, asked: call::GetContainers) -> response::GetContainers {
    let container = |shown: Shown| response::get_containers::Container {
        framework_id: shown.framework_id.map(|value| FrameworkId { value }),
        executor_id: shown.executor_id.map(|value| ExecutorId { value }),
        executor_name: shown.executor_name,
        container_id: proto_id(&shown.container),
        container_status: Some(shown.status),
        resource_statistics: shown.statistics,
    };
    let which = Which {
        nested: asked.show_nested(),
        standalone: asked.show_standalone(),
    };
    let shown = shown(face, which, |_| true).await;
    response::GetContainers {
        containers: shown.into_iter().map(container).collect(),
    }
}

/// Every executor, the live ones first.
fn all_executors(framework: &FrameworkView) -> impl Iterator<Item = &ExecutorView> {
    framework.executors.values().chain(&framework.completed)
}

fn tasks(view: &View) -> response::GetTasks {
    let every = || {
        view.frameworks
            .values()
            .chain(&view.completed)
            .flat_map(all_executors)
    };
    let of = |wanted: fn(&TaskSnapshot) -> bool| -> Vec<Task> {
        every()
            .flat_map(|executor| executor.tasks.values())
            .filter(|task| wanted(task))
            .map(|task| task.to_task())
            .collect()
    };
    response::GetTasks {
        pending_tasks: Vec::new(),
        queued_tasks: of(|task| task.queued && !task.command && !task.state.is_terminal()),
        launched_tasks: of(|task| (!task.queued || task.command) && !task.state.is_terminal()),
        terminated_tasks: of(|task| task.state.is_terminal()),
        completed_tasks: every()
            .flat_map(|executor| &executor.completed)
            .map(|task| task.to_task())
            .collect(),
    }
}

fn operations(view: &View) -> response::GetOperations {
    response::GetOperations {
        operations: view
            .operations
            .values()
            .map(|operation| (**operation).clone())
            .collect(),
    }
}

fn executors(view: &View) -> response::GetExecutors {
    let one = |executor: &ExecutorView| response::get_executors::Executor {
        executor_info: (*executor.state.info).clone(),
    };
    let every = || view.frameworks.values().chain(&view.completed);
    response::GetExecutors {
        executors: every()
            .flat_map(|framework| framework.executors.values())
            .map(one)
            .collect(),
        completed_executors: every()
            .flat_map(|framework| &framework.completed)
            .map(one)
            .collect(),
    }
}

fn frameworks(view: &View) -> response::GetFrameworks {
    let one = |framework: &FrameworkView| response::get_frameworks::Framework {
        framework_info: (*framework.info).clone(),
    };
    response::GetFrameworks {
        frameworks: view.frameworks.values().map(one).collect(),
        completed_frameworks: view.completed.iter().map(one).collect(),
    }
}
