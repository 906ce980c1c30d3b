//! `tepui image …`: what images the agents keep, and making room.

use serde_json::{Value, json};

use super::{CommandError, Context, items, print_json, text};
use crate::table::Table;

/// Commands on the images of agents.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images on every agent, or on one.
    List {
        /// The agent: its id, the beginning of it, or its host name.
        #[arg(long)]
        agent: Option<String>,
    },
    /// Remove the images that no container uses from every agent, or from one.
    Prune {
        /// The agent: its id, the beginning of it, or its host name.
        #[arg(long)]
        agent: Option<String>,
        /// An image that stays; may be given several times.
        #[arg(long = "keep", value_name = "IMAGE")]
        kept: Vec<String>,
    },
}

pub(crate) async fn run(context: &Context, command: ImageCommand) -> Result<(), CommandError> {
    match command {
        ImageCommand::List { agent } => list(context, agent.as_deref()).await,
        ImageCommand::Prune { agent, kept } => prune(context, agent.as_deref(), &kept).await,
    }
}

/// An agent's name for people and its address.
struct Agent {
    host: String,
    url: String,
}

async fn agents(context: &Context, wanted: Option<&str>) -> Result<Vec<Agent>, CommandError> {
    let document = context.cluster.master_get("/slaves").await?;
    let found = chosen(items(&document, "slaves"), wanted);
    match (found.is_empty(), wanted) {
        (true, Some(wanted)) => Err(CommandError::Failed(format!(
            "no registered agent has an id that begins with '{wanted}', or that host name; `tepui node list` shows them"
        ))),
        _ => Ok(found),
    }
}

fn chosen(agents: &[Value], wanted: Option<&str>) -> Vec<Agent> {
    let meant = |agent: &&Value| {
        wanted.is_none_or(|wanted| {
            text(agent, "id").starts_with(wanted) || text(agent, "hostname") == wanted
        })
    };
    agents
        .iter()
        .filter(meant)
        .map(|agent| {
            let host = text(agent, "hostname").to_owned();
            let port = agent["port"].as_u64().unwrap_or(5051);
            Agent {
                url: format!("http://{host}:{port}"),
                host: format!("{host}:{port}"),
            }
        })
        .collect()
}

async fn list(context: &Context, wanted: Option<&str>) -> Result<(), CommandError> {
    let mut all = Vec::new();
    for agent in agents(context, wanted).await? {
        let url = format!("{}/tepui/v1/images", agent.url);
        let document = context.cluster.client().get(&url).await?.json()?;
        for image in items(&document, "images") {
            let mut image = image.clone();
            image["agent"] = agent.host.clone().into();
            all.push(image);
        }
    }
    if context.json {
        print_json(&Value::Array(all));
        return Ok(());
    }
    print!("{}", table(&all).render());
    Ok(())
}

fn table(images: &[Value]) -> Table {
    let mut table = Table::new(&["AGENT", "IMAGE", "DIGEST", "LAYERS", "MiB", "CONTAINERS"]);
    for image in images {
        let digest = text(image, "digest").trim_start_matches("sha256:");
        table.row([
            text(image, "agent").to_owned(),
            text(image, "name").to_owned(),
            digest.chars().take(12).collect(),
            image["layers"].to_string(),
            image["bytes"]
                .as_u64()
                .map_or_else(String::new, |bytes| bytes.div_ceil(1 << 20).to_string()),
            image["containers"].to_string(),
        ]);
    }
    table
}

async fn prune(
    context: &Context,
    wanted: Option<&str>,
    kept: &[String],
) -> Result<(), CommandError> {
    for agent in agents(context, wanted).await? {
        let url = format!("{}/api/v1", agent.url);
        context
            .cluster
            .client()
            .send(
                crate::client::http_types::Method::POST,
                &url,
                call(kept).to_string().into(),
            )
            .await?;
        if !context.json {
            println!("{}: images that no container uses are gone", agent.host);
        }
    }
    Ok(())
}

fn call(kept: &[String]) -> Value {
    let excluded: Vec<Value> = kept
        .iter()
        .map(|name| json!({"type": "DOCKER", "docker": {"name": name}}))
        .collect();
    json!({"type": "PRUNE_IMAGES", "prune_images": {"excluded_images": excluded}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_listed_by_agent() {
        let images = [
            json!({"agent": "a:5051", "name": "library/busybox:latest", "digest": "sha256:0123456789abcdef", "layers": 2, "bytes": 1_048_577, "containers": 1}),
        ];
        assert_eq!(
            table(&images).render(),
            "AGENT   IMAGE                   DIGEST        LAYERS  MiB  CONTAINERS\na:5051  library/busybox:latest  0123456789ab       2    2           1\n"
        );
    }

    #[test]
    fn agents_are_chosen_by_id_or_host() {
        let agents = [
            json!({"id": "m-S1", "hostname": "a", "port": 5051}),
            json!({"id": "m-S2", "hostname": "b", "port": 5052}),
        ];
        for (wanted, expected) in [
            (None, vec!["a:5051", "b:5052"]),
            (Some("m-S2"), vec!["b:5052"]),
            (Some("a"), vec!["a:5051"]),
            (Some("c"), vec![]),
        ] {
            let found = chosen(&agents, wanted);
            let hosts: Vec<&str> = found.iter().map(|agent| agent.host.as_str()).collect();
            assert_eq!(hosts, expected);
        }
        let kept = call(&["busybox".to_owned()]);
        assert_eq!(
            kept["prune_images"]["excluded_images"][0]["docker"]["name"],
            "busybox"
        );
    }
}
