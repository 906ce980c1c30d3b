//! What operators see: the objects of the core's changes, readable from any thread without the core taking notice.
//!
//! The driver only appends changes to a list. They are applied by whoever reads next, or by [`View::keep_up`] when nobody does, so
//! that what changed five times between two looks costs one insertion, and the driver never waits for a reader. A reader takes `Arc`s
//! out under a lock held for microseconds and does everything else outside. An object's JSON is made when it is first asked for
//! and kept beside the object until the object changes.
//!
//! Feeds are for those who must see every change (event streams): each gets every published list with its number; a snapshot knows
//! the number of the last list that is in it, so that snapshot and feed join without gap or overlap.

mod amounts;
mod operations;
mod state;

use std::sync::Arc;
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tepui_master_core::{AgentSnapshot, Change};
use tepui_model::Resources;
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos;
use tokio::sync::Notify;

pub(crate) use amounts::{Amounts, merged};
pub(crate) use operations::{OperationCounts, is_passing};
pub(crate) use state::{Framework, State, Totals};

use crate::outbox::{Drainer, Outbox, outbox};

/// Resources as they are on the wire, with everything that is known of them.
pub(crate) fn to_proto(resources: &Resources) -> Vec<mesos::Resource> {
    to_wire(resources, Encoding::default())
}

/// Unapplied changes from which on they are applied without a reader.
const BACKLOG: usize = 4096;
/// How often that is looked at otherwise.
const KEEP_UP_EVERY: Duration = Duration::from_millis(500);
/// About what a change in a feed weighs.
const CHANGE_BYTES: usize = 512;

/// An object and what was made of it for readers.
#[derive(Debug)]
pub(crate) struct Shown<T: ?Sized> {
    /// Its JSON in the legacy endpoints.
    legacy: OnceLock<Bytes>,
    /// Its JSON in the v1 API.
    v1: OnceLock<Bytes>,
    pub(crate) object: Arc<T>,
}

impl<T: ?Sized> Shown<T> {
    pub(crate) fn new(object: Arc<T>) -> Arc<Self> {
        Arc::new(Self::bare(object))
    }

    fn bare(object: Arc<T>) -> Self {
        Self {
            object,
            legacy: OnceLock::new(),
            v1: OnceLock::new(),
        }
    }

    /// The legacy JSON, made by `write` if nobody asked before.
    pub(crate) fn legacy(&self, write: impl FnOnce(&T, &mut Vec<u8>)) -> &Bytes {
        self.legacy
            .get_or_init(|| made(|out| write(&self.object, out)))
    }

    /// The v1 JSON, made by `write` if nobody asked before.
    pub(crate) fn v1(&self, write: impl FnOnce(&T, &mut Vec<u8>)) -> &Bytes {
        self.v1.get_or_init(|| made(|out| write(&self.object, out)))
    }
}

/// An agent, and one more form of it.
#[derive(Debug)]
pub(crate) struct ShownAgent {
    shown: Shown<AgentSnapshot>,
    /// What `/slaves` tells beyond the others.
    full: OnceLock<Bytes>,
}

impl ShownAgent {
    pub(crate) fn new(agent: Arc<AgentSnapshot>) -> Arc<Self> {
        Arc::new(Self {
            shown: Shown::bare(agent),
            full: OnceLock::new(),
        })
    }

    /// What `/slaves` adds, made by `write` if nobody asked before.
    pub(crate) fn full(&self, write: impl FnOnce(&AgentSnapshot, &mut Vec<u8>)) -> &Bytes {
        self.full
            .get_or_init(|| made(|out| write(&self.shown.object, out)))
    }
}

impl std::ops::Deref for ShownAgent {
    type Target = Shown<AgentSnapshot>;

    fn deref(&self) -> &Self::Target {
        &self.shown
    }
}

fn made(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(512);
    write(&mut out);
    out.shrink_to_fit();
    out.into()
}

