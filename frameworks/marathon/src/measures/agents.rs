//! What agents tell of the tasks on them, asked for once a round for all apps together.
//!
//! A measurement belongs to a round: the moment at which it was due. What an agent has told since then is used again, also that it did not
//! answer; otherwise it is asked, by one measurement, while the others wait for what it tells. How many agents are asked at once is bounded for
//! all apps together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{Mutex as Turn, Semaphore},
    time::{Instant, timeout},
};

use super::usage::Measurement;
use crate::probes::HttpClient;

/// Answers of agents are read up to so many bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Agents asked at once, for all apps together.
const MAX_ASKED: usize = 64;
/// An agent that does not answer in time is left out.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// An agent that nobody has asked for since then is forgotten: that round is long over.
const FORGOTTEN: Duration = Duration::from_secs(60);
const MIB: f64 = 1_048_576.0;

type Told = Arc<HashMap<String, Measurement>>;
type Answer = Result<Told, String>;
/// When it was asked for, and what came.
type Slot = Arc<Turn<Option<(Instant, Answer)>>>;

/// All agents that were asked lately.
#[derive(Debug)]
pub(super) struct Agents {
    client: HttpClient,
    permits: Semaphore,
    /// By id, with the moment at which it was last looked for.
    slots: Mutex<HashMap<String, (Instant, Slot)>>,
    /// How many measurements want the tasks whose ids begin so; of others nothing is kept.
    wanted: Mutex<HashMap<String, usize>>,
}

impl Agents {
    pub(super) fn new(client: HttpClient) -> Self {
        Self {
            client,
            permits: Semaphore::new(MAX_ASKED),
            slots: Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    /// From now on what tasks of this app use is kept, for as long as what is given back lives.
    pub(super) fn want(self: &Arc<Self>, app: String) -> Wanted {
        *self.wanted.lock().entry(app.clone()).or_default() += 1;
        Wanted {
            agents: Arc::clone(self),
            app,
        }
    }

    /// What an agent has told in this round or since, at the first of its addresses that answers; or why the first does not.
    pub(super) async fn statistics(
        &self,
        round: Instant,
        id: &str,
        addresses: &[String],
    ) -> Answer {
        let slot = self.slot(id);
        let mut last = slot.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && *at >= round
        {
            return answer.clone();
        }
        let Ok(_permit) = self.permits.acquire().await else {
            return Err("nothing is measured any more".to_owned());
        };
        let at = Instant::now();
        let answer = self.ask(addresses).await;
        *last = Some((at, answer.clone()));
        answer
    }

    fn slot(&self, id: &str) -> Slot {
        let (now, mut slots) = (Instant::now(), self.slots.lock());
        if let Some((at, slot)) = slots.get_mut(id) {
            *at = now;
            return Arc::clone(slot);
        }
        // Each new one makes room for itself, so that there are never more than are asked.
        slots.retain(|_, (at, slot)| now - *at < FORGOTTEN || Arc::strong_count(slot) > 1);
        let slot = Slot::default();
        slots.insert(id.to_owned(), (now, Arc::clone(&slot)));
        slot
    }

    async fn ask(&self, addresses: &[String]) -> Answer {
        let mut why = None;
        for address in addresses {
            let url = format!("http://{address}/monitor/statistics");
            let answer = timeout(ANSWER_LIMIT, self.client.fetch(&url, MAX_ANSWER)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            let read = answer.and_then(|answer| self.read(&answer));
            match read {
                Ok(told) => return Ok(Arc::new(told)),
                Err(reason) => why = why.or(Some(format!("{url}: {reason}"))),
            }
        }
        Err(why.unwrap_or_else(|| "it has no address".to_owned()))
    }

    /// A task without an executor of its own has one of its name (see [`task_of`]).
    fn read(&self, answer: &[u8]) -> Result<HashMap<String, Measurement>, String> {
        let all: Vec<Statistics> =
            serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let wanted: HashSet<String> = self.wanted.lock().keys().cloned().collect();
        let measured = all.into_iter().filter_map(|one| {
            let id = task_of(one.executor_id?, |app| wanted.contains(app))?;
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
}

/// The task that an executor is of, if its app is `wanted`. Executors of users have a name made of their task's.
fn task_of(executor: String, wanted: impl Fn(&str) -> bool) -> Option<String> {
    if wanted(app_of(&executor)) {
        return Some(executor);
    }
    let task = executor.strip_prefix("marathon-")?;
    wanted(app_of(task)).then(|| task.to_owned())
}

/// The app of a task, as its id begins; of what is no task of Marathon's all of it.
fn app_of(task: &str) -> &str {
    task.split_once(".instance-").map_or(task, |(app, _)| app)
}

/// While it lives, what tasks of an app use is kept.
#[derive(Debug)]
pub(super) struct Wanted {
    agents: Arc<Agents>,
    app: String,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut wanted = self.agents.wanted.lock();
        if let Some(count) = wanted.get_mut(&self.app) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.app);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_what_an_agent_tells_only_what_is_wanted_and_whole_is_kept() {
        let answer = json!([
            { "executor_id": "a_b.instance-1._app.1", "statistics": { "timestamp": 7.0, "cpus_user_time_secs": 3.0, "cpus_system_time_secs": 1.0,
                "mem_rss_bytes": 2_097_152, "mem_total_bytes": 9_000_000 } },
            { "executor_id": "a_c.instance-1._app.1", "statistics": { "timestamp": 7.0, "cpus_user_time_secs": 5.0, "cpus_system_time_secs": 1.0,
                "mem_rss_bytes": 1 } },
            { "executor_id": "a_b.instance-2._app.1", "statistics": { "timestamp": 7.0 } },
            { "executor_id": "a_b.instance-3._app.1", "statistics": null },
            { "executor_id": "a_b.instance-4._app.1" },
            {},
        ]);
        let agents = Arc::new(Agents::new(HttpClient::new()));
        let read = || agents.read(answer.to_string().as_bytes()).expect("JSON");
        let wanted = [agents.want("a_b".to_owned()), agents.want("a_b".to_owned())];
        let measurement = Measurement {
            at: 7.0,
            cpu: 4.0,
            mem_mib: 2.0,
        };
        let kept = HashMap::from([("a_b.instance-1._app.1".to_owned(), measurement)]);
        assert_eq!(read(), kept);
        let [one, other] = wanted;
        drop(one);
        assert_eq!(read(), kept, "another wants it still");
        drop(other);
        assert!(read().is_empty());
    }

    #[test]
    fn who_was_not_asked_for_a_while_is_forgotten() {
        let agents = Agents::new(HttpClient::new());
        let asked = agents.slot("asked");
        for at in 0..100 {
            drop(agents.slot(&format!("a{at}")));
        }
        let long_ago = Instant::now().checked_sub(FORGOTTEN).expect("a time");
        for (at, _) in agents.slots.lock().values_mut() {
            *at = long_ago;
        }
        drop(agents.slot("new"));
        // One that is being asked is not forgotten.
        let slots = agents.slots.lock();
        assert_eq!(slots.len(), 2);
        assert!(Arc::ptr_eq(&slots["asked"].1, &asked));
    }
}
