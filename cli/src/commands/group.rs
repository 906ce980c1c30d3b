//! `tepui group …`: groups of apps on Marathon.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use super::{
    CommandError, Context,
    app::{self, How},
    items, number, plan, print_json, text,
    trial::TrialOptions,
};
use crate::table::Table;

/// Commands on groups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum GroupCommand {
    /// Create or update the group of a file, with all in it, and watch its deployment.
    Deploy {
        /// A Marathon group definition in JSON with an `id`; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Show what `deploy` would change: apps, the differences of their definitions, groups, steps. Nothing is changed.
    Plan {
        /// A Marathon group definition in JSON with an `id`; `-` reads standard input.
        file: PathBuf,
        /// End with code 2 if something would change, with 0 if not.
        #[arg(long = "detailed-exitcode")]
        detailed_exitcode: bool,
    },
    /// List the groups.
    List,
    /// Show the apps of a group.
    Show {
        /// The group's id.
        id: String,
    },
    /// Multiply the instances of every app in a group, rounded up.
    Scale {
        /// The group's id.
        id: String,
        /// 2 doubles, 0.5 halves, 0 suspends.
        factor: f64,
        #[command(flatten)]
        how: How,
    },
    /// List the versions to which a group can go back, newest first.
    History {
        /// The group's id.
        id: String,
    },
    /// Go back to a version of a group.
    Rollback {
        /// The group's id.
        id: String,
        /// One of those that `history` lists.
        #[arg(id = "to", value_name = "VERSION")]
        version: String,
        #[command(flatten)]
        how: How,
    },
    /// Stop everything in a group and forget it.
    Destroy {
        /// The group's id.
        id: String,
        #[command(flatten)]
        how: How,
    },
}

pub(crate) async fn run(context: &Context, command: GroupCommand) -> Result<(), CommandError> {
    match command {
        GroupCommand::Deploy { file, how } => {
            let (id, group) = read_group(&file)?;
            put(context, &id, &group, how).await
        }
        GroupCommand::Plan {
            file,
            detailed_exitcode,
        } => {
            let (_, mut group) = read_group(&file)?;
            // Without any of these it could be an app to whom it is sent.
            if ["apps", "groups", "scaleBy", "enforceRole"]
                .iter()
                .all(|key| group.get(*key).is_none())
            {
                group["groups"] = Value::Null;
            }
            plan::of(context, &group, detailed_exitcode, &TrialOptions::default()).await
        }
        GroupCommand::List => {
            let root = context.cluster.marathon_get("/v2/groups").await?;
            if context.json {
                print_json(&root);
            } else {
                print!("{}", groups_table(&root).render());
            }
            Ok(())
        }
        GroupCommand::Show { id } => {
            let path = format!(
                "{}/apps?embed=group.apps.counts&embed=group.apps.deployments",
                group_path(&id)
            );
            let apps = context.cluster.marathon_get(&path).await?;
            if context.json {
                print_json(&apps);
            } else {
                let apps = apps.as_array().map_or(&[][..], Vec::as_slice);
                print!("{}", app::apps_table(apps).render());
            }
            Ok(())
        }
        GroupCommand::Scale { id, factor, how } => {
            put(context, &id, &json!({ "scaleBy": factor }), how).await
        }
        GroupCommand::History { id } => {
            let path = format!("{}/versions", group_path(&id));
            let versions = context.cluster.marathon_get(&path).await?;
            if context.json {
                print_json(&versions);
            } else {
                for version in versions.as_array().into_iter().flatten() {
                    println!("{}", version.as_str().unwrap_or_default());
                }
            }
            Ok(())
        }
        GroupCommand::Rollback { id, version, how } => {
            put(context, &id, &json!({ "version": version }), how).await
        }
        GroupCommand::Destroy { id, how } => {
            let path = format!("{}?force={}", group_path(&id), how.force);
            app::change(context, Method::DELETE, &path, None, &[], how.no_wait).await
        }
    }
}

async fn put(context: &Context, id: &str, body: &Value, how: How) -> Result<(), CommandError> {
    let path = format!("{}?force={}", group_path(id), how.force);
    app::change(context, Method::PUT, &path, Some(body), &[], how.no_wait).await
}

fn group_path(id: &str) -> String {
    match id.trim_matches('/') {
        "" => "/v2/groups".to_owned(),
        id => format!("/v2/groups/{id}"),
    }
}

/// Reads a file with one group; its id is where it goes.
fn read_group(file: &Path) -> Result<(String, Value), CommandError> {
    let mut definitions = app::read_definitions(file)?;
    match (definitions.pop(), definitions.is_empty()) {
        (Some(group), true) => {
            let id = text(&group, "id").to_owned();
            Ok((id, group))
        }
        _ => Err(CommandError::Input {
            path: file.display().to_string(),
            reason: "must hold one group (a JSON object)".to_owned(),
        }),
    }
}

fn groups_table(root: &Value) -> Table {
    let mut table = Table::new(&["ID", "APPS", "GROUPS", "ENFORCES ROLE", "VERSION"]);
    let mut open = vec![root];
    while let Some(group) = open.pop() {
        let count = |key: &str| number(&json!(items(group, key).len()));
        table.row([
            text(group, "id").to_owned(),
            count("apps"),
            count("groups"),
            if group["enforceRole"] == true {
                "yes"
            } else {
                ""
            }
            .to_owned(),
            text(group, "version").to_owned(),
        ]);
        open.extend(items(group, "groups").iter().rev());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_shown_in_order() {
        let root = json!({ "id": "/", "apps": [], "version": "v", "groups": [
            { "id": "/a", "apps": [{}, {}], "groups": [{ "id": "/a/b", "apps": [], "groups": [], "version": "v" }], "version": "v", "enforceRole": true },
            { "id": "/c", "apps": [], "groups": [], "version": "v", "enforceRole": false },
        ] });
        let shown = groups_table(&root).render();
        let ids: Vec<&str> = shown
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(ids, ["/", "/a", "/a/b", "/c"]);
        assert_eq!(
            (group_path("/"), group_path("/a/b/")),
            ("/v2/groups".to_owned(), "/v2/groups/a/b".to_owned())
        );
    }
}
