//! The direct path of `POST /api/v1/scheduler`: calls, by the ten thousand a second, pipelined if the client likes.
//!
//! A connection that begins with a call is served here. All calls that have come are read together, go to the driver in one parcel,
//! and are answered in their order with one write, where hyper and warp need two system calls, a wake-up each way and a walk through
//! the routes for each.
//!
//! Only what is plain is taken: a body of announced length, in a form that is known, with a call in it that the core judges. At the
//! first request that is anything else, or would be refused before the core sees it, the connection is given to hyper with that
//! request's bytes unread. So each check stands in one place, [`scheduler`](super::scheduler), and its order cannot differ.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tepui_http::negotiate::Format;
use tepui_master_core::Reply;
use tepui_proto::mesos::scheduler::{Call, call};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::connection::Impatient;
use super::{Face, NO_MORE, scheduler};
use crate::driver::{Posted, Request};
use crate::reign::Standing;

const PATHS: [&str; 2] = ["/api/v1/scheduler", "/master/api/v1/scheduler"];
/// A longer head is hyper's to judge.
const HEAD_BYTES: usize = 16 << 10;
/// A larger body is hyper's to gather.
const BODY_BYTES: usize = 1 << 20;
const HEADERS: usize = 32;
/// Calls answered with one write.
const BATCH: usize = 256;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;
/// A request that stops in its middle for so long is hyper's to wait for.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves calls until the connection ends (`None`), or something comes that is not for here: then it is given back, unread from there.
pub(super) async fn serve(
    face: &Face,
    mut io: Impatient,
    stop: &CancellationToken,
) -> Option<Impatient> {
    let idle = face.config.limits.head_timeout;
    let mut buffer = BytesMut::new();
    let mut answers = Vec::new();
    let mut date = Date::default();
    loop {
        let Standing::Leading(reign) = face.standing() else {
            return Some(io.give_back(buffer.freeze()));
        };
        let (mut calls, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut found = Found::Part;
        while calls.len() < BATCH {
            found = look(&buffer);
            let Found::Call(plain) = found else { break };
            let (answer, reply) = oneshot::channel();
            calls.push(Posted {
                stream_id: plain.stream_id,
                call: plain.call,
                answer,
            });
            replies.push(reply);
            bytes += plain.length;
            buffer.advance(plain.length);
            found = Found::Part;
        }
        let full = calls.len() == BATCH;
        if !calls.is_empty() {
            // Without a core the replies never come, and each says so.
            let _ = reign.inbox.send(Request::Posted(calls), bytes).await;
            answers.clear();
            for reply in replies {
                let reply = reply.await.unwrap_or_else(|_| Reply::Refused {
                    status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                    message: NO_MORE.to_owned(),
                });
                let status = write(reply, date.now(), &mut answers);
                face.metrics.answered(status.as_u16());
            }
            io.write_all(&answers).await.ok()?;
        }
        match found {
            _ if full => continue,
            Found::Part => {}
            Found::Call(_) | Found::Other => return Some(io.give_back(buffer.freeze())),
        }
        let patience = if buffer.is_empty() {
            idle
        } else {
            idle.min(PAUSE)
        };
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = tokio::time::timeout(patience, io.read_buf(&mut buffer)) => read,
            () = stop.cancelled() => return None,
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(_) => return None,
            Err(_) if buffer.is_empty() => return None,
            Err(_) => return Some(io.give_back(buffer.freeze())),
        }
    }
}

/// What the unread bytes begin with.
enum Found {
    /// Not enough to tell, or a call that is not whole yet.
    Part,
    Call(Plain),
    /// Something for hyper.
    Other,
}

struct Plain {
    stream_id: Option<Box<str>>,
    call: Box<Call>,
    /// Of head and body.
    length: usize,
}

fn look(bytes: &[u8]) -> Found {
    let start = |path: &str| {
        let line = [b"POST ", path.as_bytes(), b" HTTP/1.1\r\n"];
        let mut rest = bytes;
        line.iter().all(|part| {
            let there = rest.len().min(part.len());
            let (begin, end) = rest.split_at(there);
            rest = end;
            part.starts_with(begin)
        })
    };
    if !PATHS.into_iter().any(start) {
        return Found::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head <= HEAD_BYTES => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Found::Part,
        Ok(_) | Err(_) => return Found::Other,
    };
    let Some(framing) = Framing::of(request.headers) else {
        return Found::Other;
    };
    let length = head + framing.body;
    let Some(body) = bytes.get(head..length) else {
        return Found::Part;
    };
    match framing.format.decode::<Call>(body) {
        Ok(call) if is_for_the_core(&call) => Found::Call(Plain {
            stream_id: framing.stream_id,
            call: Box::new(call),
            length,
        }),
        Ok(_) | Err(_) => Found::Other,
    }
}

/// SUBSCRIBE is answered with a stream, RECONCILE_OPERATIONS looks at `Accept`.
fn is_for_the_core(call: &Call) -> bool {
    scheduler::well_formed(call).is_ok()
        && !matches!(
            call.r#type(),
            call::Type::Subscribe | call::Type::ReconcileOperations
        )
}

/// What the headers say that matters to a plain call.
struct Framing {
    format: Format,
    body: usize,
    stream_id: Option<Box<str>>,
}

