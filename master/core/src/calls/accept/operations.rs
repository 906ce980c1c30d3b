//! Reservations, volumes and disks: refused for now, each with its reason if the framework asked for feedback. What they would
//! have used stays in the pool and goes back.

use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::{OperationId, OperationState, OperationStatus};

use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::FrameworkIx;

pub(super) const NOT_BUILT: &str = "This version of the master only launches tasks: reservations, volumes and disks are not served yet";

impl Master {
    pub(super) fn refuse_operation(
        &mut self,
        framework: FrameworkIx,
        operation: &Operation,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        match &operation.id {
            Some(id) => self.operation_error(framework, id.clone(), why.to_owned(), out),
            None => {
                let id = &self.frameworks[framework].id;
                log(
                    LogLevel::Warn,
                    format!(
                        "{:?} of framework {id} is dropped: {why}",
                        operation.r#type()
                    ),
                    out,
                );
            }
        }
    }

    pub(super) fn operation_error(
        &mut self,
        framework: FrameworkIx,
        id: OperationId,
        message: String,
        out: &mut Vec<Output>,
    ) {
        let status = OperationStatus {
            operation_id: Some(id),
            state: OperationState::OperationError as i32,
            message: Some(message),
            ..OperationStatus::default()
        };
        self.event(framework, events::operation_status(status), out);
    }
}
