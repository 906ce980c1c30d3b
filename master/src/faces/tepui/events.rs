//! `GET /tepui/v1/events`: everything operators see, as server-sent events, for the UI and for scripts.
//!
//! Every event is named `state` and is one JSON object:
//! ```json
//! {"reset":true,"number":7,
//!  "agents":[…],"frameworks":[…],"tasks":[…],"offers":[…],
//!  "agents_gone":["<id>"],"frameworks_gone":["<id>"],"tasks_gone":[<key>],"offers_gone":[<key>]}
//! ```
//! A key that would be empty is left out. `reset` is only in the first event: forget everything, then take what follows. Objects replace
//! those of the same `id` (agents, frameworks) or `key` (tasks, offers). After the snapshot, which comes in several events of at most
//! 2,000 objects, `"ready":true` comes once. What changes several times within [`COALESCE`] is told once, as it is then.
//! A comment line comes every 15 s. A client that does not read is dropped, and begins anew with a snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use tepui_master_core::{
    AgentSnapshot, Change, FrameworkSnapshot, OfferKey, OfferSnapshot, TaskKey, TaskSnapshot,
};
use tepui_model::{AgentId, FrameworkId};
use tokio::time::{Instant, Sleep};

use super::super::Face;
use super::super::asked::{Asked, Response, StreamBroken, not_allowed, streaming, text};
use super::super::legacy::json;
use super::super::streams::broken;
use super::objects;
use crate::metrics::{Gauge, Metrics};
use crate::outbox::Drainer;
use crate::view::{Published, State};

/// How long changes are gathered.
const COALESCE: Duration = Duration::from_millis(100);
/// Between two comment lines.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Objects in one event.
const MOST_OBJECTS: usize = 2_000;
/// About how many bytes of lists are taken at once.
const TAKEN_BYTES: usize = 1 << 20;

/// Opens the stream.
pub(in super::super) async fn events(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    if asked.method != Method::GET {
        return not_allowed("GET", &asked.method);
    }
    let (gauge, before) = Gauge::up(face.metrics.clone(), |metrics: &Metrics| {
        &metrics.ui_subscribers
    });
    if before >= face.config.limits.ui_subscribers {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("There are {before} subscribers already"),
        );
    }
    let feed = reign.view.feed();
    let mut gathered = Gathered {
        reset: true,
        snapshot: true,
        ..Gathered::default()
    };
    let seen = reign.view.read(|state| {
        gathered.snapshot(state);
        state.number
    });
    let stream = Events {
        master: reign.master.id.clone(),
        gathered,
        seen,
        feed,
        due: Box::pin(tokio::time::sleep(Duration::ZERO)),
        keep_alive: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
        ended: false,
        _gauge: Box::new(gauge),
    };
    let mut answer = streaming("text/event-stream", stream);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// The newest content of what changed; `None` if it is gone.
