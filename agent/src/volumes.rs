//! Persistent volumes: directories that outlive tasks, and the agent.
//!
//! ```text
//! <work_dir>/volumes/roles/<role>/<id>     on the agent's own disk; a role's slashes are blanks, so that it is one directory
//! <root>/volumes/roles/<role>/<id>         on a PATH disk
//! <root>                                   a MOUNT disk is the volume
//! ```
//!
//! A volume that is destroyed is moved aside at once, under the name of the operation, and deleted later, when what became of the
//! operation is durable: as long as what was moved stands there, doing the same again touches nothing, so whatever a new volume in the
//! old place holds is safe whenever the agent dies. What a crash left aside is deleted at the next start.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use tepui_agent_core::Volumes;
use tepui_proto::mesos::v1::Resource;
use tepui_proto::mesos::v1::resource::disk_info::source;
use tepui_proto::mesos::v1::volume::Mode;

use crate::containerizer::BindMount;
use crate::containerizer::beneath::{open_without_links, step, through};

/// Below `volumes/`: what was destroyed and is not deleted yet.
const ASIDE: &str = ".destroyed";
/// The same on MOUNT disks, which have nothing beside the volume.
const ASIDE_ON_MOUNT: &str = ".tepui-destroyed-";
/// In what was moved aside of a MOUNT disk: all of it was.
const WHOLE: &str = ".whole";

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A directory among others; `base` holds `volumes/`.
    Directory { base: PathBuf, path: PathBuf },
    /// A file system of its own.
    Mount(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Directory { path, .. } | Self::Mount(path) => path,
        }
    }
}

