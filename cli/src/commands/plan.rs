//! `tepui app plan`, `pod plan` and `group plan`: what a deploy would change, before it is done.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::{
    CommandError, Context, app::read_definitions, items, number, print_json, text,
    trial::TrialOptions,
};

/// The exit code of a plan that would change something, if it was asked for.
const CHANGES: u8 = 2;
/// Longer values are cut, in characters.
const MAX_VALUE: usize = 120;

/// Shows what deploying a file would change.
///
/// # Errors
/// The file or its definitions are refused; or, if `detailed` codes are wanted, there are changes.
pub(crate) async fn run(
    context: &Context,
    file: &Path,
    detailed: bool,
    trial: &TrialOptions,
) -> Result<(), CommandError> {
    let mut definitions = read_definitions(file)?;
    let document = match definitions.len() {
        1 => definitions.swap_remove(0),
        _ => Value::Array(definitions),
    };
    of(context, &document, detailed, trial).await
}

/// As [`run`], of a document.
pub(crate) async fn of(
    context: &Context,
    document: &Value,
    detailed: bool,
    trial: &TrialOptions,
) -> Result<(), CommandError> {
    let path = format!("/v3/plan?partialUpdate=false{}", trial.query());
    let sent = context
        .cluster
        .marathon_send(Method::POST, &path, Some(document));
    let plan = sent.await?;
    if context.json {
        print_json(&plan);
    } else {
        print!("{}", shown(&plan));
    }
    if detailed && plan["changes"] == true {
        return Err(CommandError::Exit(CHANGES));
    }
    Ok(())
}

/// The plan as people read it.
pub(crate) fn shown(plan: &Value) -> String {
    let mut lines = Vec::new();
    for group in items(plan, "groups") {
        let mark = mark(text(group, "change"));
        lines.push(format!("{mark} group {}", text(group, "id")));
    }
    for app in items(plan, "apps") {
        lines.push(format!(
            "{} {} {}: {}",
            mark(text(app, "change")),
            if app["pod"] == true { "pod" } else { "app" },
            text(app, "id"),
            summary(app)
        ));
        if text(app, "change") == "create" {
            lines.extend(created(&app["definition"]));
        }
        lines.extend(super::trial::planned(&app["trial"]));
        lines.extend(items(app, "diff").iter().map(difference));
    }
    if lines.is_empty() {
        return "Nothing would change.\n".to_owned();
    }
    for (at, step) in items(plan, "steps").iter().enumerate() {
        let actions = items(step, "actions").iter();
        let actions: Vec<String> = actions
            .map(|action| {
                let of = ["app", "pod"].map(|kind| text(action, kind)).concat();
                format!("{} {of}", verb(text(action, "action")))
            })
            .collect();
        lines.push(format!("step {}: {}", at + 1, actions.join(", ")));
    }
    for conflict in items(plan, "conflicts") {
        lines.push(format!(
            "! {} is locked by deployment {}; --force takes it over",
            text(conflict, "app"),
            text(conflict, "deployment")
        ));
    }
    lines.push("Nothing has been changed.".to_owned());
    lines.join("\n") + "\n"
}

fn mark(change: &str) -> &'static str {
    match change {
        "create" => "+",
        "destroy" => "-",
        _ => "~",
    }
}

fn verb(action: &str) -> &str {
    match action {
        "StartApplication" | "StartPod" => "create",
        "StopApplication" | "StopPod" => "stop",
        "ScaleApplication" | "ScalePod" => "scale",
        "RestartApplication" | "RestartPod" => "replace",
        other => other,
    }
}

fn summary(app: &Value) -> String {
    let count = |key: &str| number(&app[key]);
    let instances = |number: &Value| match number.as_u64() {
        Some(1) => "1 instance".to_owned(),
        other => format!("{} instances", other.unwrap_or_default()),
    };
    let daemon = app["daemon"] == true;
    match text(app, "change") {
        "create" if daemon => "new, one instance on every agent that matches".to_owned(),
        "restart" if daemon => format!(
            "{} replaced, agent by agent, never fewer than {} agents served nor more than {} instances running",
            instances(&app["kills"]),
            count("minimumHealthy"),
            count("maximumRunning")
        ),
        "scale" if daemon && app["instances"]["new"] == 0 => {
            format!("switched off, {} killed", instances(&app["kills"]))
        }
        "scale" if daemon => "one instance on every agent that matches".to_owned(),
        "create" => format!("new, {}", instances(&app["launches"])),
        "destroy" => format!("destroyed, {} killed", instances(&app["kills"])),
        "restart" => format!(
            "{} replaced by {}, never fewer than {} healthy nor more than {} running",
            instances(&app["kills"]),
            count("launches"),
            count("minimumHealthy"),
            count("maximumRunning")
        ),
        "scale" => format!(
            "from {} to {} instances",
            number(&app["instances"]["old"]),
            number(&app["instances"]["new"])
        ),
        _ => "no instance is touched".to_owned(),
    }
}

