//! Server-sent events: Marathon's `/v2/events` and the master's `/tepui/v1/events`.

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{Client, ClientError};

/// The longest event that is kept: a line beyond it is a broken server.
const MAX_EVENT_BYTES: usize = 64 << 20;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// The `event:` line.
    pub(crate) name: String,
    /// All `data:` lines.
    pub(crate) data: String,
}

/// An open stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    url: String,
    body: Incoming,
    parser: Parser,
}

impl Events {
    /// Opens the stream; a non-leader's redirect is followed.
    pub(crate) async fn open(client: &Client, url: &str) -> Result<Self, ClientError> {
        let (url, answer) = client
            .open(Method::GET, url, Bytes::new(), "text/event-stream")
            .await?;
        Ok(Self {
            url,
            body: answer.into_body(),
            parser: Parser::default(),
        })
    }

    /// The next event; `None` when the server ends the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let broken = |reason: String| ClientError::Unreachable {
                url: self.url.clone(),
                reason,
            };
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(broken(format!("the event stream broke off ({error})")));
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.parser.feed(data);
                    }
                }
            }
            if self.parser.waiting_bytes() > MAX_EVENT_BYTES {
                return Err(broken("an event is too long".into()));
            }
        }
    }
}

/// Cuts a byte stream into events, whatever the boundaries of its chunks.
#[derive(Debug, Default)]
struct Parser {
    buffer: BytesMut,
    event: ServerEvent,
}

impl Parser {
    fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    fn waiting_bytes(&self) -> usize {
        self.buffer.len() + self.event.data.len()
    }

    fn next(&mut self) -> Option<ServerEvent> {
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line = self.buffer.split_to(end + 1);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                // Comments (heart-beats), ids and retry hints.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_at_any_split() {
        let text = b": hello\n\nevent: a\ndata: {\"x\":1}\n\n\r\nevent: b\r\ndata: one\r\ndata: two\r\n\r\n";
        let expected = [
            ServerEvent {
                name: "a".into(),
                data: "{\"x\":1}".into(),
            },
            ServerEvent {
                name: "b".into(),
                data: "one\ntwo".into(),
            },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut seen = Vec::new();
            for chunk in text.chunks(size) {
                parser.feed(chunk);
                while let Some(event) = parser.next() {
                    seen.push(event);
                }
            }
            assert_eq!(seen, expected, "chunks of {size}");
        }
    }
}
