//! What tasks use: `/monitor/statistics` of the agents that they are on, whose addresses the master knows (`/slaves`).
//!
//! Agents tell CPU time since a task began; what it uses now is the difference to the measurement before, so a task is measured from its
//! second time on. An agent that does not answer costs the measurement of its tasks, no more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tepui_marathon_core::Usage;

use crate::probes::HttpClient;

/// Answers of masters and agents are read up to so many bytes.
const MAX_ANSWER: usize = 64 << 20;
/// An agent that does not answer in time is left out.
const AGENT_LIMIT: Duration = Duration::from_secs(5);
/// Addresses are asked for anew after this, and when an agent is not known.
const ADDRESSES_LIVE: Duration = Duration::from_secs(60);
const MIB: f64 = 1_048_576.0;

/// Measures the tasks of one app, again and again.
#[derive(Debug)]
pub(super) struct Meter {
    client: HttpClient,
    addresses: HashMap<String, Vec<String>>,
    asked_at: Option<Instant>,
    /// Of each task, when it was measured last and its CPU time then, both in seconds.
    before: HashMap<String, (f64, f64)>,
}

impl Meter {
    pub(super) fn new(client: HttpClient) -> Self {
        Self {
            client,
            addresses: HashMap::new(),
            asked_at: None,
            before: HashMap::new(),
        }
    }

    /// What these tasks use, each with the agent that it is on.
    ///
    /// # Errors
    /// The master does not tell where its agents are, or no agent tells anything.
    pub(super) async fn measure(
        &mut self,
        master: &str,
        tasks: &[(String, String)],
    ) -> Result<Vec<Usage>, String> {
        let mut by_agent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (task, agent) in tasks {
            by_agent.entry(agent).or_default().insert(task);
        }
        let fresh = self
            .asked_at
            .is_some_and(|at| at.elapsed() < ADDRESSES_LIVE);
        if !fresh || !by_agent.keys().all(|id| self.addresses.contains_key(*id)) {
            let url = format!("http://{master}/slaves");
            let answer = self.client.fetch(&url, MAX_ANSWER).await;
            let answer = answer.map_err(|reason| format!("{url}: {reason}"))?;
            let answer: Value = serde_json::from_slice(&answer)
                .map_err(|error| format!("{url}: is not JSON: {error}"))?;
            self.addresses = addresses(&answer);
            self.asked_at = Some(Instant::now());
        }
        let client = &self.client;
        let asking = by_agent.keys().filter_map(|id| {
            let addresses = self.addresses.get(*id)?;
            Some(statistics(client, addresses))
        });
        let answers: Vec<_> = stream::iter(asking.collect::<Vec<_>>())
            .buffer_unordered(super::MAX_CONCURRENT)
            .collect()
            .await;
        let wanted: BTreeSet<&str> = by_agent.values().flatten().copied().collect();
        let mut found = HashMap::new();
        let mut silent = None;
        for answer in answers {
            match answer {
                Ok(answer) => found.extend(measurements(&answer, &wanted)),
                Err(reason) => silent = Some(reason),
            }
        }
        if found.is_empty()
            && let Some(reason) = silent
        {
            return Err(reason);
        }
        Ok(self.since_before(found))
    }

    /// What is used by those that were measured before too; all are measured from now.
    fn since_before(&mut self, found: HashMap<String, Measurement>) -> Vec<Usage> {
        let mut used = Vec::new();
        for (task, now) in &found {
            if let Some((at, cpu)) = self.before.get(task) {
                let (seconds, cpu) = (now.at - at, now.cpu - cpu);
                if seconds > 0.0 && cpu >= 0.0 {
                    used.push(Usage {
                        task_id: task.clone(),
                        cpus: cpu / seconds,
                        mem_mib: now.mem_mib,
                    });
                }
            }
        }
        let times = found
            .into_iter()
            .map(|(task, now)| (task, (now.at, now.cpu)));
        self.before = times.collect();
        used
    }
}

/// What an agent tells of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measurement {
    at: f64,
    cpu: f64,
    mem_mib: f64,
}

