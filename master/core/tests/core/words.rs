//! Short ways to write what goes in, and to read what came out.

use bytes::Bytes;
use tepui_model::{Resources, TaskState};
use tepui_proto::convert::resources;
use tepui_proto::mesos::scheduler::event::Type;
use tepui_proto::mesos::scheduler::{Call, Event};
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::mesos::{self, TaskStatus};
use tepui_proto::tepui::v1::{self, master_message};

use crate::cluster::{Scheduler, Slave};

pub(crate) fn uuid(number: u8) -> Bytes {
    let mut uuid = [number; 16];
    uuid[6] = 0x40;
    Bytes::copy_from_slice(&uuid)
}

pub(crate) fn call_from(json: &str) -> Call {
    tepui_proto::json::from_slice(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

pub(crate) fn resources_json(text: &str) -> String {
    let list = resources::to_wire(&text.parse().unwrap(), resources::Encoding::Stack);
    let items: Vec<String> = list
        .iter()
        .map(|item| String::from_utf8(tepui_proto::json::to_vec(item)).unwrap())
        .collect();
    format!("[{}]", items.join(","))
}

pub(crate) fn task_json(id: &str, agent: &str, resources: &str) -> String {
    task_json_with(id, agent, resources, r#""command":{"value":"true"}"#)
}

pub(crate) fn task_json_with(id: &str, agent: &str, resources: &str, rest: &str) -> String {
    let resources = resources_json(resources);
    format!(
        r#"{{"name":"n","task_id":{{"value":"{id}"}},"agent_id":{{"value":"{agent}"}},"resources":{resources},{rest}}}"#
    )
}

/// An ACCEPT that launches tasks, without its framework id.
pub(crate) fn accept_json(offers: &[&str], tasks: &[String]) -> String {
    let offers: Vec<String> = offers
        .iter()
        .map(|id| format!(r#"{{"value":"{id}"}}"#))
        .collect();
    format!(
        r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}]}}}}"#,
        offers.join(","),
        tasks.join(",")
    )
}