#[derive(Default)]
struct Gathered {
    /// Nothing has been sent yet.
    reset: bool,
    /// The snapshot is not out yet.
    snapshot: bool,
    agents: BTreeMap<AgentId, Option<Arc<AgentSnapshot>>>,
    frameworks: BTreeMap<FrameworkId, Option<Arc<FrameworkSnapshot>>>,
    tasks: BTreeMap<TaskKey, Option<Arc<TaskSnapshot>>>,
    offers: BTreeMap<OfferKey, Option<Arc<OfferSnapshot>>>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        !self.snapshot
            && self.agents.is_empty()
            && self.frameworks.is_empty()
            && self.tasks.is_empty()
            && self.offers.is_empty()
    }

    fn snapshot(&mut self, state: &State) {
        self.agents.extend(
            state
                .agents
                .iter()
                .map(|(id, agent)| (id.clone(), Some(agent.object.clone()))),
        );
        for (id, framework) in state.frameworks.iter().chain(&state.completed_frameworks) {
            self.frameworks
                .insert(id.clone(), Some(framework.shown.object.clone()));
            self.tasks.extend(
                framework
                    .all_tasks()
                    .map(|task| (task.object.key, Some(task.object.clone()))),
            );
            self.offers.extend(
                framework
                    .offers
                    .iter()
                    .map(|(key, offer)| (*key, Some(offer.clone()))),
            );
        }
    }

    fn take_in(&mut self, change: &Change) {
        match change {
            Change::AgentAdded(agent) | Change::AgentUpdated(agent) => {
                self.agents.insert(agent.id.clone(), Some(agent.clone()));
            }
            Change::AgentRemoved { id, .. } => {
                self.agents.insert(id.clone(), None);
            }
            Change::FrameworkAdded(framework)
            | Change::FrameworkUpdated { framework, .. }
            | Change::FrameworkCompleted(framework) => {
                self.frameworks
                    .insert(framework.id.clone(), Some(framework.clone()));
            }
            Change::FrameworkForgotten(id) => {
                self.frameworks.insert(id.clone(), None);
            }
            Change::TaskAdded(task) | Change::TaskUpdated { task, .. } => {
                self.tasks.insert(task.key, Some(task.clone()));
            }
            Change::TaskForgotten(key) => {
                self.tasks.insert(*key, None);
            }
            Change::OfferAdded(offer) => {
                self.offers.insert(offer.key, Some(offer.clone()));
            }
            Change::OfferRemoved(key) => {
                self.offers.insert(*key, None);
            }
            Change::AgentRecovered(_)
            | Change::ExecutorAdded(_)
            | Change::ExecutorRemoved { .. }
            | Change::InverseOfferAdded(_)
            | Change::InverseOfferRemoved(_)
            | Change::OperationUpdated(_)
            | Change::OperationForgotten(_)
            | Change::WeightsChanged(_)
            | Change::QuotasChanged(_)
            | Change::MaintenanceChanged(_) => {}
        }
    }

    /// Takes at most [`MOST_OBJECTS`] out as one event.
    fn event(&mut self, number: u64, master: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(b"event: state\ndata: ");
        let mut room = MOST_OBJECTS;
        let (agents, agents_gone) = take(&mut self.agents, &mut room);
        let (frameworks, frameworks_gone) = take(&mut self.frameworks, &mut room);
        let (tasks, tasks_gone) = take(&mut self.tasks, &mut room);
        let (offers, offers_gone) = take(&mut self.offers, &mut room);
        json::object(&mut out, |object| {
            if std::mem::take(&mut self.reset) {
                object.boolean("reset", true);
            }
            object.integer("number", i64::try_from(number).unwrap_or(i64::MAX));
            listed(object, "agents", &agents, |agent, out| {
                objects::agent(agent, out)
            });
            listed(object, "frameworks", &frameworks, |framework, out| {
                objects::framework(framework, out)
            });
            listed(object, "tasks", &tasks, |task, out| {
                objects::task(task, out)
            });
            listed(object, "offers", &offers, |offer, out| {
                objects::offer(master, offer, out)
            });
            listed(object, "agents_gone", &agents_gone, |id, out| {
                json::string(id.as_str(), out)
            });
            listed(object, "frameworks_gone", &frameworks_gone, |id, out| {
                json::string(id.as_str(), out)
            });
            listed(object, "tasks_gone", &tasks_gone, |key, out| {
                json::integer(i64::try_from(key.0).unwrap_or(i64::MAX), out)
            });
            listed(object, "offers_gone", &offers_gone, |key, out| {
                json::integer(i64::try_from(key.0).unwrap_or(i64::MAX), out)
            });
            let all_out = self.agents.is_empty()
                && self.frameworks.is_empty()
                && self.tasks.is_empty()
                && self.offers.is_empty();
            if self.snapshot && all_out {
                self.snapshot = false;
                object.boolean("ready", true);
            }
        });
        out.extend_from_slice(b"\n\n");
        out
    }
}

fn listed<T>(
    object: &mut json::Object<'_>,
    key: &str,
    items: &[T],
    mut write: impl FnMut(&T, &mut Vec<u8>),
) {
    if !items.is_empty() {
        object.list(key, items, |item, out| write(item, out));
    }
}

/// Takes up to `room` entries: those that are there, and the names of those that are gone.
fn take<K: Ord + Clone, V>(map: &mut BTreeMap<K, Option<V>>, room: &mut usize) -> (Vec<V>, Vec<K>) {
    let mut there = Vec::new();
    let mut gone = Vec::new();
    while *room > 0
        && let Some((key, value)) = map.pop_first()
    {
        *room -= 1;
        match value {
            Some(value) => there.push(value),
            None => gone.push(key),
        }
    }
    (there, gone)
}

/// The stream's body.
struct Events {
    master: String,
    gathered: Gathered,
    seen: u64,
    feed: Drainer<Arc<Published>>,
    /// Before this nothing is sent.
    due: Pin<Box<Sleep>>,
    keep_alive: Pin<Box<Sleep>>,
    ended: bool,
    _gauge: Box<dyn std::any::Any + Send + Sync>,
}

impl Stream for Events {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use std::future::Future;
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match self.feed.poll_take(cx, TAKEN_BYTES) {
                Poll::Ready(Ok(lists)) => self.take_lists(lists.into()),
                Poll::Ready(Err(ending)) => {
                    self.ended = true;
                    return Poll::Ready(broken(&ending).map(Err));
                }
                Poll::Pending => break,
            }
        }
        if !self.gathered.is_empty() && self.due.as_mut().poll(cx).is_ready() {
            let (seen, now) = (self.seen, Instant::now());
            let master = std::mem::take(&mut self.master);
            let event = self.gathered.event(seen, &master);
            self.master = master;
            // What does not fit into one event follows at once.
            let pause = if self.gathered.is_empty() {
                COALESCE
            } else {
                Duration::ZERO
            };
            self.due.as_mut().reset(now + pause);
            self.keep_alive.as_mut().reset(now + KEEP_ALIVE);
            return Poll::Ready(Some(Ok(event.into())));
        }
        if self.keep_alive.as_mut().poll(cx).is_ready() {
            self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return Poll::Ready(Some(Ok(Bytes::from_static(b": here\n\n"))));
        }
        Poll::Pending
    }
}

impl Events {
    fn take_lists(&mut self, lists: VecDeque<Arc<Published>>) {
        for list in lists {
            if list.number > self.seen {
                self.seen = list.number;
                for change in &list.changes {
                    self.gathered.take_in(change);
                }
            }
        }
    }
}
