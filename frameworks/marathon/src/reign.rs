//! Leading: from the election to the loss of it, in one process, any number of times.
//!
//! A term takes over what is stored, runs the core, subscribes to the master, and ends when the leadership is lost, given up, or when the store refuses
//! a write. Between terms the instance follows: it passes requests on to the leader.

use std::{convert::Infallible, sync::Arc};

use serde_json::json;
use tepui_coordination::{
    Candidate, Election, Leadership, Location, Member, SharedStore, ZooKeeper, ZooKeeperOptions,
    ZooKeeperStore, store::EmbeddedStore,
};
use tepui_marathon_core::ApiCall;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
};

use crate::{
    Error,
    config::Config,
    engine::{Carriers, Clock, Engine, EngineHandle},
    events::EventHub,
    measures::Measurer,
    probes::Prober,
    rest::{Info, Leading, Standing},
    scheduler, storage,
};

/// Writes and commands for the master that may wait; the core waits when they are full.
const QUEUE: usize = 4096;

/// Where state is kept and the election is held.
#[derive(Debug)]
pub(crate) struct Coordination {
    store: SharedStore,
    zookeeper: Option<ZooKeeper>,
}

impl Coordination {
    /// Opens the store.
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        if let Some(zk) = &config.zk {
            let Ok(Location::ZooKeeper(url)) = Location::parse(zk, None) else {
                return Err(Error::Flag {
                    flag: "zk",
                    reason: format!("`{zk}` is not of the form zk://HOST:PORT,…/PATH"),
                });
            };
            let options = ZooKeeperOptions {
                session_timeout: std::time::Duration::from_millis(config.zk_session_timeout_ms),
                ..Default::default()
            };
            let zookeeper = ZooKeeper::connect(url, options);
            let store = ZooKeeperStore::open(&zookeeper, "marathon").await?;
            return Ok(Self {
                store: Arc::new(store),
                zookeeper: Some(zookeeper),
            });
        }
        let unusable = |source| Error::WorkDir {
            path: config.work_dir.clone(),
            source,
        };
        tokio::fs::create_dir_all(&config.work_dir)
            .await
            .map_err(unusable)?;
        let store = EmbeddedStore::open(embedded(config))?;
        Ok(Self {
            store: Arc::new(store),
            zookeeper: None,
        })
    }

    pub(crate) fn store(&self) -> &SharedStore {
        &self.store
    }

    pub(crate) async fn campaign(&self, own: &str) -> Result<Election, Error> {
        match &self.zookeeper {
            None => Ok(Election::standalone(&*self.store).await?),
            Some(zookeeper) => {
                // A random id, so that an instance never takes another's node for its own.
                let payload =
                    json!({ "address": own, "id": uuid::Uuid::new_v4().to_string() }).to_string();
                Ok(Election::zookeeper(
                    zookeeper,
                    Candidate::new("tepui/marathon-leader", payload),
                ))
            }
        }
    }
}

/// Where the embedded store is.
pub(crate) fn embedded(config: &Config) -> std::path::PathBuf {
    config.work_dir.join("marathon.redb")
}

/// `host:port` of an elected member.
pub(crate) fn address(member: &Member) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_slice(&member.payload).ok()?;
    Some(payload["address"].as_str()?.to_owned())
}

