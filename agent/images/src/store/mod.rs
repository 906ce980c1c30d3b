//! The store: images and layers on the disk, who uses them, and what goes when the disk is short.
//!
//! ```text
//! <store>/layers/<24 hex digits of the diff_id>/     one unpacked layer, as overlayfs takes it
//!         layers/<24 hex digits>.json                what it is
//!         images/<64 hex digits>.json                one image: its name, configuration and layers
//!         containers/<container>/<n>/…               see `roots`
//!         tmp/                                       what is being made, or removed; swept at the start
//! ```
//!
//! Images are brought by [`pull`], and go by [`remove`]. What is known is in memory, under one lock that is never held over I/O that waits; the files say it again to the next process.

mod pull;
mod remove;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::error::{ImageError, Problem};
use crate::flights::Flights;
use crate::manifest::ImageConfig;
use crate::reference::Reference;
use crate::registry::RegistryOptions;
use crate::roots::{self, Holding, Root, layer_name, remove_tree};
use crate::unpack::Bounds;

/// The most images that are remembered.
const MAX_IMAGES: usize = 10_000;

/// How the store works.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Everything is below it. One agent only.
    pub directory: PathBuf,
    /// Where images come from.
    pub registry: RegistryOptions,
    /// How much a layer may hold.
    pub bounds: Bounds,
}

/// An image that a container wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which.
    pub reference: Reference,
    /// Ask the registry also if the image is there: its tag may point elsewhere by now.
    pub refresh: bool,
    /// For this image alone, before those of the agent.
    pub credentials: Option<Credentials>,
}

/// An image that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was asked for, written in full.
    pub name: String,
    /// Of its manifest for this machine.
    pub digest: Digest,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Its unpacked layers, the lowest first.
    pub layers: Vec<Digest>,
    /// When it was pulled, in milliseconds since the epoch.
    pub pulled_at_ms: u64,
}

#[derive(Debug)]
struct KnownImage {
    image: Arc<Image>,
    uses: usize,
    used_at_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LayerFacts {
    digest: Digest,
    bytes: u64,
    files: u64,
}

#[derive(Debug)]
struct KnownLayer {
    facts: LayerFacts,
    uses: usize,
}

#[derive(Debug, Default)]
struct Known {
    images: BTreeMap<String, KnownImage>,
    layers: HashMap<Digest, KnownLayer>,
    /// What containers hold, by container.
    containers: HashMap<String, Vec<Holding>>,
}

/// What operators see of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image.
    pub image: Arc<Image>,
    /// Of all its layers, unpacked, shared ones included.
    pub bytes: u64,
    /// How many containers use it now.
    pub containers: usize,
    /// When a container was last started from it, in milliseconds since the epoch.
    pub used_at_ms: u64,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of images.
    pub images: Vec<String>,
    /// How many layers.
    pub layers: usize,
    /// Their bytes.
    pub bytes: u64,
}

type Outcome<T> = Result<T, Arc<Problem>>;

struct Inner {
    config: StoreConfig,
    known: Mutex<Known>,
    images: Flights<(String, bool, Option<Credentials>), Outcome<Held>>,
    layers: Flights<Digest, Outcome<HeldLayer>>,
    serial: AtomicU64,
    pulls: AtomicU64,
    pulled_bytes: AtomicU64,
}

/// The door of this room. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.config.directory.display())
    }
}

/// An image that stays on the disk while this is held.
#[derive(Clone)]
pub struct Held {
    image: Arc<Image>,
    guard: Arc<Guard>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.image.name)
    }
}

impl Held {
    /// The image.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }
}

struct Guard {
    inner: Arc<Inner>,
    holding: Holding,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inner.known.lock().let_go(&self.holding);
    }
}

/// A layer that stays while its image is being put together.
#[derive(Clone)]
struct HeldLayer {
    _guard: Arc<LayerGuard>,
}

impl HeldLayer {
    fn of(guard: LayerGuard) -> Self {
        Self {
            _guard: Arc::new(guard),
        }
    }
}

struct LayerGuard {
    inner: Arc<Inner>,
    digest: Digest,
}

impl Drop for LayerGuard {
    fn drop(&mut self) {
        if let Some(layer) = self.inner.known.lock().layers.get_mut(&self.digest) {
            layer.uses -= 1;
        }
    }
}

impl Known {
    fn hold(&mut self, holding: &Holding) {
        for digest in &holding.layers {
            if let Some(layer) = self.layers.get_mut(digest) {
                layer.uses += 1;
            }
        }
        if let Some(image) = self.images.get_mut(&holding.image) {
            image.uses += 1;
            image.used_at_ms = now_ms();
        }
    }

