//! What a command's `uris` ask for, in its sandbox before it starts.
//!
//! [`Fetcher::fetch`] judges all URIs first ([`plan`]), then fetches them one after another, as the reference does: files of the machine
//! with the rights of the task's user ([`place`]), http and https with new attempts after a cut ([`remote`]), through the cache where a URI
//! asks for it ([`cache`]). Archives are unpacked into the sandbox ([`unpack`]). An archive from the cache is not kept beside.
//!
//! **Promises.** Nothing is written outside of the sandbox, and everything in it is the task's user's. A file of the cache is whole. Dropping
//! the future ends the work. Time, bytes, entries, threads and connections are bounded. An error names the URI and the cause.

mod cache;
mod error;
mod place;
mod plan;
mod remote;
mod unpack;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tepui_proto::mesos::v1::command_info::Uri;

pub(crate) use error::FetchError;

use cache::{Cache, Cached, Key};
use error::Cause;
use place::{Abandoned, Place, Sandbox, copy, open_plain, set_mode};
use plan::{Item, Source, Then};
use remote::Download;

use crate::config::Config;

/// Bounds and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetcherConfig {
    /// Where fetched files are kept for others. Flag `--fetcher_cache_dir`.
    pub cache_dir: PathBuf,
    /// Bytes that are kept. Flag `--fetcher_cache_size`.
    pub cache_bytes: u64,
    /// The longest silence within a download. Flag `--fetcher_stall_timeout`.
    pub stall_timeout: Duration,
    /// Bytes of one file, and of what one archive holds. Flag `--fetcher_max_size`.
    pub max_bytes: u64,
    /// Where relative paths begin. Flag `--frameworks_home`.
    pub frameworks_home: Option<PathBuf>,
}

impl FetcherConfig {
    /// The defaults of the flags.
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            cache_dir: work_dir.join("fetch"),
            cache_bytes: 2 << 30,
            stall_timeout: Duration::from_secs(60),
            max_bytes: 20 << 30,
            frameworks_home: None,
        }
    }
}

#[derive(Default)]
struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

struct Inner {
    config: FetcherConfig,
    cache: Cache,
    counts: Counts,
}

/// The door of this room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher(Arc<Inner>);

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fetcher").field(&self.0.config).finish()
    }
}

impl Fetcher {
    pub(crate) fn new(config: &Config) -> Self {
        let fetcher = config.fetcher.clone();
        let cache = Cache::new(&fetcher.cache_dir, &config.work_dir, fetcher.cache_bytes);
        Self(Arc::new(Inner {
            config: fetcher,
            cache,
            counts: Counts::default(),
        }))
    }

