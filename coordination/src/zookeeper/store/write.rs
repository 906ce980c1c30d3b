//! Writing: one batch after the other, each as one multi-operation.
//!
//! A writer remembers what it has read and written (`seen`), so that a batch usually takes one request, and reads nothing. That is as safe
//! as reading: every writer changes the head, and the multi-operation demands the head that the memory belongs to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use zookeeper_client::{Client, CreateMode, Error as ZkError, MultiWriteError};

use super::layout::{Content, HeadNode, ValueNode, decode_name};
use super::seen::{Kept, Seen};
use super::{Attempt, Keeper};
use crate::store::{Batch, Effect, Plan, StoreError, Submission, Version, plan};
use crate::zookeeper::Fault;
use crate::zookeeper::detect::join;

/// A value up to this size may go into its node.
const INLINE_BYTES: usize = 256 << 10;
/// Values in one request; the largest of them are put into chunks until they fit.
const REQUEST_BYTES: usize = 512 << 10;
/// The size of a chunk.
const CHUNK_BYTES: usize = 512 << 10;

/// The one who writes.
pub(super) struct Writer {
    keeper: Arc<Keeper>,
    batch: Batch,
    /// Directories that are known to exist. Bounded by 256 a collection, and large values' keys.
    known: Mutex<HashSet<String>>,
    /// What this writer knows of the store; nothing while it is not sure.
    seen: Mutex<Option<Seen>>,
}

/// What submitters are told, and whether the leader is a new one.
type Told = Result<(Vec<Result<Version, StoreError>>, bool), StoreError>;

/// An attempt whose answer may have been lost.
struct Sent {
    id: String,
    outcomes: Vec<Result<Version, StoreError>>,
    takes_over: bool,
}

impl Writer {
    pub(super) fn new(keeper: Arc<Keeper>, batch: Batch) -> Self {
        Self {
            keeper,
            batch,
            known: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Writes until nobody can submit any more.
    pub(super) async fn run(mut self) {
        while let Some(submissions) = self.batch.next().await {
            let started = Instant::now();
            let outcomes = match self.write(&submissions).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    tracing::warn!(%error, transactions = submissions.len(), "cannot write to the store");
                    submissions.iter().map(|_| Err(error.clone())).collect()
                }
            };
            self.keeper.metrics.commits.increment();
            self.keeper
                .metrics
                .commit_us
                .add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.batch.answer(submissions, outcomes);
        }
    }

    async fn write(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Version, StoreError>>, StoreError> {
        let sent: &Mutex<Vec<Sent>> = &Mutex::default();
        let attempt = |client| -> BoxFuture<'_, _> {
            Box::pin(async move { self.attempt(&client, submissions, sent).await })
        };
        let (outcomes, takes_over) = self.keeper.persist(attempt).await??;
        if takes_over {
            // Left-overs are no reason to refuse what was committed.
            let swept = self
                .keeper
                .persist(|client| {
                    Box::pin(async move { self.sweep(&client).await.map(Attempt::Done) })
                })
                .await;
            if let Err(error) = swept {
                tracing::debug!(%error, "cannot remove chunks that a predecessor left");
            }
        }
        Ok(outcomes)
    }

    /// Decides and writes once. The inner result is for the submitters, whatever the connection does.
    async fn attempt(
        &self,
        client: &Client,
        submissions: &[Submission],
        sent: &Mutex<Vec<Sent>>,
    ) -> Result<Attempt<Told>, Fault> {
        // It is put back when it has proved true.
        let remembered = self.seen.lock().await.take();
        if let Some(seen) = remembered.filter(|_| sent.try_lock().is_ok_and(|sent| sent.is_empty()))
            && let Some(told) = self.decide(client, submissions, sent, seen, false).await?
        {
            return Ok(told);
        }
        let keeper = &*self.keeper;
        // The head is read first: what is then read is at least as new, and if it is newer the write will fail.
        let head_path = keeper.layout.head();
        let synced = client.sync(&head_path);
        let head = client.get_data(&head_path);
        keeper.zookeeper.bounded(synced).await?;
        let (content, stat) = keeper.zookeeper.bounded(head).await?;
        let head = match HeadNode::decode(&content, &keeper.layout.root) {
            Ok(head) => head,
            Err(error) => return Ok(Attempt::Done(Err(error))),
        };
        let mut earlier = sent.lock().await;
        if let Some(heard) = earlier.iter().position(|sent| sent.id == head.last) {
            let Sent {
                outcomes,
                takes_over,
                ..
            } = earlier.swap_remove(heard);
            return Ok(Attempt::Done(Ok((outcomes, takes_over))));
        }
        drop(earlier);
        let seen = Seen::new(head.head(), stat.version);
        let told = self.decide(client, submissions, sent, seen, true).await?;
        Ok(told.unwrap_or(Attempt::Done(Ok((Vec::new(), false)))))
    }

