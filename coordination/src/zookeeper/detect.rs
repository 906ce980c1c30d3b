//! Following the leader: the lowest candidate's content, whenever the candidates change.

use std::time::Duration;

use tokio::sync::watch;
use zookeeper_client::{Client, Error as ZkError, EventType};

use super::members::candidates;
use super::{Fault, Link, ZooKeeper};
use crate::election::{MASTER_LABEL, Member};
use crate::leader::Leader;

/// Before asking again after ZooKeeper refused something.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);

/// Keeps `leader` up to date for as long as anyone looks.
pub(crate) async fn run(zookeeper: ZooKeeper, leader: watch::Sender<Option<Leader>>) {
    let directory = zookeeper.url().below("");
    let mut link = zookeeper.link();
    loop {
        let now = link.borrow_and_update().clone();
        let watching = async {
            let Link::Up(client) = &now else {
                return std::future::pending().await;
            };
            if let Err(error) = watch_leader(&zookeeper, client, &directory, &leader).await {
                tracing::debug!(%error, directory, "cannot see who leads");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        };
        tokio::select! {
            () = watching => {}
            changed = link.changed() => if changed.is_err() { return },
            () = leader.closed() => return,
        }
    }
}

/// Tells of each leader until ZooKeeper fails.
async fn watch_leader(
    zookeeper: &ZooKeeper,
    client: &Client,
    directory: &str,
    leader: &watch::Sender<Option<Leader>>,
) -> Result<(), Fault> {
    loop {
        let listed = zookeeper
            .bounded(client.list_and_watch_children(directory))
            .await;
        let (children, watcher) = match listed {
            Ok(found) => found,
            Err(Fault::Refused(ZkError::NoNode)) => {
                tell(zookeeper, leader, None);
                let (stat, watcher) = zookeeper
                    .bounded(client.check_and_watch_stat(directory))
                    .await?;
                if stat.is_none() {
                    ended(watcher.changed().await.event_type)?;
                }
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let first = candidates(children, MASTER_LABEL).into_iter().next();
        let found = match first {
            None => None,
            Some(node) => match zookeeper
                .bounded(client.get_data(&join(directory, &node.name)))
                .await
            {
                Ok((payload, _)) => Some(Member {
                    payload: payload.into(),
                    epoch: node.sequence,
                }),
                // It went between the two questions.
                Err(Fault::Refused(ZkError::NoNode)) => continue,
                Err(fault) => return Err(fault),
            },
        };
        let found = found.and_then(|member| {
            member.leader().inspect_err(|error| tracing::warn!(%error, directory, epoch = member.epoch, "the leader's node is not MasterInfo JSON")).ok()
        });
        tell(zookeeper, leader, found);
        ended(watcher.changed().await.event_type)?;
    }
}

/// A watch that ends with the session is no news about the nodes.
pub(super) fn ended(event: EventType) -> Result<(), Fault> {
    if event == EventType::Session {
        Err(Fault::Refused(ZkError::ConnectionLoss))
    } else {
        Ok(())
    }
}

/// The path of a child.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory == "/" {
        format!("/{name}")
    } else {
        format!("{directory}/{name}")
    }
}

fn tell(zookeeper: &ZooKeeper, leader: &watch::Sender<Option<Leader>>, found: Option<Leader>) {
    let changed = leader.send_if_modified(|known| {
        let changed = *known != found;
        if changed {
            known.clone_from(&found);
        }
        changed
    });
    if !changed {
        return;
    }
    zookeeper.metrics().leader_changes.increment();
    match found {
        Some(Leader { info, epoch }) => {
            zookeeper.metrics().epoch.set(epoch);
            let at = info
                .endpoint()
                .map(|endpoint| endpoint.to_string())
                .unwrap_or_default();
            tracing::info!(epoch, at, "detected a leader");
        }
        None => tracing::info!("nobody leads"),
    }
}
