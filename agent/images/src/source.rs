//! Where an image comes from, behind one face: a registry, an OCI layout, an archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::archive::Archive;
use crate::digest::{Digest, Measured};
use crate::error::Problem;
use crate::layout::Layout;
use crate::manifest::{Descriptor, Manifest};
use crate::registry::Repository;

/// An image as its source has it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Of the manifest for this machine (of the configuration, where there is no manifest).
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    /// The configuration, as bytes.
    pub(crate) config: Vec<u8>,
}

/// Where an image comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Registry(Arc<Repository>),
    Layout(Arc<Layout>),
    Archive(Arc<Archive>),
}

/// How far a pull has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that have come.
    pub(crate) got: AtomicU64,
    /// Bytes that are to come, as far as is known.
    pub(crate) expected: AtomicU64,
    /// Layers that are there.
    pub(crate) layers: AtomicU64,
}

impl Progress {
    pub(crate) fn add(&self, bytes: usize) {
        self.got.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A layer's bytes in a file on this machine.
pub(crate) struct Blob {
    pub(crate) file: File,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// What is still to be checked while it is read, and whose it is.
    pub(crate) unchecked: Option<(Digest, String)>,
}

impl Blob {
    /// Hands the bytes to `reader`; checks, after it has succeeded, that they were the right ones.
    pub(crate) fn read<T>(
        mut self,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let broken = |error: io::Error| Problem::disk("read", "the layer's file")(error);
        self.file
            .seek(SeekFrom::Start(self.offset))
            .map_err(broken)?;
        let mut measured = Measured::new((&self.file).take(self.length), u64::MAX);
        let done = read(&mut measured)?;
        if let Some((expected, from)) = self.unchecked {
            let (_, got) = measured.finish().map_err(broken)?;
            if got != expected {
                return Err(Problem::WrongDigest {
                    what: "a layer",
                    expected,
                    got,
                    from,
                });
            }
        }
        Ok(done)
    }
}

/// Runs what blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Problem::Machine(format!(
                "a task of the agent failed: {error}"
            )))
        })
}

impl Source {
    /// Looks the image up and reads its manifest and configuration.
    pub(crate) async fn find(&self) -> Result<Found, Problem> {
        match self {
            Self::Registry(repository) => repository.find().await,
            Self::Layout(layout) => {
                let layout = Arc::clone(layout);
                blocking(move || layout.find()).await
            }
            Self::Archive(archive) => {
                let archive = Arc::clone(archive);
                blocking(move || archive.find()).await
            }
        }
    }

    /// Brings a layer to this machine, if need be into `file`, which does not exist yet.
    pub(crate) async fn layer(
        &self,
        layer: &Descriptor,
        file: PathBuf,
        progress: &Progress,
    ) -> Result<Blob, Problem> {
        match self {
            Self::Registry(repository) => repository.layer(layer, file, progress).await,
            Self::Layout(layout) => {
                let (layout, layer) = (Arc::clone(layout), layer.clone());
                blocking(move || layout.layer(&layer)).await
            }
            Self::Archive(archive) => {
                let (archive, layer) = (Arc::clone(archive), layer.clone());
                blocking(move || archive.layer(&layer)).await
            }
        }
    }
}
