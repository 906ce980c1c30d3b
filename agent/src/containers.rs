//! Which containers an executor has, by the names under which the runtime knows them.

use tepui_agent_core::TaskSnapshot;
use tepui_agent_core::view::ExecutorView;

use crate::containerizer::ContainerId;

/// The executor's own. One that the agent plays has one only if its tasks share something.
pub(crate) fn own(executor: &ExecutorView) -> Option<ContainerId> {
    ContainerId::new(executor.state.container.to_string()).ok()
}

/// Those of its tasks that are in a group.
pub(crate) fn of_tasks(executor: &ExecutorView) -> impl Iterator<Item = ContainerId> + '_ {
    let live = executor.tasks.values();
    let live = live.filter(|task| !task.state.is_terminal());
    live.filter_map(|task| of_task(task))
}

fn of_task(task: &TaskSnapshot) -> Option<ContainerId> {
    let mut statuses = task.statuses.iter().rev();
    let status = statuses.find_map(|status| status.container_status.as_ref())?;
    let id = crate::nested::prepare::core_id(status.container_id.as_ref()?)?;
    id.parent()?;
    Some(crate::nested::runtime_id(&id))
}
