//! What operators see, kept from the agent's [`Change`]s: the live objects and a bounded history of the ended ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use tepui_model::{ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{FrameworkInfo, Operation};

use crate::change::{AgentState, Change, ExecutorState, TaskSnapshot};

/// Ended tasks kept for each executor.
const COMPLETED_TASKS: usize = 200;
/// Ended executors kept for each framework.
const COMPLETED_EXECUTORS: usize = 150;
/// Ended frameworks kept.
const COMPLETED_FRAMEWORKS: usize = 50;

/// An executor with its tasks.
#[derive(Debug, Clone)]
pub struct ExecutorView {
    /// The newest of it.
    pub state: Arc<ExecutorState>,
    /// Tasks whose terminal update is not acknowledged, in the order in which they came.
    pub tasks: BTreeMap<TaskId, Arc<TaskSnapshot>>,
    /// The last 200 ended ones, oldest first.
    pub completed: VecDeque<Arc<TaskSnapshot>>,
}

/// A framework with its executors.
#[derive(Debug, Clone)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// The newest of it.
    pub info: Arc<FrameworkInfo>,
    /// Those whose containers are there.
    pub executors: IndexMap<ExecutorId, ExecutorView>,
    /// The last 150 ended ones, oldest first.
    pub completed: VecDeque<ExecutorView>,
    /// Tasks that never got an executor.
    pub refused: IndexMap<TaskId, Arc<TaskSnapshot>>,
}

/// What the metrics count.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Tasks that ended FINISHED since the start.
    pub finished: u64,
    /// FAILED.
    pub failed: u64,
    /// KILLED.
    pub killed: u64,
    /// LOST, or DROPPED.
    pub lost: u64,
    /// GONE.
    pub gone: u64,
    /// ERROR.
    pub error: u64,
    /// Executors (of frameworks and of command tasks) that ended since the start.
    pub executors_terminated: u64,
    /// Of these, those that were ended because others needed the machine.
    pub executors_preempted: u64,
    /// Tasks that failed because their container could not be started.
    pub launch_errors: u64,
}

/// Everything that operators see.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The agent itself, once it has said something.
    pub agent: Option<Arc<AgentState>>,
    /// Frameworks that have something here.
    pub frameworks: IndexMap<FrameworkId, FrameworkView>,
    /// The last 50 that had.
    pub completed: VecDeque<FrameworkView>,
    /// Operations on the agent's resources that are not over, by uuid.
    pub operations: IndexMap<Bytes, Arc<Operation>>,
    /// What the metrics count.
    pub counts: Counts,
}

fn push<T>(history: &mut VecDeque<T>, bound: usize, item: T) {
    if history.len() == bound {
        history.pop_front();
    }
    history.push_back(item);
}

impl View {
    /// Takes in a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Agent(agent) => self.agent = Some(agent),
            Change::Framework(state) => {
                let earlier = self
                    .completed
                    .iter()
                    .position(|framework| framework.id == state.id);
                let earlier = earlier.and_then(|index| self.completed.remove(index));
                let framework = self.frameworks.entry(state.id.clone()).or_insert_with(|| {
                    earlier.unwrap_or_else(|| FrameworkView {
                        id: state.id.clone(),
                        info: Arc::clone(&state.info),
                        executors: IndexMap::new(),
                        completed: VecDeque::new(),
                        refused: IndexMap::new(),
                    })
                });
                framework.info = Arc::clone(&state.info);
            }
            Change::FrameworkEnded(id) => {
                if let Some(framework) = self.frameworks.shift_remove(&id) {
                    push(&mut self.completed, COMPLETED_FRAMEWORKS, framework);
                }
            }
            Change::Executor(state) => {
                let Some(framework) = self.frameworks.get_mut(&state.framework_id) else {
                    return;
                };
                framework
                    .executors
                    .entry(state.id.clone())
                    .and_modify(|executor| executor.state = Arc::clone(&state))
                    .or_insert_with(|| ExecutorView {
                        state: Arc::clone(&state),
                        tasks: BTreeMap::new(),
                        completed: VecDeque::new(),
                    });
            }
            Change::ExecutorEnded(framework, id) => {
                let Some(framework) = self.frameworks.get_mut(&framework) else {
                    return;
                };
                if let Some(executor) = framework.executors.swap_remove(&id) {
                    self.counts.executors_terminated += 1;
                    self.counts.executors_preempted += u64::from(executor.state.preempted);
                    push(&mut framework.completed, COMPLETED_EXECUTORS, executor);
                }
            }
            Change::Task(task) => self.task(task),
            Change::Operation(operation) => {
                self.operations
                    .insert(operation.uuid.value.clone(), operation);
            }
            Change::OperationEnded(uuid) => {
                self.operations.shift_remove(&uuid);
            }
            Change::TaskEnded(framework, id) => {
                let Some(framework) = self.frameworks.get_mut(&framework) else {
                    return;
                };
                if framework.refused.swap_remove(&id).is_some() {
                    return;
                }
                let ended = framework.completed.iter_mut().rev();
                for executor in framework.executors.values_mut().chain(ended) {
                    if let Some(task) = executor.tasks.remove(&id) {
                        push(&mut executor.completed, COMPLETED_TASKS, task);
                        return;
                    }
                }
            }
        }
    }

    fn task(&mut self, task: Arc<TaskSnapshot>) {
        let Some(framework) = self.frameworks.get_mut(&task.framework_id) else {
            return;
        };
        let Some(id) = &task.executor_id else {
            self.counts.count(task.state);
            framework.refused.insert(task.id.clone(), task);
            return;
        };
        let executor = match framework.executors.get_mut(id) {
            Some(executor) => Some(executor),
            None => framework
                .completed
                .iter_mut()
                .rev()
                .find(|executor| executor.state.id == *id),
        };
        let Some(executor) = executor else { return };
        let before = executor.tasks.get(&task.id).map(|task| task.state);
        if before != Some(task.state) {
            self.counts.count(task.state);
            let reason = task.statuses.last().and_then(|status| status.reason);
            self.counts.launch_errors +=
                u64::from(reason == Some(Reason::ContainerLaunchFailed.into()));
        }
        executor.tasks.insert(task.id.clone(), task);
    }
}

impl Counts {
    fn count(&mut self, state: TaskState) {
        match state {
            TaskState::Finished => self.finished += 1,
            TaskState::Failed => self.failed += 1,
            TaskState::Killed => self.killed += 1,
            TaskState::Lost | TaskState::Dropped => self.lost += 1,
            TaskState::Gone | TaskState::GoneByOperator => self.gone += 1,
            TaskState::Error => self.error += 1,
            _ => {}
        }
    }
}
