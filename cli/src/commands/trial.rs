//! Trying a new version before it goes on: the options of `tepui app deploy` and `tepui app plan`, and `tepui deployment promote`.

use http::Method;
use serde_json::Value;

use super::{CommandError, Context, items, print_json};

/// How a new version is tried.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TrialOptions {
    /// First start N instances of the new version (or P%) beside the old ones, and wait for `tepui deployment promote`.
    #[arg(long, value_name = "N|P%", conflicts_with = "blue_green")]
    canary: Option<String>,
    /// First start all instances of the new version beside the old ones, which all end at `tepui deployment promote`.
    #[arg(long)]
    blue_green: bool,
    /// Promote by itself when what is tried was ready for so many seconds without a break.
    #[arg(long, value_name = "SECONDS")]
    promote_after: Option<u64>,
}

impl TrialOptions {
    /// What a query has to say of it, with a leading `&`; nothing if there is none.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        if let Some(canary) = &self.canary {
            let canary: String =
                percent_encoding::utf8_percent_encode(canary, percent_encoding::NON_ALPHANUMERIC)
                    .collect();
            query += &format!("&canary={canary}");
        }
        if self.blue_green {
            query += "&blueGreen=true";
        }
        if let Some(seconds) = self.promote_after {
            query += &format!("&promoteAfterSeconds={seconds}");
        }
        query
    }
}

/// What to do with a deployment that tries something, for people; nothing if it tries nothing.
pub(crate) async fn hint(
    context: &Context,
    deployment: &str,
) -> Result<Option<String>, CommandError> {
    let deployments = context.cluster.marathon_get("/v3/deployments").await?;
    let mut all = items(&deployments, "deployments").iter();
    let tries = all.any(|one| one["id"] == *deployment && !one["trial"].is_null());
    Ok(tries.then(|| {
        format!(
            "what is tried waits: `tepui deployment promote {deployment}` goes on with it, `tepui deployment cancel {deployment}` undoes it"
        )
    }))
}

/// `tepui deployment promote ID`.
pub(crate) async fn promote(context: &Context, id: &str, force: bool) -> Result<(), CommandError> {
    let path = format!("/v3/deployments/{id}/promote?force={force}");
    let sent = context.cluster.marathon_send(Method::POST, &path, None);
    let answer = sent.await?;
    if context.json {
        print_json(&answer);
    } else {
        let apps: Vec<&str> = items(&answer, "apps")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        println!("deployment {id} goes on with {}", apps.join(", "));
    }
    Ok(())
}

/// A line of a plan: what would be tried of an app; nothing if nothing is.
pub(crate) fn planned(trial: &Value) -> Option<String> {
    let instances = match trial["instances"].as_u64()? {
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    };
    let until = match trial["promoteAfterSeconds"].as_u64() {
        Some(seconds) => format!("promoted when ready for {seconds} s"),
        None => "then it waits for promotion".to_owned(),
    };
    Some(format!(
        "    first {instances} of the new version beside the old ones, {until}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_a_query_and_plans_a_line() {
        let options = TrialOptions {
            canary: Some("25%".to_owned()),
            blue_green: false,
            promote_after: Some(60),
        };
        assert_eq!(options.query(), "&canary=25%25&promoteAfterSeconds=60");
        let options = TrialOptions {
            blue_green: true,
            ..TrialOptions::default()
        };
        assert_eq!(options.query(), "&blueGreen=true");
        assert_eq!(TrialOptions::default().query(), "");
        for (trial, want) in [
            (Value::Null, None),
            (
                json!({ "instances": 1 }),
                Some(
                    "    first 1 instance of the new version beside the old ones, then it waits for promotion",
                ),
            ),
            (
                json!({ "instances": 2, "promoteAfterSeconds": 9 }),
                Some(
                    "    first 2 instances of the new version beside the old ones, promoted when ready for 9 s",
                ),
            ),
        ] {
            assert_eq!(planned(&trial).as_deref(), want);
        }
    }
}
