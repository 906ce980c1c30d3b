//! Answers of any size: a list of pieces, most of them kept beside the objects they show, written out a chunk at a time while the
//! client takes them, and packed with gzip if it may be.

use std::collections::VecDeque;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use tepui_http::negotiate::accepts_gzip;
use tepui_master_core::TaskSnapshot;
use tokio::sync::mpsc;

use super::asked::{Asked, Response, StreamBroken, bytes, empty, streaming, text};
use super::legacy::shapes;
use crate::reign::Reign;
use crate::view::Shown;

/// Answers up to this size are made at once; from half of it on they are sent in chunks of it.
const CHUNK_BYTES: usize = 64 << 10;
/// Answers of fewer pieces are made at once.
const FEW: usize = 128;
/// So many pieces are collected before other threads get their turn.
const TURN: usize = 512;
/// Smaller answers are not worth packing (Mesos' bound).
const PACK_FROM_BYTES: usize = 1024;

/// A part of an answer.
pub(crate) enum Piece {
    /// Finished.
    Bytes(Bytes),
    /// A legacy TASK.
    LegacyTask(Arc<Shown<TaskSnapshot>>),
    /// A v1 Task.
    Task(Arc<Shown<TaskSnapshot>>),
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::LegacyTask(task) => out.extend_from_slice(task.legacy(shapes::task)),
            Self::Task(task) => {
                out.extend_from_slice(
                    task.v1(|task, out| tepui_proto::json::write(&task.to_task(), out)),
                );
            }
        }
    }
}

/// Collects pieces; text between them is gathered.
#[derive(Default)]
pub(crate) struct Pieces {
    done: VecDeque<Placed>,
    open: Vec<u8>,
}

/// A piece in its place: a list of a hundred thousand needs no piece for each comma.
struct Placed {
    after_comma: bool,
    piece: Piece,
}

impl Placed {
    fn write(&self, out: &mut Vec<u8>) {
        if self.after_comma {
            out.push(b',');
        }
        self.piece.write(out);
    }
}

impl From<Piece> for Placed {
    fn from(piece: Piece) -> Self {
        Self {
            after_comma: false,
            piece,
        }
    }
}

impl Pieces {
    /// Appends to the text.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done
                .push_back(Piece::Bytes(std::mem::take(&mut self.open).into()).into());
        }
    }

    /// Appends `[a,b,…]`.
    pub(crate) fn list(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.open.push(b'[');
        for (at, piece) in pieces.into_iter().enumerate() {
            if let Piece::Bytes(bytes) = piece {
                // Gathering a small piece is cheaper than keeping it apart.
                if at > 0 {
                    self.open.push(b',');
                }
                self.open.extend_from_slice(&bytes);
                if self.open.len() > CHUNK_BYTES {
                    self.close();
                }
            } else {
                self.close();
                self.done.push_back(Placed {
                    after_comma: at > 0,
                    piece,
                });
            }
            if at % TURN == TURN - 1 {
                give_turn();
            }
        }
        self.open.push(b']');
    }

    /// The whole text.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.close();
        let mut out = Vec::new();
        for piece in self.done {
            piece.write(&mut out);
        }
        out
    }

    /// The answer; made at once if it is small, streamed otherwise.
    pub(crate) fn answer(mut self, content_type: &'static str, headers: &HeaderMap) -> Response {
        self.close();
        let gzip = accepts_gzip(headers);
        if self.done.len() <= FEW {
            return whole(content_type, self.into_vec(), gzip);
        }
        let packer =
            gzip.then(|| GzEncoder::new(Vec::with_capacity(CHUNK_BYTES), Compression::fast()));
        let chunks = Chunks {
            pieces: self.done,
            packer,
            finished: false,
        };
        let mut answer = streaming(content_type, made_here(chunks));
        if gzip {
            packed(answer.headers_mut());
        }
        answer
    }
}

/// A finished answer, packed if it is worth it.
pub(crate) fn whole(content_type: &'static str, body: Vec<u8>, gzip: bool) -> Response {
    if !gzip || body.len() < PACK_FROM_BYTES {
        return bytes(content_type, body);
    }
    let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    match packer.write_all(&body).and_then(|()| packer.finish()) {
        Ok(small) => {
            let mut answer = bytes(content_type, small);
            packed(answer.headers_mut());
            answer
        }
        Err(_) => bytes(content_type, body),
    }
}

fn packed(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
}

/// JSON, or a call of the function that `jsonp` names.
pub(crate) fn json(asked: &Asked, fill: impl FnOnce(&mut Pieces)) -> Response {
    let mut pieces = Pieces::default();
    match asked.parameters().get("jsonp") {
        None => {
            fill(&mut pieces);
            pieces.answer("application/json", &asked.headers)
        }
        // The name becomes code in somebody's page: only what can be a name is taken.
        Some(name)
            if !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.')) =>
        {
            pieces.text().extend_from_slice(name.as_bytes());
            pieces.text().push(b'(');
            fill(&mut pieces);
            pieces.text().push(b')');
            let mut answer = pieces.answer("text/javascript", &asked.headers);
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript"));
            answer
        }
        Some(_) => text(
            StatusCode::BAD_REQUEST,
            "The parameter 'jsonp' must be the name of a function",
        ),
    }
}

/// Names what the view told at some moment: its epoch and the number of its last change. It must be made before the view is read, so that
/// an answer is never older than its tag.
pub(crate) struct Tag(String);

impl Tag {
    /// The tag of now.
    pub(crate) fn of(reign: &Reign) -> Self {
        Self(format!(
            "W/\"{:x}-{:x}\"",
            reign.epoch(),
            reign.view.number()
        ))
    }

