//! `tepui node …`: the agents, and taking them out of service.

use serde_json::{Value, json};

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

/// Commands on agents.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NodeCommand {
    /// List the agents with their resources: used of total.
    List,
    /// Take an agent out of service: no more offers, and its tasks are killed.
    Drain {
        /// The agent: its id, the beginning of it, or its host name.
        agent: String,
        /// Kill tasks after at most this long, whatever grace they were launched with: 30secs, 5mins.
        #[arg(long, value_name = "DURATION", value_parser = nanoseconds)]
        max_grace: Option<i64>,
        /// When all is over, mark it gone: its id can never come back.
        #[arg(long)]
        mark_gone: bool,
    },
    /// Offer nothing more of an agent; its tasks run on.
    Deactivate {
        /// The agent: its id, the beginning of it, or its host name.
        agent: String,
    },
    /// Offer an agent again that was deactivated or drained.
    Reactivate {
        /// The agent: its id, the beginning of it, or its host name.
        agent: String,
    },
    /// Declare that an agent will never return: its tasks count as lost for ever, its id can not come back.
    Gone {
        /// The agent's whole id: what cannot be undone is not guessed.
        id: String,
    },
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), CommandError> {
    match command {
        NodeCommand::List => list(context).await,
        NodeCommand::Drain {
            agent,
            max_grace,
            mark_gone,
        } => {
            let id = find(context, &agent).await?;
            let call = drain(&id, max_grace, mark_gone);
            context.cluster.master_call(&call).await?;
            println!("{id} drains; `tepui node list` tells when it has");
            Ok(())
        }
        NodeCommand::Deactivate { agent } => {
            let id = find(context, &agent).await?;
            call(context, "deactivate_agent", &id).await?;
            println!("{id} is deactivated");
            Ok(())
        }
        NodeCommand::Reactivate { agent } => {
            let id = find(context, &agent).await?;
            call(context, "reactivate_agent", &id).await?;
            println!("{id} is active again");
            Ok(())
        }
        NodeCommand::Gone { id } => {
            call(context, "mark_agent_gone", &id).await?;
            println!("{id} is gone for ever");
            Ok(())
        }
    }
}

/// A call that names an agent and nothing else.
async fn call(context: &Context, name: &str, id: &str) -> Result<(), CommandError> {
    let call = json!({"type": name.to_uppercase(), name: {"agent_id": {"value": id}}});
    context.cluster.master_call(&call).await?;
    Ok(())
}

/// DRAIN_AGENT; the grace in nanoseconds.
fn drain(id: &str, max_grace: Option<i64>, mark_gone: bool) -> Value {
    const SECOND: i64 = 1_000_000_000;
    let mut drain = json!({"agent_id": {"value": id}, "mark_gone": mark_gone});
    if let Some(grace) = max_grace {
        drain["max_grace_period"] = json!({"seconds": grace / SECOND, "nanos": grace % SECOND});
    }
    json!({"type": "DRAIN_AGENT", "drain_agent": drain})
}

fn nanoseconds(duration: &str) -> Result<i64, String> {
    tepui_master::parse_duration(duration)
        .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| "expecting a duration such as 30secs or 5mins".to_owned())
}

/// The id of the agent that is meant. One that the master does not list (it may be out of reach) has to be named in full.
async fn find(context: &Context, wanted: &str) -> Result<String, CommandError> {
    let document = context.cluster.master_get("/slaves").await?;
    let known = items(&document, "slaves")
        .iter()
        .chain(items(&document, "recovered_slaves"));
    pick(known, wanted)
}

fn pick<'a>(agents: impl Iterator<Item = &'a Value>, wanted: &str) -> Result<String, CommandError> {
    let mut found: Vec<&str> = agents
        .filter(|agent| text(agent, "id").starts_with(wanted) || text(agent, "hostname") == wanted)
        .map(|agent| text(agent, "id"))
        .collect();
    if let Some(exact) = found.iter().position(|id| *id == wanted) {
        found = vec![found[exact]];
    }
    match found.as_slice() {
        [] => Ok(wanted.to_owned()),
        [id] => Ok((*id).to_owned()),
        several => Err(CommandError::Input {
            path: wanted.to_owned(),
            reason: format!(
                "{} agents are called so: {}",
                several.len(),
                several.join(", ")
            ),
        }),
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
    match agent["drain_info"]["state"].as_str() {
        Some("DRAINING") => return "draining",
        Some("DRAINED") => return "drained",
        _ => {}
    }
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

    #[test]
    fn an_agent_is_found_by_id_beginning_or_host() {
        let agents = [
            json!({"id": "m-S1", "hostname": "a"}),
            json!({"id": "m-S10", "hostname": "b"}),
            json!({"id": "n-S2", "hostname": "b"}),
        ];
        for (wanted, expected) in [
            ("m-S1", Some("m-S1")),
            ("m-S10", Some("m-S10")),
            ("n", Some("n-S2")),
            ("a", Some("m-S1")),
            ("elsewhere-S7", Some("elsewhere-S7")),
            ("m-", None),
            ("b", None),
        ] {
            assert_eq!(
                pick(agents.iter(), wanted).ok().as_deref(),
                expected,
                "{wanted}"
            );
        }
    }

    #[test]
    fn grace_is_told_in_seconds_and_nanoseconds() {
        assert_eq!(
            drain("m-S1", nanoseconds("1500ms").ok(), true),
            json!({"type": "DRAIN_AGENT", "drain_agent": {
                "agent_id": {"value": "m-S1"}, "mark_gone": true,
                "max_grace_period": {"seconds": 1, "nanos": 500_000_000}}})
        );
        assert_eq!(
            drain("m-S1", None, false)["drain_agent"].get("max_grace_period"),
            None
        );
        assert!(nanoseconds("soon").is_err());
    }

    #[test]
    fn what_drains_says_so() {
        for (agent, expected) in [
            (
                json!({"active": false, "deactivated": true, "drain_info": {"state": "DRAINING"}}),
                "draining",
            ),
            (
                json!({"active": false, "deactivated": true, "drain_info": {"state": "DRAINED"}}),
                "drained",
            ),
            (json!({"active": false, "deactivated": true}), "deactivated"),
            (
                json!({"active": false, "deactivated": false}),
                "disconnected",
            ),
        ] {
            assert_eq!(state(&agent), expected);
        }
    }

    #[test]
    fn agents_are_listed_with_what_is_used() {
        let agents = [
            json!({"id": "m-S0", "hostname": "127.0.1.1", "port": 5051, "active": true,
            "resources": {"cpus": 2.0, "mem": 1024.0, "disk": 0}, "used_resources": {"cpus": 1.200_000_000_000_000_2, "mem": 32.0, "disk": 0}}),
        ];
        assert_eq!(
            table(&agents).render(),
            "ID    HOST       STATE   CPUS      MEM (MiB)   DISK (MiB)  ADDRESS\nm-S0  127.0.1.1  active  1.2 of 2  32 of 1024  0 of 0      127.0.1.1:5051\n"
        );
    }
}
