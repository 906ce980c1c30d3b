//! LAUNCH_GROUP: refused until agents can run groups.

use tepui_model::TaskState;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::task_status::Reason;

use super::Pool;
use crate::master::Master;
use crate::output::Output;

const NOT_BUILT: &str =
    "This version's agents run single tasks only: task groups are not served yet";

impl Master {
    pub(super) fn launch_group(
        &mut self,
        pool: &Pool,
        operation: Operation,
        out: &mut Vec<Output>,
    ) {
        for task in operation
            .launch_group
            .into_iter()
            .flat_map(|launch| launch.task_group.tasks)
        {
            let (id, agent) = (task.task_id, Some(task.agent_id));
            self.refuse_task(
                pool.framework,
                id,
                agent,
                TaskState::Error,
                Reason::TaskGroupInvalid,
                NOT_BUILT,
                out,
            );
        }
    }
}
