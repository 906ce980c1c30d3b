//! What tasks use: `/monitor/statistics` of the agents that they are on, whose addresses the master knows (`/slaves`); both are asked for all apps
//! together.
//!
//! Agents tell CPU time since a task began; what it uses now is the difference to the app's measurement before, so a task is measured from its
//! second time on. An agent that does not answer costs the measurement of its tasks, no more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tepui_marathon_core::Usage;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

use super::agents::{Agents, Wanted};
use crate::probes::HttpClient;

/// Answers of masters are read up to so many bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Agents that one measurement asks, or waits for, at once.
const MAX_ASKED: usize = 16;
/// A master that does not answer in time has failed.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A measurement ends after this with what came until then.
const LIMIT: Duration = Duration::from_secs(20);
/// Addresses are asked for anew after this.
const ADDRESSES_LIVE: Duration = Duration::from_secs(60);
/// When an agent is not known, or the master did not tell, already after this.
const ADDRESSES_MISSED: Duration = Duration::from_secs(5);

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
    agents: Arc<Agents>,
    /// What agents tell of the app's tasks is kept while it is measured.
    _wanted: Wanted,
    limit: Duration,
    /// Agents that did not answer last time; they are asked after all others.
    silent: HashSet<String>,
    /// Of each task, when it was measured last and its CPU time then, both in seconds.
    before: HashMap<String, (f64, f64)>,
}

impl Meter {
    /// Of an app, named as the ids of its tasks begin.
    pub(super) fn new(
        client: HttpClient,
        addresses: Arc<Addresses>,
        agents: Arc<Agents>,
        app: String,
    ) -> Self {
        Self {
            client,
            addresses,
            _wanted: agents.want(app),
            agents,
            limit: LIMIT,
            silent: HashSet::new(),
            before: HashMap::new(),
        }
    }

