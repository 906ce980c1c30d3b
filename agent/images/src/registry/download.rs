//! One layer's way from a registry to a file: on where it was cut, anew where the registry cannot go on, checked at the end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{ATTEMPTS, Again, Endpoint, Repository, tried};
use crate::digest::Hasher;
use crate::error::Problem;
use crate::http_client::{self, Unreachable};
use crate::manifest::Descriptor;
use crate::source::Progress;

/// One layer on its way to the disk.
pub(super) struct Download<'a> {
    pub(super) repository: &'a Repository,
    pub(super) endpoint: &'a Endpoint,
    pub(super) layer: &'a Descriptor,
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) hasher: Hasher,
    /// Bytes in the file, all of them hashed.
    pub(super) got: u64,
    pub(super) progress: &'a Progress,
}

impl Download<'_> {
    pub(super) async fn run(&mut self) -> Result<(), Problem> {
        let begun = Instant::now();
        let mut fruitless = 0;
        loop {
            let before = self.got;
            let again = match self.attempt().await {
                Ok(()) => break,
                Err(again) => again,
            };
            // Progress is a reason to go on: only attempts that brought nothing are counted.
            fruitless = if self.got > before { 1 } else { fruitless + 1 };
            match again {
                Again::Never(problem) => return Err(problem),
                Again::Later(problem, _) if fruitless >= ATTEMPTS => {
                    return Err(self.given_up(problem, fruitless, begun.elapsed()));
                }
                Again::Later(problem, asked) => {
                    tracing::info!("layer {}: {problem}; trying again", self.layer.digest);
                    self.repository.rest(fruitless - 1, asked).await;
                }
            }
        }
        self.file
            .flush()
            .await
            .map_err(Problem::disk("write", &self.path))?;
        let got = self.hasher.clone().finish();
        if got != self.layer.digest {
            return Err(Problem::WrongDigest {
                what: "a layer",
                expected: self.layer.digest,
                got,
                from: self.endpoint.name.clone(),
            });
        }
        Ok(())
    }

    fn given_up(&self, problem: Problem, attempts: usize, during: Duration) -> Problem {
        match problem {
            Problem::Unreachable {
                registry, cause, ..
            } if self.got > 0 => Problem::Cut {
                registry,
                what: "layer",
                digest: self.layer.digest,
                got: self.got,
                size: self.layer.size,
                cause,
                attempts,
            },
            other => tried(other, attempts, during),
        }
    }

    async fn attempt(&mut self) -> Result<(), Again> {
        let layer = self.layer;
        let mut headers = HeaderMap::new();
        if self.got > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.got))
        {
            headers.insert(RANGE, range);
        }
        let path = format!("blobs/{}", layer.digest);
        let answer = self
            .repository
            .get(self.endpoint, &path, headers, "layer", Some(layer.digest))
            .await?;
        if self.got > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            // It begins anew, and so do we.
            self.start_over().await.map_err(Again::Never)?;
        }
        let mut body = answer.into_body();
        while self.got < layer.size {
            let piece = match http_client::next(&mut body).await {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    let early = Unreachable(format!("the answer ended early ({} bytes)", self.got));
                    return Err(self.repository.unreachable(self.endpoint, &early));
                }
                Err(error) => return Err(self.repository.unreachable(self.endpoint, &error)),
            };
            if self.got + piece.len() as u64 > layer.size {
                return Err(Again::Never(Problem::invalid(
                    "layer",
                    format!(
                        "{} is longer than the {} bytes of its manifest",
                        layer.digest, layer.size
                    ),
                )));
            }
            self.hasher.update(&piece);
            self.file
                .write_all(&piece)
                .await
                .map_err(|error| Again::Never(Problem::disk("write", &self.path)(error)))?;
            self.got += piece.len() as u64;
            self.progress.add(piece.len());
        }
        Ok(())
    }

    async fn start_over(&mut self) -> Result<(), Problem> {
        use tokio::io::AsyncSeekExt;
        let broken = |error| Problem::disk("write", &self.path)(error);
        self.file.flush().await.map_err(broken)?;
        self.file.set_len(0).await.map_err(broken)?;
        self.file.rewind().await.map_err(broken)?;
        self.hasher = Hasher::default();
        self.got = 0;
        Ok(())
    }
}
