//! Operations on agents' resources: in ACCEPT, by operators, and what agents answer.

mod accepted;
mod feedback;
mod groups;
mod laws;
mod operators;
mod refused;
mod shared;

use tepui_master_core::{OperationKey, Reply};
use tepui_proto::mesos::{self, OperationState};
use tepui_proto::tepui::v1::{self, agent_message, master_message};

use crate::cluster::{Cluster, Scheduler, Slave, registration, uuid};

pub(super) const AGENT: &str = "cpus:4;mem:1000;disk:100";

/// An agent that can do everything.
pub(super) fn agent(cluster: &mut Cluster, resources: &str) -> Slave {
    agent_with(cluster, resources, &[1, 2, 3, 4, 5, 6, 8])
}

pub(super) fn agent_with(cluster: &mut Cluster, resources: &str, capabilities: &[i32]) -> Slave {
    let link = cluster.open_link();
    let mut register = registration(resources, None);
    register.capabilities = capabilities
        .iter()
        .map(|kind| mesos::agent_info::Capability {
            r#type: Some(*kind),
        })
        .collect();
    cluster.tell(link, agent_message::Message::Register(Box::new(register)));
    let id = cluster.registered_id(link).expect("it is let in");
    cluster.told(link);
    Slave { link, id }
}

/// A framework in role `r`, with principal `p`, that knows of shared volumes.
pub(super) fn framework(cluster: &mut Cluster, name: &str) -> Scheduler {
    framework_in(cluster, name, r#""r""#)
}

/// Roles as JSON strings.
pub(super) fn framework_in(cluster: &mut Cluster, name: &str, roles: &str) -> Scheduler {
    cluster.subscribe(&format!(
        r#"{{"user":"u","name":"{name}","principal":"p","failover_timeout":3600,"roles":[{roles}],"capabilities":[
            {{"type":"PARTITION_AWARE"}},{{"type":"MULTI_ROLE"}},{{"type":"RESERVATION_REFINEMENT"}},{{"type":"SHARED_RESOURCES"}}]}}"#
    ))
}

