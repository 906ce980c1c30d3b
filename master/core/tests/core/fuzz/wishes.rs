//! What operators' calls ask of the core.

use tepui_master_core::OperatorCall;
use tepui_model::AgentId;
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::{self, master};

/// What an operator's call asks of the core; none for those that only read.
pub(super) fn wish(call: master::Call) -> Option<OperatorCall> {
    let agent = |id: &mesos::AgentId| id.value.parse().ok();
    Some(if let Some(teardown) = call.teardown {
        OperatorCall::Teardown {
            framework: teardown.framework_id.value.parse().ok()?,
        }
    } else if let Some(call) = call.deactivate_agent {
        OperatorCall::DeactivateAgent {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.reactivate_agent {
        OperatorCall::ReactivateAgent {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.mark_agent_gone {
        OperatorCall::MarkAgentGone {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.drain_agent {
        OperatorCall::DrainAgent {
            agent: agent(&call.agent_id)?,
            config: mesos::DrainConfig {
                max_grace_period: call.max_grace_period.map(|grace| mesos::DurationInfo {
                    nanoseconds: grace.seconds.saturating_mul(1_000_000_000),
                }),
                mark_gone: call.mark_gone,
            },
        }
    } else if let Some(call) = call.reserve_resources {
        let made = operation::Reserve {
            source: call.source,
            resources: call.resources,
        };
        operate(agent(&call.agent_id)?, operation::Type::Reserve, |it| {
            it.reserve = Some(made)
        })
    } else if let Some(call) = call.unreserve_resources {
        let made = operation::Unreserve {
            resources: call.resources,
        };
        operate(agent(&call.agent_id)?, operation::Type::Unreserve, |it| {
            it.unreserve = Some(made)
        })
    } else if let Some(call) = call.create_volumes {
        let made = operation::Create {
            volumes: call.volumes,
        };
        operate(agent(&call.agent_id)?, operation::Type::Create, |it| {
            it.create = Some(made)
        })
    } else if let Some(call) = call.destroy_volumes {
        let made = operation::Destroy {
            volumes: call.volumes,
        };
        operate(agent(&call.agent_id)?, operation::Type::Destroy, |it| {
            it.destroy = Some(made)
        })
    } else if let Some(call) = call.update_weights {
        OperatorCall::UpdateWeights {
            weights: call.weight_infos,
        }
    } else if let Some(call) = call.update_quota {
        OperatorCall::UpdateQuota {
            configs: call.quota_configs,
            force: call.force.unwrap_or(false),
        }
    } else if let Some(call) = call.set_quota {
        OperatorCall::SetQuota {
            request: call.quota_request,
        }
    } else if let Some(call) = call.remove_quota {
        OperatorCall::RemoveQuota { role: call.role }
    } else if let Some(call) = call.update_maintenance_schedule {
        OperatorCall::UpdateMaintenanceSchedule {
            schedule: call.schedule,
        }
    } else if let Some(call) = call.start_maintenance {
        OperatorCall::StartMaintenance {
            machines: call.machines,
        }
    } else if let Some(call) = call.stop_maintenance {
        OperatorCall::StopMaintenance {
            machines: call.machines,
        }
    } else {
        return None;
    })
}

fn operate(
    agent: AgentId,
    kind: operation::Type,
    put: impl FnOnce(&mut Operation),
) -> OperatorCall {
    let mut operation = Operation {
        r#type: Some(kind as i32),
        ..Operation::default()
    };
    put(&mut operation);
    OperatorCall::Operate {
        agent,
        operation: Box::new(operation),
        principal: None,
    }
}
