//! One candidate's side of an election.
//!
//! Whenever the link comes up, and whenever the candidates change, everything is decided anew from the nodes that are there:
//! 1. nodes with our content but of another session are left-overs of ours (the reply to their creation was lost, or the session was
//!    given up): they are deleted, and of several in this session all but the lowest;
//! 2. without a node, one is made;
//! 3. the lowest node leads.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use zookeeper_client::{Client, CreateMode, Error as ZkError};

use super::detect::{ended, join};
use super::members::{Node, candidates};
use super::{Fault, Link, ZooKeeper};
use crate::election::{Candidate, Leadership, Member};

/// Before trying again after ZooKeeper refused something.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(200);

struct Campaign {
    zookeeper: ZooKeeper,
    candidate: Candidate,
    /// Where the candidates meet.
    directory: String,
    leadership: watch::Sender<Leadership>,
}

/// A candidate's node with what is in it.
struct Filled {
    node: Node,
    payload: Bytes,
    owner: i64,
}

/// Campaigns until `stopped`, and then removes its node.
pub(crate) async fn run(
    zookeeper: ZooKeeper,
    candidate: Candidate,
    leadership: watch::Sender<Leadership>,
    mut stopped: oneshot::Receiver<()>,
) {
    let directory = zookeeper.url().below(&candidate.path);
    let campaign = Campaign {
        directory,
        candidate,
        leadership,
        zookeeper,
    };
    let mut link = campaign.zookeeper.link();
    loop {
        let now = link.borrow_and_update().clone();
        let attend = async {
            match &now {
                Link::Up(client) => {
                    if let Err(error) = campaign.attend(client).await {
                        tracing::debug!(%error, directory = campaign.directory, "cannot take part in the election");
                        tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                    }
                }
                Link::Down { session_over } => {
                    tokio::time::sleep_until(*session_over).await;
                    campaign.suspend();
                    std::future::pending::<()>().await;
                }
                Link::Connecting => std::future::pending().await,
            }
        };
        tokio::select! {
            // Stopping is a drop of the sender, and nothing is ever sent.
            _ = &mut stopped => break,
            () = attend => {}
            changed = link.changed() => if changed.is_err() { return },
        }
    }
    let client = link.borrow().client().cloned();
    if let Some(client) = client
        && let Err(error) = campaign.leave(&client).await
    {
        tracing::debug!(%error, "cannot remove the candidate's node; it goes with the session");
    }
}

impl Campaign {
    /// Takes part until ZooKeeper fails.
    async fn attend(&self, client: &Client) -> Result<(), Fault> {
        let directory = self.zookeeper.node(CreateMode::Persistent);
        self.zookeeper
            .bounded(client.mkdir(&self.directory, &directory))
            .await?;
        loop {
            let (children, watcher) = self
                .zookeeper
                .bounded(client.list_and_watch_children(&self.directory))
                .await?;
            let Some(members) = self
                .fill(client, candidates(children, &self.candidate.label))
                .await?
            else {
                continue;
            };
            let session = client.session_id().0;
            let (mine, stale) = own(&members, &self.candidate.payload, session);
            for node in &stale {
                tracing::info!(
                    node = node.name,
                    directory = self.directory,
                    "removing a node that an earlier session of this process left"
                );
                self.delete(client, &node.name).await?;
            }
            if !stale.is_empty() {
                continue;
            }
            let Some(mine) = mine else {
                let options = self.zookeeper.node(CreateMode::EphemeralSequential);
                let prefix = join(&self.directory, &self.candidate.label);
                self.zookeeper
                    .bounded(client.create(&prefix, &self.candidate.payload, &options))
                    .await?;
                continue;
            };
            self.decide(mine.sequence, &members);
            ended(watcher.changed().await.event_type)?;
        }
    }

