//! Who holds which volumes, and where those are: in memory, and in `<checkpoint dir>/<container>/volumes`, as Mesos names it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

const FILE: &str = "volumes";

/// A volume; there is one of this name and driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) driver: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the volume '{}' of the docker volume driver '{}'",
            self.name, self.driver
        )
    }
}

/// What one container holds, as it is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    volumes: Vec<Held>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    #[serde(flatten)]
    key: Key,
    /// Once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_point: Option<PathBuf>,
}

/// Who holds what. Bounded by the containers.
#[derive(Debug)]
pub(super) struct Ledger {
    directory: PathBuf,
    holders: HashMap<String, Vec<Key>>,
    places: HashMap<Key, PathBuf>,
    /// Containers that have ended, and hold only what is still to be unmounted.
    gone: HashSet<String>,
}

impl Ledger {
    /// Reads what was written down. Those who are not `alive` are gone.
    pub(super) fn read(directory: PathBuf, alive: &HashSet<String>, same_boot: bool) -> Self {
        let mut ledger = Self {
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
            let record: Record = match read {
                Ok(record) => record,
                // It had not come to be written down, so nothing was mounted.
                Err(error) if error.kind() == ErrorKind::NotFound => Record::default(),
                Err(error) => {
                    tracing::warn!(
                        "which docker volumes container {container} holds cannot be read; they stay mounted, unless others of it do: {}: {error}",
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

    pub(super) fn held(&self, container: &str) -> Vec<Key> {
        self.holders.get(container).cloned().unwrap_or_default()
    }

    pub(super) fn gone(&self) -> Vec<String> {
        self.gone.iter().cloned().collect()
    }

    pub(super) fn mounted(&self) -> usize {
        self.places.len()
    }

    /// Where a volume is mounted, if it is.
    pub(super) fn place(&self, key: &Key) -> Option<PathBuf> {
        self.places.get(key).cloned()
    }

    /// A container that is to be launched holds these. Written down before this returns.
    pub(super) fn hold(&mut self, container: &str, keys: Vec<Key>) -> Result<(), String> {
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

    pub(super) fn mounted_at(&mut self, key: &Key, place: PathBuf) {
        self.places.insert(key.clone(), place);
    }

    /// The container holds it no more; others may.
    pub(super) fn let_go(&mut self, container: &str, key: &Key) {
        if let Some(keys) = self.holders.get_mut(container) {
            keys.retain(|held| held != key);
        }
    }

    /// The container has ended. Whether its volumes are to be seen to: not if it holds none, or somebody sees to them already.
    pub(super) fn begin_release(&mut self, container: &str) -> bool {
        self.has(container) && self.gone.insert(container.to_owned())
    }

    /// Whether the container, which has ended, is to unmount this volume: it holds it, and nobody does who has not ended.
    pub(super) fn is_last(&self, container: &str, key: &Key) -> bool {
        let holds = |keys: &Vec<Key>| keys.contains(key);
        let others = self
            .holders
            .iter()
            .any(|(other, keys)| !self.gone.contains(other) && holds(keys));
        !others && self.holders.get(container).is_some_and(holds)
    }

    /// Nobody holds the volume any more.
    pub(super) fn unmounted(&mut self, key: &Key) {
        self.places.remove(key);
        for (container, keys) in &mut self.holders {
            if self.gone.contains(container) {
                keys.retain(|held| held != key);
            }
        }
    }

    /// Writes down what the container holds, whole or not at all; nothing is kept of one that is gone and holds nothing.
    pub(super) fn write(&mut self, container: &str) -> Result<(), String> {
        let path = self.directory.join(container);
        let failed = |error: std::io::Error| {
            format!(
                "cannot write down which docker volumes container {container} holds, in {}: {error}",
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
        let held = |key: Key| Held {
            mount_point: self.place(&key),
            key,
        };
        let record = Record {
            volumes: keys.into_iter().map(held).collect(),
        };
        let write = || {
            fs::create_dir_all(&path)?;
            let unfinished = path.join(format!("{FILE}.new"));
            fs::write(&unfinished, serde_json::to_vec(&record)?)?;
            fs::rename(&unfinished, path.join(FILE))
        };
        write().map_err(failed)
    }
}