impl Framing {
    /// `None` if there is anything that makes the request less than plain.
    fn of(headers: &[httparse::Header<'_>]) -> Option<Self> {
        let (mut format, mut body, mut stream_id) = (None, None, None);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let text = || std::str::from_utf8(header.value).ok();
            if is("content-type") {
                let known = [Format::Json, Format::Protobuf]
                    .into_iter()
                    .find(|format| format.media_type().as_bytes() == header.value)?;
                once(&mut format, known)?;
            } else if is("content-length") {
                let digits = text().filter(|text| text.bytes().all(|c| c.is_ascii_digit()))?;
                let length = digits.parse().ok().filter(|length| *length <= BODY_BYTES)?;
                once(&mut body, length)?;
            } else if is(scheduler::STREAM_ID) {
                once(&mut stream_id, text()?.into())?;
            } else if is("connection") {
                text().filter(|text| text.eq_ignore_ascii_case("keep-alive"))?;
            } else if HOP_BY_HOP.iter().any(|name| is(name)) {
                return None;
            }
        }
        Some(Self {
            format: format?,
            body: body?,
            stream_id,
        })
    }
}

/// Headers that change how the body is to be read or the answer to be sent.
const HOP_BY_HOP: [&str; 6] = [
    "transfer-encoding",
    "content-encoding",
    "expect",
    "upgrade",
    "te",
    "trailer",
];

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Appends the core's answer, as [`scheduler::answered`] and hyper would write it.
fn write(reply: Reply, date: &str, out: &mut Vec<u8>) -> StatusCode {
    let (status, message) = match reply {
        Reply::Ok => (StatusCode::OK, None),
        Reply::Accepted => (StatusCode::ACCEPTED, None),
        Reply::Refused { status, message } => (
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            Some(message),
        ),
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    if message.is_some() {
        out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
    }
    let body = message.as_deref().unwrap_or_default().as_bytes();
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
    status
}

/// The text of the `date` header, made once a second.
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn now(&mut self) -> &str {
        let now = SystemTime::now();
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text = httpdate::fmt_http_date(now);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "content-type: application/json\r\n";

    fn request(line: &str, headers: &str, body: &str) -> String {
        format!(
            "{line}\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn kind(bytes: &str) -> &'static str {
        match look(bytes.as_bytes()) {
            Found::Part => "part",
            Found::Call(_) => "call",
            Found::Other => "other",
        }
    }

    const POST: &str = "POST /api/v1/scheduler HTTP/1.1";
    const REVIVE: &str = r#"{"type":"REVIVE"}"#;

    #[test]
    fn only_plain_calls_are_taken() {
        let subscribe =
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
        for (line, headers, body, expected) in [
            (POST, TYPE, REVIVE, "call"),
            (
                "POST /master/api/v1/scheduler HTTP/1.1",
                TYPE,
                REVIVE,
                "call",
            ),
            (
                POST,
                "Content-Type: application/json\r\nConnection: Keep-Alive\r\n",
                REVIVE,
                "call",
            ),
            ("POST /api/v1/scheduler/ HTTP/1.1", TYPE, REVIVE, "other"),
            ("POST /api/v1/scheduler HTTP/1.0", TYPE, REVIVE, "other"),
            ("POST /api/v1 HTTP/1.1", TYPE, REVIVE, "other"),
            ("GET /api/v1/scheduler HTTP/1.1", TYPE, REVIVE, "other"),
            (POST, "", REVIVE, "other"),
            (
                POST,
                "content-type: application/json; charset=utf-8\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\ncontent-type: application/json\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\ncontent-length: 17\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\ncontent-encoding: gzip\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\nexpect: 100-continue\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/json\r\nconnection: close\r\n",
                REVIVE,
                "other",
            ),
            (
                POST,
                "content-type: application/x-protobuf\r\n",
                "\u{10}\u{3}",
                "other",
            ),
            (
                POST,
                "content-type: application/x-protobuf\r\n",
                "\u{10}\u{2}",
                "call",
            ),
            (POST, TYPE, "{}", "other"),
            (POST, TYPE, "rubbish", "other"),
            (POST, TYPE, r#"{"type":"ACKNOWLEDGE"}"#, "other"),
            (POST, TYPE, subscribe, "other"),
            (
                POST,
                TYPE,
                r#"{"type":"RECONCILE_OPERATIONS","reconcile_operations":{}}"#,
                "other",
            ),
        ] {
            assert_eq!(
                kind(&request(line, headers, body)),
                expected,
                "{line} {headers} {body}"
            );
        }
        let long = format!("{POST}\r\n{TYPE}content-length: {}\r\n\r\n", BODY_BYTES + 1);
        assert_eq!(kind(&long), "other");
        let endless = format!("{POST}\r\nx: {}", "y".repeat(HEAD_BYTES));
        assert_eq!(kind(&endless), "other");
    }

    #[test]
    fn every_beginning_of_a_call_is_waited_for() {
        let whole = request(POST, TYPE, REVIVE);
        for length in 0..whole.len() {
            assert_eq!(kind(&whole[..length]), "part", "{}", &whole[..length]);
        }
        let Found::Call(plain) = look(format!("{whole}POST /x").as_bytes()) else {
            panic!("a call")
        };
        assert_eq!(plain.length, whole.len());
        for other in [
            "G",
            "PU",
            "PRI * HTTP/2.0",
            "POST /state",
            "POST /api/v1/schedulerx",
        ] {
            assert_eq!(kind(other), "other", "{other}");
        }
    }

    #[test]
    fn answers_are_whole() {
        let mut out = Vec::new();
        write(Reply::Accepted, "now", &mut out);
        let refused = Reply::Refused {
            status: 400,
            message: "no".to_owned(),
        };
        write(refused, "now", &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\ndate: now\r\n\r\n\
             HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\ndate: now\r\n\r\nno"
        );
    }
}
