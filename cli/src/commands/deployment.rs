//! `tepui deployment …` and `tepui queue …`: what Marathon is about to do, and what waits.

use http::Method;
use serde_json::Value;

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

/// Commands on deployments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List the running deployments.
    List,
    /// Go on with a deployment that tries a new version (`tepui app deploy --canary`, `--blue-green`).
    Promote {
        /// The deployment's id.
        id: String,
        /// Also if not all instances that are tried are ready.
        #[arg(long)]
        force: bool,
    },
    /// Cancel a deployment: a new one brings back what was before it.
    Cancel {
        /// The deployment's id.
        id: String,
        /// Only stop it; what was changed stays changed.
        #[arg(long)]
        force: bool,
    },
}

/// Commands on the launch queue.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum QueueCommand {
    /// List the apps with instances that wait for offers or for their back-off.
    List,
    /// End the back-off of an app.
    Reset {
        /// The app's id.
        id: String,
    },
}

pub(crate) async fn run(context: &Context, command: DeploymentCommand) -> Result<(), CommandError> {
    match command {
        DeploymentCommand::List => {
            let deployments = context.cluster.marathon_get("/v2/deployments").await?;
            if context.json {
                print_json(&deployments);
            } else {
                print!("{}", deployments_table(&deployments).render());
            }
        }
        DeploymentCommand::Promote { id, force } => {
            super::trial::promote(context, &id, force).await?;
        }
        DeploymentCommand::Cancel { id, force } => {
            let path = format!("/v2/deployments/{id}?force={force}");
            let sent = context.cluster.marathon_send(Method::DELETE, &path, None);
            let answer = sent.await?;
            if context.json {
                print_json(&answer);
            } else if force {
                println!("deployment {id} is stopped; what it changed stays");
            } else {
                println!("deployment {} undoes {id}", text(&answer, "deploymentId"));
            }
        }
    }
    Ok(())
}

pub(crate) async fn run_queue(
    context: &Context,
    command: QueueCommand,
) -> Result<(), CommandError> {
    match command {
        QueueCommand::List => {
            let queue = context.cluster.marathon_get("/v2/queue").await?;
            if context.json {
                print_json(&queue["queue"]);
            } else {
                print!("{}", queue_table(&queue).render());
            }
        }
        QueueCommand::Reset { id } => {
            let path = format!("/v2/queue/{}/delay", id.trim_matches('/'));
            let sent = context.cluster.marathon_send(Method::DELETE, &path, None);
            sent.await?;
            println!("{id} waits no longer");
        }
    }
    Ok(())
}

fn deployments_table(deployments: &Value) -> Table {
    let mut table = Table::new(&["ID", "SINCE", "STEP", "APPS", "NOW"]);
    for deployment in deployments.as_array().into_iter().flatten() {
        let apps: Vec<&str> = items(deployment, "affectedApps")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let shown = match apps.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let mut actions: Vec<&str> = items(deployment, "currentActions")
            .iter()
            .map(|action| text(action, "action"))
            .collect();
        actions.sort_unstable();
        actions.dedup();
        table.row([
            text(deployment, "id").to_owned(),
            text(deployment, "version").to_owned(),
            format!(
                "{} of {}",
                number(&deployment["currentStep"]),
                number(&deployment["totalSteps"])
            ),
            shown,
            actions.join(", "),
        ]);
    }
    table
}

fn queue_table(queue: &Value) -> Table {
    let mut table = Table::new(&[
        "APP",
        "WAITING",
        "BACK-OFF (s)",
        "OFFERS SEEN",
        "REFUSED FOR",
    ]);
    for item in items(queue, "queue") {
        let summary = &item["processedOffersSummary"];
        let refused = items(summary, "rejectSummaryLastOffers")
            .iter()
            .filter(|entry| entry["declined"].as_u64().unwrap_or(0) > 0)
            .map(|entry| format!("{} ({})", text(entry, "reason"), number(&entry["declined"])));
        table.row([
            text(&item["app"], "id").to_owned(),
            number(&item["count"]),
            number(&item["delay"]["timeLeftSeconds"]),
            number(&summary["processedOffersCount"]),
            refused.collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deployments_and_the_queue_are_listed() {
        let deployments = json!([{ "id": "d", "version": "v", "currentStep": 1, "totalSteps": 2, "affectedApps": ["/a", "/b"],
            "currentActions": [{ "action": "ScaleApplication" }, { "action": "ScaleApplication" }] }]);
        let shown = deployments_table(&deployments).render();
        let line = shown.lines().nth(1).expect("a row");
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "d v 1 of 2 /a and 1 more ScaleApplication"
        );
        let queue = json!({ "queue": [{ "app": { "id": "/a" }, "count": 3, "delay": { "timeLeftSeconds": 7, "overdue": false },
            "processedOffersSummary": { "processedOffersCount": 5, "rejectSummaryLastOffers": [
                { "reason": "InsufficientCpus", "declined": 2, "processed": 5 }, { "reason": "InsufficientMemory", "declined": 0, "processed": 3 } ] } }] });
        let shown = queue_table(&queue).render();
        let line = shown.lines().nth(1).expect("a row");
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "/a 3 7 5 InsufficientCpus (2)"
        );
    }
}
