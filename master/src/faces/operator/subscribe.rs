//! SUBSCRIBE of the operator API: a snapshot, then every change as an event, with a heartbeat every 15 s.
//!
//! A subscriber that does not keep up with the changes loses its stream, and so does the oldest when there are too many.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tepui_http::negotiate::Format;
use tepui_master_core::{AgentRemoval, Change};
use tepui_proto::mesos::master::{Event, event};
use tepui_proto::mesos::{self, FrameworkId};
use tepui_proto::recordio;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::super::Face;
use super::super::asked::{Response, StreamBroken, streaming};
use super::super::pieces::Pieces;
use super::super::streams::broken;
use super::{messages, state_json};
use crate::metrics::{Gauge, Metrics};
use crate::outbox::Drainer;
use crate::reign::Reign;
use crate::view::Published;

/// Between two heartbeats, as announced.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// About how many bytes of lists are taken at once.
const TAKEN_BYTES: usize = 256 << 10;

/// Opens the stream.
pub(super) fn subscribe(face: &Arc<Face>, reign: &Arc<Reign>, format: Format) -> Response {
    // The feed begins before the snapshot is taken; what is in both is told once.
    let feed = reign.view.feed();
    let mut first = Vec::new();
    let seen = reign.view.read(|state| {
        let subscribed = |get_state| Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(event::Subscribed {
                get_state,
                heartbeat_interval_seconds: Some(HEARTBEAT.as_secs_f64()),
            }),
            ..Event::default()
        };
        match format {
            Format::Json => {
                let mut pieces = Pieces::default();
                pieces
                    .text()
                    .extend_from_slice(b"{\"type\":\"SUBSCRIBED\",\"subscribed\":{\"get_state\":");
                state_json(&reign.master.id, state, &mut pieces);
                pieces
                    .text()
                    .extend_from_slice(b",\"heartbeat_interval_seconds\":15.0}}");
                recordio::encode(&pieces.into_vec(), &mut first);
            }
            Format::Protobuf => {
                let event = subscribed(Some(messages::state(&reign.master.id, state)));
                recordio::encode_with(&mut first, |out| format.encode(&event, out));
            }
        }
        state.number
    });
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (gauge, _) = Gauge::up(face.metrics.clone(), |metrics: &Metrics| {
        &metrics.operator_subscribers
    });
    let stream = Events {
        first: Some(first.into()),
        seen,
        feed,
        format,
        heartbeat,
        closed: Box::pin(
            face.subscribers
                .enter(face.config.max_operator_event_stream_subscribers)
                .cancelled_owned(),
        ),
        metrics: face.metrics.clone(),
        ended: false,
        _gauge: Box::new(gauge),
    };
    streaming(format.media_type(), stream)
}

/// Who subscribes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    tokens: parking_lot::Mutex<std::collections::VecDeque<CancellationToken>>,
}

impl Subscribers {
    /// One more; closes the oldest when there are too many.
    fn enter(&self, most: usize) -> CancellationToken {
        let token = CancellationToken::new();
        let mut tokens = self.tokens.lock();
        tokens.push_back(token.clone());
        while tokens.len() > most.max(1) {
            if let Some(oldest) = tokens.pop_front() {
                oldest.cancel();
            }
        }
        token
    }
}

/// The stream's body.
struct Events {
    first: Option<Bytes>,
    seen: u64,
    feed: Drainer<Arc<Published>>,
    format: Format,
    /// Its first tick is at once, after the snapshot.
    heartbeat: Interval,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    metrics: Arc<Metrics>,
    ended: bool,
    _gauge: Box<dyn std::any::Any + Send + Sync>,
}

impl Events {
    fn end(&mut self, why: Option<StreamBroken>) -> Poll<Option<Result<Bytes, StreamBroken>>> {
        self.ended = true;
        self.metrics
            .subscribers_closed
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Poll::Ready(why.map(Err))
    }
}

impl Stream for Events {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use std::future::Future;
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let mut out = Vec::new();
        while self.heartbeat.poll_tick(cx).is_ready() {
            let event = Event {
                r#type: Some(event::Type::Heartbeat.into()),
                ..Event::default()
            };
            recordio::encode_with(&mut out, |out| self.format.encode(&event, out));
        }
        while out.len() < TAKEN_BYTES {
            match self.feed.poll_take(cx, TAKEN_BYTES) {
                Poll::Ready(Ok(lists)) => {
                    let seen = self.seen;
                    for list in lists.iter().filter(|list| list.number > seen) {
                        let format = self.format;
                        out.extend_from_slice(
                            &list.events(format as usize, |changes| events_of(changes, format)),
                        );
                    }
                }
                Poll::Ready(Err(ending)) => return self.end(broken(&ending)),
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(out.into())));
        }
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => self.end(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a list of changes is on the stream.
fn events_of(changes: &[Change], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for event in changes.iter().filter_map(event_of) {
        recordio::encode_with(&mut out, |out| format.encode(&event, out));
    }
    out
}

/// What a change is to the operator API; most of what only concerns resources is nothing.
fn event_of(change: &Change) -> Option<Event> {
    let of = |kind: event::Type| Event {
        r#type: Some(kind.into()),
        ..Event::default()
    };
    Some(match change {
        Change::TaskAdded(task) => Event {
            task_added: Some(
                event::TaskAdded {
                    task: task.to_task(),
                }
                .into(),
            ),
            ..of(event::Type::TaskAdded)
        },
        Change::TaskUpdated {
            task,
            status: Some(status),
        } => {
            let updated = event::TaskUpdated {
                framework_id: FrameworkId {
                    value: task.facts.framework.as_str().to_owned(),
                },
                status: mesos::TaskStatus::clone(status),
                state: task.state.number(),
            };
            Event {
                task_updated: Some(updated.into()),
                ..of(event::Type::TaskUpdated)
            }
        }
        Change::AgentAdded(agent) => Event {
            agent_added: Some(
                event::AgentAdded {
                    agent: messages::agent(agent),
                }
                .into(),
            ),
            ..of(event::Type::AgentAdded)
        },
        Change::AgentRemoved {
            id,
            cause: AgentRemoval::Unregistered | AgentRemoval::Replaced | AgentRemoval::Maintenance,
        } => {
            let agent_id = mesos::AgentId {
                value: id.as_str().to_owned(),
            };
            Event {
                agent_removed: Some(event::AgentRemoved { agent_id }),
                ..of(event::Type::AgentRemoved)
            }
        }
        Change::FrameworkAdded(framework) => {
            let framework = messages::bare_framework(framework);
            Event {
                framework_added: Some(event::FrameworkAdded { framework }.into()),
                ..of(event::Type::FrameworkAdded)
            }
        }
        Change::FrameworkUpdated {
            framework,
            resubscribed: true,
        } => {
            let framework = messages::bare_framework(framework);
            Event {
                framework_updated: Some(event::FrameworkUpdated { framework }.into()),
                ..of(event::Type::FrameworkUpdated)
            }
        }
        Change::FrameworkCompleted(framework) => {
            let framework_info = (*framework.info).clone();
            Event {
                framework_removed: Some(event::FrameworkRemoved { framework_info }.into()),
                ..of(event::Type::FrameworkRemoved)
            }
        }
        _ => return None,
    })
}
