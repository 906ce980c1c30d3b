//! Who holds which volumes of one kind, and where those are: in memory, and in `<directory>/<container>/volumes`, as Mesos names it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::hash::Hash;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const FILE: &str = "volumes";

/// What tells a volume from others of its kind. Its words name it in messages.
pub(crate) trait Key:
    Clone + Eq + Hash + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// What one container holds, as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Record<K> {
    volumes: Vec<Held<K>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held<K> {
    #[serde(flatten)]
    key: K,
    /// Once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_point: Option<PathBuf>,
}

/// Who holds what. Bounded by the containers.
#[derive(Debug)]
pub(super) struct Ledger<K> {
    /// What is held, in words.
    kind: &'static str,
    directory: PathBuf,
    holders: HashMap<String, Vec<K>>,
    places: HashMap<K, PathBuf>,
    /// Containers that have ended, and hold only what is still to be unmounted.
    gone: HashSet<String>,
}

impl<K: Key> Ledger<K> {
    /// Reads what was written down. Those who are not `alive` are gone, and places are another boot's unless it is the `same_boot`.
    pub(super) fn read(
        kind: &'static str,
        directory: PathBuf,
        alive: &HashSet<String>,
        same_boot: bool,
    ) -> Self {
        let mut ledger = Self {
            kind,
            directory,
            holders: HashMap::new(),
            places: HashMap::new(),
            gone: HashSet::new(),
        };
        let entries = fs::read_dir(&ledger.directory).into_iter().flatten();
        for entry in entries.flatten() {
            let Ok(container) = entry.file_name().into_string() else {
                continue;
            };
            let path = entry.path().join(FILE);
            let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
            let record: Record<K> = match read {
                Ok(record) => record,
                // It had not come to be written down, so nothing was mounted.
                Err(error) if error.kind() == ErrorKind::NotFound => Record {
                    volumes: Vec::new(),
                },
                Err(error) => {
                    tracing::warn!(
                        "which {kind} container {container} holds cannot be read; they stay mounted, unless others of it do: {}: {error}",
                        path.display()
                    );
                    continue;
                }
            };
            let mut keys = Vec::new();
            for held in record.volumes {
                if let (Some(place), true) = (held.mount_point, same_boot) {
                    ledger.places.insert(held.key.clone(), place);
                }
                keys.push(held.key);
            }
            if !alive.contains(&container) {
                ledger.gone.insert(container.clone());
            }
            ledger.holders.insert(container, keys);
        }
        ledger
    }

    pub(super) fn has(&self, container: &str) -> bool {
        self.holders.contains_key(container)
    }

    pub(super) fn held(&self, container: &str) -> Vec<K> {
        self.holders.get(container).cloned().unwrap_or_default()
    }

    pub(super) fn gone(&self) -> Vec<String> {
        self.gone.iter().cloned().collect()
    }

    pub(super) fn mounted(&self) -> usize {
        self.places.len()
    }

    /// Where a volume is mounted, if it is.
    pub(super) fn place(&self, key: &K) -> Option<PathBuf> {
        self.places.get(key).cloned()
    }

    /// A container that is to be launched holds these. Written down before this returns.
    pub(super) fn hold(&mut self, container: &str, keys: Vec<K>) -> Result<(), String> {
        // A former container of that name may have left some.
        self.gone.remove(container);
        let held = self.holders.entry(container.to_owned()).or_default();
        for key in keys {
            if !held.contains(&key) {
                held.push(key);
            }
        }
        self.write(container)
    }

    pub(super) fn mounted_at(&mut self, key: &K, place: PathBuf) {
        self.places.insert(key.clone(), place);
    }

    /// The container holds it no more; others may.
    pub(super) fn let_go(&mut self, container: &str, key: &K) {
        if let Some(keys) = self.holders.get_mut(container) {
            keys.retain(|held| held != key);
        }
    }

    /// The container has ended. Whether its volumes are to be seen to: not if it holds none, or somebody sees to them already.
    pub(super) fn begin_release(&mut self, container: &str) -> bool {
        self.has(container) && self.gone.insert(container.to_owned())
    }

    /// Whether nobody else has the volume who has not ended.
    pub(super) fn is_alone(&self, container: &str, key: &K) -> bool {
        let others = self.holders.iter().filter(|(other, _)| {
            other.as_str() != container && !self.gone.contains(other.as_str())
        });
        !others.flat_map(|(_, keys)| keys).any(|held| held == key)
    }

    /// Whether the container, which has ended, is to unmount this volume: it holds it, and nobody does who has not ended.
    pub(super) fn is_last(&self, container: &str, key: &K) -> bool {
        let held = self.holders.get(container);
        let holds = held.is_some_and(|keys| keys.contains(key));
        // A successor of the same name has not ended.
        holds && self.gone.contains(container) && self.is_alone(container, key)
    }

    /// The container, which has ended, could not unmount the volume. One who has ended is enough to try again.
    pub(super) fn leave_to_another(&mut self, container: &str, key: &K) {
        let mut others = self.gone.iter().filter(|other| other.as_str() != container);
        let holds = |other: &String| self.holders.get(other).is_some_and(|it| it.contains(key));
        if others.any(holds) {
            self.let_go(container, key);
        }
    }

    /// Nobody holds the volume any more.
    pub(super) fn unmounted(&mut self, key: &K) {
        self.places.remove(key);
        for (container, keys) in &mut self.holders {
            if self.gone.contains(container) {
                keys.retain(|held| held != key);
            }
        }
    }

    /// Writes down what the container holds, whole or not at all; nothing is kept of one that is gone and holds nothing.
    pub(super) fn write(&mut self, container: &str) -> Result<(), String> {
        let (kind, path) = (self.kind, self.directory.join(container));
        let failed = |error: io::Error| {
            format!(
                "cannot write down which {kind} container {container} holds, in {}: {error}",
                path.display()
            )
        };
        let keys = self.held(container);
        if keys.is_empty() && (self.gone.contains(container) || !self.has(container)) {
            self.holders.remove(container);
            self.gone.remove(container);
            return match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        let held = |key: K| Held {
            mount_point: self.place(&key),
            key,
        };
        let record = Record {
            volumes: keys.into_iter().map(held).collect(),
        };
        let write = || {
            fs::create_dir_all(&path)?;
            replace(&path.join(FILE), &serde_json::to_vec(&record)?)
        };
        write().map_err(failed)
    }
}

/// Writes a file whole or not at all, so that it is there after a power loss too.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&unfinished, path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}