/// Campaigns and leads, again and again, until the future is dropped.
///
/// # Errors
/// The store is broken, or holds what cannot be understood: a person has to look.
pub(crate) async fn run(
    config: Arc<Config>,
    coordination: Coordination,
    own: String,
    standing: watch::Sender<Standing>,
) -> Result<(), Error> {
    let mut election = coordination.campaign(&own).await?;
    loop {
        match election.leadership() {
            Leadership::Leading { epoch } => {
                standing.send_replace(Standing::Unknown);
                let over = term(
                    &config,
                    &coordination,
                    &own,
                    epoch,
                    &mut election,
                    &standing,
                )
                .await?;
                standing.send_replace(Standing::Unknown);
                if over == Over::Abdicated {
                    tracing::info!("Marathon gives the leadership up");
                    election.resign().await;
                    election = coordination.campaign(&own).await?;
                }
            }
            Leadership::Following { leader } => {
                // Its own address is that of a former life, whose session has not ended yet.
                let other = address(&leader).filter(|leader| *leader != own);
                standing.send_replace(other.map_or(Standing::Unknown, Standing::Following));
                election.changed().await;
            }
            Leadership::Waiting | Leadership::Suspended { .. } => {
                standing.send_replace(Standing::Unknown);
                election.changed().await;
            }
        }
    }
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Another leads, or the store fenced this one off.
    Lost,
    /// Somebody asked for it.
    Abdicated,
}

/// One term of leadership.
async fn term(
    config: &Arc<Config>,
    coordination: &Coordination,
    own: &str,
    epoch: u64,
    election: &mut Election,
    standing: &watch::Sender<Standing>,
) -> Result<Over, Error> {
    let records = storage::load(&coordination.store, epoch).await?;
    tracing::info!(epoch, records = records.len(), "Marathon leads");
    let engine = Engine::recover(config.core.clone(), records, Clock::start())?;
    let handle = engine.handle();
    let events = EventHub::new(config.event_stream_max_outstanding_messages);
    let (store, writes) = mpsc::channel(QUEUE);
    let (backups, backup_requests) = mpsc::channel(1);
    let (commands, scheduler_commands) = mpsc::channel(QUEUE);
    let prober = Prober::new(
        handle.clone(),
        Handle::current(),
        config.max_concurrent_health_checks,
    );
    let framework_id = engine.framework_id().map(str::to_owned);
    let (info, info_receiver) = watch::channel(Info {
        elected: true,
        leader: Some(own.to_owned()),
        framework_id: framework_id.clone(),
        master: None,
        mesos_leader_ui_url: config.mesos_leader_ui_url.clone(),
    });
    let carriers = Carriers {
        store,
        scheduler: commands,
        prober,
        measurer: Measurer::new(handle.clone(), Handle::current(), info_receiver.clone()),
        events: events.clone(),
    };
    let (over, ended) = oneshot::channel::<()>();
    let thread = engine.spawn(carriers, ended).map_err(Error::Thread)?;
    let abdicate = Arc::new(Notify::new());
    let leading = Leading {
        engine: handle.clone(),
        events: events.clone(),
        info: info_receiver,
        abdicate: Arc::clone(&abdicate),
        backups,
    };
    let why = tokio::select! {
        written = storage::run(Arc::clone(&coordination.store), epoch, writes, backup_requests, handle.clone()) => match written {
            Ok(()) => Ok(Over::Lost),
            Err(tepui_coordination::StoreError::Fenced { highest, .. }) => {
                tracing::warn!(epoch, highest, "another Marathon has taken over");
                Ok(Over::Lost)
            }
            Err(error) => Err(error.into()),
        },
        end = scheduler::run(config, (coordination.store(), epoch), framework_id, own, scheduler_commands, handle.clone(), info) => match end {
            scheduler::End::Refused(error) => Err(error),
            scheduler::End::Replaced => {
                tracing::warn!(epoch, "another Marathon has taken over");
                Ok(Over::Lost)
            }
        },
        () = lost(election) => Ok(Over::Lost),
        never = announce(&handle, leading, standing) => match never {},
        () = abdicate.notified() => Ok(Over::Abdicated),
    };
    events.close();
    drop(over);
    // The thread ends at its next turn; nobody waits for it with the runtime blocked.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    why
}

