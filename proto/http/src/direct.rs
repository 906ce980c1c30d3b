//! The direct path of calls by POST, by the ten thousand a second, pipelined if the client likes.
//!
//! A connection that begins with a call is served here. All calls that have come are read together, are carried on together, and are
//! answered in their order with one write, where hyper and warp need two system calls, a wake-up each way and a walk through the routes
//! for each.
//!
//! Only what is plain is taken: a body of announced length, in a form that is known, with a call in it that [`Calls`] wants. At the first
//! request that is anything else, or would be refused before anybody judged the call, the connection is given back with that
//! request's bytes unread. So each check stands in one place, the daemon's own handler, and its order cannot differ.

use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::negotiate::Format;

/// A longer head is not read here.
const HEAD_BYTES: usize = 16 << 10;
/// A larger body is not gathered here.
const BODY_BYTES: usize = 1 << 20;
const HEADERS: usize = 32;
/// Calls answered with one write.
const BATCH: usize = 256;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;
/// A request that stops in its middle for so long is not waited for here.
const PAUSE: Duration = Duration::from_secs(1);

/// Who takes calls.
pub trait Calls: Sync {
    /// A call that was read.
    type Call: Send;

    /// Where they are posted: whole paths.
    const PATHS: &'static [&'static str];
    /// A header that goes with each call, in small letters.
    const HEADER: Option<&'static str>;

    /// Whether calls are taken at the moment.
    fn ready(&self) -> bool;

    /// Reads a body; `None` if it is not one that is taken here.
    fn read(&self, format: Format, body: &[u8]) -> Option<Self::Call>;

    /// Judges calls, which took so many bytes together: as many answers, in their order.
    fn judge(
        &self,
        calls: Vec<Posted<Self::Call>>,
        bytes: usize,
    ) -> impl Future<Output = Vec<Answer>> + Send;
}

/// A call by POST.
#[derive(Debug)]
pub struct Posted<C> {
    /// The value of [`Calls::HEADER`].
    pub header: Option<Box<str>>,
    /// The call.
    pub call: C,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Plain text; `None`: no content.
    pub message: Option<String>,
}

/// How serving ended.
#[derive(Debug)]
pub enum End<IO> {
    /// The connection is over.
    Over,
    /// Something came that is not for here, and these bytes, at least one, begin with it.
    Other(IO, Bytes),
}

/// Serves calls until the connection ends, or something else comes. A connection on which nothing comes for `idle` ends; so does each when it
/// is to `stop`, once what it asked is answered.
pub async fn serve<C: Calls, IO: AsyncRead + AsyncWrite + Unpin>(
    taker: &C,
    mut io: IO,
    idle: Duration,
    stop: &CancellationToken,
) -> End<IO> {
    let mut buffer = BytesMut::new();
    let mut out = Vec::new();
    let mut date = Date::default();
    loop {
        if !buffer.is_empty() && !taker.ready() {
            return End::Other(io, buffer.freeze());
        }
        let (mut calls, mut bytes) = (Vec::new(), 0);
        let mut found = Found::Part;
        while calls.len() < BATCH {
            found = look(taker, &buffer);
            let Found::Call(plain) = found else { break };
            calls.push(plain.posted);
            bytes += plain.length;
            buffer.advance(plain.length);
            found = Found::Part;
        }
        let full = calls.len() == BATCH;
        if !calls.is_empty() {
            out.clear();
            for answer in taker.judge(calls, bytes).await {
                write(&answer, date.now(), &mut out);
            }
            if io.write_all(&out).await.is_err() {
                return End::Over;
            }
        }
        match found {
            _ if full => continue,
            Found::Part => {}
            Found::Call(_) | Found::Other => return End::Other(io, buffer.freeze()),
        }
        let patience = if buffer.is_empty() {
            idle
        } else {
            idle.min(PAUSE)
        };
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = tokio::time::timeout(patience, io.read_buf(&mut buffer)) => read,
            () = stop.cancelled() => return End::Over,
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(_) => return End::Over,
            Err(_) if buffer.is_empty() => return End::Over,
            Err(_) => return End::Other(io, buffer.freeze()),
        }
    }
}

/// What the unread bytes begin with.
enum Found<C> {
    /// Not enough to tell, or a call that is not whole yet.
    Part,
    Call(Plain<C>),
    /// Something for hyper.
    Other,
}

struct Plain<C> {
    posted: Posted<C>,
    /// Of head and body.
    length: usize,
}

