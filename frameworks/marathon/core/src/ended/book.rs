//! The book of ended tasks: the last of each app, bounded for each, in number and in age.
//!
//! It is stored in chunks, so that an end writes one small record however many entries there are: the chunk that it falls into, which is put
//! together with what the end changes, so none is ever lost. A chunk goes when all its entries have gone. Apps that are deleted keep theirs
//! for as long as the bounds let them; an app of the same id goes on where it was.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tepui_model::Time;

use super::Ended;
use crate::{path::PathId, timestamp::Timestamp};

/// Entries of one record: an end rewrites at most so many.
const CHUNK: u64 = 8;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of one app.
    pub(crate) of_app: usize,
    /// Of all apps together.
    pub(crate) total: usize,
    /// How long.
    pub(crate) age: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    bounds: Bounds,
    apps: BTreeMap<PathId, Shelf>,
    /// The oldest entry of each app.
    oldest: BTreeSet<(Timestamp, PathId)>,
    kept: usize,
    /// Since this leader began.
    dropped: u64,
}

/// What is kept of one app. Entries are numbered from 0; the number of the chunk that one is in follows from its own.
#[derive(Debug, Default)]
struct Shelf {
    /// The number of the first that is kept.
    first: u64,
    entries: VecDeque<Ended>,
    stored: BTreeSet<u64>,
}

/// A chunk as it is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct ChunkRecord {
    app: PathId,
    /// The number of its first entry.
    first: u64,
    entries: Vec<Ended>,
}

/// The same, to be written.
#[derive(Debug, Serialize)]
pub(crate) struct Chunk<'a> {
    app: &'a PathId,
    first: u64,
    entries: Vec<&'a Ended>,
}

/// What has to be written: chunks by app and number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) put: Option<(PathId, u64)>,
    pub(crate) gone: Vec<(PathId, u64)>,
}