    fn let_go(&mut self, holding: &Holding) {
        for digest in &holding.layers {
            if let Some(layer) = self.layers.get_mut(digest) {
                layer.uses = layer.uses.saturating_sub(1);
            }
        }
        if let Some(image) = self.images.get_mut(&holding.image) {
            image.uses = image.uses.saturating_sub(1);
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A place in `tmp/` that is gone when this is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let gone = match fs::symlink_metadata(&self.0) {
            Ok(found) if found.is_dir() => remove_tree(&self.0),
            Ok(_) => fs::remove_file(&self.0),
            Err(_) => return,
        };
        if let Err(error) = gone {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Writes a file that is whole or absent, also after a loss of power.
fn write_whole(path: &Path, bytes: &[u8], scratch: &Path) -> io::Result<()> {
    let mut file = File::create(scratch)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(scratch, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

impl Store {
    /// Opens the store, or makes it. Sweeps what a crash has left half made. Blocks.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(config: StoreConfig) -> Result<Self, Problem> {
        let directory = config.directory.clone();
        let made = |path: &Path| {
            // Nobody but the agent: images hold setuid programs.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(Problem::disk("create", path))
        };
        made(&directory)?;
        for part in ["layers", "images", "containers", "tmp"] {
            made(&directory.join(part))?;
        }
        let tmp = directory.join("tmp");
        for entry in fs::read_dir(&tmp)
            .map_err(Problem::disk("read", &tmp))?
            .flatten()
        {
            drop(Scratch(entry.path()));
        }
        let inner = Inner {
            known: Mutex::new(Known::default()),
            config,
            images: Flights::default(),
            layers: Flights::default(),
            serial: AtomicU64::new(0),
            pulls: AtomicU64::new(0),
            pulled_bytes: AtomicU64::new(0),
        };
        let known = inner.read_all()?;
        *inner.known.lock() = known;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Call once, before the first [`get`](Self::get): what the containers in `alive` hold stays; the roots of all others are removed.
    /// Returns how many were. Blocks.
    pub fn recover(&self, alive: &HashSet<String>) -> usize {
        let containers = self.inner.path("containers");
        let mut removed = 0;
        for entry in fs::read_dir(&containers).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if alive.contains(&name) {
                let holdings = roots::holdings(&containers, &name);
                let mut known = self.inner.known.lock();
                holdings.iter().for_each(|holding| known.hold(holding));
                known.containers.insert(name, holdings);
            } else {
                match remove_tree(&entry.path()) {
                    Ok(()) => removed += 1,
                    Err(error) => tracing::warn!(
                        "cannot remove the root of container {name}, which is gone: {error}"
                    ),
                }
            }
        }
        removed
    }

    /// An image, from the disk or from where it comes from. Dropping the future lets the pull go, unless others wait for it too.
    ///
    /// # Errors
    /// See [`Problem`]. Nothing half-made is left behind.
    pub async fn get(&self, wanted: &Wanted) -> Result<Held, ImageError> {
        let name = wanted.reference.to_string();
        if (!wanted.refresh || wanted.reference.is_pinned())
            && let Some(held) = self.inner.held(&name)
        {
            return Ok(held);
        }
        let key = (name.clone(), wanted.refresh, wanted.credentials.clone());
        let (inner, own) = (Arc::clone(&self.inner), wanted.clone());
        let make = move || async move { inner.pull(own).await.map_err(Arc::new) }.boxed();
        let (outcome, _) = self.inner.images.run(key, make).await;
        outcome.map_err(|problem| ImageError::new(name, Problem::clone(&problem)))
    }

    /// A root for a container over an image, which it holds from now on. A container may have several (image volumes). Blocks shortly.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn make_root(&self, container: &str, image: &Held) -> io::Result<Root> {
        let holding = &image.guard.holding;
        let (containers, layers) = (self.inner.path("containers"), self.inner.path("layers"));
        let root = roots::make(&containers, &layers, container, holding)?;
        let mut known = self.inner.known.lock();
        known.hold(holding);
        let all = known.containers.entry(container.to_owned()).or_default();
        all.push(holding.clone());
        Ok(root)
    }

    /// Whether a container has roots.
    #[must_use]
    pub fn has_roots(&self, container: &str) -> bool {
        self.inner.known.lock().containers.contains_key(container)
    }

    /// Where is what a container, and those inside of it (`<container>.<name>`), have written over their images.
    #[must_use]
    pub fn written(&self, container: &str) -> Vec<PathBuf> {
        let inside = |name: &str| {
            let rest = name.strip_prefix(container);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let containers = self.inner.path("containers");
        let known = self.inner.known.lock();
        let names = known.containers.iter().filter(|(name, _)| inside(name));
        let roots = names.flat_map(|(name, roots)| {
            (0..roots.len()).map(move |number| roots::upper(name, number))
        });
        roots.map(|upper| containers.join(upper)).collect()
    }

    /// The container is gone: so are its roots, and its hold on their images. Blocks for as long as removing takes.
    ///
    /// # Errors
    /// Something could not be removed; the next start tries again.
    pub fn release(&self, container: &str) -> io::Result<()> {
        if !self.has_roots(container) {
            return Ok(());
        }
        let removed = roots::remove(&self.inner.path("containers"), container);
        let mut known = self.inner.known.lock();
        let held = known.containers.remove(container).unwrap_or_default();
        held.iter().for_each(|holding| known.let_go(holding));
        removed
    }

    /// Every image, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ImageFacts> {
        let known = self.inner.known.lock();
        let bytes = |image: &Image| {
            let distinct: HashSet<&Digest> = image.layers.iter().collect();
            distinct
                .into_iter()
                .filter_map(|digest| known.layers.get(digest))
                .map(|layer| layer.facts.bytes)
                .sum()
        };
        known
            .images
            .values()
            .map(|one| ImageFacts {
                bytes: bytes(&one.image),
                image: Arc::clone(&one.image),
                containers: known
                    .containers
                    .values()
                    .filter(|held| held.iter().any(|holding| holding.image == one.image.name))
                    .count(),
                used_at_ms: one.used_at_ms,
            })
            .collect()
    }

    /// Removes every image that no container uses and that is not excluded, and the layers that nobody needs then. Blocks.
    #[must_use]
    pub fn prune(&self, excluded: &[Reference]) -> Pruned {
        self.inner.remove_unused(excluded, &|| true)
    }

    /// The same, the longest unused image first, for as long as `short` says that the disk is.
    #[must_use]
    pub fn relieve(&self, excluded: &[Reference], short: &dyn Fn() -> bool) -> Pruned {
        self.inner.remove_unused(excluded, short)
    }

    /// Pulls that were begun, and bytes of layers that were unpacked, since the start.
    #[must_use]
    pub fn counters(&self) -> (u64, u64) {
        (
            self.inner.pulls.load(Ordering::Relaxed),
            self.inner.pulled_bytes.load(Ordering::Relaxed),
        )
    }
}

impl Inner {
    fn path(&self, part: &str) -> PathBuf {
        self.config.directory.join(part)
    }

    fn scratch(&self, what: &str) -> Scratch {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Scratch(self.path("tmp").join(format!("{what}-{serial}")))
    }

    fn read_all(&self) -> Result<Known, Problem> {
        let mut known = Known::default();
        let layers = self.path("layers");
        let mut stray = Vec::new();
        for entry in fs::read_dir(&layers)
            .map_err(Problem::disk("read", &layers))?
            .flatten()
        {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                if !path.with_extension("").is_dir() {
                    stray.push(path);
                }
                continue;
            }
            let facts = fs::read(path.with_extension("json"))
                .ok()
                .and_then(|bytes| serde_json::from_slice::<LayerFacts>(&bytes).ok());
            match facts {
                Some(facts)
                    if Some(layer_name(&facts.digest).as_str()) == entry.file_name().to_str() =>
                {
                    known
                        .layers
                        .insert(facts.digest, KnownLayer { facts, uses: 0 });
                }
                _ => stray.push(path),
            }
        }
        let images = self.path("images");
        for entry in fs::read_dir(&images)
            .map_err(Problem::disk("read", &images))?
            .flatten()
        {
            let image = fs::read(entry.path())
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Image>(&bytes).ok())
                .filter(|image| {
                    image
                        .layers
                        .iter()
                        .all(|layer| known.layers.contains_key(layer))
                });
            let used = entry.metadata().and_then(|found| found.modified()).ok();
            let used_at_ms = used
                .and_then(|used| used.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |since| since.as_millis() as u64);
            match image {
                Some(image) => {
                    known.images.insert(
                        image.name.clone(),
                        KnownImage {
                            image: Arc::new(image),
                            uses: 0,
                            used_at_ms,
                        },
                    );
                }
                None => stray.push(entry.path()),
            }
        }
        for path in stray {
            drop(Scratch(path));
        }
        Ok(known)
    }

    fn held(self: &Arc<Self>, name: &str) -> Option<Held> {
        let mut known = self.known.lock();
        let image = Arc::clone(&known.images.get(name)?.image);
        let holding = Holding {
            image: name.to_owned(),
            layers: image.layers.clone(),
        };
        known.hold(&holding);
        drop(known);
        // The file's time is the last use, for the next process to know.
        let _ =
            File::open(self.image_path(name)).and_then(|file| file.set_modified(SystemTime::now()));
        let guard = Arc::new(Guard {
            inner: Arc::clone(self),
            holding,
        });
        Some(Held { image, guard })
    }

    fn image_path(&self, name: &str) -> PathBuf {
        let file = format!("{}.json", Digest::of(name.as_bytes()).hex());
        self.path("images").join(file)
    }

    fn held_layer(self: &Arc<Self>, digest: Digest) -> Option<HeldLayer> {
        self.known.lock().layers.get_mut(&digest)?.uses += 1;
        Some(HeldLayer::of(LayerGuard {
            inner: Arc::clone(self),
            digest,
        }))
    }
}
