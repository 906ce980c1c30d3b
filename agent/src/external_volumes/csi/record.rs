//! How far a volume has come on its way here, written down before each step: in `<work_dir>/csi/<plugin>/volumes/<id>/volume.state`.
//!
//! A step is begun, and has then perhaps been done; what has perhaps been done is undone, or done again, which plugins must bear. A record is
//! there for as long as anything has perhaps been done.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::super::ledger::replace;
use super::super::storage;
use super::config::Plugin;
use super::wanted::{Key, Wanted};

/// The longest name of a file.
const MAX_NAME_BYTES: usize = 255;
/// What stays as it is in a name.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Of a step on the way here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Reached {
    /// Not begun, or undone.
    #[default]
    No,
    /// Begun, or not known to be undone.
    Maybe,
    /// Done.
    Yes,
}

/// A step on the way here, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The storage lets this machine reach the volume.
    Attach,
    /// The volume is made ready on this machine.
    Stage,
    /// It is where containers get it from.
    Publish,
}

/// A volume that is here, or perhaps is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// As it was told to the plugin.
    pub(super) wanted: Wanted,
    /// Of the machine, when the steps were made.
    boot: String,
    /// Where containers get it from.
    pub(super) target: PathBuf,
    /// Where it is made ready.
    pub(super) staging: PathBuf,
    /// What the storage knows this machine by, if it was asked to let it reach the volume.
    pub(super) node_id: String,
    /// What the storage said about it then.
    pub(super) publish_context: BTreeMap<String, String>,
    attach: Reached,
    stage: Reached,
    publish: Reached,
    /// It is on its way back, all of which comes before it may come again.
    pub(super) leaving: bool,
}

/// A text as the name of a file.
fn file_name(text: &str) -> Result<String, String> {
    let encoded = utf8_percent_encode(text, ENCODED).to_string();
    // No file is hidden, and none is '..'.
    let name = match encoded.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => encoded,
    };
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "'{}' is too long for the name of a file, which has at most {MAX_NAME_BYTES} bytes",
            text.escape_debug()
        ));
    }
    Ok(name)
}

/// Where the record of a volume is. `root`: the room's directory.
pub(super) fn path(root: &Path, key: &Key) -> Result<PathBuf, String> {
    let (plugin, id) = (file_name(&key.plugin)?, file_name(&key.id)?);
    Ok(root
        .join(plugin)
        .join("volumes")
        .join(id)
        .join("volume.state"))
}

impl Record {
    /// Of a volume that is not here at all.
    pub(super) fn new(
        wanted: &Wanted,
        plugin: &Plugin,
        root: &Path,
        boot: &str,
    ) -> Result<Self, String> {
        let mounts = match &plugin.target_path_root {
            Some(given) => given.clone(),
            None => root.join(&plugin.kind).join(&plugin.name).join("mounts"),
        };
        let place = mounts.join(file_name(&wanted.key.id)?);
        Ok(Self {
            wanted: wanted.clone(),
            boot: boot.to_owned(),
            target: place.join("target"),
            staging: place.join("staging"),
            node_id: String::new(),
            publish_context: BTreeMap::new(),
            attach: Reached::No,
            stage: Reached::No,
            publish: Reached::No,
            leaving: false,
        })
    }

