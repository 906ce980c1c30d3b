//! What an update from an executor must look like.

use tepui_model::{ExecutorId, TaskState};
use tepui_proto::mesos::v1::task_status::Source;
use tepui_proto::mesos::v1::{CheckStatusInfo, TaskStatus, check_info};

use crate::output::Refusal;

/// The rules for a status that an executor sends.
pub(super) fn check_update(executor: &ExecutorId, status: &TaskStatus) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::Invalid(text));
    match &status.uuid {
        None => return invalid("Expecting 'update.status.uuid' to be present".to_owned()),
        Some(uuid) if uuid.len() != 16 => {
            return invalid(format!(
                "'update.status.uuid' has {} bytes, not 16",
                uuid.len()
            ));
        }
        Some(_) => {}
    }
    if status.source != Some(Source::Executor.into()) {
        return invalid("Received Call from executor with invalid 'update.status.source': it must be SOURCE_EXECUTOR".to_owned());
    }
    match TaskState::from_number(status.state) {
        Some(TaskState::Staging) => {
            return invalid("'update.status.state' may not be TASK_STAGING".to_owned());
        }
        Some(_) => {}
        None => {
            return invalid(format!(
                "'update.status.state' is no task state: {}",
                status.state
            ));
        }
    }
    if let Some(id) = &status.executor_id
        && id.value != executor.as_str()
    {
        return invalid(format!(
            "'update.status.executor_id' is '{}', but the call is of '{executor}'",
            id.value
        ));
    }
    status
        .check_status
        .as_ref()
        .map_or(Ok(()), check_check_status)
}

fn check_check_status(check: &CheckStatusInfo) -> Result<(), Refusal> {
    let expected = match check.r#type() {
        check_info::Type::Command => check.command.is_some(),
        check_info::Type::Http => check.http.is_some(),
        check_info::Type::Tcp => check.tcp.is_some(),
        check_info::Type::Unknown => false,
    };
    let given = [
        check.command.is_some(),
        check.http.is_some(),
        check.tcp.is_some(),
    ]
    .into_iter()
    .filter(|is| *is)
    .count();
    if expected && given == 1 {
        Ok(())
    } else {
        Err(Refusal::Invalid(
            "'update.status.check_status' must hold exactly the result that its type names"
                .to_owned(),
        ))
    }
}
