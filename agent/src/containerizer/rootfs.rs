//! What a container sees that is not the host's: a root of its own, and mounts. The vocabulary; the work is done by the isolators.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A root of the container's own, instead of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFilesystem {
    /// What it is made of.
    pub overlay: Overlay,
    /// The sandbox on the host; no link leads there.
    pub sandbox: PathBuf,
    /// Where the sandbox is seen inside. Absolute. `LaunchSpec`'s `sandbox`, `stdout` and `stderr` are paths inside.
    pub sandbox_inside: PathBuf,
    /// Files that are written into the root, whatever the image has in their place. Absolute paths.
    pub files: Vec<(PathBuf, String)>,
    /// Directories that are made where they are missing. Absolute paths.
    pub directories: Vec<PathBuf>,
    /// The size of `/dev/shm`, in bytes.
    pub shm_bytes: u64,
    /// Nothing is masked and nothing of `/proc` and `/sys` is read-only.
    pub privileged: bool,
    /// Nothing of the root itself can be changed.
    pub read_only: bool,
    /// Whom to run as, as the image names it (`user`, `user:group`, names or numbers, looked up in the image's own files); goes before
    /// `LaunchSpec`'s `user`. The sandbox becomes this user's.
    pub user: Option<String>,
}

/// Layers, and what is the container's own above them. The names are relative to `layers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Absolute.
    pub layers: PathBuf,
    /// The topmost first.
    pub lower: Vec<String>,
    /// What is changed.
    pub upper: String,
    /// overlayfs' own.
    pub work: String,
    /// An empty directory to mount it on, on the host. Absolute.
    pub mount: PathBuf,
}

impl From<tepui_images::Root> for Overlay {
    fn from(root: tepui_images::Root) -> Self {
        Self {
            layers: root.layers,
            lower: root.lower,
            upper: root.upper,
            work: root.work,
            mount: root.mount,
        }
    }
}

/// Something that a container sees at a place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub from: Source,
    /// Where.
    pub at: At,
    /// Nothing may be changed through it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A file or directory of the host. Absolute.
    Host(PathBuf),
    /// What is below a directory of the host, to which no link leads; links in it lead no further than that directory. Made as a directory where it is missing.
    Beneath(PathBuf, PathBuf),
    /// An empty file system in memory, of so many bytes at most.
    Tmpfs(u64),
    /// A file in memory with this content; never on a disk.
    Content(Hidden),
    /// An image.
    Overlay(Overlay),
}

/// Where something is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// Below the sandbox. Relative, without `..`.
    Sandbox(PathBuf),
    /// In the container. Absolute, without `..`. In the host's root it exists already.
    Inside(PathBuf),
}

/// Bytes that are nobody's business: their Debug form does not show them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden(pub Vec<u8>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({} bytes)", self.0.len())
    }
}
