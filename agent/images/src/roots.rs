//! What a container has of its own over an image's layers: `containers/<container>/<n>/{upper,work,root}`, and beside them `image`, which says
//! what it holds. As long as that file is there, the layers are in use; that is how they are known again after a restart.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The file that says what a root holds.
const IMAGE_FILE: &str = "image";

/// A container's root, ready to be mounted. All names but `layers` and `mount` are relative to `layers`: overlayfs takes all of them in one
/// page, and so they are short and free of characters that would need escaping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The directory in which `lower`, `upper` and `work` are names. Absolute.
    pub layers: PathBuf,
    /// The layers, the topmost first.
    pub lower: Vec<String>,
    /// What the container changes.
    pub upper: String,
    /// overlayfs' own.
    pub work: String,
    /// An empty directory to mount it on. Absolute.
    pub mount: PathBuf,
}

/// What a root holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// The image's name in the store.
    pub(crate) image: String,
    pub(crate) layers: Vec<Digest>,
}

/// A layer's directory. 96 bits of its digest: short enough for 127 of them in one page; the whole digest is checked when it is found there.
pub(crate) fn layer_name(digest: &Digest) -> String {
    digest.hex()[..24].to_owned()
}

fn plain(container: &str) -> io::Result<&str> {
    let good = !container.is_empty()
        && container.len() <= 255
        && !container.starts_with('.')
        && container
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if good {
        Ok(container)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "'{}' cannot name a container's root",
                container.escape_default()
            ),
        ))
    }
}

fn directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    // Whatever the umask says.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Where the root of this number of a container has what is written to it, below the directory of all containers.
pub(crate) fn upper(container: &str, number: usize) -> PathBuf {
    Path::new(container).join(number.to_string()).join("upper")
}

/// Makes the next root of a container.
pub(crate) fn make(
    containers: &Path,
    layers: &Path,
    container: &str,
    holding: &Holding,
) -> io::Result<Root> {
    let own = containers.join(plain(container)?);
    match fs::create_dir(&own) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let number = fs::read_dir(&own)?.count();
    let root = own.join(number.to_string());
    directory(&root, 0o700)?;
    let unfinished = root.join(".image");
    fs::write(&unfinished, serde_json::to_vec(holding)?)?;
    fs::rename(&unfinished, root.join(IMAGE_FILE))?;
    directory(&root.join("upper"), 0o755)?;
    directory(&root.join("work"), 0o700)?;
    directory(&root.join("root"), 0o755)?;
    // The same layer twice in a stack is refused by overlayfs, and the upper one of them hides all of the lower.
    let mut lower: Vec<String> = Vec::with_capacity(holding.layers.len());
    for digest in holding.layers.iter().rev() {
        let name = layer_name(digest);
        if !lower.contains(&name) {
            lower.push(name);
        }
    }
    let relative = |name: &str| format!("../containers/{container}/{number}/{name}");
    Ok(Root {
        layers: layers.to_owned(),
        lower,
        upper: relative("upper"),
        work: relative("work"),
        mount: root.join("root"),
    })
}

/// What a container holds, as its directory says.
pub(crate) fn holdings(containers: &Path, container: &str) -> Vec<Holding> {
    let roots = fs::read_dir(containers.join(container));
    roots
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|root| fs::read(root.path().join(IMAGE_FILE)).ok())
        .filter_map(|bytes| serde_json::from_slice(&bytes).ok())
        .collect()
}

/// Removes a container's directory. One that is not there is removed already.
pub(crate) fn remove(containers: &Path, container: &str) -> io::Result<()> {
    remove_tree(&containers.join(plain(container)?))
}

/// Removes a tree, also one with directories that their owner may not enter, as overlayfs and images leave them.
///
/// # Errors
/// As of the system. A tree that is not there is removed already.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    open_up(path)?;
    fs::remove_dir_all(path)
}

/// Lets the owner into every directory of a tree.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_says_what_it_holds_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let containers = dir.path().join("containers");
        fs::create_dir(&containers).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let holding = Holding {
            image: "x".to_owned(),
            layers: vec![a, b, a],
        };
        let root = make(&containers, Path::new("/l"), "c.1", &holding).unwrap();
        assert_eq!(root.lower, [layer_name(&a), layer_name(&b)]);
        assert_eq!(root.upper, "../containers/c.1/0/upper");
        let second = make(&containers, Path::new("/l"), "c.1", &holding).unwrap();
        assert_eq!(second.work, "../containers/c.1/1/work");
        assert_eq!(
            holdings(&containers, "c.1"),
            [holding.clone(), holding.clone()]
        );
        let closed = root.mount.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        remove(&containers, "c.1").unwrap();
        remove(&containers, "c.1").unwrap();
        assert!(holdings(&containers, "c.1").is_empty());
        for bad in ["", "..", "a/b", ".x", "a,b", "a:b"] {
            assert!(
                make(&containers, Path::new("/l"), bad, &holding).is_err(),
                "{bad}"
            );
        }
    }
}