    /// The tag of now of what the store has, too: it has answered so many writes.
    pub(crate) fn of_store(reign: &Reign, writes: u64) -> Self {
        Self(format!(
            "W/\"{:x}-{:x}-{writes:x}\"",
            reign.epoch(),
            reign.view.number()
        ))
    }
}

/// As [`json`], for an answer that changes with the view alone: a client that has it already is told so (304) before anything is made.
pub(crate) fn tagged(asked: &Asked, tag: Tag, fill: impl FnOnce(&mut Pieces)) -> Response {
    let Tag(tag) = tag;
    if is_known(&asked.headers, &tag) && matches!(asked.method, Method::GET | Method::HEAD) {
        let mut answer = empty(StatusCode::NOT_MODIFIED);
        tag_it(answer.headers_mut(), &tag);
        return answer;
    }
    let mut answer = json(asked, fill);
    if answer.status() == StatusCode::OK {
        tag_it(answer.headers_mut(), &tag);
    }
    answer
}

fn tag_it(headers: &mut HeaderMap, tag: &str) {
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// Whether the client says that it has the answer with this weak tag.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let strong = tag.trim_start_matches("W/");
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == strong)
}

/// A stream whose items are made by the threads that ask for it, not by those that send them: one ahead of the client.
///
/// Both sides take short turns. A maker that runs on until its time is over, or a connection that always has something to send, would
/// hold up frameworks for some milliseconds where processors are few.
fn made_here<S>(mut stream: S) -> Turns<S::Item>
where
    S: Stream + Send + Unpin + 'static,
    S::Item: Send,
{
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(item) = stream.next().await {
            // A client that hung up needs no more.
            if sender.send(item).await.is_err() {
                return;
            }
            give_turn();
        }
    });
    Turns {
        receiver,
        gave: false,
    }
}

/// Lets a thread go first that waits for this processor. The system would let this one run on for some milliseconds, however modest its
/// priority is.
fn give_turn() {
    std::thread::yield_now();
}

/// Items for a connection, which lets others have their turn after each.
struct Turns<T> {
    receiver: mpsc::Receiver<T>,
    /// It is the others' turn.
    gave: bool,
}

impl<T> Stream for Turns<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if std::mem::take(&mut self.gave) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = self.receiver.poll_recv(context);
        self.gave = matches!(item, Poll::Ready(Some(_)));
        item
    }
}

/// The chunks of a large answer.
struct Chunks {
    pieces: VecDeque<Placed>,
    packer: Option<GzEncoder<Vec<u8>>>,
    finished: bool,
}

impl Stream for Chunks {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished {
            return Poll::Ready(None);
        }
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
            while chunk.len() < CHUNK_BYTES
                && let Some(piece) = self.pieces.pop_front()
            {
                piece.write(&mut chunk);
            }
            let last = self.pieces.is_empty();
            if last {
                self.finished = true;
            }
            let Some(mut packer) = self.packer.take() else {
                return Poll::Ready(if chunk.is_empty() {
                    None
                } else {
                    Some(Ok(chunk.into()))
                });
            };
            // Writing into a Vec cannot fail.
            let _ = packer.write_all(&chunk);
            let packed = if last {
                packer.finish().unwrap_or_default()
            } else {
                let packed = std::mem::take(packer.get_mut());
                self.packer = Some(packer);
                packed
            };
            if !packed.is_empty() || last {
                return Poll::Ready(Some(Ok(packed.into())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stream(packer: Option<GzEncoder<Vec<u8>>>, count: usize) -> Vec<u8> {
        let pieces = (0..count)
            .map(|n| Piece::Bytes(format!("{n},").into()).into())
            .collect();
        let chunks: Vec<_> = made_here(Chunks {
            pieces,
            packer,
            finished: false,
        })
        .collect()
        .await;
        chunks
            .into_iter()
            .flat_map(|chunk| chunk.expect("no errors"))
            .collect()
    }

    #[tokio::test]
    async fn large_answers_arrive_whole_packed_or_not() {
        let expected: String = (0..50_000).map(|n| format!("{n},")).collect();
        assert_eq!(stream(None, 50_000).await, expected.as_bytes());
        let packed = stream(
            Some(GzEncoder::new(Vec::new(), Compression::fast())),
            50_000,
        )
        .await;
        assert!(packed.len() < expected.len() / 2);
        let mut unpacked = String::new();
        std::io::Read::read_to_string(
            &mut flate2::read::GzDecoder::new(&packed[..]),
            &mut unpacked,
        )
        .expect("gzip");
        assert_eq!(unpacked, expected);
    }

    #[tokio::test]
    async fn a_connection_has_one_item_in_a_turn() {
        let mut turns = made_here(futures::stream::iter(0..3));
        let mut polled = Vec::new();
        while polled.last() != Some(&None) {
            let poll = futures::poll!(turns.next());
            if let Poll::Ready(item) = poll {
                polled.push(item);
                let next = futures::poll!(turns.next());
                assert!(item.is_none() || next.is_pending(), "{item:?}, {next:?}");
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(polled, [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn lists_have_their_commas() {
        for (items, expected) in [
            (vec![], "[]"),
            (vec!["1"], "[1]"),
            (vec!["1", "2"], "[1,2]"),
        ] {
            let mut pieces = Pieces::default();
            pieces.list(items.into_iter().map(|item| Piece::Bytes(item.into())));
            assert_eq!(pieces.into_vec(), expected.as_bytes());
        }
    }
}
