//! Downloads over HTTP that survive cut connections: what is there already is not asked for again, where the server allows it.

use std::io::SeekFrom;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use tepui_images::http_client::{Client, client, next_within};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::error::Cause;

/// Downloads at a time; others wait.
const MAX_DOWNLOADS: usize = 64;
static DOWNLOADS: Semaphore = Semaphore::const_new(MAX_DOWNLOADS);
/// Failures in a row, without a byte in between, after which a download is given up.
const ATTEMPTS: u32 = 5;
/// Failures in all, also of a server that cuts after every few bytes.
const MAX_FAILURES: u32 = 1000;
/// The pause after a first failure; doubled after each further one in a row.
const BACK_OFF: Duration = Duration::from_millis(200);
/// The longest download, however slowly it comes.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// How often a download tells how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What is downloaded, and within which bounds.
pub(super) struct Download<'a> {
    pub(super) url: &'a str,
    pub(super) authorization: Option<HeaderValue>,
    /// As people may see it.
    pub(super) shown: &'a str,
    pub(super) stall: Duration,
    pub(super) max_bytes: u64,
}

/// Why an attempt has ended before the file was whole.
enum Ended {
    /// It may go better next time.
    Cut(String),
    /// It will not.
    For(Cause),
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        Self::For(cause)
    }
}

/// How far it is.
struct Progress<'a> {
    file: &'a mut File,
    at: u64,
    whole: Option<u64>,
    /// What tells that a file is still the same.
    validator: Option<HeaderValue>,
    began: Instant,
    told: Instant,
}

