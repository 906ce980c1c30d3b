//! On which processors, and with the memory of which nodes, a container runs.
//!
//! In version 1 a new cgroup has none of either, and takes no process before it has been given some: what is not asked for is its parent's.

use std::io;
use std::path::Path;

use super::{Directory, Version, write};
use crate::containerizer::event::LaunchFailure;
use crate::containerizer::spec::Cpuset;
use crate::supervisor::message::failed_io;

const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Gives a directory of ours what the one above it has, as far as it has nothing.
pub(super) fn inherit(directory: &Path) -> io::Result<()> {
    for file in FILES {
        let own = std::fs::read_to_string(directory.join(file))?;
        if own.trim().is_empty() {
            let above = directory.parent().unwrap_or(Path::new("/"));
            let parents = std::fs::read_to_string(above.join(file))?;
            write(&directory.join(file), parents.trim())?;
        }
    }
    Ok(())
}

/// Sets what is asked for, and what has to be.
pub(super) fn confine(directory: &Directory, wanted: &Cpuset) -> Result<(), LaunchFailure> {
    let path = &directory.path;
    if directory.version == Version::V1 {
        inherit(path).map_err(failed_io("give processors to", path.to_string_lossy()))?;
    }
    for (file, value) in FILES.into_iter().zip([&wanted.cpus, &wanted.mems]) {
        if let Some(value) = value {
            let file = path.join(file);
            write(&file, value)
                .map_err(failed_io("set", format!("{} to {value}", file.display())))?;
        }
    }
    Ok(())
}