/// An operator's call from the JSON of one of its messages.
pub(crate) fn json<T: tepui_proto::json::Json + Default>(text: &str) -> T {
    tepui_proto::json::from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn registration(resources: &str, id: Option<&str>) -> v1::Register {
    v1::Register {
        protocol: 1,
        version: "0.1.0".to_owned(),
        incarnation: Bytes::from_static(b"incarnation"),
        agent: mesos::AgentInfo {
            hostname: "host".to_owned(),
            port: Some(5051),
            resources: resources::to_wire(&resources.parse().unwrap(), resources::Encoding::Stack),
            id: id.map(|id| mesos::AgentId {
                value: id.to_owned(),
            }),
            ..mesos::AgentInfo::default()
        },
        capabilities: [1, 2, 3, 7]
            .map(|kind| mesos::agent_info::Capability { r#type: Some(kind) })
            .to_vec(),
        ..v1::Register::default()
    }
}

/// A task as its agent tells of it.
pub(crate) fn running(
    slave: &Slave,
    scheduler: &Scheduler,
    id: &str,
    state: TaskState,
) -> mesos::Task {
    let role = "*".parse().unwrap();
    let held: Resources = "cpus:1;mem:100".parse().unwrap();
    mesos::Task {
        name: "n".to_owned(),
        task_id: mesos::TaskId {
            value: id.to_owned(),
        },
        framework_id: mesos::FrameworkId {
            value: scheduler.id.clone(),
        },
        agent_id: mesos::AgentId {
            value: slave.id.clone(),
        },
        state: state.number(),
        resources: resources::to_wire(&held.allocated_to(&role), resources::Encoding::Stack),
        ..mesos::Task::default()
    }
}

fn state_name(state: i32) -> &'static str {
    TaskState::from_number(state).map_or("?", TaskState::name)
}

fn status_line(status: &TaskStatus) -> String {
    let mut line = format!(
        "UPDATE {} {}",
        status.task_id.value,
        state_name(status.state)
    );
    if let Some(reason) = status
        .reason
        .and_then(|reason| Reason::try_from(reason).ok())
    {
        line.push(' ');
        line.push_str(reason.as_str_name());
    }
    if let Some(message) = &status.message {
        line.push_str(": ");
        line.push_str(message);
    }
    line
}

pub(crate) fn offered(offer: &mesos::Offer) -> String {
    let mut resources = resources::from_wire(&offer.resources).unwrap();
    resources.unallocate();
    resources.to_string().replace("; ", ";")
}

pub(crate) fn line(event: &Event) -> String {
    match event.r#type() {
        Type::Subscribed => "SUBSCRIBED".to_owned(),
        Type::Offers => {
            let offers = &event.offers.as_ref().unwrap().offers;
            let each: Vec<String> = offers
                .iter()
                .map(|offer| format!("{} {}", offer.agent_id.value, offered(offer)))
                .collect();
            format!("OFFERS {}", each.join(" | "))
        }
        Type::Rescind => format!("RESCIND {}", event.rescind.as_ref().unwrap().offer_id.value),
        Type::InverseOffers => {
            let offers = &event.inverse_offers.as_ref().unwrap().inverse_offers;
            let each: Vec<&str> = offers
                .iter()
                .map(|offer| offer.agent_id.as_ref().unwrap().value.as_str())
                .collect();
            format!("INVERSE_OFFERS {}", each.join(" | "))
        }
        Type::RescindInverseOffer => {
            let rescind = event.rescind_inverse_offer.as_ref().unwrap();
            format!("RESCIND_INVERSE_OFFER {}", rescind.inverse_offer_id.value)
        }
        Type::Update => status_line(&event.update.as_ref().unwrap().status),
        Type::Failure => {
            let failure = event.failure.as_ref().unwrap();
            let executor = failure
                .executor_id
                .as_ref()
                .map_or("", |id| id.value.as_str());
            format!(
                "FAILURE {} {executor}",
                failure.agent_id.as_ref().unwrap().value
            )
            .trim_end()
            .to_owned()
        }
        Type::Error => format!("ERROR {}", event.error.as_ref().unwrap().message),
        Type::UpdateOperationStatus => {
            let status = &event.update_operation_status.as_ref().unwrap().status;
            format!(
                "OPERATION {} {}: {}",
                status.operation_id.as_ref().unwrap().value,
                mesos::OperationState::try_from(status.state)
                    .unwrap()
                    .as_str_name(),
                status.message.as_deref().unwrap_or_default()
            )
        }
        other => other.as_str_name().to_owned(),
    }
}

pub(crate) fn message_line(message: &master_message::Message) -> String {
    use master_message::Message;
    match message {
        Message::Registered(registered) => format!("Registered {}", registered.agent_id.value),
        Message::Refused(refused) => format!(
            "Refused {}: {}",
            if refused.permanent { "for ever" } else { "now" },
            refused.reason
        ),
        Message::Framework(framework) => format!("Framework {}", framework.info.name),
        Message::RunTask(run) => format!("RunTask {}", run.task.task_id.value),
        Message::KillTask(kill) => {
            let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
            let grace =
                grace.map(|grace| format!(" within {} s", grace.nanoseconds / 1_000_000_000));
            format!(
                "KillTask {}{}",
                kill.task_id.value,
                grace.unwrap_or_default()
            )
        }
        Message::Drain(drain) => {
            let grace = drain.config.max_grace_period;
            let grace =
                grace.map(|grace| format!(" within {} s", grace.nanoseconds / 1_000_000_000));
            let gone = if drain.config.mark_gone() {
                ", then gone"
            } else {
                ""
            };
            format!("Drain{}{gone}", grace.unwrap_or_default())
        }
        Message::Shutdown(shutdown) => format!("Shutdown: {}", shutdown.reason),
        Message::AcknowledgeTask(acknowledge) => {
            format!("AcknowledgeTask {}", acknowledge.task_id.value)
        }
        Message::FrameworkMessage(message) => {
            format!("FrameworkMessage {}", message.executor_id.value)
        }
        Message::ShutdownExecutor(shutdown) => {
            format!("ShutdownExecutor {}", shutdown.executor_id.value)
        }
        Message::ShutdownFramework(shutdown) => {
            format!("ShutdownFramework {}", shutdown.framework_id.value)
        }
        Message::ReconcileTasks(reconcile) => {
            let tasks: Vec<&str> = reconcile
                .tasks
                .iter()
                .map(|task| task.task_id.value.as_str())
                .collect();
            format!("ReconcileTasks {}", tasks.join(" "))
        }
        Message::RunTaskGroup(run) => {
            let tasks: Vec<&str> = run
                .group
                .tasks
                .iter()
                .map(|task| task.task_id.value.as_str())
                .collect();
            format!(
                "RunTaskGroup {}: {}",
                run.executor.executor_id.value,
                tasks.join(" ")
            )
        }
        Message::ApplyOperation(apply) => {
            let id = apply.info.id.as_ref().map_or("", |id| id.value.as_str());
            format!("ApplyOperation {} {id}", apply.info.r#type().as_str_name())
                .trim_end()
                .to_owned()
        }
        Message::AcknowledgeOperation(_) => "AcknowledgeOperation".to_owned(),
        other => format!("{other:?}"),
    }
}
