//! Files that were fetched before, for whoever asks for the same: one download for many tasks, the longest unused go first.
//!
//! A file has its final name only when it is whole; what an earlier process left is removed at the start, as the reference does. The room
//! of a download is taken before its bytes come. A file that is in use is not removed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use parking_lot::Mutex;

use super::error::Cause;
use super::remote::bytes;

/// Whose it is (the reference keeps users apart) and from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) user: String,
    pub(super) uri: String,
}

/// A whole file in the cache. It stays while somebody holds this.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) path: PathBuf,
    size: u64,
}

type Made = Result<Arc<Cached>, Cause>;
type Making = BoxFuture<'static, Made>;

struct Entry {
    file: Arc<Cached>,
    last_used: u64,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    making: HashMap<Key, WeakShared<Making>>,
    /// Bytes of the entries and of what is being made.
    used: u64,
    /// Counts uses and names.
    clock: u64,
}

struct Inner {
    dir: PathBuf,
    capacity: u64,
    state: Mutex<State>,
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

/// Room that a file takes; given back when it is dropped.
pub(super) struct Room {
    cache: Cache,
    bytes: u64,
}

impl Room {
    /// Takes room for so many bytes in all.
    pub(super) fn grow(&mut self, to: u64) -> Result<(), Cause> {
        let Some(more) = to.checked_sub(self.bytes) else {
            return Ok(());
        };
        self.cache.take(more)?;
        self.bytes = to;
        Ok(())
    }

    /// Gives back what a whole file of this size does not need: it may have begun anew, and be smaller than before.
    pub(super) fn settle(&mut self, size: u64) {
        let spare = self.bytes.saturating_sub(size);
        self.bytes -= spare;
        let mut state = self.cache.0.state.lock();
        state.used = state.used.saturating_sub(spare);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.cache.0.state.lock();
        state.used = state.used.saturating_sub(self.bytes);
    }
}

/// An unfinished file; removed when it is dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is not there any more when it was finished.
        let _ = fs::remove_file(&self.0);
    }
}

/// One agent's part of a directory that several may share.
fn part_of(work_dir: &Path) -> String {
    let name = work_dir.to_string_lossy();
    let name = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    // The end tells agents of one machine apart.
    name[name.len().saturating_sub(200)..].to_owned()
}

impl Cache {
    /// An empty one in a part of `dir` that is this agent's alone; what an earlier process left there is removed in the background.
    pub(super) fn new(dir: &Path, work_dir: &Path, capacity: u64) -> Self {
        let name = part_of(work_dir);
        let own = dir.join(&name);
        let mut old = Vec::new();
        if own.exists() {
            let aside = dir.join(format!("{name}.old-{}", std::process::id()));
            match fs::rename(&own, &aside) {
                Ok(()) => old.push(aside),
                Err(_) => old.push(own.clone()),
            }
        }
        let prefix = format!("{name}.old-");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        old.extend(
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
                .map(|entry| entry.path()),
        );
        if !old.is_empty() {
            let remove = move || old.iter().for_each(|path| drop(fs::remove_dir_all(path)));
            // Where no thread can be had, the next start tries again.
            let _ = std::thread::Builder::new()
                .name("fetcher".to_owned())
                .spawn(remove);
        }
        Self(Arc::new(Inner {
            dir: own,
            capacity,
            state: Mutex::default(),
        }))
    }

