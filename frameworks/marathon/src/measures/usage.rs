//! What tasks use: `/monitor/statistics` of the agents that they are on, whose addresses the master knows (`/slaves`).
//!
//! Agents tell CPU time since a task began; what it uses now is the difference to the measurement before, so a task is measured from its
//! second time on. An agent that does not answer costs the measurement of its tasks, no more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;
use tepui_marathon_core::Usage;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

use crate::probes::HttpClient;

/// Answers of masters and agents are read up to so many bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Requests to agents under way at once, of one measurement.
const MAX_ASKED: usize = 16;
/// A master or an agent that does not answer in time is left out.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A measurement ends after this with what came until then.
const LIMIT: Duration = Duration::from_secs(20);
/// Addresses are asked for anew after this.
const ADDRESSES_LIVE: Duration = Duration::from_secs(60);
/// When an agent is not known, or the master did not tell, already after this.
const ADDRESSES_MISSED: Duration = Duration::from_secs(5);
const MIB: f64 = 1_048_576.0;

type Known = Arc<HashMap<String, Vec<String>>>;

/// Where agents are, for all apps together: the master is asked once for them.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Option<Told>>);

/// What a master told.
#[derive(Debug)]
struct Told {
    master: String,
    at: Instant,
    known: Result<Known, String>,
}

impl Addresses {
    async fn find(
        &self,
        client: &HttpClient,
        master: &str,
        agents: &BTreeMap<&str, BTreeSet<&str>>,
    ) -> Result<Known, String> {
        let mut told = self.0.lock().await;
        if let Some(told) = told.as_ref().filter(|told| told.master == master) {
            let all = |known: &Known| agents.keys().all(|id| known.contains_key(*id));
            let live = if told.known.as_ref().is_ok_and(all) {
                ADDRESSES_LIVE
            } else {
                ADDRESSES_MISSED
            };
            if told.at.elapsed() < live {
                return told.known.clone();
            }
        }
        let known = ask(client, master).await;
        *told = Some(Told {
            master: master.to_owned(),
            at: Instant::now(),
            known: known.clone(),
        });
        known
    }
}

async fn ask(client: &HttpClient, master: &str) -> Result<Known, String> {
    let url = format!("http://{master}/slaves");
    let answer = timeout(ANSWER_LIMIT, client.fetch(&url, MAX_ANSWER)).await;
    let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let answer = answer.map_err(|reason| format!("{url}: {reason}"))?;
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|error| format!("{url}: is not JSON: {error}"))?;
    Ok(Arc::new(addresses(&answer)))
}

/// Measures the tasks of one app, again and again.
#[derive(Debug)]
pub(super) struct Meter {
    client: HttpClient,
    addresses: Arc<Addresses>,
    limit: Duration,
    /// Agents that did not answer last time; they are asked after all others.
    silent: HashSet<String>,
    /// Of each task, when it was measured last and its CPU time then, both in seconds.
    before: HashMap<String, (f64, f64)>,
}

