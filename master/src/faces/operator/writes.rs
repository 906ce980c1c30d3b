//! The calls that change something, as what the core is asked. What concerns the cluster is judged by the core; here is only what
//! cannot be said to it: ids that can be nobody's, durations that no clock holds.

use http::StatusCode;
use tepui_master_core::OperatorCall;
use tepui_model::{AgentId, FrameworkId};
use tepui_proto::mesos::master::{Call, call};
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::{self, DrainConfig, DurationInfo};

/// Why a call does not even reach the core: status and sentence.
pub(crate) type Refusal = (StatusCode, String);

fn bad(why: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, why.into())
}

fn agent(id: &mesos::AgentId) -> Result<AgentId, Refusal> {
    AgentId::new(&id.value)
        .map_err(|_| bad(format!("No agent found with specified ID {}", id.value)))
}

/// The agent that two calls need though the schema does not.
fn needed(id: Option<&mesos::AgentId>, field: &str) -> Result<AgentId, Refusal> {
    id.map_or_else(
        || {
            Err(bad(format!(
                "Failed to validate master::Call: Expecting '{field}.agent_id' to be present"
            )))
        },
        agent,
    )
}

/// One operation of an operator on an agent.
pub(crate) fn operate(id: &mesos::AgentId, operation: Operation) -> Result<OperatorCall, Refusal> {
    Ok(operate_on(agent(id)?, operation))
}

fn operate_on(agent: AgentId, operation: Operation) -> OperatorCall {
    OperatorCall::Operate {
        agent,
        operation: Box::new(operation),
        principal: None,
    }
}

/// An operation of a type, without its content.
fn of(kind: operation::Type) -> Operation {
    Operation {
        r#type: Some(kind.into()),
        ..Operation::default()
    }
}

/// RESERVE of `resources`, which may be reserved otherwise (`source`) before.
pub(crate) fn reserve(source: Vec<mesos::Resource>, resources: Vec<mesos::Resource>) -> Operation {
    Operation {
        reserve: Some(operation::Reserve { source, resources }),
        ..of(operation::Type::Reserve)
    }
}

/// UNRESERVE
pub(crate) fn unreserve(resources: Vec<mesos::Resource>) -> Operation {
    Operation {
        unreserve: Some(operation::Unreserve { resources }),
        ..of(operation::Type::Unreserve)
    }
}

/// CREATE
pub(crate) fn create(volumes: Vec<mesos::Resource>) -> Operation {
    Operation {
        create: Some(operation::Create { volumes }),
        ..of(operation::Type::Create)
    }
}

/// DESTROY
pub(crate) fn destroy(volumes: Vec<mesos::Resource>) -> Operation {
    Operation {
        destroy: Some(operation::Destroy { volumes }),
        ..of(operation::Type::Destroy)
    }
}

/// What a call that changes something asks of the core; `None` if it changes nothing, or has not the field that its type needs.
pub(super) fn operator_call(call: Call) -> Option<Result<OperatorCall, Refusal>> {
    use call::Type as T;
    let asked = match call.r#type() {
        T::UpdateWeights => {
            let weights = call.update_weights?.weight_infos;
            Ok(OperatorCall::UpdateWeights { weights })
        }
        T::ReserveResources => {
            let call = call.reserve_resources?;
            operate(&call.agent_id, reserve(call.source, call.resources))
        }
        T::UnreserveResources => {
            let call = call.unreserve_resources?;
            operate(&call.agent_id, unreserve(call.resources))
        }
        T::CreateVolumes => {
            let call = call.create_volumes?;
            operate(&call.agent_id, create(call.volumes))
        }
        T::DestroyVolumes => {
            let call = call.destroy_volumes?;
            operate(&call.agent_id, destroy(call.volumes))
        }
        T::GrowVolume => {
            let call::GrowVolume {
                agent_id,
                volume,
                addition,
            } = *call.grow_volume?;
            let grow_volume = Some(operation::GrowVolume { volume, addition }.into());
            let operation = Operation {
                grow_volume,
                ..of(operation::Type::GrowVolume)
            };
            needed(agent_id.as_ref(), "grow_volume").map(|agent| operate_on(agent, operation))
        }
        T::ShrinkVolume => {
            let call::ShrinkVolume {
                agent_id,
                volume,
                subtract,
            } = *call.shrink_volume?;
            let shrink_volume = Some(operation::ShrinkVolume { volume, subtract }.into());
            let operation = Operation {
                shrink_volume,
                ..of(operation::Type::ShrinkVolume)
            };
            needed(agent_id.as_ref(), "shrink_volume").map(|agent| operate_on(agent, operation))
        }
        T::UpdateMaintenanceSchedule => {
            let schedule = call.update_maintenance_schedule?.schedule;
            Ok(OperatorCall::UpdateMaintenanceSchedule { schedule })
        }
        T::StartMaintenance => {
            let machines = call.start_maintenance?.machines;
            Ok(OperatorCall::StartMaintenance { machines })
        }
        T::StopMaintenance => {
            let machines = call.stop_maintenance?.machines;
            Ok(OperatorCall::StopMaintenance { machines })
        }
        T::DrainAgent => drain(&call.drain_agent?),
        T::DeactivateAgent => agent(&call.deactivate_agent?.agent_id)
            .map(|agent| OperatorCall::DeactivateAgent { agent }),
        T::ReactivateAgent => agent(&call.reactivate_agent?.agent_id)
            .map(|agent| OperatorCall::ReactivateAgent { agent }),
        T::MarkAgentGone => agent(&call.mark_agent_gone?.agent_id)
            .map(|agent| OperatorCall::MarkAgentGone { agent })
            .map_err(|(_, why)| (StatusCode::NOT_FOUND, why)),
        T::UpdateQuota => {
            let call::UpdateQuota {
                force,
                quota_configs,
            } = call.update_quota?;
            Ok(OperatorCall::UpdateQuota {
                configs: quota_configs,
                force: force.unwrap_or_default(),
            })
        }
        T::SetQuota => {
            let request = call.set_quota?.quota_request;
            Ok(OperatorCall::SetQuota { request })
        }
        T::RemoveQuota => {
            let role = call.remove_quota?.role;
            Ok(OperatorCall::RemoveQuota { role })
        }
        T::Teardown => teardown(&call.teardown?.framework_id.value),
        _ => return None,
    };
    Some(asked)
}

