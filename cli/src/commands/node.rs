//! `tepui node …`: the agents.

use serde_json::Value;

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

/// Commands on agents.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NodeCommand {
    /// List the agents with their resources: used of total.
    List,
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), CommandError> {
    match command {
        NodeCommand::List => list(context).await,
    }
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let document = context.cluster.master_get("/slaves").await?;
    if context.json {
        print_json(&document["slaves"]);
        return Ok(());
    }
    print!("{}", table(items(&document, "slaves")).render());
    Ok(())
}

fn table(agents: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ID",
        "HOST",
        "STATE",
        "CPUS",
        "MEM (MiB)",
        "DISK (MiB)",
        "ADDRESS",
    ]);
    for agent in agents {
        let used_of_total = |name: &str| {
            format!(
                "{} of {}",
                number(&agent["used_resources"][name]),
                number(&agent["resources"][name])
            )
        };
        table.row([
            text(agent, "id").to_owned(),
            text(agent, "hostname").to_owned(),
            state(agent).to_owned(),
            used_of_total("cpus"),
            used_of_total("mem"),
            used_of_total("disk"),
            agent["port"].as_u64().map_or_else(String::new, |port| {
                format!("{}:{port}", text(agent, "hostname"))
            }),
        ]);
    }
    table
}

fn state(agent: &Value) -> &'static str {
    if agent["deactivated"] == true {
        "deactivated"
    } else if agent["active"] == true {
        "active"
    } else {
        "disconnected"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn agents_are_listed_with_what_is_used() {
        let agents = [
            json!({"id": "m-S0", "hostname": "127.0.1.1", "port": 5051, "active": true,
            "resources": {"cpus": 2.0, "mem": 1024.0, "disk": 0}, "used_resources": {"cpus": 0.5, "mem": 32.0, "disk": 0}}),
        ];
        assert_eq!(
            table(&agents).render(),
            "ID    HOST       STATE   CPUS      MEM (MiB)   DISK (MiB)  ADDRESS\nm-S0  127.0.1.1  active  0.5 of 2  32 of 1024  0 of 0      127.0.1.1:5051\n"
        );
    }
}
