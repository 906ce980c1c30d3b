//! `/v2/events`: server-sent events to any number of readers, none of which can hold the others up.
//!
//! Each reader has a bounded queue; one that lets it fill up is disconnected, as Marathon does. All are disconnected when the leadership is lost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::stream::{self, Stream};
use parking_lot::Mutex;
use serde_json::json;
use tepui_marathon_core::Timestamp;
use tokio::sync::mpsc;

/// Streams that may be open at once; one more is refused.
const MAX_READERS: usize = 1000;
/// Silence after which a comment line is sent, so that dead peers are noticed.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(10);

/// Where events are published and readers attach. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EventHub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    readers: Mutex<Readers>,
    /// `--event_stream_max_outstanding_messages`.
    max_outstanding: usize,
    dropped: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Readers {
    closed: bool,
    all: Vec<Reader>,
}

#[derive(Debug)]
struct Reader {
    address: String,
    /// Types of events that are wanted; empty means all.
    types: Vec<String>,
    queue: mpsc::Sender<Bytes>,
}

impl EventHub {
    pub(crate) fn new(max_outstanding: usize) -> Self {
        let shared = Shared {
            readers: Mutex::default(),
            max_outstanding: max_outstanding.max(1),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends an event to all that want it; it is written only if there is somebody to read it.
    pub(crate) fn publish(&self, event_type: &str, json: impl FnOnce() -> String) {
        let mut readers = self.shared.readers.lock();
        if readers.all.is_empty() {
            return;
        }
        let frame = frame(event_type, &json());
        let mut gone = Vec::new();
        readers.all.retain(|reader| {
            if !reader.types.is_empty() && !reader.types.iter().any(|wanted| wanted == event_type) {
                return !reader.queue.is_closed();
            }
            match reader.queue.try_send(frame.clone()) {
                Ok(()) => {
                    self.shared.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::warn!(reader = %reader.address, waiting = self.shared.max_outstanding, "an event reader is too slow and is disconnected");
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    gone.push(reader.address.clone());
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    gone.push(reader.address.clone());
                    false
                }
            }
        });
        for address in gone {
            attachment(&mut readers, "event_stream_detached", &address);
        }
    }

    /// Attaches a reader; its first event is its own `event_stream_attached`. `None`: too many readers, or the leadership is over.
    pub(crate) fn attach(
        &self,
        address: &str,
        types: Vec<String>,
        now: Timestamp,
    ) -> Option<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>> {
        let (queue, receiver) = mpsc::channel(self.shared.max_outstanding);
        let mut readers = self.shared.readers.lock();
        readers.all.retain(|reader| !reader.queue.is_closed());
        if readers.closed || readers.all.len() >= MAX_READERS {
            return None;
        }
        readers.all.push(Reader {
            address: address.to_owned(),
            types,
            queue,
        });
        let json = json!({ "eventType": "event_stream_attached", "timestamp": now, "remoteAddress": address });
        broadcast(&mut readers, "event_stream_attached", &json.to_string());
        Some(stream::unfold(receiver, |mut receiver| async move {
            let frame = match tokio::time::timeout(HEARTBEAT, receiver.recv()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(_) => Bytes::from_static(b"\r\n"),
            };
            Some((Ok(frame), receiver))
        }))
    }

    /// Ends all streams: this instance does not lead any more.
    pub(crate) fn close(&self) {
        let mut readers = self.shared.readers.lock();
        readers.closed = true;
        readers.all.clear();
    }

    /// Open streams, streams closed because their reader was too slow, and bytes queued, for metrics.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let mut readers = self.shared.readers.lock();
        readers.all.retain(|reader| !reader.queue.is_closed());
        (
            readers.all.len(),
            self.shared.dropped.load(Ordering::Relaxed),
            self.shared.bytes.load(Ordering::Relaxed),
        )
    }
}

fn frame(event_type: &str, json: &str) -> Bytes {
    Bytes::from(format!("event: {event_type}\r\ndata: {json}\r\n\r\n"))
}

/// Tells the readers of another one's coming or going; here nobody is disconnected, the next event does that.
fn attachment(readers: &mut Readers, event_type: &str, address: &str) {
    let json = json!({ "eventType": event_type, "timestamp": now(), "remoteAddress": address });
    broadcast(readers, event_type, &json.to_string());
}

fn now() -> Timestamp {
    Timestamp::from_time(crate::engine::Clock::start().now())
}

fn broadcast(readers: &mut Readers, event_type: &str, json: &str) {
    let frame = frame(event_type, json);
    for reader in &readers.all {
        if reader.types.is_empty() || reader.types.iter().any(|wanted| wanted == event_type) {
            let _ = reader.queue.try_send(frame.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;

    async fn next(
        stream: &mut (impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Unpin),
    ) -> Option<String> {
        stream
            .next()
            .await
            .map(|frame| String::from_utf8(frame.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_reader_gets_its_own_attachment_and_then_what_it_wants() {
        let hub = EventHub::new(8);
        let mut all = Box::pin(hub.attach("a:1", vec![], now()).unwrap());
        let mut some = Box::pin(hub.attach("b:2", vec!["y".into()], now()).unwrap());
        hub.publish("x", || r#"{"eventType":"x"}"#.into());
        hub.publish("y", || r#"{"eventType":"y"}"#.into());
        assert!(
            next(&mut all)
                .await
                .unwrap()
                .starts_with("event: event_stream_attached\r\ndata: {")
        );
        assert!(next(&mut all).await.unwrap().contains("b:2"));
        assert_eq!(
            next(&mut all).await.unwrap(),
            "event: x\r\ndata: {\"eventType\":\"x\"}\r\n\r\n"
        );
        assert_eq!(
            next(&mut some).await.unwrap(),
            "event: y\r\ndata: {\"eventType\":\"y\"}\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_slow_reader_is_disconnected_and_others_are_not() {
        let hub = EventHub::new(2);
        let mut slow = Box::pin(hub.attach("slow:1", vec![], now()).unwrap());
        for _ in 0..4 {
            hub.publish("x", || "{}".into());
        }
        assert_eq!(hub.counts().0, 0);
        assert_eq!(hub.counts().1, 1);
        assert!(next(&mut slow).await.is_some());
        assert!(next(&mut slow).await.is_some());
        assert!(next(&mut slow).await.is_none());
    }

    #[tokio::test]
    async fn closing_ends_streams_and_refuses_new_ones() {
        let hub = EventHub::new(2);
        let mut stream = Box::pin(hub.attach("a:1", vec![], now()).unwrap());
        hub.close();
        assert!(next(&mut stream).await.is_some());
        assert!(next(&mut stream).await.is_none());
        assert!(hub.attach("a:1", vec![], now()).is_none());
    }
}
