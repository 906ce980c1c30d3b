//! `tepui framework …`: the schedulers that are registered.

use serde_json::{Value, json};

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

/// Commands on frameworks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum FrameworkCommand {
    /// List the registered frameworks.
    List,
    /// Remove a framework for good: its tasks are killed, and its id may not come back.
    Teardown {
        /// The framework's whole id; a name or the beginning of an id is not enough to destroy it.
        id: String,
    },
}

pub(crate) async fn run(context: &Context, command: FrameworkCommand) -> Result<(), CommandError> {
    match command {
        FrameworkCommand::List => list(context).await,
        FrameworkCommand::Teardown { id } => {
            let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
            context.cluster.master_call(&call).await?;
            println!("{id} is torn down");
            Ok(())
        }
    }
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let document = context.cluster.master_get("/frameworks").await?;
    if context.json {
        print_json(&document["frameworks"]);
        return Ok(());
    }
    print!("{}", table(items(&document, "frameworks")).render());
    Ok(())
}

fn table(frameworks: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ID",
        "NAME",
        "ROLES",
        "STATE",
        "TASKS",
        "CPUS",
        "MEM (MiB)",
        "WEB UI",
    ]);
    for framework in frameworks {
        let roles = match framework["roles"].as_array() {
            Some(roles) => roles
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(","),
            None => text(framework, "role").to_owned(),
        };
        table.row([
            text(framework, "id").to_owned(),
            text(framework, "name").to_owned(),
            roles,
            state(framework).to_owned(),
            items(framework, "tasks").len().to_string(),
            number(&framework["used_resources"]["cpus"]),
            number(&framework["used_resources"]["mem"]),
            text(framework, "webui_url").to_owned(),
        ]);
    }
    table
}

fn state(framework: &Value) -> &'static str {
    match (
        framework["connected"] == true,
        framework["active"] == true,
        framework["recovered"] == true,
    ) {
        (_, _, true) => "recovered",
        (true, true, _) => "active",
        (true, false, _) => "inactive",
        (false, _, _) => "disconnected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frameworks_are_listed_with_their_state() {
        let frameworks = [
            json!({"id": "m-0000", "name": "marathon", "role": "*", "active": true, "connected": true, "recovered": false,
                "tasks": [{}, {}], "used_resources": {"cpus": 0.2, "mem": 64}, "webui_url": "http://127.0.0.1:8080"}),
            json!({"id": "m-0001", "name": "batch", "roles": ["a", "b"], "active": false, "connected": false, "recovered": false, "tasks": [],
                "used_resources": {"cpus": 0, "mem": 0}, "webui_url": ""}),
        ];
        assert_eq!(
            table(&frameworks).render(),
            "ID      NAME      ROLES  STATE         TASKS  CPUS  MEM (MiB)  WEB UI\n\
             m-0000  marathon  *      active            2   0.2         64  http://127.0.0.1:8080\n\
             m-0001  batch     a,b    disconnected      0     0          0\n"
        );
    }
}
