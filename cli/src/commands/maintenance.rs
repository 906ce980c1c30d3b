//! `tepui maintenance …`: machines that are to go down, and come up again.

use serde_json::{Value, json};

use super::{CommandError, Context, items, print_json, text};
use crate::table::Table;

/// Commands on machines.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Show the schedule, which machines drain or are down, and what frameworks answered.
    Show,
    /// Replace the schedule with the one in a file (JSON, as of `maintenance show --json`).
    Schedule {
        /// The file; `-` reads standard input.
        file: String,
    },
    /// Take machines down that the schedule names: their agents are shut down and removed.
    Down {
        /// HOSTNAME, IP, or HOSTNAME,IP: as the schedule has them.
        #[arg(required = true)]
        machines: Vec<String>,
    },
    /// Bring machines up again; they leave the schedule.
    Up {
        /// HOSTNAME, IP, or HOSTNAME,IP: as the schedule has them.
        #[arg(required = true)]
        machines: Vec<String>,
    },
}

pub(crate) async fn run(
    context: &Context,
    command: MaintenanceCommand,
) -> Result<(), CommandError> {
    match command {
        MaintenanceCommand::Show => show(context).await,
        MaintenanceCommand::Schedule { file } => {
            let schedule = read(&file)?;
            let call = json!({"type": "UPDATE_MAINTENANCE_SCHEDULE",
                "update_maintenance_schedule": {"schedule": schedule}});
            context.cluster.master_call(&call).await?;
            println!(
                "the schedule has {} windows",
                items(&schedule, "windows").len()
            );
            Ok(())
        }
        MaintenanceCommand::Down { machines } => {
            let call = json!({"type": "START_MAINTENANCE",
                "start_maintenance": {"machines": machine_ids(&machines)}});
            context.cluster.master_call(&call).await?;
            println!("down: {}", machines.join(" "));
            Ok(())
        }
        MaintenanceCommand::Up { machines } => {
            let call = json!({"type": "STOP_MAINTENANCE",
                "stop_maintenance": {"machines": machine_ids(&machines)}});
            context.cluster.master_call(&call).await?;
            println!("up: {}", machines.join(" "));
            Ok(())
        }
    }
}

fn read(file: &str) -> Result<Value, CommandError> {
    let refused = |reason: String| CommandError::Input {
        path: file.to_owned(),
        reason,
    };
    let content = if file == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let content = content.map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&content).map_err(|error| refused(error.to_string()))
}

/// `host`, `10.0.0.1` or `host,10.0.0.1`
fn machine_ids(machines: &[String]) -> Vec<Value> {
    let is_ip = |part: &str| part.parse::<std::net::IpAddr>().is_ok();
    machines
        .iter()
        .map(|machine| match machine.split_once(',') {
            Some((hostname, ip)) => json!({"hostname": hostname, "ip": ip}),
            None if is_ip(machine) => json!({"ip": machine}),
            None => json!({"hostname": machine}),
        })
        .collect()
}

async fn show(context: &Context) -> Result<(), CommandError> {
    let schedule = context.cluster.master_get("/maintenance/schedule").await?;
    if context.json {
        print_json(&schedule);
        return Ok(());
    }
    let status = context.cluster.master_get("/maintenance/status").await?;
    print!("{}", table(&schedule, &status, now()).render());
    Ok(())
}

fn table(schedule: &Value, status: &Value, now: i64) -> Table {
    let mut table = Table::new(&["MACHINE", "STATE", "FROM", "FOR", "FRAMEWORKS"]);
    for window in items(schedule, "windows") {
        let unavailability = &window["unavailability"];
        for machine in items(window, "machine_ids") {
            let (state, answers) = standing(machine, status);
            table.row([
                name(machine),
                state.to_owned(),
                unavailability["start"]["nanoseconds"]
                    .as_i64()
                    .map_or_else(String::new, |start| from_now(start, now)),
                unavailability["duration"]["nanoseconds"]
                    .as_i64()
                    .map_or_else(|| "ever".to_owned(), span),
                answers,
            ]);
        }
    }
    table
}

fn name(machine: &Value) -> String {
    let parts = [text(machine, "hostname"), text(machine, "ip")];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(",")
}

/// Down or draining; and how many frameworks agreed to leave.
fn standing(machine: &Value, status: &Value) -> (&'static str, String) {
    if items(status, "down_machines").contains(machine) {
        return ("down", "-".to_owned());
    }
    let statuses = items(status, "draining_machines")
        .iter()
        .find(|draining| draining["id"] == *machine)
        .map_or(&[][..], |draining| items(draining, "statuses"));
    let count = |answer: &str| {
        statuses
            .iter()
            .filter(|status| text(status, "status") == answer)
            .count()
    };
    let (accepted, declined) = (count("ACCEPT"), count("DECLINE"));
    ("draining", format!("{accepted} accept, {declined} decline"))
}

/// Nanoseconds since the epoch are what a schedule is made of; people want to know how far off it is.
fn from_now(nanoseconds: i64, now: i64) -> String {
    if nanoseconds > now {
        format!("in {}", span(nanoseconds - now))
    } else {
        format!("{} ago", span(now - nanoseconds))
    }
}

/// The two largest units.
fn span(nanoseconds: i64) -> String {
    let minutes = nanoseconds / 60_000_000_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_by_host_or_address_or_both() {
        let given = ["a", "10.0.0.1", "b,10.0.0.2"].map(str::to_owned);
        assert_eq!(
            machine_ids(&given),
            [
                json!({"hostname": "a"}),
                json!({"ip": "10.0.0.1"}),
                json!({"hostname": "b", "ip": "10.0.0.2"})
            ]
        );
    }

    #[test]
    fn times_are_told_from_now() {
        const MINUTE: i64 = 60_000_000_000;
        for (at, expected) in [
            (5, "5 min ago"),
            (10, "0 min ago"),
            (70, "in 1 h 0 min"),
            (1510, "in 1 d 1 h"),
        ] {
            assert_eq!(from_now(at * MINUTE, 10 * MINUTE), expected);
        }
    }

    #[test]
    fn the_schedule_is_shown_machine_by_machine() {
        let schedule = json!({"windows": [{
            "machine_ids": [{"hostname": "a", "ip": "10.0.0.1"}, {"hostname": "b"}],
            "unavailability": {"start": {"nanoseconds": 0}, "duration": {"nanoseconds": 3_600_000_000_000_i64}}}]});
        let status = json!({"down_machines": [{"hostname": "b"}], "draining_machines": [
            {"id": {"hostname": "a", "ip": "10.0.0.1"}, "statuses": [{"status": "ACCEPT"}, {"status": "DECLINE"}, {"status": "ACCEPT"}]}]});
        let shown = table(&schedule, &status, 90 * 60_000_000_000).render();
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(
            lines[1],
            [
                "a,10.0.0.1",
                "draining",
                "1 h 30 min ago",
                "1 h 0 min",
                "2 accept, 1 decline"
            ]
        );
        assert_eq!(lines[2], ["b", "down", "1 h 30 min ago", "1 h 0 min", "-"]);
    }
}
