//! What a framework can ask of the master, from any task of the program.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tepui_model::{AgentId, ExecutorId, FrameworkId, TaskId};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::{Call, call};
use tokio::sync::watch;

use super::outbox::Outbox;
use crate::error::Error;

/// What is known of the subscription, for everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Status {
    pub(super) framework_id: Option<FrameworkId>,
    pub(super) connected: bool,
    /// Where the master is that it is, or was last, subscribed with.
    pub(super) master: Option<String>,
}

/// A handle for calls. Clones are cheap; calls wait in a bounded queue until the framework is subscribed. The master answers most of them with
/// events, and none with a result: a kill, say, is done when its update has come.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(super) outbox: Arc<Outbox>,
    pub(super) status: watch::Receiver<Status>,
}

impl Driver {
    /// The framework's id, once it has one.
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.status.borrow().framework_id.clone()
    }

    /// Whether the framework is subscribed right now.
    pub fn is_connected(&self) -> bool {
        self.status.borrow().connected
    }

    /// Address of the master with which it is, or was last, subscribed: `host:port`.
    pub fn master(&self) -> Option<String> {
        self.status.borrow().master.clone()
    }

    /// How many calls wait.
    pub fn waiting_calls(&self) -> usize {
        self.outbox.len()
    }

    /// Kills a task, with its own grace period.
    ///
    /// # Errors
    /// Too many calls wait, or the framework was stopped; so it is with all calls.
    pub fn kill(&self, task: &TaskId) -> Result<(), Error> {
        self.kill_with(task, None, None)
    }

    /// Kills a task on a given agent, with another grace period between asking it to end and ending it.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn kill_with(
        &self,
        task: &TaskId,
        agent: Option<&AgentId>,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        let kill_policy = grace.map(|grace| mesos::KillPolicy {
            grace_period: Some(mesos::DurationInfo {
                nanoseconds: i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX),
            }),
        });
        self.call(Call {
            r#type: Some(call::Type::Kill.into()),
            kill: Some(call::Kill {
                task_id: mesos::TaskId {
                    value: task.to_string(),
                },
                agent_id: agent.map(|agent| mesos::AgentId {
                    value: agent.to_string(),
                }),
                kill_policy,
            }),
            ..Call::default()
        })
    }

    /// Wants offers again, in all roles: filters of declined offers are forgotten too.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn revive(&self) -> Result<(), Error> {
        self.revive_roles(&[])
    }

    /// The same for some roles.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn revive_roles(&self, roles: &[&str]) -> Result<(), Error> {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.call(Call {
            r#type: Some(call::Type::Revive.into()),
            revive: Some(call::Revive { roles }),
            ..Call::default()
        })
    }

    /// Wants no offers until [`Driver::revive`]. A framework with nothing to launch should say so: the others get more.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn suppress(&self) -> Result<(), Error> {
        self.suppress_roles(&[])
    }

    /// The same for some roles.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn suppress_roles(&self, roles: &[&str]) -> Result<(), Error> {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.call(Call {
            r#type: Some(call::Type::Suppress.into()),
            suppress: Some(call::Suppress { roles }),
            ..Call::default()
        })
    }

    /// Says something to an executor. It may be lost on the way.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn message(
        &self,
        agent: &AgentId,
        executor: &ExecutorId,
        data: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.call(Call {
            r#type: Some(call::Type::Message.into()),
            message: Some(call::Message {
                agent_id: mesos::AgentId {
                    value: agent.to_string(),
                },
                executor_id: mesos::ExecutorId {
                    value: executor.to_string(),
                },
                data: data.into(),
            }),
            ..Call::default()
        })
    }

    /// Ends an executor and its tasks.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn shutdown_executor(&self, agent: &AgentId, executor: &ExecutorId) -> Result<(), Error> {
        self.call(Call {
            r#type: Some(call::Type::Shutdown.into()),
            shutdown: Some(call::Shutdown {
                agent_id: mesos::AgentId {
                    value: agent.to_string(),
                },
                executor_id: mesos::ExecutorId {
                    value: executor.to_string(),
                },
            }),
            ..Call::default()
        })
    }

    /// Asks for the state of these tasks, until the master has answered; the answers are updates. Needed only for tasks that this object has
    /// never seen (of an earlier run of the program): what it launched it reconciles by itself.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn reconcile<'a>(
        &self,
        tasks: impl IntoIterator<Item = (&'a TaskId, Option<&'a AgentId>)>,
    ) -> Result<(), Error> {
        let task = |(task, agent): (&TaskId, Option<&AgentId>)| call::reconcile::Task {
            task_id: mesos::TaskId {
                value: task.to_string(),
            },
            agent_id: agent.map(|agent| mesos::AgentId {
                value: agent.to_string(),
            }),
        };
        self.call(reconcile_call(tasks.into_iter().map(task).collect()))
    }

    /// Asks for the state of all tasks that the master knows.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn reconcile_all(&self) -> Result<(), Error> {
        self.call(reconcile_call(Vec::new()))
    }

    /// Asks what became of these operations, or with none of all that the master knows; the answers are
    /// [`Event::Operation`](super::Event::Operation). For those that were under way when a subscription was lost.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn reconcile_operations<'a>(
        &self,
        operations: impl IntoIterator<Item = (&'a str, Option<&'a AgentId>)>,
    ) -> Result<(), Error> {
        let asked = |(id, agent): (&str, Option<&AgentId>)| call::reconcile_operations::Operation {
            operation_id: mesos::OperationId {
                value: id.to_owned(),
            },
            agent_id: agent.map(|agent| mesos::AgentId {
                value: agent.to_string(),
            }),
            resource_provider_id: None,
        };
        self.call(Call {
            r#type: Some(call::Type::ReconcileOperations.into()),
            reconcile_operations: Some(call::ReconcileOperations {
                operations: operations.into_iter().map(asked).collect(),
            }),
            ..Call::default()
        })
    }

    /// Ends the framework for good: all its tasks are killed, its id is never valid again. Afterwards
    /// [`Framework::next`](super::Framework::next) gives `None`.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn teardown(&self) -> Result<(), Error> {
        self.call(Call {
            r#type: Some(call::Type::Teardown.into()),
            ..Call::default()
        })
    }

    /// Any call. Its framework id is filled in.
    ///
    /// # Errors
    /// As [`Driver::kill`].
    pub fn call(&self, call: Call) -> Result<(), Error> {
        self.outbox.push(call)
    }
}

/// RECONCILE of these tasks, or of all.
pub(super) fn reconcile_call(tasks: Vec<call::reconcile::Task>) -> Call {
    Call {
        r#type: Some(call::Type::Reconcile.into()),
        reconcile: Some(call::Reconcile { tasks }),
        ..Call::default()
    }
}
