//! Reading: what is asked for is asked for all at once, and then awaited.

use bytes::BytesMut;
use zookeeper_client::{Client, Error as ZkError};

use super::layout::{Content, ValueNode, decode_name};
use super::{Attempt, Keeper};
use crate::store::{Entry, Page, StoreError};
use crate::zookeeper::Fault;
use crate::zookeeper::detect::join;

/// Questions that are under way at once.
const IN_FLIGHT: usize = 2000;
/// The same for a page: whatever these hold is in memory beyond it.
const PAGE_IN_FLIGHT: usize = 200;

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

    /// As `list`, only what follows on a key, until it fills a page. Names are all asked for, values no more than go into it.
    pub(super) async fn page(
        &self,
        collection: Option<&str>,
        prefix: &str,
        after: &str,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        self.persist(|client| {
            Box::pin(async move {
                self.zookeeper
                    .bounded(client.sync(&self.layout.root))
                    .await?;
                let mut collections = match collection {
                    Some(collection) => vec![collection.to_owned()],
                    None => self.children(&client, &self.layout.data()).await?,
                };
                // In the order of keys.
                collections.sort_by_cached_key(|collection| format!("{collection}/"));
                let over = after.split_inclusive('/').next().unwrap_or_default();
                collections.retain(|collection| format!("{collection}/").as_str() >= over);
                let mut page = Page::default();
                for collection in collections {
                    let mut nodes = self.nodes(&client, &collection, prefix).await?;
                    nodes.retain(|(key, _)| key.as_str() > after);
                    nodes.sort_unstable();
                    for some in nodes.chunks(PAGE_IN_FLIGHT) {
                        let read = self.values(&client, some, |key, entry| page.add(key, entry));
                        match read.await? {
                            Attempt::Done(true) => {}
                            Attempt::Done(false) => return Ok(Attempt::Done(page.entries)),
                            Attempt::Again(fault) => return Ok(Attempt::Again(fault)),
                        }
                    }
                }
                Ok(Attempt::Done(page.entries))
            })
        })
        .await
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
        let nodes = self.nodes(client, collection, prefix).await?;
        for some in nodes.chunks(IN_FLIGHT) {
            let read = self.values(client, some, |key, entry| {
                found.push((key, entry));
                true
            });
            if let Attempt::Again(fault) = read.await? {
                return Ok(Attempt::Again(fault));
            }
        }
        Ok(Attempt::Done(()))
    }

    /// Keys of a collection, with their nodes.
    async fn nodes(
        &self,
        client: &Client,
        collection: &str,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, Fault> {
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
        Ok(nodes)
    }

    /// What is in nodes, one after another, until `each` wants no more; whether it wants more.
    async fn values(
        &self,
        client: &Client,
        nodes: &[(String, String)],
        mut each: impl FnMut(String, Entry) -> bool,
    ) -> Result<Attempt<bool>, Fault> {
        let asked: Vec<_> = nodes
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
                Attempt::Done(Some(entry)) => {
                    if !each(key.clone(), entry) {
                        return Ok(Attempt::Done(false));
                    }
                }
                Attempt::Done(None) => {}
                Attempt::Again(fault) => return Ok(Attempt::Again(fault)),
            }
        }
        Ok(Attempt::Done(true))
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