    /// What these tasks use, each with the agent that it is on. What agents have told since the round began is not asked for again.
    ///
    /// # Errors
    /// The master does not tell where its agents are, or no agent tells anything.
    pub(super) async fn measure(
        &mut self,
        round: Instant,
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
            let told = self.agents.statistics(round, id, addresses);
            Some(async move { ((*id).to_owned(), told.await) })
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
                            let own = told.iter().filter(|(task, _)| wanted.contains(*task));
                            found.extend(own.map(|(task, now)| (task.clone(), *now)));
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
pub(super) struct Measurement {
    /// When, in seconds.
    pub(super) at: f64,
    /// CPU time since it began, in seconds.
    pub(super) cpu: f64,
    pub(super) mem_mib: f64,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn meter(addresses: &Arc<Addresses>, agents: &Arc<Agents>, app: &str) -> Meter {
        let client = HttpClient::new();
        Meter::new(
            client,
            Arc::clone(addresses),
            Arc::clone(agents),
            app.to_owned(),
        )
    }

    #[test]
    fn what_is_used_is_the_difference_of_two_measurements() {
        let told = |at: f64, user: f64| {
            let mem_mib = 2.0;
            let cpu = user + 1.0;
            HashMap::from([("t1".to_owned(), Measurement { at, cpu, mem_mib })])
        };
        let agents = Arc::new(Agents::new(HttpClient::new()));
        let mut meter = meter(&Arc::default(), &agents, "t1");
        assert_eq!(meter.since_before(told(100.0, 3.0)), []);
        let usage = Usage {
            task_id: "t1".to_owned(),
            cpus: 0.5,
            mem_mib: 2.0,
        };
        assert_eq!(meter.since_before(told(110.0, 8.0)), [usage]);
        // One that began anew under its name was not measured before.
        assert_eq!(meter.since_before(told(120.0, 0.0)), []);
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

    /// How often the master and the agent of a [`serve`] were asked.
    #[derive(Debug, Default)]
    struct Asked {
        slaves: AtomicUsize,
        statistics: AtomicUsize,
    }

    /// Answers as a master with these agents, and as an agent on which these tasks use half a processor.
    async fn serve(listener: TcpListener, slaves: String, tasks: Vec<String>, asked: Arc<Asked>) {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = peer.read(&mut request).await.unwrap_or_default();
            let body = if String::from_utf8_lossy(&request[..read]).contains("/slaves") {
                asked.slaves.fetch_add(1, SeqCst);
                slaves.clone()
            } else {
                let turn = asked.statistics.fetch_add(1, SeqCst) + 1;
                let told = tasks.iter().map(|task| {
                    json!({ "executor_id": task, "statistics": { "timestamp": turn * 2, "cpus_user_time_secs": turn,
                        "cpus_system_time_secs": 0.0, "mem_rss_bytes": 1_048_576 } })
                });
                told.collect::<Value>().to_string()
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            peer.write_all(answer.as_bytes()).await.ok();
        }
    }

    fn usage(task: &str) -> Usage {
        Usage {
            task_id: task.to_owned(),
            cpus: 0.5,
            mem_mib: 1.0,
        }
    }

    #[tokio::test]
    async fn agents_that_do_not_answer_cost_their_tasks_only() {
        let answers = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        // It takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = |listener: &TcpListener| listener.local_addr().expect("address").port();
        let mut listed: Vec<Value> = (0..20)
            .map(|at| json!({ "id": format!("a{at:02}"), "hostname": "127.0.0.1", "port": port(&silent) }))
            .collect();
        listed.push(json!({ "id": "z", "hostname": "127.0.0.1", "port": port(&answers) }));
        let mut tasks: Vec<(String, String)> = (0..20)
            .map(|at| (format!("t.instance-{at}"), format!("a{at:02}")))
            .collect();
        tasks.push(("t.instance-z".to_owned(), "z".to_owned()));
        let master = format!("127.0.0.1:{}", port(&answers));
        let asked = Arc::new(Asked::default());
        let slaves = json!({ "slaves": listed }).to_string();
        let there = vec!["t.instance-z".to_owned()];
        let server = tokio::spawn(serve(answers, slaves, there, Arc::clone(&asked)));
        let addresses: Arc<Addresses> = Arc::default();
        let agents = Arc::new(Agents::new(HttpClient::new()));
        let mut meter = meter(&addresses, &agents, "t");
        meter.limit = Duration::from_secs(1);
        // So many are silent that it is not asked the first time; then it is before all that were silent.
        let mut measure = async || meter.measure(Instant::now(), &master, &tasks).await;
        assert!(measure().await.is_err());
        assert_eq!(measure().await, Ok(Vec::new()));
        assert_eq!(measure().await, Ok(vec![usage("t.instance-z")]));
        assert_eq!(asked.slaves.load(SeqCst), 1);
        server.abort();
    }

    #[tokio::test]
    async fn an_agent_is_asked_once_a_round_for_all_apps() {
        const APPS: usize = 40;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("address").port();
        let slaves = json!({ "slaves": [{ "id": "z", "hostname": "127.0.0.1", "port": port }] });
        let task = |app: usize| format!("app{app}.instance-1._app.1");
        let asked = Arc::new(Asked::default());
        let there = (0..APPS).map(task).collect();
        let server = tokio::spawn(serve(
            listener,
            slaves.to_string(),
            there,
            Arc::clone(&asked),
        ));
        let addresses: Arc<Addresses> = Arc::default();
        let agents = Arc::new(Agents::new(HttpClient::new()));
        let mut meters: Vec<Meter> = (0..APPS)
            .map(|app| meter(&addresses, &agents, &format!("app{app}")))
            .collect();
        let master = format!("127.0.0.1:{port}");
        for round in 1..=3 {
            let begun = Instant::now();
            let measuring = meters.iter_mut().enumerate().map(|(app, meter)| {
                let (master, tasks) = (&master, [(task(app), "z".to_owned())]);
                async move { meter.measure(begun, master, &tasks).await }
            });
            let measured = futures::future::join_all(measuring).await;
            for (app, measured) in measured.into_iter().enumerate() {
                let used = if round == 1 {
                    vec![]
                } else {
                    vec![usage(&task(app))]
                };
                assert_eq!(measured, Ok(used), "round {round}");
            }
            assert_eq!(asked.statistics.load(SeqCst), round);
        }
        assert_eq!(asked.slaves.load(SeqCst), 1);
        server.abort();
    }
}
