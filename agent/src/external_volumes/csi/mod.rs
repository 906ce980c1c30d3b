//! Volumes of plugins of the Container Storage Interface, as Mesos' isolator `volume/csi` has them: the plugin, which somebody else runs, brings
//! a volume to this machine, and the container sees the place.
//!
//! | file | what for |
//! | --- | --- |
//! | `mod.rs` | the steps of a volume: the storage lets this machine reach it, it is staged, it is published; and back |
//! | [`wanted`] | what a container wants of a volume |
//! | [`record`] | how far a volume has come, written down before each step |
//! | [`plugin`] | a plugin's sockets: what it does, and the calls |
//! | [`config`], [`flags`] | which plugins there are |
//!
//! Left out: plugins that the agent would run itself (`containers`), making and deleting volumes, secrets, and version 0 of the interface.
//! Unlike Mesos' isolator, which takes volumes to be attached already, it asks the storage (ControllerPublishVolume) where the plugin can.

mod config;
mod flags;
mod plugin;
mod record;
mod wanted;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::room::{Failure, Provider, Room};
use super::storage;
use crate::containerizer::Source;
use crate::provision::plan::What;
pub use config::CsiConfig;
use config::Plugin;
pub use flags::CsiFlags;
pub(crate) use plugin::Calls;
use plugin::{Counts, Fault, Link};
use record::{Reached, Record, Step};
pub(crate) use wanted::{Key, Wanted};

/// The plugins as who brings their volumes.
#[derive(Debug)]
pub(crate) struct Plugins {
    config: CsiConfig,
    /// For records, and for volumes of plugins that want no place of their own: `<work_dir>/csi`.
    root: PathBuf,
    /// Of the machine.
    boot: String,
    counts: Counts,
    #[cfg(test)]
    patience: Option<std::time::Duration>,
}

/// The volumes of CSI plugins. Cheap to clone.
pub(crate) type CsiVolumes = Room<Plugins>;

/// Reads what an earlier life has left: see [`Room::start`]. Blocks.
pub(super) fn start(
    config: &CsiConfig,
    work_dir: &Path,
    alive: &HashSet<String>,
    same_boot: bool,
) -> CsiVolumes {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let plugins = Plugins::new(config, work_dir, boot.trim());
    let directory = work_dir.join("isolators/volume/csi");
    Room::start(plugins, directory, alive, same_boot)
}

impl CsiVolumes {
    /// Calls since the agent's start, by plugin.
    pub(crate) fn calls(&self) -> BTreeMap<String, Calls> {
        self.0.provider.counts.all()
    }
}

impl Plugins {
    fn new(config: &CsiConfig, work_dir: &Path, boot: &str) -> Self {
        Self {
            config: config.clone(),
            root: work_dir.join("csi"),
            boot: boot.to_owned(),
            counts: Counts::default(),
            #[cfg(test)]
            patience: None,
        }
    }

    fn plugin(&self, key: &Key) -> Result<Plugin, String> {
        let directory = self.config.plugin_config_dir.as_ref();
        let directory = directory.ok_or("the agent has no --csi_plugin_config_dir")?;
        config::find(directory, &key.plugin)
    }

    async fn open(&self, plugin: &Plugin) -> Result<Link, Fault> {
        let link = Link::open(plugin, &self.counts).await?;
        #[cfg(test)]
        let link = match self.patience {
            Some(patience) => link.with_patience(patience),
            None => link,
        };
        Ok(link)
    }

    /// Takes all steps that are missing.
    async fn come(&self, wanted: &Wanted, alone: bool, path: &Path) -> Result<PathBuf, String> {
        let plugin = self.plugin(&wanted.key)?;
        let mut found = Record::read(path, &self.boot)?;
        if let Some(record) = &found {
            let serves = record.wanted.serves(wanted);
            if serves && record.is_here().await? {
                return Ok(record.target.clone());
            }
            if !serves && !alone {
                return Err(
                    "another container of this agent has it with another capability or context, or only to read"
                        .to_owned(),
                );
            }
            // Nobody has it, and it may be here for somebody else's purpose, or half gone.
            if !serves || record.leaving {
                self.leave(&wanted.key, path).await?;
                found = None;
            }
        }
        let mut record = match found {
            Some(record) => record,
            None => Record::new(wanted, &plugin, &self.root, &self.boot)?,
        };
        let link = self.open(&plugin).await?;
        let abilities = link.negotiate().await?;
        if let Some(node_id) = &abilities.attaches_to
            && record.reached(Step::Attach) != Reached::Yes
        {
            record.node_id.clone_from(node_id);
            let before = record.begin(Step::Attach);
            record.write(path)?;
            let answer = link.attach(&record, &abilities).await;
            if let Ok(context) = &answer {
                record.publish_context.clone_from(context);
            }
            finish(&mut record, path, Step::Attach, before, answer.map(|_| ()))?;
        }
        if abilities.stages && record.reached(Step::Stage) != Reached::Yes {
            make_directory(&record.staging)?;
            let before = record.begin(Step::Stage);
            record.write(path)?;
            let answer = link.stage(&record).await;
            finish(&mut record, path, Step::Stage, before, answer)?;
        }
        make_directory(match plugin.target_path_exists {
            true => &record.target,
            false => record.target.parent().unwrap_or(&record.target),
        })?;
        let before = record.begin(Step::Publish);
        record.write(path)?;
        let answer = link.publish(&record, abilities.stages).await;
        let answer = match answer {
            Ok(()) => is_published(&record.target).await,
            refused => refused,
        };
        finish(&mut record, path, Step::Publish, before, answer)?;
        Ok(record.target)
    }

