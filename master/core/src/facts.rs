//! Tasks as they are kept: a master knows a million of them and looks into few, so what it only passes on stays encoded.
//!
//! A decoded `mesos.v1.Task` takes 2 KiB and a `TaskStatus` half of one, mostly room for what is not set; encoded they are a tenth.
//! Ids are shared with those who look things up by them, and lists of resources among all tasks that use the same.

use std::sync::Arc;

use prost::Message;
use smallvec::SmallVec;
use tepui_model::{AgentId, FrameworkId, TaskId};
use tepui_proto::mesos::{self, Resource};

/// The part of `mesos.v1.Task` that never changes, and who the task belongs to.
#[derive(Debug)]
pub struct TaskFacts {
    /// Its own id.
    pub id: TaskId,
    /// The framework, for look-ups.
    pub framework: FrameworkId,
    /// The agent, for look-ups.
    pub agent: AgentId,
    /// What it uses, as it was launched.
    pub resources: Arc<[Resource]>,
    /// Everything else, encoded.
    rest: Box<[u8]>,
}

impl TaskFacts {
    /// Keeps what is fixed of `task`. Its ids are taken from beside it, its resources and statuses are left out.
    pub(crate) fn new(
        id: TaskId,
        framework: FrameworkId,
        agent: AgentId,
        resources: Arc<[Resource]>,
        task: mesos::Task,
    ) -> Self {
        let rest = mesos::Task {
            task_id: mesos::TaskId::default(),
            framework_id: mesos::FrameworkId::default(),
            agent_id: mesos::AgentId::default(),
            resources: Vec::new(),
            statuses: Vec::new(),
            status_update_state: None,
            status_update_uuid: None,
            ..task
        };
        Self {
            id,
            framework,
            agent,
            resources,
            rest: rest.encode_to_vec().into(),
        }
    }

    /// Everything fixed; `state`, `statuses` and the `status_update_…` fields in here say nothing.
    #[must_use]
    pub fn task(&self) -> mesos::Task {
        // It was encoded above.
        let rest = mesos::Task::decode(&*self.rest).unwrap_or_default();
        mesos::Task {
            task_id: self.task_id(),
            framework_id: mesos::FrameworkId {
                value: self.framework.as_str().to_owned(),
            },
            agent_id: self.agent_id(),
            resources: self.resources.to_vec(),
            ..rest
        }
    }

    /// The task's id as on the wire.
    #[must_use]
    pub fn task_id(&self) -> mesos::TaskId {
        mesos::TaskId {
            value: self.id.as_str().to_owned(),
        }
    }

    /// The agent's id as on the wire.
    #[must_use]
    pub fn agent_id(&self) -> mesos::AgentId {
        mesos::AgentId {
            value: self.agent.as_str().to_owned(),
        }
    }
}

/// A status of a task.
#[derive(Debug, Clone)]
pub struct KeptStatus {
    state: i32,
    encoded: Arc<[u8]>,
}

impl KeptStatus {
    /// Keeps a status of the task that `facts` are about, without its data.
    pub(crate) fn new(status: &mesos::TaskStatus, facts: &TaskFacts) -> Self {
        // An id that is the task's own is kept as an empty one.
        let mut kept = mesos::TaskStatus {
            data: None,
            ..status.clone()
        };
        kept.task_id.value.clear();
        if let Some(agent) = &mut kept.agent_id
            && agent.value == facts.agent.as_str()
        {
            agent.value.clear();
        }
        Self {
            state: kept.state,
            encoded: kept.encode_to_vec().into(),
        }
    }

    /// The number of its state.
    #[must_use]
    pub fn state(&self) -> i32 {
        self.state
    }

    /// The status as it came.
    #[must_use]
    pub fn get(&self, facts: &TaskFacts) -> mesos::TaskStatus {
        // It was encoded above.
        let mut status = mesos::TaskStatus::decode(&*self.encoded).unwrap_or_default();
        status.task_id = facts.task_id();
        if let Some(agent) = &mut status.agent_id
            && agent.value.is_empty()
        {
            *agent = facts.agent_id();
        }
        status
    }
}

/// A task's history, oldest first.
pub(crate) type Statuses = SmallVec<[KeptStatus; 2]>;

/// How many lists [`Alike`] remembers.
const REMEMBERED: usize = 256;

/// Finds lists of resources that were seen lately, so that tasks which use the same share one.
pub(crate) struct Alike {
    /// By a hash of the list; a newer one takes its place.
    lately: Vec<Option<Arc<[Resource]>>>,
    hash: ahash::RandomState,
    encoded: Vec<u8>,
}

impl Alike {
    pub(crate) fn new(hash: ahash::RandomState) -> Self {
        Self {
            lately: vec![None; REMEMBERED],
            hash,
            encoded: Vec::new(),
        }
    }

    pub(crate) fn share(&mut self, list: Vec<Resource>) -> Arc<[Resource]> {
        self.encoded.clear();
        for resource in &list {
            // A Vec grows as it must.
            let _ = resource.encode_length_delimited(&mut self.encoded);
        }
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let place = self.hash.hash_one(&self.encoded) as usize % REMEMBERED;
        match self.lately.get_mut(place) {
            Some(Some(same)) if **same == *list => Arc::clone(same),
            Some(other) => Arc::clone(other.insert(list.into())),
            None => list.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(task: mesos::Task) -> TaskFacts {
        let resources = task.resources.clone().into();
        TaskFacts::new(
            TaskId::new("t").expect("an id"),
            FrameworkId::new("f").expect("an id"),
            AgentId::new("a").expect("an id"),
            resources,
            task,
        )
    }

    fn resource(name: &str) -> Resource {
        Resource {
            name: name.to_owned(),
            ..Resource::default()
        }
    }

    #[test]
    fn what_is_kept_comes_out_as_it_went_in() {
        let task = mesos::Task {
            name: "n".to_owned(),
            task_id: mesos::TaskId {
                value: "t".to_owned(),
            },
            framework_id: mesos::FrameworkId {
                value: "f".to_owned(),
            },
            agent_id: mesos::AgentId {
                value: "a".to_owned(),
            },
            resources: vec![resource("cpus"), resource("mem")],
            user: Some("root".to_owned()),
            executor_id: Some(mesos::ExecutorId {
                value: "e".to_owned(),
            }),
            ..mesos::Task::default()
        };
        let facts = facts(task.clone());
        assert_eq!(facts.task(), task);
        for agent in [None, Some("a"), Some("another")] {
            let status = mesos::TaskStatus {
                task_id: facts.task_id(),
                state: 1,
                agent_id: agent.map(|agent| mesos::AgentId {
                    value: agent.to_owned(),
                }),
                healthy: Some(true),
                ..mesos::TaskStatus::default()
            };
            let kept = KeptStatus::new(&status, &facts);
            assert_eq!((kept.state(), kept.get(&facts)), (1, status));
        }
    }

    #[test]
    fn lists_that_are_equal_are_one() {
        let mut alike = Alike::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let one = alike.share(vec![resource("cpus")]);
        let other = alike.share(vec![resource("mem")]);
        let again = alike.share(vec![resource("cpus")]);
        assert!(Arc::ptr_eq(&one, &again));
        assert_eq!(*other, [resource("mem")]);
    }
}