    /// Reads the candidates; `None` when one of them went meanwhile.
    async fn fill(&self, client: &Client, nodes: Vec<Node>) -> Result<Option<Vec<Filled>>, Fault> {
        // All questions are sent before the first answer is awaited.
        let asked: Vec<_> = nodes
            .into_iter()
            .map(|node| (client.get_data(&join(&self.directory, &node.name)), node))
            .collect();
        let mut members = Vec::with_capacity(asked.len());
        for (answer, node) in asked {
            match self.zookeeper.bounded(answer).await {
                Ok((payload, stat)) => members.push(Filled {
                    node,
                    payload: payload.into(),
                    owner: stat.ephemeral_owner,
                }),
                Err(Fault::Refused(ZkError::NoNode)) => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
        Ok(Some(members))
    }

    fn decide(&self, mine: u64, members: &[Filled]) {
        let Some(first) = members.first() else { return };
        let next = if first.node.sequence == mine {
            Leadership::Leading { epoch: mine }
        } else {
            Leadership::Following {
                leader: Member {
                    payload: first.payload.clone(),
                    epoch: first.node.sequence,
                },
            }
        };
        self.become_(next);
    }

    fn suspend(&self) {
        let before = self.leadership.borrow().clone();
        if let Leadership::Leading { epoch } = before {
            self.become_(Leadership::Suspended { epoch });
        }
    }

    fn become_(&self, next: Leadership) {
        let changed = self.leadership.send_if_modified(|leadership| {
            let changed = *leadership != next;
            if changed {
                leadership.clone_from(&next);
            }
            changed
        });
        if !changed {
            return;
        }
        let directory = &self.directory;
        self.zookeeper.metrics().leader_changes.increment();
        match next {
            Leadership::Leading { epoch } => {
                self.zookeeper.metrics().epoch.set(epoch);
                tracing::info!(epoch, directory, "leading");
            }
            Leadership::Following { leader } => {
                tracing::info!(epoch = leader.epoch, directory, "another leads")
            }
            Leadership::Suspended { epoch } => {
                tracing::warn!(
                    epoch,
                    directory,
                    "cut off from ZooKeeper: whether this one still leads is not known, so it starts nothing new"
                );
            }
            Leadership::Waiting => {}
        }
    }

    async fn delete(&self, client: &Client, name: &str) -> Result<(), Fault> {
        match self
            .zookeeper
            .bounded(client.delete(&join(&self.directory, name), None))
            .await
        {
            Err(Fault::Refused(ZkError::NoNode)) => Ok(()),
            done => done,
        }
    }

    /// Removes all that is this candidate's.
    async fn leave(&self, client: &Client) -> Result<(), Fault> {
        let children = self
            .zookeeper
            .bounded(client.list_children(&self.directory))
            .await?;
        for node in candidates(children, &self.candidate.label) {
            match self
                .zookeeper
                .bounded(client.get_data(&join(&self.directory, &node.name)))
                .await
            {
                Ok((payload, _)) if payload == self.candidate.payload => {
                    self.delete(client, &node.name).await?
                }
                Ok(_) | Err(Fault::Refused(ZkError::NoNode)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

/// This candidate's node in this session, and those of its nodes that must go.
fn own<'m>(
    members: &'m [Filled],
    payload: &[u8],
    session: i64,
) -> (Option<&'m Node>, Vec<&'m Node>) {
    let mut mine = None;
    let mut stale = Vec::new();
    for member in members.iter().filter(|member| member.payload == payload) {
        if member.owner == session && mine.is_none() {
            mine = Some(&member.node);
        } else {
            stale.push(&member.node);
        }
    }
    (mine, stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(sequence: u64, payload: &'static str, owner: i64) -> Filled {
        Filled {
            node: Node {
                name: format!("n{sequence}"),
                sequence,
            },
            payload: payload.into(),
            owner,
        }
    }

    #[test]
    fn own_nodes_are_told_by_content_and_session() {
        let cases = [
            // members (sequence, content, session), own sequence, stale sequences; "a" in session 1 is this candidate
            (vec![], None, vec![]),
            (vec![member(1, "b", 2)], None, vec![]),
            (vec![member(1, "b", 2), member(2, "a", 1)], Some(2), vec![]),
            (vec![member(1, "a", 9), member(2, "b", 2)], None, vec![1]),
            (vec![member(1, "a", 9), member(2, "a", 1)], Some(2), vec![1]),
            (vec![member(3, "a", 1), member(4, "a", 1)], Some(3), vec![4]),
            (vec![member(1, "b", 1)], None, vec![]),
        ];
        for (members, expected_mine, expected_stale) in cases {
            let (mine, stale) = own(&members, b"a", 1);
            assert_eq!(mine.map(|node| node.sequence), expected_mine);
            assert_eq!(
                stale.iter().map(|node| node.sequence).collect::<Vec<_>>(),
                expected_stale
            );
        }
    }
}
