//! `tepui role …`: who shares the cluster, and how: weights and quota.

use serde_json::{Map, Value, json};

use super::{CommandError, Context, items, number, print_json, text};
use crate::table::Table;

/// Commands on roles.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RoleCommand {
    /// List the roles with their weights, quota and what they have.
    List,
    /// Set a role's weight among its siblings; a role of weight 2 gets twice as much as one of weight 1.
    Weight {
        /// The role.
        role: String,
        /// A positive number.
        weight: f64,
    },
    /// Set a top-level role's quota: what is kept free for it, and what it may have at most.
    Quota(QuotaArgs),
}

/// What `tepui role quota` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct QuotaArgs {
    /// The role.
    role: String,
    /// What is kept free for it while it does not use it: `cpus:10;mem:2048` (mem and disk in MiB).
    #[arg(long, value_name = "SCALARS", value_parser = scalars)]
    guarantee: Option<Scalars>,
    /// What it may have at most; names that are left out are not limited.
    #[arg(long, value_name = "SCALARS", value_parser = scalars)]
    limit: Option<Scalars>,
    /// Take the quota away.
    #[arg(long, conflicts_with_all = ["guarantee", "limit"])]
    remove: bool,
    /// Also if more is guaranteed than the cluster has, or less allowed than the role consumes.
    #[arg(long)]
    force: bool,
}

/// Amounts by resource name.
type Scalars = Map<String, Value>;

pub(crate) async fn run(context: &Context, command: RoleCommand) -> Result<(), CommandError> {
    match command {
        RoleCommand::List => list(context).await,
        RoleCommand::Weight { role, weight } => {
            let call = json!({"type": "UPDATE_WEIGHTS", "update_weights":
                {"weight_infos": [{"role": role, "weight": weight}]}});
            context.cluster.master_call(&call).await?;
            println!("{role} has weight {weight}");
            Ok(())
        }
        RoleCommand::Quota(args) => {
            if args.guarantee.is_none() && args.limit.is_none() && !args.remove {
                return Err(CommandError::Input {
                    path: args.role,
                    reason: "give --guarantee, --limit or both, or --remove".to_owned(),
                });
            }
            context.cluster.master_call(&quota_call(&args)).await?;
            let done = if args.remove {
                "has no quota any more"
            } else {
                "has its quota"
            };
            println!("{} {done}", args.role);
            Ok(())
        }
    }
}

fn quota_call(args: &QuotaArgs) -> Value {
    let mut config = json!({"role": args.role});
    for (key, scalars) in [("guarantees", &args.guarantee), ("limits", &args.limit)] {
        if let Some(scalars) = scalars {
            config[key] = Value::Object(scalars.clone());
        }
    }
    json!({"type": "UPDATE_QUOTA", "update_quota": {"force": args.force, "quota_configs": [config]}})
}

/// `cpus:10;mem:2048`
fn scalars(text: &str) -> Result<Scalars, String> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, amount) = part
                .split_once(':')
                .ok_or_else(|| format!("'{part}': expecting name:amount, such as cpus:10"))?;
            let amount: f64 = amount
                .trim()
                .parse()
                .ok()
                .filter(|amount: &f64| amount.is_finite() && *amount >= 0.0)
                .ok_or_else(|| format!("'{part}': the amount is no number from 0 up"))?;
            Ok((name.trim().to_owned(), json!({"value": amount})))
        })
        .collect()
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let document = context.cluster.master_get("/roles").await?;
    if context.json {
        print_json(&document["roles"]);
        return Ok(());
    }
    print!("{}", table(items(&document, "roles")).render());
    Ok(())
}

fn table(roles: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ROLE",
        "WEIGHT",
        "FRAMEWORKS",
        "ALLOCATED",
        "OFFERED",
        "RESERVED",
        "GUARANTEE",
        "LIMIT",
    ]);
    for role in roles {
        table.row([
            text(role, "name").to_owned(),
            number(&role["weight"]),
            items(role, "frameworks").len().to_string(),
            amounts(&role["allocated"]),
            amounts(&role["offered"]),
            amounts(&role["reserved"]),
            amounts(&role["quota"]["guarantee"]),
            amounts(&role["quota"]["limit"]),
        ]);
    }
    table
}

/// `cpus:1;mem:64`, as it is written on the command line; `-` for nothing.
fn amounts(quantities: &Value) -> String {
    let parts: Vec<String> = quantities
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, amount)| format!("{name}:{}", number(amount)))
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_listed_with_weight_and_quota() {
        let roles = [
            json!({"name": "*", "weight": 1.0, "frameworks": ["m-0000"], "allocated": {"cpus": 0.3, "mem": 96.0},
                "offered": {}, "reserved": {}, "quota": {"role": "*", "guarantee": {}, "limit": {}, "consumed": {}}}),
            json!({"name": "web", "weight": 2.0, "frameworks": [], "allocated": {}, "offered": {}, "reserved": {"disk": 512.0},
                "quota": {"role": "web", "guarantee": {"cpus": 4.0}, "limit": {"cpus": 8.0}, "consumed": {}}}),
        ];
        assert_eq!(
            table(&roles).render(),
            "ROLE  WEIGHT  FRAMEWORKS  ALLOCATED        OFFERED  RESERVED  GUARANTEE  LIMIT\n\
             *          1           1  cpus:0.3;mem:96        -  -         -          -\n\
             web        2           0  -                      -  disk:512  cpus:4     cpus:8\n"
        );
    }

    #[test]
    fn scalars_are_read_as_they_are_printed() {
        assert_eq!(
            scalars("cpus:1.5; mem:64").map(Value::Object),
            Ok(json!({"cpus": {"value": 1.5}, "mem": {"value": 64.0}}))
        );
        for bad in ["cpus", "cpus:-1", "cpus:many", "cpus:inf"] {
            assert!(scalars(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_quota_names_what_it_sets_and_nothing_else() {
        let args = |guarantee, limit, remove| QuotaArgs {
            role: "web".to_owned(),
            guarantee,
            limit,
            remove,
            force: false,
        };
        let cpus = || scalars("cpus:4").ok();
        for (given, expected) in [
            (
                args(cpus(), None, false),
                json!({"role": "web", "guarantees": {"cpus": {"value": 4.0}}}),
            ),
            (
                args(None, cpus(), false),
                json!({"role": "web", "limits": {"cpus": {"value": 4.0}}}),
            ),
            (args(None, None, true), json!({"role": "web"})),
        ] {
            assert_eq!(
                quota_call(&given)["update_quota"],
                json!({"force": false, "quota_configs": [expected]})
            );
        }
    }
}