    /// Fetches everything into the sandbox, which exists and is `user`'s (by name; `None` is this process' own). After an error the sandbox
    /// holds what was fetched until then. A future that is dropped counts neither as a success nor as a failure.
    pub(crate) async fn fetch(
        &self,
        uris: &[Uri],
        sandbox: &Path,
        user: Option<&str>,
    ) -> Result<(), FetchError> {
        if uris.is_empty() {
            return Ok(());
        }
        let result = self.all(uris, sandbox, user).await;
        let counts = &self.0.counts;
        let count = if result.is_ok() {
            &counts.succeeded
        } else {
            &counts.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Mesos' metrics.
    pub(crate) fn metrics(&self) -> [(&'static str, f64); 4] {
        let counts = &self.0.counts;
        let (total, used) = self.0.cache.sizes();
        [
            (
                "containerizer/fetcher/task_fetches_succeeded",
                counts.succeeded.load(Ordering::Relaxed) as f64,
            ),
            (
                "containerizer/fetcher/task_fetches_failed",
                counts.failed.load(Ordering::Relaxed) as f64,
            ),
            ("containerizer/fetcher/cache_size_total_bytes", total as f64),
            ("containerizer/fetcher/cache_size_used_bytes", used as f64),
        ]
    }

    async fn all(
        &self,
        uris: &[Uri],
        sandbox: &Path,
        user: Option<&str>,
    ) -> Result<(), FetchError> {
        let items = plan::plan(uris, self.0.config.frameworks_home.as_deref())?;
        let first = |cause| FetchError {
            uri: items
                .first()
                .map(|item| item.shown.clone())
                .unwrap_or_default(),
            cause,
        };
        let credentials = crate::containerizer::user::resolve(user.map(str::to_owned))
            .await
            .map_err(|error| first(Cause::Uri(error.to_string())))?;
        let place = Place::open(sandbox, credentials).map_err(first)?;
        for (item, uri) in items.iter().zip(uris) {
            let key = Key {
                user: user.unwrap_or_default().to_owned(),
                uri: uri.value.trim().to_owned(),
            };
            self.one(item, key, &place)
                .await
                .map_err(|cause| FetchError {
                    uri: item.shown.clone(),
                    cause,
                })?;
        }
        Ok(())
    }

    async fn one(&self, item: &Item, key: Key, place: &Place) -> Result<(), Cause> {
        let max_bytes = self.0.config.max_bytes;
        let (file, then) = (item.file.clone(), item.then);
        let (url, authorization) = match &item.source {
            Source::File(path) => {
                let path = path.clone();
                return place
                    .act(move |sandbox, abandoned| {
                        let mut from = open_plain(&path)?;
                        let mut to = sandbox.create(&file)?;
                        copy(&mut from, &mut to, max_bytes, abandoned)?;
                        finish(to, &file, then, sandbox, max_bytes, abandoned)
                    })
                    .await;
            }
            Source::Http { url, authorization } => (url, authorization),
        };
        let download = Download {
            url,
            authorization: authorization.clone(),
            shown: &item.shown,
            stall: self.0.config.stall_timeout,
            max_bytes,
        };
        if item.cached {
            match self.through_cache(item, key, place, &download).await {
                // Whatever is wrong with the cache does not keep a task from its files.
                Err(Cause::NoRoom(why)) => {
                    tracing::info!("'{}' is fetched past the cache: {why}", item.shown);
                }
                other => return other,
            }
        }
        let new = file.clone();
        let to = place.act(move |sandbox, _| sandbox.create(&new)).await?;
        let mut to = tokio::fs::File::from_std(to);
        download.run(&mut to, &mut |_| Ok(())).await?;
        let to = to.into_std().await;
        place
            .act(move |sandbox, abandoned| finish(to, &file, then, sandbox, max_bytes, abandoned))
            .await
    }

    async fn through_cache(
        &self,
        item: &Item,
        key: Key,
        place: &Place,
        download: &Download<'_>,
    ) -> Result<(), Cause> {
        let cached = self.cached(key.clone(), download).await?;
        let max_bytes = self.0.config.max_bytes;
        let (file, then) = (item.file.clone(), item.then);
        // Opened here: the task's user has no business in the cache.
        let mut from = match std::fs::File::open(&cached.path) {
            Ok(from) => from,
            Err(error) => {
                self.0.cache.forget(&key, &cached);
                return Err(Cause::NoRoom(format!(
                    "its file cannot be opened any more: {error}"
                )));
            }
        };
        let work = move |sandbox: &Sandbox, abandoned: &Abandoned| {
            let _in_use = cached;
            if let Then::Unpack(kind) = then {
                return unpack::unpack(kind, from, &file, sandbox, max_bytes, abandoned);
            }
            let mut to = sandbox.create(&file)?;
            copy(&mut from, &mut to, max_bytes, abandoned)?;
            finish(to, &file, then, sandbox, max_bytes, abandoned)
        };
        place.act(work).await
    }

    async fn cached(&self, key: Key, download: &Download<'_>) -> Result<Arc<Cached>, Cause> {
        let (url, shown) = (download.url.to_owned(), download.shown.to_owned());
        let (authorization, stall, max_bytes) = (
            download.authorization.clone(),
            download.stall,
            download.max_bytes,
        );
        let make = move |mut file: tokio::fs::File, mut room: cache::Room| {
            async move {
                let download = Download {
                    url: &url,
                    authorization,
                    shown: &shown,
                    stall,
                    max_bytes,
                };
                let size = download
                    .run(&mut file, &mut |bytes| room.grow(bytes))
                    .await?;
                room.settle(size);
                Ok(room)
            }
            .boxed()
        };
        self.0.cache.get(key, make).await
    }
}

/// The last steps of a file that is in the sandbox.
fn finish(
    file: std::fs::File,
    name: &Path,
    then: Then,
    sandbox: &Sandbox,
    max_bytes: u64,
    abandoned: &Abandoned,
) -> Result<(), Cause> {
    match then {
        Then::Nothing => set_mode(&file, 0o644),
        Then::MakeExecutable => set_mode(&file, 0o755),
        Then::Unpack(kind) => {
            set_mode(&file, 0o644)?;
            unpack::unpack(kind, file, name, sandbox, max_bytes, abandoned)
        }
    }
}
