//! Answers packed with gzip, for clients that take it (`--http_compression`).

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use warp::reply::Response as Answer;

/// What is shorter goes as it is: packing would cost more than it saves.
const PACK_FROM_BYTES: usize = 1 << 10;
/// What is longer is packed in a thread that may take its time.
const ASIDE_FROM_BYTES: usize = 256 << 10;

/// The same answer, packed if it is JSON or metrics and long enough to be worth it; streams never are.
pub(super) async fn gzip(answer: Answer) -> Answer {
    let media_type = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if media_type != "application/json" && !media_type.starts_with("text/plain") {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // What is made of bytes in memory cannot fail to be read.
    let Ok(whole) = body.collect().await else {
        parts.status = http::StatusCode::INTERNAL_SERVER_ERROR;
        return Answer::from_parts(parts, Bytes::new().into());
    };
    let whole = whole.to_bytes();
    let packed = match whole.len() {
        0..PACK_FROM_BYTES => None,
        PACK_FROM_BYTES..ASIDE_FROM_BYTES => pack(&whole),
        _ => {
            let whole = whole.clone();
            let packed = tokio::task::spawn_blocking(move || pack(&whole)).await;
            packed.ok().flatten()
        }
    };
    let Some(packed) = packed else {
        return Answer::from_parts(parts, whole.into());
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Answer::from_parts(parts, packed.into())
}

fn pack(whole: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(whole.len() / 4), Compression::fast());
    packer.write_all(whole).ok()?;
    packer.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    async fn check(media_type: &'static str, length: usize, packed: bool) {
        let text: String = "app ".chars().cycle().take(length).collect();
        let mut answer = Answer::new(text.clone().into());
        answer
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(media_type));
        let answer = gzip(answer).await;
        let marked = answer.headers().get("content-encoding");
        assert_eq!(marked.is_some(), packed, "{media_type}, {length}");
        let body = answer.into_body().collect().await.expect("in memory");
        let body = body.to_bytes();
        if packed {
            assert!(body.len() < length / 2);
            let mut unpacked = String::new();
            let mut reader = flate2::read::GzDecoder::new(&body[..]);
            reader.read_to_string(&mut unpacked).expect("gzip");
            assert_eq!(unpacked, text);
        } else {
            assert_eq!(body, text);
        }
    }

    #[tokio::test]
    async fn long_answers_are_packed_and_can_be_unpacked() {
        check("application/json", 100, false).await;
        check("application/json", 10_000, true).await;
        check("application/json", 1 << 20, true).await;
        check("text/plain; version=0.0.4; charset=utf-8", 10_000, true).await;
        check("application/x-ndjson", 10_000, false).await;
        check("text/event-stream", 10_000, false).await;
    }
}