/// The volumes of one agent.
#[derive(Debug, Clone)]
pub(crate) struct VolumesRoom {
    work_dir: PathBuf,
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0', '\n'])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn role_of(resource: &Resource) -> &str {
    resource.reservations.last().map_or_else(
        || resource.role.as_deref().unwrap_or("*"),
        |reservation| reservation.role(),
    )
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl VolumesRoom {
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            work_dir: work_dir.to_owned(),
        }
    }

    /// The directory of a disk's source; a relative one is below the work directory.
    fn root(&self, root: Option<&str>) -> Result<PathBuf, String> {
        let root = root.filter(|root| !root.is_empty());
        let root = Path::new(root.ok_or("the disk does not say where it is")?);
        if root
            .components()
            .any(|component| component == Component::ParentDir)
        {
            return Err(format!(
                "the disk's root '{}' has '..' in it",
                root.display()
            ));
        }
        Ok(self.work_dir.join(root))
    }

    fn place(&self, volume: &Resource) -> Result<Place, String> {
        let disk = volume.disk.as_ref();
        let persistence = disk.and_then(|disk| disk.persistence.as_ref());
        let id = &persistence.ok_or("not a persistent volume")?.id;
        if !is_name(id) {
            return Err(format!("'{}' cannot name a volume", id.escape_default()));
        }
        let role = role_of(volume).replace('/', " ");
        if !is_name(&role) {
            return Err(format!("'{}' cannot name a role", role.escape_default()));
        }
        let source = disk.and_then(|disk| disk.source.as_ref());
        let base = match source.map(|source| (source.r#type(), source)) {
            None => self.work_dir.clone(),
            Some((source::Type::Path, source)) => {
                self.root(source.path.as_ref().and_then(|path| path.root.as_deref()))?
            }
            Some((source::Type::Mount, source)) => {
                let root = source
                    .mount
                    .as_ref()
                    .and_then(|mount| mount.root.as_deref());
                return self.root(root).map(Place::Mount);
            }
            Some((kind, _)) => {
                return Err(format!(
                    "volumes on {} disks are not built yet",
                    kind.as_str_name()
                ));
            }
        };
        let path = base.join("volumes/roles").join(role).join(id);
        Ok(Place::Directory { base, path })
    }

    /// Does what an operation wants; doing it again is harmless (see the module's comment).
    pub(crate) fn carry_out(&self, wanted: &Volumes) -> Result<(), String> {
        let operation = hex(&wanted.operation);
        for (index, volume) in wanted.remove.iter().enumerate() {
            let place = self.place(volume)?;
            self.remove(&place, &format!("{operation}-{index}"))
                .map_err(|error| failed("remove", &place, &error))?;
        }
        for volume in &wanted.make {
            let place = self.place(volume)?;
            make(&place).map_err(|error| failed("make", &place, &error))?;
        }
        Ok(())
    }

    fn remove(&self, place: &Place, name: &str) -> io::Result<()> {
        match place {
            Place::Directory { base, path } => {
                let volumes = base.join("volumes");
                let all = volumes.join(ASIDE);
                let aside = all.join(name);
                if fs::symlink_metadata(&aside).is_ok() {
                    return Ok(());
                }
                fs::create_dir_all(&all)?;
                match fs::rename(path, &aside) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        fs::create_dir(&aside)?;
                    }
                    other => other?,
                }
                if let Some(parent) = path.parent().filter(|parent| parent.exists()) {
                    sync(parent)?;
                }
                sync(&all)?;
                sync(&volumes)
            }
            Place::Mount(root) => {
                let aside = root.join(format!("{ASIDE_ON_MOUNT}{name}"));
                if fs::symlink_metadata(aside.join(WHOLE)).is_ok() {
                    return Ok(());
                }
                fs::create_dir_all(&aside)?;
                for entry in fs::read_dir(root)? {
                    let entry = entry?.file_name();
                    if !entry
                        .as_encoded_bytes()
                        .starts_with(ASIDE_ON_MOUNT.as_bytes())
                    {
                        fs::rename(root.join(&entry), aside.join(&entry))?;
                    }
                }
                sync(root)?;
                File::create(aside.join(WHOLE))?.sync_all()?;
                sync(&aside)
            }
        }
    }

    /// Everything that was moved aside: of one operation, or of all but some.
    fn aside(&self, disks: &[Resource], wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut look = |directory: PathBuf, prefix: &str| {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let operation = name
                    .to_str()
                    .and_then(|name| name.strip_prefix(prefix))
                    .and_then(|name| name.split_once('-'));
                if operation.is_some_and(|(operation, _)| wanted(operation)) {
                    found.push(entry.path());
                }
            }
        };
        look(self.work_dir.join("volumes").join(ASIDE), "");
        let sources = disks
            .iter()
            .filter_map(|disk| disk.disk.as_ref()?.source.as_ref());
        for source in sources {
            let path = source.path.as_ref().and_then(|path| path.root.as_deref());
            let mount = source
                .mount
                .as_ref()
                .and_then(|mount| mount.root.as_deref());
            if let Ok(root) = self.root(path) {
                look(root.join("volumes").join(ASIDE), "");
            }
            if let Ok(root) = self.root(mount) {
                look(root, ASIDE_ON_MOUNT);
            }
        }
        found
    }

    /// What an operation moved aside is deleted for good. May take long. `disks` are the agent's resources.
    pub(crate) fn delete(&self, disks: &[Resource], operation: &[u8]) {
        let operation = hex(operation);
        delete(&self.aside(disks, |one| one == operation));
    }

    /// Deletes what operations of earlier lives moved aside, but for those that are still under way.
    pub(crate) fn sweep(&self, disks: &[Resource], under_way: &[bytes::Bytes]) {
        let under_way: Vec<String> = under_way.iter().map(|uuid| hex(uuid)).collect();
        delete(&self.aside(disks, |one| !under_way.iter().any(|other| other == one)));
    }

    /// Where persistent volumes of these resources are: by their place in the sandbox, or in the container if that is absolute. Also whether
    /// they are only to be read.
    pub(crate) fn places(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(PathBuf, PathBuf, bool)>, String> {
        let volumes = resources.iter().filter_map(|resource| {
            let disk = resource
                .disk
                .as_ref()
                .filter(|disk| disk.persistence.is_some())?;
            Some((resource, disk.volume.as_ref()?))
        });
        volumes
            .map(|(resource, volume)| {
                let place = self.place(resource)?;
                let read_only = volume.mode() == Mode::Ro;
                Ok((
                    PathBuf::from(&volume.container_path),
                    place.path().to_owned(),
                    read_only,
                ))
            })
            .collect()
    }

    /// Gives a volume at an absolute place, which is mounted elsewhere, to whom the sandbox belongs.
    pub(crate) fn give_to(&self, resource: &Resource, sandbox: &Path) -> Result<(), String> {
        let place = self.place(resource)?;
        let found =
            fs::symlink_metadata(place.path()).map_err(|error| failed("find", &place, &error))?;
        give(&place, &found, sandbox, resource.shared.is_some())
            .map_err(|error| failed("give the task", &place, &error))
    }

    /// What of these resources are volumes, and where a container sees them. The places in the sandbox are there then; volumes belong
    /// to whom the sandbox belongs. `links`: by symbolic links, where nothing can be mounted.
    pub(crate) fn mount(
        &self,
        resources: &[Resource],
        sandbox: &Path,
        links: bool,
    ) -> Result<Vec<BindMount>, String> {
        let mut mounted: Vec<BindMount> = Vec::new();
        for resource in resources {
            let Some(disk) = resource
                .disk
                .as_ref()
                .filter(|disk| disk.persistence.is_some())
            else {
                continue;
            };
            let Some(volume) = &disk.volume else {
                return Err("a persistent volume names no place in the container".to_owned());
            };
            let relative = inside(&volume.container_path)?;
            let place = self.place(resource)?;
            let found = fs::symlink_metadata(place.path());
            let found = found.map_err(|error| failed("find", &place, &error))?;
            if !found.is_dir() {
                return Err(format!("{} is no directory", place.path().display()));
            }
            give(&place, &found, sandbox, resource.shared.is_some())
                .map_err(|error| failed("give the task", &place, &error))?;
            let one = BindMount {
                source: place.path().to_owned(),
                target: sandbox.join(relative),
                read_only: volume.mode() == Mode::Ro,
            };
            if mounted.contains(&one) {
                continue;
            }
            if mounted.iter().any(|other| {
                other.target.starts_with(&one.target) || one.target.starts_with(&other.target)
            }) {
                return Err(format!(
                    "two volumes are to be seen at '{}'",
                    volume.container_path
                ));
            }
            if links && one.read_only {
                return Err(format!(
                    "'{}' is to be read only, which needs a mount namespace",
                    volume.container_path
                ));
            }
            prepare(sandbox, relative, links.then_some(place.path())).map_err(|error| {
                format!(
                    "cannot prepare '{}' in the sandbox: {error}",
                    volume.container_path
                )
            })?;
            mounted.push(one);
        }
        Ok(mounted)
    }
}