/// Where each agent may be reached, best first: by its host name, as operators do, or where its connection to the master comes from.
fn addresses(answer: &Value) -> HashMap<String, Vec<String>> {
    let agents = answer["slaves"].as_array().into_iter().flatten();
    let known = agents.filter_map(|agent| {
        let (id, host) = (agent["id"].as_str()?, agent["hostname"].as_str()?);
        let port = agent["port"].as_u64().unwrap_or(5051);
        let mut addresses = vec![format!("{host}:{port}")];
        // `slave(1)@10.0.0.1:5051`.
        let pid = agent["pid"].as_str().and_then(|pid| pid.split_once('@'));
        addresses.extend(pid.map(|(_, address)| address.to_owned()));
        Some((id.to_owned(), addresses))
    });
    known.collect()
}

/// What an agent tells, at the first of its addresses that answers; or why the first does not.
async fn statistics(client: &HttpClient, addresses: &[String]) -> Result<Value, String> {
    let mut why = None;
    for address in addresses {
        let url = format!("http://{address}/monitor/statistics");
        let answer = tokio::time::timeout(AGENT_LIMIT, client.fetch(&url, MAX_ANSWER)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let read = answer.and_then(|answer| {
            serde_json::from_slice::<Value>(&answer).map_err(|error| error.to_string())
        });
        match read {
            Ok(answer) => return Ok(answer),
            Err(reason) => why = why.or(Some(format!("{url}: {reason}"))),
        }
    }
    Err(why.unwrap_or_else(|| "it has no address".to_owned()))
}

/// Of the tasks that are wanted. A task without an executor of its own has one of its name.
fn measurements<'a>(
    answer: &'a Value,
    wanted: &'a BTreeSet<&str>,
) -> impl Iterator<Item = (String, Measurement)> {
    let all = answer.as_array().into_iter().flatten();
    all.filter_map(|one| {
        let id = one["executor_id"]
            .as_str()
            .filter(|id| wanted.contains(id))?;
        let told = &one["statistics"];
        let number = |key: &str| told[key].as_f64();
        let memory = number("mem_rss_bytes").or_else(|| number("mem_total_bytes"))?;
        let measurement = Measurement {
            at: number("timestamp")?,
            cpu: number("cpus_user_time_secs")? + number("cpus_system_time_secs")?,
            mem_mib: memory / MIB,
        };
        Some((id.to_owned(), measurement))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_used_is_the_difference_of_two_measurements() {
        let told = |at: f64, user: f64| {
            json!([
                { "executor_id": "t1", "statistics": { "timestamp": at, "cpus_user_time_secs": user, "cpus_system_time_secs": 1.0,
                    "mem_rss_bytes": 2_097_152, "mem_total_bytes": 9_000_000 } },
                { "executor_id": "other", "statistics": { "timestamp": at, "cpus_user_time_secs": 5.0, "cpus_system_time_secs": 1.0,
                    "mem_rss_bytes": 1 } },
                { "executor_id": "t2", "statistics": { "timestamp": at } },
            ])
        };
        let wanted: BTreeSet<&str> = ["t1", "t2"].into();
        let mut meter = Meter::new(HttpClient::new());
        let first = measurements(&told(100.0, 3.0), &wanted).collect();
        assert_eq!(meter.since_before(first), []);
        let second = measurements(&told(110.0, 8.0), &wanted).collect();
        let usage = Usage {
            task_id: "t1".to_owned(),
            cpus: 0.5,
            mem_mib: 2.0,
        };
        assert_eq!(meter.since_before(second), [usage]);
        // One that began anew under its name was not measured before.
        let third = measurements(&told(120.0, 0.0), &wanted).collect();
        assert_eq!(meter.since_before(third), []);
    }

    #[test]
    fn agents_are_reached_where_they_listen() {
        let answer = json!({ "slaves": [
            { "id": "a", "hostname": "h", "port": 1, "pid": "slave(1)@10.0.0.1:5051" },
            { "id": "b", "hostname": "h", "port": 7 },
            { "hostname": "nobody" },
        ] });
        let addresses = addresses(&answer);
        assert_eq!(addresses["a"], ["h:1", "10.0.0.1:5051"]);
        assert_eq!(
            (&addresses["b"][..], addresses.len()),
            (&["h:7".to_owned()][..], 2)
        );
    }
}
