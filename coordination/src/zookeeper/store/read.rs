//! Reading: what is asked for is asked for all at once, and then awaited.

use bytes::BytesMut;
use zookeeper_client::{Client, Error as ZkError};

use super::layout::{Content, ValueNode, decode_name};
use super::{Attempt, Keeper};
use crate::store::{Entry, StoreError};
use crate::zookeeper::Fault;
use crate::zookeeper::detect::join;

/// Questions that are under way at once.
const IN_FLIGHT: usize = 2000;

impl Keeper {
    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.persist(|client| {
            Box::pin(async move {
                let path = self.layout.node(key);
                let synced = client.sync(&self.layout.root);
                let asked = client.get_data(&path);
                self.zookeeper.bounded(synced).await?;
                let content = match self.zookeeper.bounded(asked).await {
                    Ok((content, _)) => content,
                    Err(Fault::Refused(ZkError::NoNode)) => return Ok(Attempt::Done(None)),
                    Err(fault) => return Err(fault),
                };
                self.entry(&client, key, content).await
            })
        })
        .await
    }

    pub(super) async fn list(
        &self,
        collection: Option<&str>,
        prefix: &str,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let mut found = self
            .persist(|client| {
                Box::pin(async move {
                    self.zookeeper
                        .bounded(client.sync(&self.layout.root))
                        .await?;
                    let collections = match collection {
                        Some(collection) => vec![collection.to_owned()],
                        None => self.children(&client, &self.layout.data()).await?,
                    };
                    let mut found = Vec::new();
                    for collection in collections {
                        match self
                            .list_collection(&client, &collection, prefix, &mut found)
                            .await?
                        {
                            Attempt::Done(()) => {}
                            Attempt::Again(fault) => return Ok(Attempt::Again(fault)),
                        }
                    }
                    Ok(Attempt::Done(found))
                })
            })
            .await?;
        found.sort_unstable_by(|(a, _): &(String, Entry), (b, _)| a.cmp(b));
        Ok(found)
    }

    async fn children(&self, client: &Client, directory: &str) -> Result<Vec<String>, Fault> {
        match self
            .zookeeper
            .bounded(client.list_children(directory))
            .await
        {
            Err(Fault::Refused(ZkError::NoNode)) => Ok(Vec::new()),
            listed => listed,
        }
    }

    async fn list_collection(
        &self,
        client: &Client,
        collection: &str,
        prefix: &str,
        found: &mut Vec<(String, Entry)>,
    ) -> Result<Attempt<()>, Fault> {
        let directory = self.layout.collection(collection);
        let buckets = self.children(client, &directory).await?;
        let buckets: Vec<String> = buckets
            .iter()
            .map(|bucket| join(&directory, bucket))
            .collect();
        let asked: Vec<_> = buckets
            .iter()
            .map(|bucket| (client.list_children(bucket), bucket))
            .collect();
        let mut nodes = Vec::new();
        for (answer, bucket) in asked {
            for node in self.zookeeper.bounded(answer).await? {
                let Some(name) = decode_name(&node) else {
                    continue;
                };
                let key = format!("{collection}/{name}");
                if key.starts_with(prefix) {
                    nodes.push((key, join(bucket, &node)));
                }
            }
        }
        for some in nodes.chunks(IN_FLIGHT) {
            let asked: Vec<_> = some
                .iter()
                .map(|(key, path)| (client.get_data(path), key))
                .collect();
            for (answer, key) in asked {
                let content = match self.zookeeper.bounded(answer).await {
                    Ok((content, _)) => content,
                    // Deleted since it was listed.
                    Err(Fault::Refused(ZkError::NoNode)) => continue,
                    Err(fault) => return Err(fault),
                };
                match self.entry(client, key, content).await? {
                    Attempt::Done(Some(entry)) => found.push((key.clone(), entry)),
                    Attempt::Done(None) => {}
                    Attempt::Again(fault) => return Ok(Attempt::Again(fault)),
                }
            }
        }
        Ok(Attempt::Done(()))
    }

    /// The value that a node holds or names.
    async fn entry(
        &self,
        client: &Client,
        key: &str,
        content: Vec<u8>,
    ) -> Result<Attempt<Option<Entry>>, Fault> {
        let Some(ValueNode { version, content }) = ValueNode::decode(content) else {
            let error = format!("the node of '{key}' was not written by a store");
            return Err(Fault::Refused(ZkError::UnexpectedError(error)));
        };
        let value = match content {
            Content::Inline(value) => value,
            Content::Chunks { id, count } => {
                let paths: Vec<String> = (0..count)
                    .map(|number| self.layout.chunk(key, &id, number))
                    .collect();
                let asked: Vec<_> = paths.iter().map(|path| client.get_data(path)).collect();
                let mut value = BytesMut::new();
                for answer in asked {
                    match self.zookeeper.bounded(answer).await {
                        Ok((chunk, _)) => value.extend_from_slice(&chunk),
                        // A newer value took its place: read again.
                        Err(fault @ Fault::Refused(ZkError::NoNode)) => {
                            return Ok(Attempt::Again(fault));
                        }
                        Err(fault) => return Err(fault),
                    }
                }
                value.freeze()
            }
        };
        Ok(Attempt::Done(Some(Entry { value, version })))
    }
}