    /// Decides on what is known, after reading what is missing of it, and writes. `None` if nothing would be written because of what is
    /// only remembered: refusals are told of what is so now.
    async fn decide(
        &self,
        client: &Client,
        submissions: &[Submission],
        sent: &Mutex<Vec<Sent>>,
        mut seen: Seen,
        fresh: bool,
    ) -> Result<Option<Attempt<Told>>, Fault> {
        let keeper = &*self.keeper;
        let operations = submissions.iter().flat_map(|it| &it.transaction.operations);
        let missing = seen.missing(operations, fresh);
        if !missing.is_empty() {
            let synced = client.sync(&keeper.layout.root);
            let paths: Vec<(String, String)> = missing
                .into_iter()
                .map(|key| (key.to_owned(), keeper.layout.node(key)))
                .collect();
            let asked: Vec<_> = paths
                .iter()
                .map(|(key, path)| (key, client.get_data(path)))
                .collect();
            keeper.zookeeper.bounded(synced).await?;
            for (key, answer) in asked {
                let kept = match keeper.zookeeper.bounded(answer).await {
                    Ok((content, _)) => {
                        let Some(node) = ValueNode::decode(content) else {
                            let error = keeper
                                .failed(format!("the node of '{key}' was not written by a store"));
                            return Ok(Some(Attempt::Done(Err(error))));
                        };
                        Some(Kept::from(node))
                    }
                    Err(Fault::Refused(ZkError::NoNode)) => None,
                    Err(fault) => return Err(fault),
                };
                seen.note(key.clone(), kept);
            }
        }
        let plan = plan(
            seen.head,
            submissions.iter().map(|s| &s.transaction),
            |key| seen.get(key).map(|kept| kept.version),
        );
        if !plan.writes() {
            let told = Attempt::Done(Ok((plan.outcomes, false)));
            return Ok(fresh.then_some(told));
        }
        let takes_over = plan.head.epoch > seen.head.epoch;
        let id = uuid::Uuid::new_v4().simple().to_string();
        sent.lock().await.push(Sent {
            id: id.clone(),
            outcomes: plan.outcomes.clone(),
            takes_over,
        });
        let written = self.commit(client, &plan, &id, &seen).await?;
        Ok(Some(match written {
            Attempt::Done(written) => {
                seen.advance(plan.head, written);
                *self.seen.lock().await = Some(seen);
                Attempt::Done(Ok((plan.outcomes, takes_over)))
            }
            Attempt::Again(fault) => Attempt::Again(fault),
        }))
    }

    /// Writes a plan if the store is as it was seen. What the keys are then.
    async fn commit(
        &self,
        client: &Client,
        plan: &Plan,
        id: &str,
        seen: &Seen,
    ) -> Result<Attempt<Vec<(String, Option<Kept>)>>, Fault> {
        let keeper = &*self.keeper;
        let options = keeper.zookeeper.private_node(CreateMode::Persistent);
        let chunked = chunked(&plan.effects);
        let mut writer = client.new_multi_writer();
        writer.add_set_data(
            &keeper.layout.head(),
            &HeadNode::new(plan.head, id).encode(),
            Some(seen.head_version),
        )?;
        let mut written = Vec::with_capacity(plan.effects.len());
        for (key, effect) in &plan.effects {
            let path = keeper.layout.node(key);
            let before = seen.get(key);
            match effect {
                Effect::Put { value, version } => {
                    self.make_directory(client, keeper.layout.bucket(key))
                        .await?;
                    let content = if chunked.contains(key.as_str()) {
                        self.write_chunks(client, key, id, value).await?
                    } else {
                        Content::Inline(value.clone())
                    };
                    let node = ValueNode {
                        version: *version,
                        content,
                    };
                    let encoded = node.encode();
                    match before {
                        Some(_) => writer.add_set_data(&path, &encoded, None)?,
                        None => writer.add_create(&path, &encoded, &options)?,
                    }
                    written.push((key.clone(), Some(Kept::from(node))));
                }
                Effect::Delete => {
                    if before.is_some() {
                        writer.add_delete(&path, None)?;
                    }
                    written.push((key.clone(), None));
                }
            }
            if let Some((id, count)) = before.and_then(|before| before.chunks.as_deref()) {
                for number in 0..*count {
                    writer.add_delete(&keeper.layout.chunk(key, id, number), None)?;
                }
            }
        }
        match tokio::time::timeout(keeper.zookeeper.options().session_timeout, writer.commit())
            .await
        {
            Ok(Ok(_)) => Ok(Attempt::Done(written)),
            Ok(Err(MultiWriteError::RequestFailed { source })) => Err(Fault::Refused(source)),
            // Somebody else has written, or removed a directory: what was read no longer holds.
            Ok(Err(MultiWriteError::OperationFailed { source, .. })) => {
                self.known.lock().await.clear();
                match source {
                    ZkError::BadVersion | ZkError::NoNode | ZkError::NodeExists => {
                        Ok(Attempt::Again(Fault::Refused(source)))
                    }
                    source => Err(Fault::Refused(source)),
                }
            }
            Err(_) => Err(Fault::Timeout),
        }
    }