/// One list of changes, as published.
#[derive(Debug)]
pub(crate) struct Published {
    /// Counts the lists from 1.
    pub(crate) number: u64,
    pub(crate) changes: Vec<Change>,
    /// What these changes are on the operators' event stream, in JSON and in protobuf: made once for all subscribers.
    events: [OnceLock<Bytes>; 2],
}

impl Published {
    /// The events in one of the two forms, made by `write` if nobody asked before.
    pub(crate) fn events(&self, form: usize, write: impl FnOnce(&[Change]) -> Vec<u8>) -> Bytes {
        match self.events.get(form) {
            Some(made) => made.get_or_init(|| write(&self.changes).into()).clone(),
            None => write(&self.changes).into(),
        }
    }
}

#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    number: u64,
    feeds: Vec<(u64, Outbox<Arc<Published>>)>,
    next_feed: u64,
}

/// The published state of one reign.
pub(crate) struct View {
    pending: Mutex<Pending>,
    state: Mutex<State>,
    backlog: Notify,
    feed_items: usize,
    feed_bytes: usize,
}

impl View {
    /// An empty view whose feeds have these bounds.
    pub(crate) fn new(feed_items: usize, feed_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            pending: Mutex::default(),
            state: Mutex::default(),
            backlog: Notify::new(),
            feed_items,
            feed_bytes,
        })
    }

    /// Takes the changes of one batch. Called by the driver.
    pub(crate) fn publish(&self, changes: Vec<Change>) {
        let backlog = {
            let mut pending = self.pending.lock();
            pending.number += 1;
            if pending.feeds.is_empty() {
                if pending.changes.is_empty() {
                    pending.changes = changes;
                } else {
                    pending.changes.extend(changes);
                }
            } else {
                let weight = changes.len() * CHANGE_BYTES;
                pending.changes.extend(changes.iter().cloned());
                let list = Arc::new(Published {
                    number: pending.number,
                    changes,
                    events: Default::default(),
                });
                // A feed whose reader fell behind is closed by its own bound and forgotten here.
                pending
                    .feeds
                    .retain(|(_, feed)| feed.push(std::iter::once((list.clone(), weight))).is_ok());
            }
            pending.changes.len() >= BACKLOG
        };
        if backlog {
            self.backlog.notify_one();
        }
    }

    /// The number of the last published list.
    pub(crate) fn number(&self) -> u64 {
        self.pending.lock().number
    }

    /// Reads the state as of now.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        let mut state = self.state.lock();
        self.catch_up(&mut state);
        look(&state)
    }

    fn catch_up(&self, state: &mut State) {
        let (changes, number) = {
            let mut pending = self.pending.lock();
            (std::mem::take(&mut pending.changes), pending.number)
        };
        for change in changes {
            state.apply(change);
        }
        state.number = number;
    }

    /// A feed of every change from now on; lists that a later snapshot holds already have numbers up to the snapshot's.
    pub(crate) fn feed(self: &Arc<Self>) -> Drainer<Arc<Published>> {
        let mut pending = self.pending.lock();
        pending.next_feed += 1;
        let id = pending.next_feed;
        let view = Arc::downgrade(self);
        let (feed, drainer) = outbox(self.feed_items, self.feed_bytes, move || {
            if let Some(view) = view.upgrade() {
                view.pending.lock().feeds.retain(|(other, _)| *other != id);
            }
        });
        pending.feeds.push((id, feed));
        drainer
    }

    /// Applies changes that nobody reads, so that they do not pile up. Ends with the view.
    pub(crate) async fn keep_up(view: Weak<Self>) {
        loop {
            let Some(this) = view.upgrade() else { return };
            // Waiting must not keep the view alive for longer than one turn.
            let _ = tokio::time::timeout(KEEP_UP_EVERY, this.backlog.notified()).await;
            if !this.pending.lock().changes.is_empty() {
                this.read(|_| ());
            }
        }
    }
}
