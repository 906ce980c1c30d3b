//! What operators ask of the core.

use tepui_model::{AgentId, FrameworkId, TaskId};
use tepui_proto::mesos::KillPolicy;

use crate::input::{OperatorCall, ReplyToken};
use crate::master::{Master, reply};
use crate::output::{Output, Reply};
use crate::registry::{AdmittedAgent, RegistryOperation};
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
            OperatorCall::DeactivateAgent { agent } => self.set_activation(agent, true, token, out),
            OperatorCall::ReactivateAgent { agent } => {
                self.set_activation(agent, false, token, out)
            }
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
            OperatorCall::DrainAgent { .. }
            | OperatorCall::UpdateWeights { .. }
            | OperatorCall::UpdateQuota { .. }
            | OperatorCall::SetQuota { .. }
            | OperatorCall::RemoveQuota { .. }
            | OperatorCall::UpdateMaintenanceSchedule { .. }
            | OperatorCall::StartMaintenance { .. }
            | OperatorCall::StopMaintenance { .. } => {
                let not_built = "This call is not built yet".to_owned();
                reply(token, refused(501, not_built), out);
            }
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

    fn set_activation(
        &mut self,
        id: AgentId,
        deactivated: bool,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        let known = match self.agent_ids.get(&id) {
            Some(agent) => Some((
                self.agents[*agent].info.as_ref().clone(),
                self.agents[*agent].deactivated,
            )),
            None => self
                .recovered
                .get(&id)
                .map(|agent| (agent.info.clone(), agent.deactivated)),
        };
        let Some((info, before)) = known else {
            return reply(
                token,
                refused(400, format!("No agent found with specified ID {id}")),
                out,
            );
        };
        if before == deactivated {
            let outcome = if deactivated {
                Reply::Ok
            } else {
                refused(400, format!("Agent {id} is not deactivated"))
            };
            return reply(token, outcome, out);
        }
        if self.in_transition(&id) {
            return reply(
                token,
                refused(503, format!("Agent {id} is in transition, try again")),
                out,
            );
        }
        self.begin(&id, Transition::Updating);
        let operation = RegistryOperation::Admit(Box::new(AdmittedAgent { info, deactivated }));
        self.store(
            operation,
            Waiting::Activation {
                id,
                deactivated,
                reply: token,
            },
            out,
        );
    }

    pub(crate) fn activation_stored(
        &mut self,
        id: &AgentId,
        deactivated: bool,
        out: &mut Vec<Output>,
    ) {
        if let Some(agent) = self.agent_ids.get(id).copied() {
            self.agents[agent].deactivated = deactivated;
            self.allocation_agent_active(agent);
            if deactivated {
                self.rescind_offers_on(agent, out);
            }
            self.touch_agent(agent);
        } else if let Some(agent) = self.recovered.get_mut(id) {
            agent.deactivated = deactivated;
        }
    }

    fn mark_gone(&mut self, id: AgentId, token: Option<ReplyToken>, out: &mut Vec<Output>) {
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
