//! `tepui app policy` and `tepui app rebalance`: what goes on with an app over time, and moving its instances now.

use std::{path::PathBuf, time::Duration};

use http::Method;
use serde_json::{Value, json};

use super::{CommandError, Context, items, print_json, text};
use crate::table::Table;

/// How often it is asked how far a rebalancing is.
const PAUSE: Duration = Duration::from_millis(500);

/// A policy to set; without one, the present policy is shown.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PolicyArgs {
    /// The id of the app, or the pod.
    id: String,
    /// The whole policy in JSON: `autoscaling`, `restarts`, `rebalance`, `disruptionBudget`; `-` reads standard input.
    file: Option<PathBuf>,
    /// Take the policy away.
    #[arg(long, conflicts_with = "file")]
    off: bool,
}

/// Of which app, and how.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct RebalanceArgs {
    /// The id of the app, or the pod.
    id: String,
    /// Only show what would be moved.
    #[arg(long)]
    dry_run: bool,
    /// Call off what was asked for; a move that has begun is finished.
    #[arg(long, conflicts_with_all = ["dry_run", "no_wait"])]
    cancel: bool,
    /// Return as soon as it is asked for.
    #[arg(long)]
    no_wait: bool,
}

/// The path of a part of an app under `/v3`.
fn path(id: &str, part: &str) -> String {
    format!("/v3/apps/{}/{part}", id.trim_matches('/'))
}

pub(crate) async fn policy(context: &Context, args: &PolicyArgs) -> Result<(), CommandError> {
    let path = path(&args.id, "policy");
    let cluster = &context.cluster;
    let answer = match (&args.file, args.off) {
        (Some(file), _) => {
            let policy = read(file)?;
            cluster
                .marathon_send(Method::PUT, &path, Some(&policy))
                .await?
        }
        (None, true) => cluster.marathon_send(Method::DELETE, &path, None).await?,
        (None, false) => cluster.marathon_get(&path).await?,
    };
    if context.json {
        print_json(&answer);
    } else {
        println!("{}", shown(&answer));
    }
    Ok(())
}

fn read(file: &std::path::Path) -> Result<Value, CommandError> {
    let bad = |reason: String| CommandError::Input {
        path: file.display().to_string(),
        reason,
    };
    let text = if file == std::path::Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| bad(format!("cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| bad(format!("is not valid JSON: {error}")))
}

/// A policy as it is set, and what follows from it.
fn shown(answer: &Value) -> String {
    let policy = &answer["policy"];
    if policy.as_object().is_none_or(serde_json::Map::is_empty) {
        return format!("{} has no policy", text(answer, "id"));
    }
    let pretty = serde_json::to_string_pretty(policy).unwrap_or_default();
    let mut shown = format!("{}\n{pretty}", text(answer, "id"));
    for line in told(&answer["upkeep"]) {
        shown += &format!("\n- {line}");
    }
    shown
}

/// What goes on with an app, and comes next, line by line.
pub(crate) fn told(upkeep: &Value) -> impl Iterator<Item = &str> {
    items(upkeep, "told").iter().filter_map(Value::as_str)
}

pub(crate) async fn rebalance(context: &Context, args: &RebalanceArgs) -> Result<(), CommandError> {
    let path = path(&args.id, "rebalance");
    let ask = format!("{path}?dryRun={}", args.dry_run);
    let cluster = &context.cluster;
    if args.cancel {
        let answer = cluster.marathon_send(Method::DELETE, &path, None).await?;
        if context.json {
            print_json(&answer);
        } else {
            println!("called off; a move that has begun is finished");
        }
        return Ok(());
    }
    let mut answer = cluster
        .marathon_send(Method::POST, &ask, Some(&json!({})))
        .await?;
    let mut last = String::new();
    while !args.no_wait && !answer["asked"].is_null() {
        let line = progress(&answer);
        if !context.json && !line.is_empty() && line != last {
            println!("  {line}");
            last = line;
        }
        tokio::time::sleep(PAUSE).await;
        answer = cluster.marathon_get(&path).await?;
    }
    if context.json {
        print_json(&answer);
        return Ok(());
    }
    if args.no_wait {
        println!(
            "asked for; `tepui app explain {}` tells how far it is",
            args.id
        );
        return Ok(());
    }
    if answer["plan"].is_null() {
        return Err(CommandError::Failed(
            "another Marathon leads, which knows nothing of this plan; ask again".to_owned(),
        ));
    }
    print!("{}", concluded(&answer["plan"]));
    Ok(())
}

/// How far it is.
fn progress(answer: &Value) -> String {
    let one = &answer["move"];
    match answer["held"].as_str() {
        _ if !one.is_null() => format!(
            "moves {} from {} to {}",
            text(one, "instance"),
            text(one, "fromHost"),
            text(one, "toHost")
        ),
        Some(held) => format!("waits: {held}"),
        None if answer["looking"] == true => "looks at offers".to_owned(),
        None => String::new(),
    }
}

/// What would be moved, and how it is spread.
fn concluded(plan: &Value) -> String {
    let moves = items(plan, "moves");
    let mut shown = String::new();
    if !moves.is_empty() {
        let mut table = Table::new(&["INSTANCE", "FROM", "TO"]);
        for one in moves {
            table.row(["instance", "fromHost", "toHost"].map(|key| text(one, key).to_owned()));
        }
        shown += &table.render();
    }
    shown += text(plan, "told");
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_shown_with_what_follows_from_it() {
        let none = json!({ "id": "/a", "policy": {}, "upkeep": null });
        assert_eq!(shown(&none), "/a has no policy");
        let answer = json!({ "id": "/a", "policy": { "restarts": { "maxAgeSeconds": 60 } },
            "upkeep": { "told": ["next restart at 2026-01-01T00:00:00.000Z"] } });
        assert_eq!(
            shown(&answer),
            "/a\n{\n  \"restarts\": {\n    \"maxAgeSeconds\": 60\n  }\n}\n- next restart at 2026-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn a_rebalancing_tells_how_far_it_is_and_what_would_be_moved() {
        let one = json!({ "instance": "a.instance-1", "fromHost": "h1", "toHost": "h2" });
        for (answer, want) in [
            (
                json!({ "asked": "once", "looking": true, "move": null, "held": null }),
                "looks at offers",
            ),
            (
                json!({ "asked": "once", "looking": false, "move": one, "held": "x" }),
                "moves a.instance-1 from h1 to h2",
            ),
            (
                json!({ "asked": "once", "looking": false, "move": null, "held": "deployment d holds the app" }),
                "waits: deployment d holds the app",
            ),
            (
                json!({ "asked": "once", "looking": false, "move": null, "held": null }),
                "",
            ),
        ] {
            assert_eq!(progress(&answer), want);
        }
        let plan = json!({ "moves": [one], "told": "spread: after that hostname has 1 to 2" });
        assert_eq!(
            concluded(&plan),
            "INSTANCE      FROM  TO\na.instance-1  h1    h2\nspread: after that hostname has 1 to 2\n"
        );
        let even = json!({ "moves": [], "told": "spread: hostname has 1 to 2" });
        assert_eq!(concluded(&even), "spread: hostname has 1 to 2\n");
    }
}