fn failed(what: &str, place: &Place, error: &io::Error) -> String {
    format!(
        "cannot {what} the volume {}: {error}",
        place.path().display()
    )
}

fn make(place: &Place) -> io::Result<()> {
    match place {
        Place::Directory { path, .. } => {
            let parent = path.parent().unwrap_or(path);
            fs::create_dir_all(parent)?;
            match fs::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(path)?.is_dir() {
                        return Err(error);
                    }
                }
                other => other?,
            }
            for directory in parent.ancestors().take(3) {
                sync(directory)?;
            }
            Ok(())
        }
        // The operator has made it.
        Place::Mount(root) => fs::read_dir(root).map(drop),
    }
}

fn delete(aside: &[PathBuf]) {
    for path in aside {
        let gone = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(_) => continue,
        };
        if let Err(error) = gone {
            tracing::warn!(
                "cannot delete all of the destroyed volume {}, which is tried again at the next start: {error}",
                path.display()
            );
        }
    }
}

/// The volume belongs to whom the sandbox belongs; a shared one to whoever was first.
fn give(place: &Place, found: &fs::Metadata, sandbox: &Path, shared: bool) -> io::Result<()> {
    let wanted = fs::symlink_metadata(sandbox)?;
    let own = nix::unistd::geteuid();
    let is_new = found.uid() == own.as_raw();
    if (wanted.uid(), wanted.gid()) == (found.uid(), found.gid())
        || !own.is_root()
        || (shared && !is_new)
    {
        return Ok(());
    }
    std::os::unix::fs::chown(place.path(), Some(wanted.uid()), Some(wanted.gid()))
}