fn look<C: Calls>(taker: &C, bytes: &[u8]) -> Found<C::Call> {
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
    if !C::PATHS.iter().any(|path| start(path)) {
        return Found::Other;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head <= HEAD_BYTES => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Found::Part,
        Ok(_) | Err(_) => return Found::Other,
    };
    let Some(framing) = Framing::of(request.headers, C::HEADER) else {
        return Found::Other;
    };
    let length = head + framing.body;
    let Some(body) = bytes.get(head..length) else {
        return Found::Part;
    };
    match taker.read(framing.format, body) {
        Some(call) => Found::Call(Plain {
            posted: Posted {
                header: framing.header,
                call,
            },
            length,
        }),
        None => Found::Other,
    }
}

/// What the headers say that matters to a plain call.
struct Framing {
    format: Format,
    body: usize,
    header: Option<Box<str>>,
}

impl Framing {
    /// `None` if there is anything that makes the request less than plain.
    fn of(headers: &[httparse::Header<'_>], wanted: Option<&str>) -> Option<Self> {
        let (mut format, mut body, mut value) = (None, None, None);
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
            } else if wanted.is_some_and(is) {
                once(&mut value, text()?.into())?;
            } else if is("connection") {
                text().filter(|text| text.eq_ignore_ascii_case("keep-alive"))?;
            } else if HOP_BY_HOP.iter().any(|name| is(name)) {
                return None;
            }
        }
        Some(Self {
            format: format?,
            body: body?,
            header: value,
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

/// Appends an answer, as hyper would write it.
fn write(answer: &Answer, date: &str, out: &mut Vec<u8>) {
    let status = answer.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    if answer.message.is_some() {
        out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
    }
    let body = answer.message.as_deref().unwrap_or_default().as_bytes();
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
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

    /// Takes objects with a `type`.
    struct Typed;

    impl Calls for Typed {
        type Call = String;

        const PATHS: &'static [&'static str] = &["/api/v1/scheduler", "/master/api/v1/scheduler"];
        const HEADER: Option<&'static str> = Some("x-stream");

        fn ready(&self) -> bool {
            true
        }

        fn read(&self, format: Format, body: &[u8]) -> Option<String> {
            let body = String::from_utf8(body.to_vec()).ok()?;
            (format == Format::Json && body.contains("type")).then_some(body)
        }

        async fn judge(&self, calls: Vec<Posted<String>>, _: usize) -> Vec<Answer> {
            let answer = |posted: Posted<String>| Answer {
                status: StatusCode::ACCEPTED,
                message: posted.header.map(String::from),
            };
            calls.into_iter().map(answer).collect()
        }
    }

    const TYPE: &str = "content-type: application/json\r\n";

    fn request(line: &str, headers: &str, body: &str) -> String {
        format!(
            "{line}\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn kind(bytes: &str) -> &'static str {
        match look(&Typed, bytes.as_bytes()) {
            Found::Part => "part",
            Found::Call(_) => "call",
            Found::Other => "other",
        }
    }

    const POST: &str = "POST /api/v1/scheduler HTTP/1.1";
    const REVIVE: &str = r#"{"type":"REVIVE"}"#;

    #[test]
    fn only_plain_calls_are_taken() {
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
                REVIVE,
                "other",
            ),
            (POST, TYPE, "{}", "other"),
            (POST, TYPE, "rubbish", "other"),
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
        let Found::Call(plain) = look(&Typed, format!("{whole}POST /x").as_bytes()) else {
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
        for (status, message) in [(202, None), (400, Some("no".to_owned()))] {
            let status = StatusCode::from_u16(status).expect("a status");
            write(&Answer { status, message }, "now", &mut out);
        }
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\ndate: now\r\n\r\n\
             HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\ndate: now\r\n\r\nno"
        );
    }

    #[tokio::test]
    async fn calls_are_answered_until_something_else_comes() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let one = request(POST, TYPE, REVIVE);
        let two = request(POST, &format!("{TYPE}X-Stream: s\r\n"), REVIVE);
        let sent = format!("{one}{two}GET /state");
        client.write_all(sent.as_bytes()).await.expect("room");
        let End::Other(_, rest) = serve(
            &Typed,
            server,
            Duration::from_secs(9),
            &CancellationToken::new(),
        )
        .await
        else {
            panic!("a GET is not for here")
        };
        assert_eq!(rest, "GET /state");
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.expect("text");
        let ends: Vec<&str> = answers.split("HTTP/1.1 202 Accepted").collect();
        assert!(ends.len() == 3 && ends[1].ends_with("\r\n\r\n") && ends[2].ends_with("\r\n\r\ns"));
    }
}