/// What is worth knowing of a new app; the rest is in its file, or a default.
fn created(definition: &Value) -> Vec<String> {
    let containers = items(definition, "containers").iter().enumerate();
    let containers =
        containers.map(|(at, one)| format!("    + /containers/{at}/name: {}", value(&one["name"])));
    let known = ["cmd", "args", "cpus", "mem", "gpus"]
        .into_iter()
        .filter(|key| !definition[*key].is_null() && definition[*key] != 0)
        .map(|key| format!("    + /{key}: {}", value(&definition[key])));
    known.chain(containers).collect()
}

fn difference(difference: &Value) -> String {
    let path = text(difference, "path");
    match (difference.get("old"), difference.get("new")) {
        (Some(old), Some(new)) => format!("    ~ {path}: {} -> {}", value(old), value(new)),
        (Some(old), None) => format!("    - {path}: {}", value(old)),
        (None, new) => format!("    + {path}: {}", value(new.unwrap_or(&Value::Null))),
    }
}

fn value(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    let cut: String = text.chars().take(MAX_VALUE).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_reads_as_a_diff() {
        let plan = json!({
            "changes": true,
            "groups": [{ "id": "/g", "change": "create" }],
            "apps": [
                { "id": "/g/new", "change": "create", "launches": 1, "definition": { "cmd": "sleep 1", "cpus": 0.1, "gpus": 0 } },
                { "id": "/old", "change": "destroy", "kills": 2 },
                { "id": "/web", "change": "restart", "kills": 3, "launches": 3, "minimumHealthy": 3, "maximumRunning": 6,
                  "instances": { "old": 3, "new": 3 },
                  "diff": [
                      { "path": "/cmd", "old": "a", "new": "b" },
                      { "path": "/env/X", "new": "1" },
                      { "path": "/labels/y", "old": "2" },
                  ] },
                { "id": "/pod", "pod": true, "change": "create", "launches": 2, "definition": { "containers": [{ "name": "c" }] } },
                { "id": "/z", "change": "scale", "instances": { "old": 1, "new": 4 }, "diff": [] },
            ],
            "steps": [{ "actions": [{ "action": "StopApplication", "app": "/old" }] },
                      { "actions": [{ "action": "RestartApplication", "app": "/web" }, { "action": "ScaleApplication", "app": "/z" }, { "action": "StartPod", "pod": "/pod" }] }],
            "conflicts": [{ "app": "/z", "deployment": "d-1" }],
        });
        assert_eq!(
            shown(&plan),
            "+ group /g\n\
             + app /g/new: new, 1 instance\n    + /cmd: \"sleep 1\"\n    + /cpus: 0.1\n\
             - app /old: destroyed, 2 instances killed\n\
             ~ app /web: 3 instances replaced by 3, never fewer than 3 healthy nor more than 6 running\n    \
             ~ /cmd: \"a\" -> \"b\"\n    + /env/X: \"1\"\n    - /labels/y: \"2\"\n\
             + pod /pod: new, 2 instances\n    + /containers/0/name: \"c\"\n\
             ~ app /z: from 1 to 4 instances\n\
             step 1: stop /old\n\
             step 2: replace /web, scale /z, create /pod\n\
             ! /z is locked by deployment d-1; --force takes it over\n\
             Nothing has been changed.\n"
        );
        let daemon = json!({ "id": "/d", "daemon": true, "change": "restart", "kills": 3, "launches": 3, "minimumHealthy": 2, "maximumRunning": 4 });
        assert_eq!(
            summary(&daemon),
            "3 instances replaced, agent by agent, never fewer than 2 agents served nor more than 4 instances running"
        );
        let nothing =
            json!({ "changes": false, "apps": [], "groups": [], "steps": [], "conflicts": [] });
        assert_eq!(shown(&nothing), "Nothing would change.\n");
    }
}