/// A reservation of principal `p`.
pub(super) fn dynamic(role: &str) -> String {
    format!(r#"{{"type":"DYNAMIC","role":"{role}","principal":"p"}}"#)
}

pub(super) fn scalar(name: &str, amount: &str, rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { "," };
    format!(r#"{{"name":"{name}","type":"SCALAR","scalar":{{"value":{amount}}}{comma}{rest}}}"#)
}

/// A resource that is reserved for `role`, or for each of several below one another.
pub(super) fn reserved(name: &str, amount: &str, roles: &[&str]) -> String {
    let stack: Vec<String> = roles.iter().map(|role| dynamic(role)).collect();
    scalar(
        name,
        amount,
        &format!(r#""reservations":[{}]"#, stack.join(",")),
    )
}

/// A persistent volume of role `r` and principal `p`.
pub(super) fn volume(id: &str, amount: &str) -> String {
    volume_with(id, amount, "")
}

pub(super) fn volume_with(id: &str, amount: &str, rest: &str) -> String {
    let stack = dynamic("r");
    scalar(
        "disk",
        amount,
        &format!(
            r#""reservations":[{stack}],"disk":{{"persistence":{{"id":"{id}","principal":"p"}},"volume":{{"container_path":"data","mode":"RW"}}}}{rest}"#
        ),
    )
}

pub(super) fn shared_volume(id: &str, amount: &str) -> String {
    volume_with(id, amount, r#","shared":{}"#)
}

pub(super) fn reserve(resources: &[String]) -> String {
    format!(
        r#"{{"type":"RESERVE","reserve":{{"resources":[{}]}}}}"#,
        resources.join(",")
    )
}

pub(super) fn unreserve(resources: &[String]) -> String {
    format!(
        r#"{{"type":"UNRESERVE","unreserve":{{"resources":[{}]}}}}"#,
        resources.join(",")
    )
}

pub(super) fn create(volumes: &[String]) -> String {
    format!(
        r#"{{"type":"CREATE","create":{{"volumes":[{}]}}}}"#,
        volumes.join(",")
    )
}

pub(super) fn destroy(volumes: &[String]) -> String {
    format!(
        r#"{{"type":"DESTROY","destroy":{{"volumes":[{}]}}}}"#,
        volumes.join(",")
    )
}

pub(super) fn grow(volume: &str, addition: &str) -> String {
    format!(r#"{{"type":"GROW_VOLUME","grow_volume":{{"volume":{volume},"addition":{addition}}}}}"#)
}

pub(super) fn shrink(volume: &str, subtract: &str) -> String {
    format!(
        r#"{{"type":"SHRINK_VOLUME","shrink_volume":{{"volume":{volume},"subtract":{{"value":{subtract}}}}}}}"#
    )
}

pub(super) fn launch(tasks: &[String]) -> String {
    format!(
        r#"{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}"#,
        tasks.join(",")
    )
}

/// The same operation, with an id.
pub(super) fn with_id(id: &str, operation: &str) -> String {
    format!(r#"{{"id":{{"value":"{id}"}},{}"#, &operation[1..])
}

/// A task with these resources, as JSON.
pub(super) fn task(id: &str, agent: &str, resources: &[String]) -> String {
    format!(
        r#"{{"name":"n","task_id":{{"value":"{id}"}},"agent_id":{{"value":"{agent}"}},"resources":[{}],"command":{{"value":"true"}}}}"#,
        resources.join(",")
    )
}

pub(super) fn accept(
    cluster: &mut Cluster,
    scheduler: &Scheduler,
    offers: &[&mesos::Offer],
    operations: &[String],
) {
    accept_with(cluster, scheduler, offers, operations, "");
}

pub(super) fn accept_with(
    cluster: &mut Cluster,
    scheduler: &Scheduler,
    offers: &[&mesos::Offer],
    operations: &[String],
    filters: &str,
) {
    let ids: Vec<String> = offers
        .iter()
        .map(|offer| format!(r#"{{"value":"{}"}}"#, offer.id.value))
        .collect();
    let call = format!(
        r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{}]{filters}}}}}"#,
        ids.join(","),
        operations.join(",")
    );
    assert_eq!(cluster.call(scheduler, &call), Reply::Accepted);
}

/// The operations that the agent was sent since the last look, in order.
pub(super) fn applied(cluster: &mut Cluster, slave: &Slave) -> Vec<v1::ApplyOperation> {
    let messages = cluster.to_agents.remove(&slave.link).unwrap_or_default();
    messages
        .into_iter()
        .filter_map(|message| match message {
            master_message::Message::ApplyOperation(apply) => Some(*apply),
            _ => None,
        })
        .collect()
}

/// The agent's answer to an operation. With a feedback id the status has a uuid, made of `number`.
pub(super) fn answer(
    cluster: &mut Cluster,
    slave: &Slave,
    apply: &v1::ApplyOperation,
    state: OperationState,
    number: u8,
) {
    let has_id = apply.info.id.is_some();
    let status = mesos::OperationStatus {
        operation_id: apply.info.id.clone(),
        state: state as i32,
        uuid: has_id.then(|| mesos::Uuid {
            value: uuid(number),
        }),
        agent_id: Some(mesos::AgentId {
            value: slave.id.clone(),
        }),
        ..mesos::OperationStatus::default()
    };
    let update = v1::OperationUpdate {
        framework_id: apply.framework_id.clone(),
        latest_status: status.clone(),
        status,
        operation_uuid: apply.operation_uuid.clone(),
    };
    cluster.tell(
        slave.link,
        agent_message::Message::OperationUpdate(Box::new(update)),
    );
}

/// The operations that the view has, as `TYPE STATE`, in order of their keys.
pub(super) fn listed(cluster: &Cluster) -> Vec<String> {
    use std::collections::BTreeMap;
    use tepui_master_core::Change;
    let mut view: BTreeMap<OperationKey, String> = BTreeMap::new();
    for change in &cluster.changes {
        match change {
            Change::OperationUpdated(snapshot) => {
                let operation = &snapshot.operation;
                let line = format!(
                    "{} {}",
                    operation.info.r#type().as_str_name(),
                    operation.latest_status.state().as_str_name()
                );
                view.insert(snapshot.key, line);
            }
            Change::OperationForgotten(key) => {
                assert!(view.remove(key).is_some(), "forgotten before it began");
            }
            _ => {}
        }
    }
    view.into_values().collect()
}

/// What the view says that an agent has, is used, and is offered.
pub(super) fn total(cluster: &Cluster, id: &str) -> String {
    use tepui_master_core::Change;
    cluster
        .changes
        .iter()
        .rev()
        .find_map(|change| match change {
            Change::AgentAdded(agent) | Change::AgentUpdated(agent) if agent.id.as_str() == id => {
                Some(agent.total.to_string())
            }
            _ => None,
        })
        .expect("the agent is known")
        .replace("; ", ";")
}
