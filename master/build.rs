//! Makes the web UI part of the binary: a sorted table of the files below `ui/dist`, empty when the bundle is not there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("ui").join("dist");
    // The folder above is watched too: a bundle that appears later must be noticed.
    println!(
        "cargo:rerun-if-changed={}",
        if dist.exists() {
            dist.display()
        } else {
            root.display()
        }
    );
    let mut files = BTreeMap::new();
    if dist.is_dir() {
        collect(&dist, &dist, &mut files)?;
    }
    let mut table = String::from("static BUNDLE: &[File] = &[\n");
    for (path, place) in files {
        let mut hasher = DefaultHasher::new();
        fs::read(&place)?.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        // Writing into a String cannot fail.
        let _ = writeln!(
            table,
            "    File {{ path: {path:?}, tag: {tag:?}, content: include_bytes!({place:?}) }},"
        );
    }
    table.push_str("];\n");
    fs::write(
        PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bundle.rs"),
        table,
    )
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let place = entry?.path();
        if place.is_dir() {
            collect(root, &place, files)?;
        } else if let Some(path) = place.strip_prefix(root).ok().and_then(Path::to_str) {
            files.insert(path.replace('\\', "/"), place.clone());
        }
    }
    Ok(())
}