impl Meter {
    pub(super) fn new(client: HttpClient, addresses: Arc<Addresses>) -> Self {
        Self {
            client,
            addresses,
            limit: LIMIT,
            silent: HashSet::new(),
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
        let addresses = self.addresses.find(&self.client, master, &by_agent);
        let known = addresses.await?;
        let until = Instant::now() + self.limit;
        let wanted: HashSet<String> = tasks.iter().map(|(task, _)| task.clone()).collect();
        let mut agents: Vec<&str> = by_agent.into_keys().collect();
        agents.retain(|id| known.contains_key(*id));
        agents.sort_by_key(|id| self.silent.contains(*id));
        let asking = agents.iter().filter_map(|id| {
            let addresses = known.get(*id)?;
            Some(statistics(&self.client, id, addresses, &wanted))
        });
        let mut answers = stream::iter(asking.collect::<Vec<_>>()).buffer_unordered(MAX_ASKED);
        let mut found = HashMap::new();
        let (mut heard, mut done, mut why) = (HashSet::new(), 0, None);
        loop {
            match timeout_at(until, answers.next()).await {
                Ok(None) => break,
                Ok(Some((id, answer))) => {
                    done += 1;
                    match answer {
                        Ok(told) => {
                            found.extend(told);
                            heard.insert(id);
                        }
                        Err(reason) => why = Some(reason),
                    }
                }
                Err(_) => {
                    let late = || format!("nothing came within {} s", self.limit.as_secs());
                    why.get_or_insert_with(late);
                    break;
                }
            }
        }
        drop(answers);
        let asked = agents.iter().take(done + MAX_ASKED);
        let silent = asked.filter(|id| !heard.contains(**id));
        self.silent = silent.map(|id| (*id).to_owned()).collect();
        if found.is_empty()
            && let Some(reason) = why
        {
            return Err(reason);
        }
        self.before.retain(|task, _| wanted.contains(task));
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
        self.before.extend(times);
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

/// Of an agent's answer what is read.
#[derive(Debug, Deserialize)]
struct Statistics {
    executor_id: Option<String>,
    statistics: Option<Numbers>,
}

#[derive(Debug, Deserialize)]
struct Numbers {
    timestamp: Option<f64>,
    cpus_user_time_secs: Option<f64>,
    cpus_system_time_secs: Option<f64>,
    mem_rss_bytes: Option<f64>,
    mem_total_bytes: Option<f64>,
}

type Measurements = Vec<(String, Measurement)>;

/// What an agent tells of the tasks that are wanted, at the first of its addresses that answers; or why the first does not. Nothing else of its
/// answer is kept.
async fn statistics(
    client: &HttpClient,
    id: &str,
    addresses: &[String],
    wanted: &HashSet<String>,
) -> (String, Result<Measurements, String>) {
    let mut why = None;
    for address in addresses {
        let url = format!("http://{address}/monitor/statistics");
        let answer = timeout(ANSWER_LIMIT, client.fetch(&url, MAX_ANSWER)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let read = answer.and_then(|answer| measurements(&answer, wanted));
        match read {
            Ok(told) => return (id.to_owned(), Ok(told)),
            Err(reason) => why = why.or(Some(format!("{url}: {reason}"))),
        }
    }
    let why = why.unwrap_or_else(|| "it has no address".to_owned());
    (id.to_owned(), Err(why))
}

/// Of the tasks that are wanted. A task without an executor of its own has one of its name.
fn measurements(answer: &[u8], wanted: &HashSet<String>) -> Result<Measurements, String> {
    let all: Vec<Statistics> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let measured = all.into_iter().filter_map(|one| {
        let id = one.executor_id.filter(|id| wanted.contains(id))?;
        let told = one.statistics?;
        let memory = told.mem_rss_bytes.or(told.mem_total_bytes)?;
        let measurement = Measurement {
            at: told.timestamp?,
            cpu: told.cpus_user_time_secs? + told.cpus_system_time_secs?,
            mem_mib: memory / MIB,
        };
        Some((id, measurement))
    });
    Ok(measured.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

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
                { "executor_id": "t2", "statistics": null },
                { "executor_id": "t2" },
            ])
        };
        let wanted: HashSet<String> = ["t1".to_owned(), "t2".to_owned()].into();
        let measurements = |answer: &Value, wanted: &HashSet<String>| {
            let told = measurements(answer.to_string().as_bytes(), wanted).expect("JSON");
            told.into_iter()
        };
        let mut meter = Meter::new(HttpClient::new(), Arc::default());
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

    /// Answers each request with the same, as a master with these agents and as an agent; counts those for `/slaves`.
    async fn serve(listener: TcpListener, slaves: String, asked: Arc<Mutex<usize>>) {
        let mut turn = 0.0;
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = peer.read(&mut request).await.unwrap_or_default();
            let body = if String::from_utf8_lossy(&request[..read]).contains("/slaves") {
                *asked.lock().await += 1;
                slaves.clone()
            } else {
                turn += 1.0;
                json!([{ "executor_id": "t", "statistics": { "timestamp": turn, "cpus_user_time_secs": turn / 2.0,
                    "cpus_system_time_secs": 0.0, "mem_rss_bytes": 1_048_576 } }]).to_string()
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            peer.write_all(answer.as_bytes()).await.ok();
        }
    }

    #[tokio::test]
    async fn agents_that_do_not_answer_cost_their_tasks_only() {
        let answers = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        // It takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = |listener: &TcpListener| listener.local_addr().expect("address").port();
        let mut agents: Vec<Value> = (0..20)
            .map(|at| json!({ "id": format!("a{at:02}"), "hostname": "127.0.0.1", "port": port(&silent) }))
            .collect();
        agents.push(json!({ "id": "z", "hostname": "127.0.0.1", "port": port(&answers) }));
        let mut tasks: Vec<(String, String)> = (0..20)
            .map(|at| (format!("t{at}"), format!("a{at:02}")))
            .collect();
        tasks.push(("t".to_owned(), "z".to_owned()));
        let master = format!("127.0.0.1:{}", port(&answers));
        let asked = Arc::new(Mutex::new(0));
        let slaves = json!({ "slaves": agents }).to_string();
        let server = tokio::spawn(serve(answers, slaves, Arc::clone(&asked)));
        let addresses: Arc<Addresses> = Arc::default();
        let mut meter = Meter::new(HttpClient::new(), Arc::clone(&addresses));
        meter.limit = Duration::from_secs(1);
        // So many are silent that it is not asked the first time; then it is before all that were silent.
        assert!(meter.measure(&master, &tasks).await.is_err());
        assert_eq!(meter.measure(&master, &tasks).await, Ok(Vec::new()));
        let usage = Usage {
            task_id: "t".to_owned(),
            cpus: 0.5,
            mem_mib: 1.0,
        };
        assert_eq!(meter.measure(&master, &tasks).await, Ok(vec![usage]));
        // Another app's meter knows where agents are.
        let mut other = Meter::new(HttpClient::new(), addresses);
        let one = tasks.last().cloned().into_iter().collect::<Vec<_>>();
        assert_eq!(other.measure(&master, &one).await, Ok(Vec::new()));
        assert_eq!(*asked.lock().await, 1);
        server.abort();
    }
}