    /// Reads it, if there is one. What was on the machine before it was last started is perhaps still in the plugin's books.
    pub(super) fn read(path: &Path, boot: &str) -> Result<Option<Self>, String> {
        let read = fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        let mut record: Self = match read {
            Ok(record) => record,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(format!(
                    "what was done with it cannot be read, {}: {error}",
                    path.display()
                ));
            }
        };
        if record.boot != boot {
            boot.clone_into(&mut record.boot);
            for step in [Step::Stage, Step::Publish] {
                if record.reached(step) == Reached::Yes {
                    *record.of(step) = Reached::Maybe;
                }
            }
        }
        Ok(Some(record))
    }

    /// Writes it down; nothing is kept of a volume that is not here at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| {
            let path = path.display();
            format!("what is done with it cannot be written down in {path}: {error}")
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let steps = [Step::Attach, Step::Stage, Step::Publish];
        if steps.iter().all(|step| self.reached(*step) == Reached::No) {
            // By name: whatever else is there, volumes perhaps, is none of the record's.
            let removed = fs::remove_file(path).and_then(|()| fs::remove_dir(directory));
            return match removed {
                Err(error)
                    if !matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    Err(failed(error))
                }
                _ => Ok(()),
            };
        }
        fs::create_dir_all(directory).map_err(failed)?;
        // What plugins tell of their storage is nobody else's business.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        replace(path, &text).map_err(failed)
    }

    fn of(&mut self, step: Step) -> &mut Reached {
        match step {
            Step::Attach => &mut self.attach,
            Step::Stage => &mut self.stage,
            Step::Publish => &mut self.publish,
        }
    }

    pub(super) fn reached(&self, step: Step) -> Reached {
        match step {
            Step::Attach => self.attach,
            Step::Stage => self.stage,
            Step::Publish => self.publish,
        }
    }

    /// The step is about to be made; what is to be told to [`Record::end`].
    pub(super) fn begin(&mut self, step: Step) -> Reached {
        std::mem::replace(self.of(step), Reached::Maybe)
    }

    /// The step was made, or else `refused`: the plugin says that it has done nothing.
    pub(super) fn end(&mut self, step: Step, before: Reached, made: bool, refused: bool) {
        *self.of(step) = match before {
            _ if made => Reached::Yes,
            Reached::No if refused => Reached::No,
            _ => Reached::Maybe,
        };
    }

    /// The step is undone.
    pub(super) fn undone(&mut self, step: Step) {
        *self.of(step) = Reached::No;
    }

    /// Whether containers may get it. An error: its storage does not answer.
    pub(super) async fn is_here(&self) -> Result<bool, String> {
        let published = !self.leaving && self.publish == Reached::Yes;
        Ok(published && storage::ask(&self.target, Path::exists).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(root: Option<&str>) -> Plugin {
        Plugin {
            kind: "p".to_owned(),
            name: "default".to_owned(),
            node: "/s".into(),
            controller: None,
            target_path_root: root.map(PathBuf::from),
            target_path_exists: false,
        }
    }

    fn wanted(id: &str) -> Wanted {
        let json = format!(
            r#"{{"plugin_name":"p","static_provisioning":{{"volume_id":"{id}",
                "volume_capability":{{"mount":{{}},"access_mode":{{"mode":"SINGLE_NODE_WRITER"}}}}}}}}"#
        );
        let volume = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
        Wanted::read(&volume, false).unwrap()
    }

    #[test]
    fn ids_become_names_of_files_that_lead_nowhere_else() {
        for (id, name) in [
            ("vol-1_a.b", "vol-1_a.b"),
            ("..", "%2E."),
            ("a/../b", "a%2F..%2Fb"),
            (".hidden", "%2Ehidden"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(file_name(id).unwrap(), name);
        }
        let refused = file_name(&"/".repeat(86)).unwrap_err();
        assert!(
            refused.contains("too long for the name of a file"),
            "{refused}"
        );
        let root = Path::new("/w/csi");
        let of = |root_of: Option<&str>| {
            Record::new(&wanted("a/b"), &plugin(root_of), root, "1").unwrap()
        };
        assert_eq!(
            of(None).target,
            Path::new("/w/csi/p/default/mounts/a%2Fb/target")
        );
        assert_eq!(
            of(Some("/mnt/p")).staging,
            Path::new("/mnt/p/a%2Fb/staging")
        );
        assert_eq!(
            path(root, &wanted("a/b").key).unwrap(),
            Path::new("/w/csi/p/volumes/a%2Fb/volume.state")
        );
    }

    #[test]
    fn a_record_is_there_for_as_long_as_anything_may_have_been_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), &wanted("v").key).unwrap();
        let mut record = Record::new(&wanted("v"), &plugin(None), folder.path(), "1").unwrap();
        let write = |record: &Record| {
            record.write(&path).unwrap();
            Record::read(&path, "1").unwrap()
        };
        assert_eq!(write(&record), None);
        let before = record.begin(Step::Attach);
        assert_eq!(write(&record).as_ref(), Some(&record));
        record.end(Step::Attach, before, false, true);
        assert_eq!(write(&record), None);
        let before = record.begin(Step::Attach);
        record.end(Step::Attach, before, false, false);
        // Whoever was not sure is not made sure by a refusal.
        let before = record.begin(Step::Attach);
        record.end(Step::Attach, before, false, true);
        assert_eq!(record.reached(Step::Attach), Reached::Maybe);
        let before = record.begin(Step::Attach);
        record.end(Step::Attach, before, true, false);
        let before = record.begin(Step::Publish);
        record.end(Step::Publish, before, true, false);
        assert_eq!(write(&record).as_ref(), Some(&record));
        assert!(!path.parent().unwrap().join("volume.new").exists());

        // The machine has restarted: the storage still knows it.
        let after = Record::read(&path, "2").unwrap().unwrap();
        assert_eq!(
            [Step::Attach, Step::Stage, Step::Publish].map(|step| after.reached(step)),
            [Reached::Yes, Reached::No, Reached::Maybe]
        );
        record.undone(Step::Publish);
        record.undone(Step::Attach);
        assert_eq!(write(&record), None);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{").unwrap();
        let refused = Record::read(&path, "1").unwrap_err();
        assert!(refused.contains("cannot be read"), "{refused}");
    }
}
