//! What the agent says to executors.

use bytes::Bytes;
use tepui_model::TaskId;
use tepui_proto::mesos::v1::executor::{Event, event};
use tepui_proto::mesos::v1::{KillPolicy, TaskGroupInfo, TaskInfo};

use crate::messages::{self};
use crate::output::Output;

pub(super) fn to(connection: u64, kind: event::Type, event: Event) -> Output {
    Output::ToExecutor {
        connection,
        event: Box::new(Event {
            r#type: Some(kind.into()),
            ..event
        }),
    }
}

pub(crate) fn acknowledged(connection: u64, task: &TaskId, uuid: &Bytes) -> Output {
    let acknowledged = event::Acknowledged {
        task_id: messages::task_id(task),
        uuid: uuid.clone(),
    };
    to(
        connection,
        event::Type::Acknowledged,
        Event {
            acknowledged: Some(acknowledged),
            ..Default::default()
        },
    )
}

pub(super) fn launch(connection: u64, task: TaskInfo) -> Output {
    let launch = event::Launch { task };
    to(
        connection,
        event::Type::Launch,
        Event {
            launch: Some(Box::new(launch)),
            ..Default::default()
        },
    )
}

pub(super) fn launch_group(connection: u64, tasks: Vec<TaskInfo>) -> Output {
    let launch_group = event::LaunchGroup {
        task_group: TaskGroupInfo { tasks },
    };
    to(
        connection,
        event::Type::LaunchGroup,
        Event {
            launch_group: Some(launch_group.into()),
            ..Default::default()
        },
    )
}

pub(super) fn kill(connection: u64, task: &TaskId, policy: Option<KillPolicy>) -> Output {
    let kill = event::Kill {
        task_id: messages::task_id(task),
        kill_policy: policy,
    };
    to(
        connection,
        event::Type::Kill,
        Event {
            kill: Some(kill),
            ..Default::default()
        },
    )
}

pub(super) fn shutdown(connection: u64) -> Output {
    to(connection, event::Type::Shutdown, Event::default())
}