/// TEARDOWN
pub(crate) fn teardown(id: &str) -> Result<OperatorCall, Refusal> {
    FrameworkId::new(id)
        .map(|framework| OperatorCall::Teardown { framework })
        .map_err(|_| bad(format!("No framework found with specified ID {id}")))
}

fn drain(call: &call::DrainAgent) -> Result<OperatorCall, Refusal> {
    let in_nanoseconds = |seconds: i64, nanos: i32| {
        let whole = seconds.checked_mul(1_000_000_000)?;
        whole.checked_add(nanos.into()).filter(|all| *all >= 0)
    };
    let max_grace_period = match &call.max_grace_period {
        None => None,
        Some(grace) => {
            let nanoseconds = in_nanoseconds(grace.seconds, grace.nanos).ok_or_else(|| {
                bad("Failed to validate master::Call: 'drain_agent.max_grace_period' must be neither negative nor longer than 292 years")
            })?;
            Some(DurationInfo { nanoseconds })
        }
    };
    Ok(OperatorCall::DrainAgent {
        agent: agent(&call.agent_id)?,
        config: DrainConfig {
            max_grace_period,
            mark_gone: Some(call.mark_gone.unwrap_or_default()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::calls::CALLS;
    use super::*;

    #[test]
    fn every_call_either_reads_or_is_asked_of_the_core() {
        let mut reads = Vec::new();
        for row in CALLS {
            let call: Call =
                tepui_proto::json::from_slice(row.example.as_bytes()).expect("an example");
            match operator_call(call) {
                None => reads.push(row.kind.as_str_name()),
                Some(Ok(_)) => {}
                Some(Err((_, why))) => panic!("{}: {why}", row.example),
            }
        }
        let changing: Vec<_> = reads
            .iter()
            .filter(|name| !name.starts_with("GET_"))
            .collect();
        assert_eq!(
            changing,
            [
                &"SET_LOGGING_LEVEL",
                &"LIST_FILES",
                &"READ_FILE",
                &"SUBSCRIBE"
            ]
        );
    }

    #[test]
    fn what_cannot_be_said_to_the_core_is_refused() {
        for (body, status, part) in [
            (
                r#"{"type":"GROW_VOLUME","grow_volume":{"volume":{"name":"disk","type":"SCALAR"},"addition":{"name":"disk","type":"SCALAR"}}}"#,
                400,
                "'grow_volume.agent_id'",
            ),
            (
                r#"{"type":"SHRINK_VOLUME","shrink_volume":{"volume":{"name":"disk","type":"SCALAR"},"subtract":{"value":1}}}"#,
                400,
                "'shrink_volume.agent_id'",
            ),
            (
                r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":{"seconds":-1}}}"#,
                400,
                "negative",
            ),
            (
                r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":{"seconds":9223372036854775807}}}"#,
                400,
                "292 years",
            ),
            (
                r#"{"type":"DEACTIVATE_AGENT","deactivate_agent":{"agent_id":{"value":""}}}"#,
                400,
                "No agent found",
            ),
            (
                r#"{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"a/b"}}}"#,
                404,
                "No agent found",
            ),
            (
                r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":""}}}"#,
                400,
                "No framework found",
            ),
        ] {
            let call: Call = tepui_proto::json::from_slice(body.as_bytes()).expect("JSON");
            let (found, why) = operator_call(call)
                .expect("it changes something")
                .expect_err(body);
            assert_eq!(found.as_u16(), status, "{body}");
            assert!(why.contains(part), "{body}: {why}");
        }
    }
}
