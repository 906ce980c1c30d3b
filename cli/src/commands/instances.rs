//! `tepui app instances`: every instance of an app or pod, also those that wait.

use serde_json::Value;

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

pub(crate) async fn run(context: &Context, id: &str) -> Result<(), CommandError> {
    let path = format!("/v3/apps/{}/instances", id.trim_matches('/'));
    let answer = context.cluster.marathon_get(&path).await?;
    if context.json {
        print_json(&answer["instances"]);
    } else {
        print!("{}", table(&answer).render());
    }
    Ok(())
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new(&[
        "INSTANCE", "ORDINAL", "STATE", "READY", "HOST", "VERSION", "SINCE",
    ]);
    for instance in items(answer, "instances") {
        let ordinal = &instance["ordinal"];
        // What is not wanted any more says so, whatever its task does.
        let state = match text(instance, "goal") {
            "Running" => text(instance, "condition").to_lowercase(),
            "Stopped" if text(instance, "condition") != "Running" => "stopped".to_owned(),
            _ => "ending".to_owned(),
        };
        let old = if instance["current"] == false {
            " (old)"
        } else {
            ""
        };
        table.row([
            text(instance, "id").to_owned(),
            if ordinal.is_null() {
                "-".to_owned()
            } else {
                number(ordinal)
            },
            state,
            if instance["ready"] == true {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            text(instance, "host").to_owned(),
            format!("{}{old}", text(instance, "version")),
            text(instance, "since").to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instances_are_listed_with_ordinals_and_what_becomes_of_them() {
        let answer = json!({ "instances": [
            { "id": "a", "ordinal": 0, "goal": "Running", "condition": "Running", "ready": true, "host": "h", "version": "v", "since": "s", "current": true },
            { "id": "b", "ordinal": null, "goal": "Stopped", "condition": "Killed", "ready": false, "host": "h", "version": "v", "since": "s", "current": false },
            { "id": "c", "ordinal": 1, "goal": "Decommissioned", "condition": "Running", "ready": true, "host": "h", "version": "v", "since": "s", "current": true },
            { "id": "d", "ordinal": 1, "goal": "Running", "condition": "Scheduled", "ready": false, "host": null, "version": "v", "since": "s", "current": true },
        ] });
        let shown = table(&answer).render();
        let lines = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "INSTANCE ORDINAL STATE READY HOST VERSION SINCE",
                "a 0 running yes h v s",
                "b - stopped no h v (old) s",
                "c 1 ending yes h v s",
                "d 1 scheduled no v s",
            ]
        );
    }
}