    /// Capacity, and bytes in use.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.0.capacity, self.0.state.lock().used)
    }

    /// The file from the cache, or made by `make` and put there. Whoever wants what is being made waits for the same; when nobody waits any
    /// more, the making ends.
    pub(super) async fn get(
        &self,
        key: Key,
        make: impl FnOnce(tokio::fs::File, Room) -> BoxFuture<'static, Result<Room, Cause>>
        + Send
        + 'static,
    ) -> Made {
        let making = {
            let mut state = self.0.state.lock();
            state.clock += 1;
            let now = state.clock;
            if let Some(entry) = state.entries.get_mut(&key) {
                entry.last_used = now;
                return Ok(Arc::clone(&entry.file));
            }
            // One that has ended, but is still held by a waiter that has not looked, is not joined: it may have failed.
            let under_way = state.making.get(&key).and_then(WeakShared::upgrade);
            match under_way.filter(|making| making.peek().is_none()) {
                Some(making) => making,
                None => self.begin(&mut state, key, make, now),
            }
        };
        making.await
    }

    fn begin(
        &self,
        state: &mut State,
        key: Key,
        make: impl FnOnce(tokio::fs::File, Room) -> BoxFuture<'static, Result<Room, Cause>>
        + Send
        + 'static,
        number: u64,
    ) -> Shared<Making> {
        state.making.retain(|_, making| making.upgrade().is_some());
        let (cache, for_key) = (self.clone(), key.clone());
        let making = async move {
            let (unfinished, file) = cache.create(number)?;
            let room = Room {
                cache: cache.clone(),
                bytes: 0,
            };
            let room = make(file, room).await?;
            cache.keep(for_key, &unfinished, room, number)
        };
        let making = making.boxed().shared();
        if let Some(weak) = making.downgrade() {
            state.making.insert(key, weak);
        }
        making
    }

    fn create(&self, number: u64) -> Result<(Unfinished, tokio::fs::File), Cause> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let dir = &self.0.dir;
        let failed =
            |error: io::Error| Cause::NoRoom(format!("cannot write in {}: {error}", dir.display()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let path = dir.join(format!("{number}.part"));
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        Ok((Unfinished(path), tokio::fs::File::from_std(file)))
    }

    fn keep(&self, key: Key, unfinished: &Unfinished, mut room: Room, number: u64) -> Made {
        let path = self.0.dir.join(number.to_string());
        fs::rename(&unfinished.0, &path).map_err(|error| {
            Cause::NoRoom(format!("cannot rename {}: {error}", unfinished.0.display()))
        })?;
        let file = Arc::new(Cached {
            path,
            size: std::mem::take(&mut room.bytes),
        });
        let mut state = self.0.state.lock();
        let entry = Entry {
            file: Arc::clone(&file),
            last_used: state.clock,
        };
        if let Some(old) = state.entries.insert(key, entry) {
            state.used = state.used.saturating_sub(old.file.size);
            let _ = fs::remove_file(&old.file.path);
        }
        Ok(file)
    }

    /// Takes room, of the longest unused if need be.
    fn take(&self, more: u64) -> Result<(), Cause> {
        let mut state = self.0.state.lock();
        if more > self.0.capacity {
            return Err(Cause::NoRoom(format!(
                "{} are more than all of it",
                bytes(more)
            )));
        }
        while state.used + more > self.0.capacity {
            let oldest = state
                .entries
                .iter()
                .filter(|(_, entry)| Arc::strong_count(&entry.file) == 1)
                .min_by_key(|(_, entry)| entry.last_used)
                .map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| state.entries.remove(&key)) else {
                return Err(Cause::NoRoom("everything in it is in use".to_owned()));
            };
            state.used = state.used.saturating_sub(gone.file.size);
            if let Err(error) = fs::remove_file(&gone.file.path) {
                tracing::warn!(
                    "cannot remove {} from the cache: {error}",
                    gone.file.path.display()
                );
            }
        }
        state.used += more;
        Ok(())
    }

    /// Forgets a file that turns out not to be there.
    pub(super) fn forget(&self, key: &Key, file: &Arc<Cached>) {
        let mut state = self.0.state.lock();
        if state
            .entries
            .get(key)
            .is_some_and(|entry| Arc::ptr_eq(&entry.file, file))
            && let Some(gone) = state.entries.remove(key)
        {
            state.used = state.used.saturating_sub(gone.file.size);
            let _ = fs::remove_file(&gone.file.path);
        }
    }
}