impl Download<'_> {
    /// Writes the whole of it into `file`, which is empty. `grow` is asked for room before it is taken: for so many bytes in all.
    pub(super) async fn run(
        self,
        file: &mut File,
        grow: &mut (dyn FnMut(u64) -> Result<(), Cause> + Send),
    ) -> Result<u64, Cause> {
        let _turn = DOWNLOADS.acquire().await.map_err(|_| Cause::Abandoned)?;
        let client = client().map_err(|error| Cause::Remote(error.0))?;
        let now = Instant::now();
        let mut progress = Progress {
            file,
            at: 0,
            whole: None,
            validator: None,
            began: now,
            told: now,
        };
        let late = || {
            Cause::Remote(format!(
                "it took longer than {} hours",
                LONGEST.as_secs() / 3600
            ))
        };
        tokio::time::timeout(LONGEST, self.attempts(&client, &mut progress, grow))
            .await
            .map_err(|_| late())??;
        progress.file.flush().await.map_err(disk)?;
        if progress.told != progress.began {
            tracing::info!(
                "fetched '{}': {} in {:.0?}",
                self.shown,
                bytes(progress.at),
                progress.began.elapsed()
            );
        }
        Ok(progress.at)
    }

    async fn attempts(
        &self,
        client: &Client,
        progress: &mut Progress<'_>,
        grow: &mut (dyn FnMut(u64) -> Result<(), Cause> + Send),
    ) -> Result<(), Cause> {
        let (mut in_a_row, mut in_all) = (0, 0);
        loop {
            let before = progress.at;
            let why = match self.attempt(client, progress, grow).await {
                Ok(()) => return Ok(()),
                Err(Ended::For(cause)) => return Err(cause),
                Err(Ended::Cut(why)) => why,
            };
            in_a_row = if progress.at > before {
                1
            } else {
                in_a_row + 1
            };
            in_all += 1;
            if in_a_row >= ATTEMPTS || in_all >= MAX_FAILURES {
                return Err(Cause::Remote(format!(
                    "{why} (given up after {in_all} attempts)"
                )));
            }
            tracing::debug!(
                "'{}' at {}: {why}; trying again",
                self.shown,
                bytes(progress.at)
            );
            tokio::time::sleep(BACK_OFF * 2_u32.pow(in_a_row - 1)).await;
        }
    }

    async fn attempt(
        &self,
        client: &Client,
        progress: &mut Progress<'_>,
        grow: &mut (dyn FnMut(u64) -> Result<(), Cause> + Send),
    ) -> Result<(), Ended> {
        let answer = client
            .get(self.url, &self.headers(progress))
            .await
            .map_err(|error| Ended::Cut(error.0))?;
        self.begin(&answer, progress).await?;
        if let Some(whole) = progress.whole {
            self.bound(whole)?;
            grow(whole)?;
        }
        let mut body = answer.into_body();
        loop {
            match next_within(&mut body, self.stall).await {
                Ok(Some(piece)) => {
                    let reached = progress.at + piece.len() as u64;
                    self.bound(reached)?;
                    if progress.whole.is_none_or(|whole| reached > whole) {
                        grow(reached)?;
                    }
                    self.take(piece, progress).await?;
                }
                Ok(None) if progress.whole.is_some_and(|whole| whole > progress.at) => {
                    return Err(Ended::Cut("the answer ended too early".to_owned()));
                }
                Ok(None) => return Ok(()),
                // The reference's flag ends a download that stands still.
                Err(error) if error.0.starts_with("nothing came") => {
                    return Err(Ended::For(Cause::Remote(format!(
                        "{} after {} (--fetcher_stall_timeout)",
                        error.0,
                        bytes(progress.at)
                    ))));
                }
                Err(error) => {
                    return Err(Ended::Cut(format!(
                        "the connection was cut after {}: {}",
                        bytes(progress.at),
                        error.0
                    )));
                }
            }
        }
    }

    fn headers(&self, progress: &Progress<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static(concat!("tepui-agent/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(validator) = progress.validator.as_ref().filter(|_| progress.at > 0)
            && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", progress.at))
        {
            headers.insert(RANGE, range);
            headers.insert(IF_RANGE, validator.clone());
        }
        headers
    }

    /// Judges the head of an answer, and goes to where its body begins.
    async fn begin(
        &self,
        answer: &Response<Incoming>,
        progress: &mut Progress<'_>,
    ) -> Result<(), Ended> {
        let status = answer.status();
        let headers = answer.headers();
        if status == StatusCode::PARTIAL_CONTENT {
            return match content_range(headers) {
                Some((start, whole)) if start == progress.at && progress.at > 0 => {
                    progress.whole = whole;
                    Ok(())
                }
                _ => Err(Ended::For(Cause::Remote(
                    "the server answered with a part that nobody asked for".to_owned(),
                ))),
            };
        }
        if status != StatusCode::OK {
            let why = format!("the server answered {status}");
            let passing = status.is_server_error()
                || matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::REQUEST_TIMEOUT
                        | StatusCode::RANGE_NOT_SATISFIABLE
                );
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                progress.validator = None;
            }
            return Err(if passing {
                Ended::Cut(why)
            } else {
                Ended::For(Cause::Remote(why))
            });
        }
        // From the start, whatever was asked for.
        if progress.at > 0 {
            progress.file.flush().await.map_err(disk)?;
            progress.file.set_len(0).await.map_err(disk)?;
            progress.file.seek(SeekFrom::Start(0)).await.map_err(disk)?;
            progress.at = 0;
        }
        progress.whole = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        // A weak one does not tell bytes apart.
        progress.validator = headers
            .get(ETAG)
            .filter(|tag| tag.as_bytes().starts_with(b"\""))
            .or_else(|| headers.get(LAST_MODIFIED))
            .cloned();
        Ok(())
    }

    fn bound(&self, size: u64) -> Result<(), Cause> {
        if size > self.max_bytes {
            return Err(Cause::TooLarge {
                what: "the file",
                limit: self.max_bytes,
                of: "bytes (--fetcher_max_size)",
            });
        }
        Ok(())
    }

    async fn take(&self, piece: Bytes, progress: &mut Progress<'_>) -> Result<(), Cause> {
        progress.file.write_all(&piece).await.map_err(disk)?;
        progress.at += piece.len() as u64;
        if progress.told.elapsed() >= PROGRESS {
            progress.told = Instant::now();
            let whole = progress
                .whole
                .map_or_else(|| "an unknown size".to_owned(), bytes);
            tracing::info!(
                "fetching '{}': {} of {whole} after {:.0?}",
                self.shown,
                bytes(progress.at),
                progress.began.elapsed()
            );
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn disk(error: std::io::Error) -> Cause {
    Cause::Local {
        action: "write",
        subject: "what is fetched".to_owned(),
        why: error.to_string(),
    }
}

/// Start and whole size of `bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, whole.parse().ok()))
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}
