//! `tepui events`: what happens, as it happens.

use super::{CommandError, Context, items, text};
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
        if command.of_master {
            print!("{}", changes(&document));
            continue;
        }
        let when = text(&document, "timestamp");
        println!("{when:<24}  {:<32}  {}", event.name, summary(&document));
    }
    Err(CommandError::Failed(format!(
        "{url} ended the event stream"
    )))
}

/// A line for each object that the master says has changed.
fn changes(document: &serde_json::Value) -> String {
    let standing = |one: &serde_json::Value| {
        if one["connected"] == true {
            "connected"
        } else {
            "disconnected"
        }
    };
    let agents = items(document, "agents").iter().map(|one| {
        (
            "agent",
            text(one, "id"),
            format!("{} {}", text(one, "hostname"), standing(one)),
        )
    });
    let frameworks = items(document, "frameworks").iter().map(|one| {
        (
            "framework",
            text(one, "id"),
            format!("{} {}", text(one, "name"), standing(one)),
        )
    });
    let tasks = items(document, "tasks").iter().map(|one| {
        (
            "task",
            text(one, "id"),
            format!("{} {}", text(one, "state"), text(one, "message")),
        )
    });
    let gone = [("agent", "agents_gone"), ("framework", "frameworks_gone")]
        .into_iter()
        .flat_map(|(kind, key)| {
            items(document, key)
                .iter()
                .filter_map(move |id| Some((kind, id.as_str()?, "gone".to_owned())))
        });
    agents
        .chain(frameworks)
        .chain(tasks)
        .chain(gone)
        .map(|(kind, id, what)| format!("{kind:<10} {id:<64} {}\n", what.trim_end()))
        .collect()
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
    fn every_change_of_the_master_is_a_line() {
        let event = json!({"reset": true, "number": 1, "agents": [{"id": "m-S0", "hostname": "h", "connected": true}],
            "tasks": [{"key": 1, "id": "t", "state": "TASK_FAILED", "message": "no luck"}], "frameworks_gone": ["m-0000"]});
        let lines = changes(&event);
        let lines: Vec<Vec<&str>> = lines
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [
            vec!["agent", "m-S0", "h", "connected"],
            vec!["task", "t", "TASK_FAILED", "no", "luck"],
            vec!["framework", "m-0000", "gone"],
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_summary_names_what_the_event_is_about() {
        let event = json!({"eventType": "status_update_event", "appId": "/hello", "taskId": "t", "taskStatus": "TASK_RUNNING", "message": ""});
        assert_eq!(
            summary(&event),
            "appId=/hello taskId=t taskStatus=TASK_RUNNING"
        );
    }
}