/// Leads before the world once all that was stored can be read: the core's first answer comes after whatever it had to show and to store when
/// it took over. Until then requests wait, and nobody is told that there are no apps.
async fn announce(
    engine: &EngineHandle,
    leading: Leading,
    standing: &watch::Sender<Standing>,
) -> Infallible {
    let id = "/".to_owned();
    let _ = engine.request(ApiCall::GroupVersions { id }).await;
    standing.send_replace(Standing::Leading(Box::new(leading)));
    std::future::pending().await
}

/// Waits until another leads for sure. Cut off from ZooKeeper a leader goes on: its store makes it wait, and refuses it if it was replaced.
async fn lost(election: &mut Election) {
    loop {
        match election.changed().await {
            Leadership::Leading { .. } | Leadership::Suspended { .. } => {}
            Leadership::Following { .. } | Leadership::Waiting => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_coordination::store::MemoryStore;
    use tepui_marathon_core::{Input, Marathon, Mutation, Origin, Output, Record, ReplyToken};
    use tepui_model::Time;

    use super::*;

    const APPS: usize = 50;

    /// What a Marathon has stored that has so many apps.
    fn stored() -> Vec<Record> {
        let mut out = Vec::new();
        let mut core = Marathon::new(Default::default(), Time::from_secs(1), Vec::new(), &mut out)
            .expect("nothing is stored");
        for at in 0..APPS {
            let body = json!({ "id": format!("/app-{at}"), "cmd": "true", "instances": 0 });
            let call = ApiCall::CreateApp {
                body: body.to_string().into(),
                force: false,
                origin: Origin::default(),
            };
            core.step(
                Time::from_secs(2),
                Input::Request(ReplyToken(at as u64), call),
                &mut out,
            );
        }
        let mut records = std::collections::BTreeMap::new();
        for output in out {
            if let Output::Store { mutations, .. } = output {
                for mutation in mutations {
                    match mutation {
                        Mutation::Put { key, value } => records.insert(key, value),
                        Mutation::Delete { key } => records.remove(&key),
                    };
                }
            }
        }
        let record = |(key, value)| Record { key, value };
        records.into_iter().map(record).collect()
    }

    #[tokio::test]
    async fn nobody_is_told_who_leads_before_all_that_was_stored_can_be_read() {
        let engine = Engine::recover(Default::default(), stored(), Clock::start()).expect("reads");
        let handle = engine.handle();
        let (standing, mut watching) = watch::channel(Standing::Unknown);
        let (_info, info) = watch::channel(Info::default());
        let (backups, backup_requests) = mpsc::channel(1);
        let leading = Leading {
            engine: handle.clone(),
            events: EventHub::new(1),
            info: info.clone(),
            abdicate: Arc::default(),
            backups,
        };
        let announced = handle.clone();
        let announcing =
            tokio::spawn(async move { announce(&announced, leading, &standing).await });
        // The core has taken everything over, and none of it is shown yet.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(*watching.borrow(), Standing::Unknown));
        assert_eq!(handle.view().read().app_count(), 0);

        let (store, writes) = mpsc::channel(QUEUE);
        let (scheduler, _commands) = mpsc::channel(QUEUE);
        let carriers = Carriers {
            store,
            scheduler,
            prober: Prober::new(handle.clone(), Handle::current(), 1),
            measurer: Measurer::new(handle.clone(), Handle::current(), info),
            events: EventHub::new(1),
        };
        let memory: SharedStore = Arc::new(MemoryStore::new());
        let writer = storage::run(memory, 1, writes, backup_requests, handle.clone());
        let writer = tokio::spawn(writer);
        let (over, ended) = oneshot::channel::<()>();
        let thread = engine.spawn(carriers, ended).expect("a thread");
        let leads = watching
            .wait_for(|standing| matches!(standing, Standing::Leading(_)))
            .await;
        drop(leads.expect("it leads"));
        assert_eq!(handle.view().read().app_count(), APPS);
        announcing.abort();
        drop((over, handle));
        tokio::task::spawn_blocking(move || thread.join().expect("it ends"))
            .await
            .expect("it is waited for");
        writer.abort();
    }
}
