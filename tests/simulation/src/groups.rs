//! Task groups: tasks that start together, on an executor that the agent plays, each in a container of its own. Executors are used
//! again, also when they may have ended.

use tepui_proto::mesos::executor_info::Type as ExecutorType;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::{self, LaunchGroup};
use tepui_proto::mesos::{ExecutorId, ExecutorInfo, TaskGroupInfo, TaskInfo};

use crate::whims::scalar;
use crate::world::Simulation;

/// Of each framework.
const EXECUTORS: usize = 3;

/// What an executor needs beside its tasks.
const OWN: [(&str, f64); 3] = [("cpus", 0.1), ("mem", 32.0), ("disk", 1.0)];

impl Simulation {
    /// The tasks as a group, in some role.
    pub(crate) fn group(
        &mut self,
        framework: usize,
        role: &str,
        tasks: Vec<TaskInfo>,
    ) -> Operation {
        let number = self.random.below(EXECUTORS);
        // Its resources are of one role, so each role has its own.
        let name = format!("f{framework}-{}-e{number}", role.replace(['/', '*'], "-"));
        let executor = ExecutorInfo {
            r#type: Some(ExecutorType::Default as i32),
            executor_id: ExecutorId { value: name },
            resources: OWN.map(|(name, value)| scalar(name, value)).to_vec(),
            ..ExecutorInfo::default()
        };
        let group = LaunchGroup {
            executor,
            task_group: TaskGroupInfo { tasks },
        };
        Operation {
            r#type: Some(operation::Type::LaunchGroup as i32),
            launch_group: Some(Box::new(group)),
            ..Operation::default()
        }
    }
}
