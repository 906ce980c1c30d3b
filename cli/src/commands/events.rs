//! `tepui events`: what happens, as it happens.

use super::{CommandError, Context, text};
use crate::client::Events;

/// Follow the cluster's events until interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct EventsCommand {
    /// The master's own events (agents, frameworks, tasks) instead of Marathon's.
    #[arg(long)]
    of_master: bool,
    /// Only Marathon events of this type; may be repeated.
    #[arg(long = "type", value_name = "EVENT_TYPE", conflicts_with = "of_master")]
    types: Vec<String>,
}

pub(crate) async fn run(context: &Context, command: EventsCommand) -> Result<(), CommandError> {
    let cluster = &context.cluster;
    let url = if command.of_master {
        format!("{}/tepui/v1/events", cluster.master)
    } else {
        let query: Vec<String> = command
            .types
            .iter()
            .map(|name| format!("event_type={name}"))
            .collect();
        format!("{}/v2/events?{}", cluster.marathon, query.join("&"))
    };
    let mut events = Events::open(cluster.client(), &url).await?;
    while let Some(event) = events.next().await? {
        if context.json {
            println!("{}", event.data);
            continue;
        }
        let document = serde_json::from_str::<serde_json::Value>(&event.data).unwrap_or_default();
        let when = text(&document, "timestamp");
        println!("{when:<24}  {:<32}  {}", event.name, summary(&document));
    }
    Err(CommandError::Failed(format!(
        "{url} ended the event stream"
    )))
}

/// The few words of an event that say what it is about.
fn summary(document: &serde_json::Value) -> String {
    [
        "appId",
        "id",
        "taskId",
        "instanceId",
        "taskStatus",
        "condition",
        "alive",
        "message",
        "reason",
    ]
    .iter()
    .filter_map(|key| match &document[*key] {
        serde_json::Value::String(value) if !value.is_empty() => Some(format!("{key}={value}")),
        serde_json::Value::Bool(value) => Some(format!("{key}={value}")),
        _ => None,
    })
    .collect::<Vec<_>>()
    .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_summary_names_what_the_event_is_about() {
        let event = json!({"eventType": "status_update_event", "appId": "/hello", "taskId": "t", "taskStatus": "TASK_RUNNING", "message": ""});
        assert_eq!(
            summary(&event),
            "appId=/hello taskId=t taskStatus=TASK_RUNNING"
        );
    }
}