    /// Takes all steps back that were, or may have been, taken.
    async fn leave(&self, key: &Key, path: &Path) -> Result<(), String> {
        let Some(mut record) = Record::read(path, &self.boot)? else {
            return Ok(());
        };
        record.leaving = true;
        record.write(path)?;
        let plugin = self.plugin(key)?;
        let link = self.open(&plugin).await?;
        if record.reached(Step::Publish) != Reached::No {
            link.unpublish(&record).await?;
            storage::ask(&record.target, remove).await??;
            record.undone(Step::Publish);
            record.write(path)?;
        }
        if record.reached(Step::Stage) != Reached::No {
            link.unstage(&record).await?;
            storage::ask(&record.staging, remove).await??;
            record.undone(Step::Stage);
            record.write(path)?;
        }
        if record.reached(Step::Attach) != Reached::No {
            link.detach(&record).await?;
            record.undone(Step::Attach);
            record.write(path)?;
        }
        tidy(&record);
        Ok(())
    }
}

/// Whether what the plugin says that it has published is there.
async fn is_published(target: &Path) -> Result<(), Fault> {
    match storage::ask(target, Path::exists).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::unclear(format!(
            "NodePublishVolume: the plugin says that it has published it, and there is nothing at {}",
            target.display()
        ))),
        Err(why) => Err(Fault::unclear(format!("NodePublishVolume: {why}"))),
    }
}

/// Writes down how a step has ended; its error, if it has one.
fn finish(
    record: &mut Record,
    path: &Path,
    step: Step,
    before: Reached,
    answer: Result<(), Fault>,
) -> Result<(), String> {
    let refused = answer.as_ref().is_err_and(|fault| fault.refused);
    record.end(step, before, answer.is_ok(), refused);
    let written = record.write(path);
    if !path.exists() {
        tidy(record);
    }
    answer?;
    written
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// Removes what a plugin has left where a volume was, never what is in it.
fn remove(place: &Path) -> Result<(), String> {
    let removed = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir(place),
        Ok(_) => fs::remove_file(place),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!(
            "the plugin says that it has taken the volume away, and it has left {}: {error}",
            place.display()
        )),
        _ => Ok(()),
    }
}

/// Removes the empty directories of a volume that is gone. What is in use stays.
fn tidy(record: &Record) {
    let _ = fs::remove_dir(&record.staging);
    if let Some(place) = record.target.parent() {
        let _ = fs::remove_dir(place);
    }
}

impl Provider for Plugins {
    type Key = Key;
    type Wanted = Wanted;
    const KIND: &'static str = "CSI volumes";

    fn among(what: &What) -> Option<&Wanted> {
        match what {
            What::Csi(wanted) => Some(wanted),
            _ => None,
        }
    }

    fn key(wanted: &Wanted) -> &Key {
        &wanted.key
    }

    fn check(&self, wanted: &Wanted) -> Result<(), String> {
        let key = &wanted.key;
        let possible = self.plugin(key).and(record::path(&self.root, key));
        possible
            .map(|_| ())
            .map_err(|problem| format!("{key} cannot be had on this machine: {problem}"))
    }

    async fn is_there(&self, wanted: &Wanted, place: &Path) -> Result<bool, String> {
        let path = record::path(&self.root, &wanted.key);
        let found = path.and_then(|path| Record::read(&path, &self.boot));
        match found.ok().flatten() {
            Some(record) if record.wanted.serves(wanted) && record.target == place => {
                record.is_here().await
            }
            _ => Ok(false),
        }
    }

    async fn bring(&self, wanted: &Wanted, alone: bool) -> Result<PathBuf, Failure> {
        let path = record::path(&self.root, &wanted.key).map_err(Failure::Refused)?;
        let brought = self.come(wanted, alone, &path).await;
        // For as long as there is a record there may be something to take away.
        brought.map_err(|why| match path.exists() {
            true => Failure::Unclear(why),
            false => Failure::Refused(why),
        })
    }

    async fn take_away(&self, key: &Key) -> Result<(), String> {
        let path = record::path(&self.root, key)?;
        self.leave(key, &path).await
    }

    fn shows(&self, wanted: &Wanted, place: PathBuf) -> What {
        match wanted.is_block() {
            true => What::Device(place),
            false => What::Mount(Source::Host(place)),
        }
    }

    fn is_given(&self, wanted: &Wanted, alone: bool, user: u32) -> bool {
        // A device's node is the whole machine's. Who is not root gives nothing away.
        let root = nix::unistd::geteuid().is_root();
        root && alone && !wanted.read_only && !wanted.is_block() && user != 0
    }
}

#[cfg(test)]
mod tests;