/// A path that stays in the sandbox.
fn inside(path: &str) -> Result<&Path, String> {
    let read = Path::new(path);
    if read.is_absolute() {
        return Err(format!(
            "a volume at the absolute path '{path}' needs an image of the container's own"
        ));
    }
    let plain = read
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !plain || path.contains('\0') || read.file_name().is_none() {
        return Err(format!(
            "a volume cannot be at '{}', which is no path below the sandbox",
            path.escape_default()
        ));
    }
    Ok(read)
}

/// Makes the place in the sandbox: a directory to mount on, or a link. Never through a link that stands in the way.
fn prepare(sandbox: &Path, relative: &Path, link_to: Option<&Path>) -> io::Result<()> {
    let mut reached = open_without_links(sandbox)?;
    let owner = fs::metadata(through(&reached))?;
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        if component == Component::CurDir {
            continue;
        }
        let name = Path::new(component.as_os_str());
        if let (Some(source), None) = (link_to, components.peek()) {
            let path = through(&reached).join(name);
            return match fs::read_link(&path) {
                Ok(there) if there == source => Ok(()),
                _ => std::os::unix::fs::symlink(source, &path),
            };
        }
        let (directory, made) = step(&reached, name)?;
        if made && nix::unistd::geteuid().is_root() {
            let (uid, gid) = (Some(owner.uid()), Some(owner.gid()));
            std::os::unix::fs::chown(through(&directory), uid, gid)?;
        }
        reached = directory;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tepui_agent_core::Volumes as Wanted;

    fn volume(role: &str, id: &str, at: &str, source: &str) -> Resource {
        let text = serde_json::json!({
            "name": "disk", "type": "SCALAR", "scalar": {"value": 5},
            "reservations": [{"type": "DYNAMIC", "role": role}],
            "disk": {"persistence": {"id": id}, "volume": {"container_path": at, "mode": "RW"}},
        });
        let mut text = text;
        if !source.is_empty() {
            text["disk"]["source"] = serde_json::from_str(source).unwrap();
        }
        tepui_proto::json::from_slice(text.to_string().as_bytes()).unwrap()
    }

    fn wanted(operation: &'static [u8], make: &[Resource], remove: &[Resource]) -> Wanted {
        Wanted {
            operation: bytes::Bytes::from_static(operation),
            make: make.to_vec(),
            remove: remove.to_vec(),
        }
    }

    #[test]
    fn volumes_come_and_go_with_what_they_hold() {
        for kind in ["", "PATH", "MOUNT"] {
            let dir = tempfile::tempdir().unwrap();
            let work = dir.path().join("work");
            let root = dir.path().join("disk");
            fs::create_dir_all(&root).unwrap();
            let room = VolumesRoom::new(&work);
            let lower = kind.to_lowercase();
            let source = if kind.is_empty() {
                String::new()
            } else {
                format!(
                    r#"{{"type":"{kind}","{lower}":{{"root":"{}"}}}}"#,
                    root.display()
                )
            };
            let one = volume("eng/dev", "v", "data", &source);
            let path = match kind {
                "" => work.join("volumes/roles/eng dev/v"),
                "PATH" => root.join("volumes/roles/eng dev/v"),
                _ => root.clone(),
            };
            room.carry_out(&wanted(b"1", std::slice::from_ref(&one), &[]))
                .unwrap();
            fs::write(path.join("file"), "old").unwrap();
            fs::create_dir(path.join("folder")).unwrap();
            let again = wanted(b"1", std::slice::from_ref(&one), &[]);
            room.carry_out(&again).unwrap();
            assert!(path.join("file").exists(), "{kind}: making again keeps");

            let gone = wanted(b"2", &[], std::slice::from_ref(&one));
            room.carry_out(&gone).unwrap();
            assert!(!path.join("file").exists() && !path.join("folder").exists());
            // A new one in its place, and then the old order once more: the agent had died in between.
            room.carry_out(&wanted(b"3", std::slice::from_ref(&one), &[]))
                .unwrap();
            fs::write(path.join("file"), "new").unwrap();
            room.carry_out(&gone).unwrap();
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "new");

            let disks = std::slice::from_ref(&one);
            let left = |room: &VolumesRoom| room.aside(disks, |_| true).len();
            assert_eq!(left(&room), 1, "{kind}");
            room.sweep(disks, &[bytes::Bytes::from_static(b"2")]);
            assert_eq!(left(&room), 1, "{kind}: the operation is under way");
            room.delete(disks, b"1");
            assert_eq!(left(&room), 1, "{kind}: another operation's");
            room.delete(disks, b"2");
            assert_eq!(left(&room), 0, "{kind}");
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "new");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let room = VolumesRoom::new(&dir.path().join("work"));
        for (role, id) in [
            ("eng", ".."),
            ("eng", "."),
            ("eng", "a/b"),
            ("eng", ""),
            ("eng", "a\0b"),
            ("..", "v"),
            ("", "v"),
        ] {
            let one = volume(role, id, "data", "");
            let made = room.carry_out(&wanted(b"1", std::slice::from_ref(&one), &[]));
            assert!(made.is_err(), "{role:?} {id:?}");
            let removed = room.carry_out(&wanted(b"1", &[], std::slice::from_ref(&one)));
            assert!(removed.is_err(), "{role:?} {id:?}");
        }
        assert!(!dir.path().join("work").exists());
        let outside = volume(
            "eng",
            "v",
            "data",
            r#"{"type":"PATH","path":{"root":"../x"}}"#,
        );
        assert!(room.carry_out(&wanted(b"1", &[outside], &[])).is_err());
    }

    #[test]
    fn what_a_sandbox_shows() {
        let dir = tempfile::tempdir().unwrap();
        let room = VolumesRoom::new(dir.path());
        let sandbox = dir.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        let at = |path: &str| volume("eng", "v", path, "");
        let lost = room.mount(&[at("data")], &sandbox, true).unwrap_err();
        assert!(lost.contains("cannot find the volume"), "{lost}");
        room.carry_out(&wanted(b"1", &[at("data")], &[])).unwrap();
        for (path, why) in [
            ("/data", "absolute path"),
            ("../data", "no path below the sandbox"),
            ("a/../../data", "no path below the sandbox"),
            ("", "no path below the sandbox"),
            (".", "no path below the sandbox"),
        ] {
            let refused = room.mount(&[at(path)], &sandbox, true).unwrap_err();
            assert!(refused.contains(why), "{path}: {refused}");
        }
        let mounted = room.mount(&[at("a/data")], &sandbox, true).unwrap();
        assert_eq!(mounted[0].target, sandbox.join("a/data"));
        fs::write(sandbox.join("a/data/file"), "x").unwrap();
        assert!(dir.path().join("volumes/roles/eng/v/file").exists());
        // A second task of the same executor may bring the same volume.
        room.mount(&[at("a/data"), at("a/data")], &sandbox, true)
            .unwrap();
        std::os::unix::fs::symlink("/tmp", sandbox.join("trap")).unwrap();
        assert!(room.mount(&[at("trap/data")], &sandbox, true).is_err());
        assert!(room.mount(&[at("trap")], &sandbox, true).is_err());
        assert!(room.mount(&[at("trap")], &sandbox, false).is_err());
        let both = [at("b"), volume("eng", "v", "b/c", "")];
        assert!(room.mount(&both, &sandbox, false).is_err());
    }
}