    async fn make_directory(&self, client: &Client, path: String) -> Result<(), Fault> {
        let mut known = self.known.lock().await;
        if !known.contains(&path) {
            let options = self.keeper.zookeeper.private_node(CreateMode::Persistent);
            self.keeper
                .zookeeper
                .bounded(client.mkdir(&path, &options))
                .await?;
            known.insert(path);
        }
        Ok(())
    }

    async fn write_chunks(
        &self,
        client: &Client,
        key: &str,
        id: &str,
        value: &[u8],
    ) -> Result<Content, Fault> {
        let keeper = &*self.keeper;
        self.make_directory(client, keeper.layout.chunk_directory(key))
            .await?;
        let options = keeper.zookeeper.private_node(CreateMode::Persistent);
        let mut count = 0;
        for chunk in value.chunks(CHUNK_BYTES) {
            keeper
                .zookeeper
                .bounded(client.create(&keeper.layout.chunk(key, id, count), chunk, &options))
                .await?;
            count += 1;
        }
        Ok(Content::Chunks {
            id: id.to_owned(),
            count,
        })
    }

    /// Removes chunks that no value names. Only this writer can write now, and it is not writing.
    async fn sweep(&self, client: &Client) -> Result<(), Fault> {
        let keeper = &*self.keeper;
        let chunks = keeper.layout.chunks();
        for encoded in keeper
            .zookeeper
            .bounded(client.list_children(&chunks))
            .await?
        {
            let Some(key) = decode_name(&encoded) else {
                continue;
            };
            let named = match keeper
                .zookeeper
                .bounded(client.get_data(&keeper.layout.node(&key)))
                .await
            {
                Ok((content, _)) => match ValueNode::decode(content).map(|node| node.content) {
                    Some(Content::Chunks { id, .. }) => Some(id),
                    _ => None,
                },
                Err(Fault::Refused(ZkError::NoNode)) => None,
                Err(fault) => return Err(fault),
            };
            let directory = join(&chunks, &encoded);
            for node in keeper
                .zookeeper
                .bounded(client.list_children(&directory))
                .await?
            {
                let belongs = named
                    .as_deref()
                    .is_some_and(|id| node.rsplit_once('-').is_some_and(|(of, _)| of == id));
                if !belongs {
                    tracing::debug!(key, node, "removing a chunk that no value names");
                    gone(
                        keeper
                            .zookeeper
                            .bounded(client.delete(&join(&directory, &node), None))
                            .await,
                    )?;
                }
            }
            if named.is_none() {
                gone(
                    keeper
                        .zookeeper
                        .bounded(client.delete(&directory, None))
                        .await,
                )?;
                self.known.lock().await.remove(&directory);
            }
        }
        Ok(())
    }
}

/// Deleting what is not there is done.
fn gone(deleted: Result<(), Fault>) -> Result<(), Fault> {
    match deleted {
        Err(Fault::Refused(ZkError::NoNode | ZkError::NotEmpty)) => Ok(()),
        deleted => deleted,
    }
}

/// The keys whose values do not go into their nodes: all large ones, and the largest others until the rest fits into a request.
fn chunked(effects: &BTreeMap<String, Effect>) -> HashSet<&str> {
    let mut sizes: Vec<(usize, &str)> = effects
        .iter()
        .filter_map(|(key, effect)| match effect {
            Effect::Put { value, .. } => Some((value.len(), key.as_str())),
            Effect::Delete => None,
        })
        .collect();
    sizes.sort_unstable();
    let mut room = REQUEST_BYTES;
    sizes.retain(|(size, _)| {
        let fits = *size <= INLINE_BYTES && *size <= room;
        room -= if fits { *size } else { 0 };
        !fits
    });
    sizes.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_into_chunks() {
        const KIB: usize = 1024;
        let cases: [(&[usize], &[usize]); 5] = [
            (&[10, 1000], &[]),
            (&[256 * KIB, 256 * KIB], &[]),
            (&[256 * KIB + 1], &[0]),
            (&[256 * KIB, 200 * KIB, 100 * KIB], &[0]),
            (&[3000 * KIB, 10, 4000 * KIB], &[0, 2]),
        ];
        for (sizes, expected) in cases {
            let effect = |size: &usize| Effect::Put {
                value: vec![0; *size].into(),
                version: Version(1),
            };
            let effects: BTreeMap<String, Effect> = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| (n.to_string(), effect(size)))
                .collect();
            let expected: Vec<String> = expected.iter().map(usize::to_string).collect();
            let mut found: Vec<&str> = chunked(&effects).into_iter().collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{sizes:?}");
        }
    }
}