impl Book {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            apps: BTreeMap::new(),
            oldest: BTreeSet::new(),
            kept: 0,
            dropped: 0,
        }
    }

    /// Takes over what is stored; [`Book::trim`] follows.
    pub(crate) fn restore(&mut self, mut chunks: Vec<ChunkRecord>) {
        chunks.sort_by(|one, other| (&one.app, one.first).cmp(&(&other.app, other.first)));
        for chunk in chunks {
            let shelf = self.apps.entry(chunk.app.clone()).or_default();
            let next = shelf.first + shelf.entries.len() as u64;
            if next != chunk.first {
                // Only what follows without a gap can be numbered.
                self.kept -= shelf.entries.len();
                shelf.entries.clear();
                shelf.first = chunk.first;
            }
            shelf.stored.insert(chunk.first / CHUNK);
            self.kept += chunk.entries.len();
            shelf.entries.extend(chunk.entries);
        }
        let fronts = self.apps.iter().filter_map(|(id, shelf)| {
            let front = shelf.entries.front()?;
            Some((front.ended_at, id.clone()))
        });
        self.oldest = fronts.collect();
    }

    /// Adds an entry, the newest of its app.
    pub(crate) fn add(&mut self, app: &PathId, mut entry: Ended, now: Time) -> Written {
        let mut written = Written::default();
        if self.bounds.of_app == 0 || self.bounds.total == 0 {
            self.dropped += 1;
            return written;
        }
        let shelf = self.apps.entry(app.clone()).or_default();
        let number = shelf.first + shelf.entries.len() as u64;
        match shelf.entries.back() {
            Some(last) if last.framework == entry.framework => {
                entry.framework.clone_from(&last.framework);
            }
            Some(_) => {}
            None => {
                self.oldest.insert((entry.ended_at, app.clone()));
            }
        }
        shelf.entries.push_back(entry);
        shelf.stored.insert(number / CHUNK);
        self.kept += 1;
        if self.length(app) > self.bounds.of_app {
            self.drop_first(app, &mut written.gone);
        }
        self.trim_into(now, &mut written.gone);
        let chunk = number / CHUNK;
        let stays = |shelf: &Shelf| shelf.stored.contains(&chunk);
        if self.apps.get(app).is_some_and(stays) {
            written.put = Some((app.clone(), chunk));
        }
        written
    }

    /// Drops what is too old or too much.
    pub(crate) fn trim(&mut self, now: Time) -> Written {
        let mut written = Written::default();
        let of_app = self.bounds.of_app;
        let long = self.apps.iter();
        let long = long.filter(|(_, shelf)| shelf.entries.len() > of_app);
        for id in long.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            while self.length(&id) > of_app {
                self.drop_first(&id, &mut written.gone);
            }
        }
        self.trim_into(now, &mut written.gone);
        written
    }

    fn trim_into(&mut self, now: Time, gone: &mut Vec<(PathId, u64)>) {
        while let Some((at, app)) = self.oldest.first() {
            let old = Time::from_millis(at.millis()) + self.bounds.age <= now;
            if !old && self.kept <= self.bounds.total {
                return;
            }
            let app = app.clone();
            self.drop_first(&app, gone);
        }
    }

    /// When the oldest entry is to go.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let (at, _) = self.oldest.first()?;
        Some(Time::from_millis(at.millis()) + self.bounds.age)
    }

    fn length(&self, app: &PathId) -> usize {
        self.apps.get(app).map_or(0, |shelf| shelf.entries.len())
    }

    fn drop_first(&mut self, app: &PathId, gone: &mut Vec<(PathId, u64)>) {
        let Some(shelf) = self.apps.get_mut(app) else {
            return;
        };
        let Some(entry) = shelf.entries.pop_front() else {
            return;
        };
        self.oldest.remove(&(entry.ended_at, app.clone()));
        shelf.first += 1;
        self.kept -= 1;
        self.dropped += 1;
        let first = shelf.entries.front();
        let first_stored = first.map(|_| shelf.first / CHUNK);
        while let Some(chunk) = shelf.stored.first().copied() {
            if first_stored.is_some_and(|first| chunk >= first) {
                break;
            }
            shelf.stored.remove(&chunk);
            gone.push((app.clone(), chunk));
        }
        match first {
            Some(entry) => {
                self.oldest.insert((entry.ended_at, app.clone()));
            }
            None => {
                self.apps.remove(app);
            }
        }
    }

    /// A chunk as it is now.
    pub(crate) fn chunk(&self, app: &PathId, chunk: u64) -> Option<Chunk<'_>> {
        let (app, shelf) = self.apps.get_key_value(app)?;
        let first = shelf.first.max(chunk * CHUNK);
        let at = |number: u64| usize::try_from(number.saturating_sub(shelf.first)).ok();
        let (from, to) = (at(first)?, at((chunk + 1) * CHUNK)?);
        let to = to.min(shelf.entries.len());
        let entries = shelf.entries.range(from.min(to)..to);
        Some(Chunk {
            app,
            first,
            entries: entries.collect(),
        })
    }

    /// What is kept of an app, oldest first, and how many were kept before that.
    pub(crate) fn of(
        &self,
        app: &PathId,
    ) -> Option<(impl DoubleEndedIterator<Item = &Ended>, u64)> {
        let shelf = self.apps.get(app)?;
        Some((shelf.entries.iter(), shelf.first))
    }

    /// How many are kept, and how many were dropped.
    pub(crate) const fn counts(&self) -> (usize, u64) {
        (self.kept, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::{Cause, How};

    fn entry(at: u64) -> Ended {
        let millis = i64::try_from(at).expect("small");
        let at = Timestamp::from_millis(millis);
        Ended {
            task: format!("t{millis}").into(),
            instance: "i".into(),
            ordinal: None,
            version: at,
            host: "h".into(),
            agent: "a".into(),
            staged_at: at,
            started_at: None,
            ended_at: at,
            cause: Cause::Crashed,
            how: How {
                state: "TASK_FAILED".into(),
                reason: None,
                source: None,
                message: "".into(),
            },
            framework: None,
            container: None,
            own_executor: false,
            containers: Vec::new(),
        }
    }

    fn id(text: &str) -> PathId {
        PathId::resolve(text)
    }

    /// A book with a store beside it.
    struct Kept {
        book: Book,
        store: BTreeMap<(PathId, u64), ChunkRecord>,
        puts: usize,
        written: usize,
    }

    impl Kept {
        fn new(of_app: usize, total: usize, age_ms: u64) -> Self {
            let age = Duration::from_millis(age_ms);
            Self {
                book: Book::new(Bounds { of_app, total, age }),
                store: BTreeMap::new(),
                puts: 0,
                written: 0,
            }
        }

        fn carry_out(&mut self, written: Written) {
            for key in written.gone {
                assert!(self.store.remove(&key).is_some(), "{key:?} was not stored");
            }
            if let Some(key) = written.put {
                let chunk = self.book.chunk(&key.0, key.1).expect("there");
                let chunk = serde_json::to_value(chunk).expect("JSON");
                let chunk: ChunkRecord = serde_json::from_value(chunk).expect("reads back");
                assert!(!chunk.entries.is_empty(), "nothing is stored in vain");
                self.puts += 1;
                self.written += chunk.entries.len();
                self.store.insert(key, chunk);
            }
        }

        fn add(&mut self, app: &str, at: u64) {
            let now = Time::from_millis(i64::try_from(at).expect("small"));
            let written = self.book.add(&id(app), entry(at), now);
            self.carry_out(written);
        }

        /// What is kept, as it is and as a successor finds it.
        fn check(&mut self, app: &str, now: u64, want: &[u64], before: u64) {
            let now = Time::from_millis(i64::try_from(now).expect("small"));
            let chunks = self.store.values().map(|chunk| ChunkRecord {
                app: chunk.app.clone(),
                first: chunk.first,
                entries: chunk.entries.clone(),
            });
            let mut successor = Book::new(self.book.bounds);
            successor.restore(chunks.collect());
            successor.trim(now);
            assert_eq!(successor.kept, self.book.kept);
            assert_eq!(successor.oldest, self.book.oldest);
            for book in [&self.book, &successor] {
                let found = book.of(&id(app)).map(|(entries, before)| {
                    let entries = entries.map(|one| one.task.to_string());
                    (entries.collect::<Vec<_>>(), before)
                });
                let want: Vec<String> = want.iter().map(|at| format!("t{at}")).collect();
                let want = (!want.is_empty()).then_some((want, before));
                assert_eq!(found, want);
            }
        }
    }

    #[test]
    fn the_last_of_each_app_are_kept_in_few_chunks() {
        let mut kept = Kept::new(20, 1000, u64::MAX >> 20);
        for at in 0..10_000 {
            kept.add("/a", at);
            assert!(kept.store.len() <= 4, "{} chunks", kept.store.len());
        }
        kept.check("/a", 10_000, &(9_980..10_000).collect::<Vec<_>>(), 9_980);
        assert_eq!(kept.book.counts(), (20, 9_980));
        assert_eq!(kept.puts, 10_000, "one record for an end");
        assert!(
            kept.written <= 10_000 * 9 / 2,
            "of half a chunk on average: {}",
            kept.written
        );
    }

    #[test]
    fn of_all_apps_the_oldest_go_first() {
        let mut kept = Kept::new(20, 4, u64::MAX >> 20);
        for (app, at) in [("/a", 0), ("/b", 1), ("/a", 2), ("/c", 3), ("/b", 4)] {
            kept.add(app, at);
        }
        kept.check("/a", 4, &[2], 1);
        kept.check("/b", 4, &[1, 4], 0);
        kept.add("/c", 5);
        kept.add("/c", 6);
        kept.check("/a", 6, &[], 0);
        kept.check("/b", 6, &[4], 1);
        kept.check("/c", 6, &[3, 5, 6], 0);
        assert_eq!(kept.store.len(), 2, "what is empty is not stored");
    }

    #[test]
    fn what_is_too_old_goes_by_itself_and_numbers_begin_anew() {
        let mut kept = Kept::new(20, 100, 50);
        for at in 0..40 {
            kept.add("/a", at);
        }
        kept.check("/a", 40, &(20..40).collect::<Vec<_>>(), 20);
        assert_eq!(kept.book.deadline(), Some(Time::from_millis(70)));
        let written = kept.book.trim(Time::from_millis(85));
        kept.carry_out(written);
        kept.check("/a", 85, &[36, 37, 38, 39], 36);
        let written = kept.book.trim(Time::from_millis(89));
        kept.carry_out(written);
        assert!(kept.store.is_empty());
        assert_eq!(kept.book.deadline(), None);
        kept.add("/a", 100);
        kept.check("/a", 100, &[100], 0);
    }

    #[test]
    fn narrower_bounds_hold_from_the_next_start() {
        let mut kept = Kept::new(40, 100, u64::MAX >> 20);
        for at in 0..40 {
            kept.add("/a", at);
        }
        let chunks = std::mem::take(&mut kept.store).into_values().collect();
        let mut book = Book::new(Bounds {
            of_app: 3,
            ..kept.book.bounds
        });
        book.restore(chunks);
        let written = book.trim(Time::from_millis(40));
        let gone: Vec<_> = (0..4).map(|chunk| (id("/a"), chunk)).collect();
        assert_eq!(written.gone, gone);
        assert_eq!(book.counts().0, 3);
        assert_eq!(book.chunk(&id("/a"), 4).expect("there").entries.len(), 3);
    }

    #[test]
    fn none_are_kept_if_none_shall_be() {
        let mut kept = Kept::new(0, 100, 50);
        kept.add("/a", 1);
        kept.check("/a", 1, &[], 0);
        assert!(kept.store.is_empty());
    }
}
