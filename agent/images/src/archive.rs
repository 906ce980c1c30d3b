//! What `docker save` writes: a tar with `manifest.json`, which names a configuration and layers inside the same tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use parking_lot::Mutex;
use serde::Deserialize;

use crate::digest::Digest;
use crate::error::Problem;
use crate::layout::{open_file, read_document};
use crate::manifest::{Descriptor, MAX_LAYERS, Manifest};
use crate::names::Names;
use crate::source::{Blob, Found};

/// The most entries of the outer archive.
const MAX_ENTRIES: usize = 10_000;

/// One image of an archive.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    name: Option<String>,
    /// Where each layer is, in the order of the manifest; known after `find`.
    layers: Mutex<HashMap<Digest, (u64, u64)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An entry of the outer archive.
enum Place {
    /// Offset and length.
    File(u64, u64),
    /// Older archives have a layer once and links to it.
    Link(PathBuf),
}

/// `a/./b/../c` as `a/c`; never above the top.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

impl Archive {
    pub(crate) fn new(path: PathBuf, name: Option<String>) -> Self {
        Self {
            path,
            name,
            layers: Mutex::default(),
        }
    }

    fn invalid(&self, problem: impl std::fmt::Display) -> Problem {
        Problem::invalid("archive", format!("{}: {problem}", self.path.display()))
    }

    fn entries(&self, file: &File) -> Result<HashMap<PathBuf, Place>, Problem> {
        let broken = |error: std::io::Error| self.invalid(error);
        let mut places = HashMap::new();
        let mut archive = tar::Archive::new(Names::new(file));
        for entry in archive.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let path = plain(&entry.path().map_err(broken)?);
            let place = match entry.header().entry_type() {
                tar::EntryType::Regular => Place::File(entry.raw_file_position(), entry.size()),
                tar::EntryType::Symlink => {
                    let target = entry.link_name().map_err(broken)?.unwrap_or_default();
                    let folder = path.parent().unwrap_or(Path::new(""));
                    Place::Link(plain(&folder.join(target)))
                }
                tar::EntryType::Link => Place::Link(plain(
                    &entry.link_name().map_err(broken)?.unwrap_or_default(),
                )),
                _ => continue,
            };
            places.insert(path, place);
            if places.len() > MAX_ENTRIES {
                return Err(self.invalid(format!("more than {MAX_ENTRIES} entries")));
            }
        }
        Ok(places)
    }

    fn part(
        &self,
        mut file: &File,
        (offset, length): (u64, u64),
        what: &'static str,
    ) -> Result<Vec<u8>, Problem> {
        file.seek(SeekFrom::Start(offset))
            .map_err(Problem::disk("read", &self.path))?;
        read_document(file.take(length), what, &self.path)
    }

    pub(crate) fn find(&self) -> Result<Found, Problem> {
        let file = open_file(&self.path)?;
        let places = self.entries(&file)?;
        let locate = |name: &str| -> Result<(u64, u64), Problem> {
            match places.get(&plain(Path::new(name))) {
                Some(Place::File(offset, length)) => Ok((*offset, *length)),
                Some(Place::Link(to)) => match places.get(to) {
                    Some(Place::File(offset, length)) => Ok((*offset, *length)),
                    _ => Err(self.invalid(format!("'{name}' is a link to nothing in it"))),
                },
                None => {
                    Err(self.invalid(format!("it has no '{name}'; was it made by 'docker save'?")))
                }
            }
        };
        let list = self.part(&file, locate("manifest.json")?, "manifest")?;
        let mut images: Vec<Saved> = serde_json::from_slice(&list)
            .map_err(|error| self.invalid(format!("manifest.json: {error}")))?;
        let names: Vec<String> = images
            .iter()
            .flat_map(|image| image.repo_tags.clone().unwrap_or_default())
            .collect();
        let wanted = match &self.name {
            Some(name) => images.iter().position(|image| {
                let tags = image.repo_tags.as_deref().unwrap_or_default();
                tags.iter().any(|tag| same_name(tag, name))
            }),
            None if images.len() == 1 => Some(0),
            None => None,
        };
        let Some(index) = wanted else {
            let name = self.name.as_deref().unwrap_or("(none)");
            return Err(self.invalid(format!(
                "'{name}' is none of its images, which are: {}",
                names.join(", ")
            )));
        };
        let image = images.swap_remove(index);
        if image.layers.is_empty() || image.layers.len() > MAX_LAYERS {
            return Err(self.invalid(format!(
                "{} layers; 1 to {MAX_LAYERS} are possible",
                image.layers.len()
            )));
        }
        let config = self.part(&file, locate(&image.config)?, "configuration")?;
        let digest = Digest::of(&config);
        let mut known = HashMap::new();
        let mut layers = Vec::new();
        for name in &image.layers {
            let place = locate(name)?;
            // Their names are no digests in every archive: where they are stands for what they are; what they hold is checked on unpacking.
            let digest = Digest::of(name.as_bytes());
            known.insert(digest, place);
            layers.push(Descriptor {
                media_type: String::new(),
                digest,
                size: place.1,
                platform: None,
                annotations: Default::default(),
            });
        }
        *self.layers.lock() = known;
        let size = config.len() as u64;
        Ok(Found {
            digest,
            manifest: Manifest {
                config: Descriptor {
                    media_type: String::new(),
                    digest,
                    size,
                    platform: None,
                    annotations: Default::default(),
                },
                layers,
            },
            config,
        })
    }

    pub(crate) fn layer(&self, layer: &Descriptor) -> Result<Blob, Problem> {
        let place = self.layers.lock().get(&layer.digest).copied();
        let (offset, length) = place.ok_or_else(|| self.invalid("it has changed meanwhile"))?;
        Ok(Blob {
            file: open_file(&self.path)?,
            offset,
            length,
            unchecked: None,
        })
    }
}

/// Whether two names mean the same image: `busybox:latest` is listed also as `docker.io/library/busybox:latest`.
fn same_name(listed: &str, wanted: &str) -> bool {
    let whole = |name: &str| {
        let read = name.parse::<crate::Reference>().ok()?.to_string();
        Some(
            read.strip_prefix("docker.io/")
                .map_or(read.clone(), str::to_owned),
        )
    };
    listed == wanted || (whole(wanted).is_some() && whole(listed) == whole(wanted))
}
