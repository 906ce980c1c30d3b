//! What operators ask of the core.

use tepui_model::{AgentId, FrameworkId, TaskId};
use tepui_proto::mesos::KillPolicy;

use crate::input::{OperatorCall, ReplyToken};
use crate::master::{Master, reply};
use crate::output::{Output, Reply};
use crate::registry::RegistryOperation;
use crate::state::Transition;
use crate::stores::Waiting;

pub(crate) fn refused(status: u16, message: String) -> Reply {
    Reply::Refused { status, message }
}

impl Master {
    pub(crate) fn operator(
        &mut self,
        call: OperatorCall,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        match call {
            OperatorCall::Teardown { framework } => {
                let outcome = self.teardown(&framework, out);
                reply(token, outcome, out);
            }
            OperatorCall::KillTask {
                framework,
                task,
                grace,
            } => {
                let policy = grace.map(|grace| KillPolicy {
                    grace_period: Some(grace.into()),
                });
                let outcome = self.kill_for_operator(&framework, &task, policy, out);
                reply(token, outcome, out);
            }
            OperatorCall::DeactivateAgent { agent } => self.deactivate(agent, token, out),
            OperatorCall::ReactivateAgent { agent } => self.reactivate(agent, token, out),
            OperatorCall::MarkAgentGone { agent } => self.mark_gone(agent, token, out),
            OperatorCall::Operate {
                agent,
                operation,
                principal,
            } => {
                let outcome =
                    self.operate_for_operator(&agent, &operation, principal.as_deref(), out);
                reply(token, outcome, out);
            }
            call @ (OperatorCall::DrainAgent { .. }
            | OperatorCall::UpdateWeights { .. }
            | OperatorCall::UpdateQuota { .. }
            | OperatorCall::SetQuota { .. }
            | OperatorCall::RemoveQuota { .. }
            | OperatorCall::UpdateMaintenanceSchedule { .. }
            | OperatorCall::StartMaintenance { .. }
            | OperatorCall::StopMaintenance { .. }) => self.in_turn(call, token, out),
        }
    }

    fn teardown(&mut self, id: &FrameworkId, out: &mut Vec<Output>) -> Reply {
        let Some(framework) = self.framework_ids.get(id).copied() else {
            return refused(400, format!("No framework found with specified ID {id}"));
        };
        self.remove_framework(framework, "an operator tore it down", out);
        Reply::Ok
    }

    fn kill_for_operator(
        &mut self,
        id: &FrameworkId,
        task: &TaskId,
        policy: Option<KillPolicy>,
        out: &mut Vec<Output>,
    ) -> Reply {
        let Some(framework) = self.framework_ids.get(id).copied() else {
            return refused(404, format!("No framework found with specified ID {id}"));
        };
        let Some(task) = self.frameworks[framework].tasks.get(task).copied() else {
            return refused(404, format!("Framework {id} has no task {task} that runs"));
        };
        self.kill_known(task, policy, out);
        Reply::Accepted
    }

    pub(crate) fn mark_gone(
        &mut self,
        id: AgentId,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        if self.gone.contains_key(&id) {
            return reply(token, Reply::Ok, out);
        }
        if self.in_transition(&id) {
            return reply(
                token,
                refused(503, format!("Agent {id} is in transition, try again")),
                out,
            );
        }
        if !self.agent_ids.contains_key(&id)
            && !self.recovered.contains_key(&id)
            && !self.unreachable.contains_key(&id)
        {
            return reply(
                token,
                refused(404, format!("No agent found with specified ID {id}")),
                out,
            );
        }
        self.begin(&id, Transition::MarkingGone);
        let at = self.now;
        let operation = RegistryOperation::MarkGone {
            agent: id.clone(),
            at,
        };
        self.store(
            operation,
            Waiting::Gone {
                id,
                at,
                reply: token,
            },
            out,
        );
    }
}
