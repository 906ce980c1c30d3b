//! The streams that peers hold open: events of an outbox, encoded where they are sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use tepui_http::negotiate::Format;
use tepui_proto::recordio;

use super::asked::StreamBroken;
use crate::driver::ToScheduler;
use crate::outbox::{Drainer, Ending};

/// About how many bytes of events are taken and encoded at once; on the wire they are a third of it.
const CHUNK_BYTES: usize = 192 << 10;

/// A scheduler's events as RecordIO.
pub(super) struct SchedulerRecords {
    drainer: Drainer<ToScheduler>,
    format: Format,
    ended: bool,
}

impl SchedulerRecords {
    pub(super) fn new(drainer: Drainer<ToScheduler>, format: Format) -> Self {
        Self {
            drainer,
            format,
            ended: false,
        }
    }
}

impl Stream for SchedulerRecords {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match std::task::ready!(self.drainer.poll_take(cx, CHUNK_BYTES)) {
            Ok(events) => {
                let mut out = Vec::with_capacity(events.len() * 256);
                for event in events {
                    if let ToScheduler::Event(event) = event {
                        recordio::encode_with(&mut out, |out| self.format.encode(&*event, out));
                    }
                }
                Poll::Ready(Some(Ok(out.into())))
            }
            Err(ending) => {
                self.ended = true;
                Poll::Ready(broken(&ending).map(Err))
            }
        }
    }
}

/// How an ending looks on an HTTP stream; `None` is an orderly end.
pub(super) fn broken(ending: &Ending) -> Option<StreamBroken> {
    match ending {
        Ending::Finished => None,
        Ending::Overflow => Some(StreamBroken("the peer did not read fast enough")),
        Ending::NotLeading => Some(StreamBroken("this master does not lead any more")),
    }
}
