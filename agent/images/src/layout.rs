//! An OCI image layout: a directory with `index.json` and `blobs/sha256/<hex>`.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::digest::Digest;
use crate::error::Problem;
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT_BYTES, choose, read};
use crate::source::{Blob, Found};

/// The annotation that holds an image's name.
const NAME: &str = "org.opencontainers.image.ref.name";

/// One image of a layout directory.
#[derive(Debug)]
pub(crate) struct Layout {
    path: PathBuf,
    tag: Option<String>,
}

/// Opens a regular file, and nothing that would block or have effects.
pub(crate) fn open_file(path: &Path) -> Result<File, Problem> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(Problem::disk("open", path))?;
    let kind = file.metadata().map_err(Problem::disk("examine", path))?;
    if !kind.is_file() {
        return Err(Problem::invalid(
            "file",
            format!("{} is no regular file", path.display()),
        ));
    }
    Ok(file)
}

/// A whole small file.
pub(crate) fn read_document(
    file: impl Read,
    what: &'static str,
    path: &Path,
) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Problem::disk("read", path))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(Problem::invalid(
            what,
            format!("larger than {MAX_DOCUMENT_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

impl Layout {
    pub(crate) fn new(path: PathBuf, tag: Option<String>) -> Self {
        Self { path, tag }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    fn open_blob(&self, digest: &Digest, what: &'static str) -> Result<File, Problem> {
        let path = self.blob_path(digest);
        if !path.exists() {
            return Err(Problem::Missing {
                registry: self.path.display().to_string(),
                what,
                digest: *digest,
            });
        }
        open_file(&path)
    }

    fn document(&self, descriptor: &Descriptor, what: &'static str) -> Result<Vec<u8>, Problem> {
        let file = self.open_blob(&descriptor.digest, what)?;
        let bytes = read_document(file, what, &self.blob_path(&descriptor.digest))?;
        let got = Digest::of(&bytes);
        if got != descriptor.digest {
            return Err(Problem::WrongDigest {
                what,
                expected: descriptor.digest,
                got,
                from: self.path.display().to_string(),
            });
        }
        Ok(bytes)
    }

    pub(crate) fn find(&self) -> Result<Found, Problem> {
        let index = self.path.join("index.json");
        let bytes = read_document(open_file(&index)?, "index", &index)?;
        let Document::Index(all) = read(&bytes, crate::manifest::OCI_INDEX)? else {
            return Err(Problem::invalid("index", "index.json has no 'manifests'"));
        };
        let mut named: Vec<Descriptor> = match &self.tag {
            None => all,
            Some(tag) => {
                let names: Vec<String> = all
                    .iter()
                    .filter_map(|one| one.annotations.get(NAME).cloned())
                    .collect();
                let named: Vec<_> = all
                    .into_iter()
                    .filter(|one| one.annotations.get(NAME) == Some(tag))
                    .collect();
                if named.is_empty() {
                    return Err(Problem::invalid(
                        "index",
                        format!("no image is called '{tag}', only: {}", names.join(", ")),
                    ));
                }
                named
            }
        };
        // An index may name indexes.
        for _ in 0..3 {
            let one = if named.len() == 1 {
                named.remove(0)
            } else {
                choose(std::mem::take(&mut named))?
            };
            let bytes = self.document(&one, "manifest")?;
            match read(&bytes, &one.media_type)? {
                Document::Index(inner) => named = inner,
                Document::Manifest(manifest) => {
                    let config = self.document(&manifest.config, "configuration")?;
                    return Ok(Found {
                        digest: one.digest,
                        manifest,
                        config,
                    });
                }
            }
        }
        Err(Problem::invalid("index", "indexes within indexes"))
    }

    pub(crate) fn layer(&self, layer: &Descriptor) -> Result<Blob, Problem> {
        let file = self.open_blob(&layer.digest, "layer")?;
        Ok(Blob {
            file,
            offset: 0,
            length: layer.size,
            unchecked: Some((layer.digest, self.path.display().to_string())),
        })
    }
}
