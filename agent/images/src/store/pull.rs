//! From a reference to an image on the disk: each layer is brought once, whoever asks, unpacked beside its place, checked, and put there whole.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{
    Guard, Held, HeldLayer, Image, Inner, KnownImage, KnownLayer, LayerFacts, LayerGuard,
    MAX_IMAGES, Scratch, Wanted, now_ms, write_whole,
};
use crate::archive::Archive;
use crate::digest::Digest;
use crate::error::Problem;
use crate::layout::Layout;
use crate::manifest::{Descriptor, read_config};
use crate::reference::Reference;
use crate::registry::Repository;
use crate::roots::{Holding, layer_name};
use crate::source::{Progress, Source, blocking};
use crate::unpack::{BYTES_FLAG, Unpacked, unpack};

/// How many layers of an image are brought at a time.
const PARALLEL_LAYERS: usize = 4;
/// How often a pull tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tells the unpacker when nobody waits for it any more.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    fn source(&self, wanted: &Wanted) -> Result<Source, Problem> {
        let options = &self.config.registry;
        match &wanted.reference {
            Reference::Layout { path, tag } => Ok(Source::Layout(Arc::new(Layout::new(
                path.clone(),
                tag.clone(),
            )))),
            Reference::Archive { path, name } => Ok(Source::Archive(Arc::new(Archive::new(
                path.clone(),
                name.clone(),
            )))),
            Reference::Registry { host: None, .. } if options.default.starts_with('/') => {
                local(Path::new(&options.default), &wanted.reference)
            }
            reference => Repository::new(reference, options, wanted.credentials.as_ref())
                .map(|repository| Source::Registry(Arc::new(repository)))
                .ok_or_else(|| Problem::invalid("reference", "it names no registry")),
        }
    }

    pub(super) async fn pull(self: Arc<Self>, wanted: Wanted) -> Result<Held, Problem> {
        let name = wanted.reference.to_string();
        self.pulls.fetch_add(1, Ordering::Relaxed);
        let begun = std::time::Instant::now();
        let source = self.source(&wanted)?;
        let found = source.find().await?;
        let (config, diff_ids) = read_config(&found.config, found.manifest.layers.len())?;
        let limit = self.config.bounds.bytes;
        if let Some(large) = found
            .manifest
            .layers
            .iter()
            .find(|layer| layer.size > limit)
        {
            return Err(Problem::TooLarge {
                layer: large.digest,
                limit,
                of: "bytes",
                flag: BYTES_FLAG,
            });
        }
        let progress = Arc::new(Progress::default());
        let total = diff_ids.len();
        let each: Vec<_> = found
            .manifest
            .layers
            .into_iter()
            .zip(diff_ids.clone())
            .map(|(layer, diff_id)| {
                let (inner, counted) = (Arc::clone(&self), Arc::clone(&progress));
                inner.layer(source.clone(), layer, diff_id, counted)
            })
            .collect();
        let bringing = stream::iter(each)
            .buffered(PARALLEL_LAYERS)
            .try_collect::<Vec<HeldLayer>>();
        let telling = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                tracing::info!(
                    "pulling image '{name}': {} of {total} layers, {} of {} MiB",
                    read(&progress.layers),
                    read(&progress.got) >> 20,
                    read(&progress.expected) >> 20,
                );
            }
        };
        // Held until the image holds them.
        let layers = tokio::select! {
            layers = bringing => layers?,
            () = telling => Vec::new(),
        };
        let image = Image {
            name: name.clone(),
            digest: found.digest,
            config,
            layers: diff_ids,
            pulled_at_ms: now_ms(),
        };
        let inner = Arc::clone(&self);
        let held = blocking(move || inner.add(image)).await?;
        drop(layers);
        tracing::info!(
            "image '{name}' ({}) is there after {:.1} s",
            held.image.digest,
            begun.elapsed().as_secs_f64()
        );
        Ok(held)
    }

    /// Puts an image on record. Its layers are held by the caller.
    fn add(self: Arc<Self>, image: Image) -> Result<Held, Problem> {
        let path = self.image_path(&image.name);
        let bytes =
            serde_json::to_vec(&image).map_err(|error| Problem::invalid("configuration", error))?;
        let scratch = self.scratch("image");
        write_whole(&path, &bytes, &scratch.0).map_err(Problem::disk("write", &path))?;
        let name = image.name.clone();
        let holding = Holding {
            image: name.clone(),
            layers: image.layers.clone(),
        };
        let image = Arc::new(image);
        let mut known = self.known.lock();
        let uses = known.images.get(&name).map_or(0, |old| old.uses);
        let fresh = KnownImage {
            image: Arc::clone(&image),
            uses,
            used_at_ms: now_ms(),
        };
        known.images.insert(name, fresh);
        known.hold(&holding);
        let too_many = known.images.len() > MAX_IMAGES;
        drop(known);
        let guard = Arc::new(Guard {
            inner: Arc::clone(&self),
            holding,
        });
        if too_many {
            let over = || self.known.lock().images.len() > MAX_IMAGES;
            let _ = self.remove_unused(&[], &over);
        }
        Ok(Held { image, guard })
    }

    /// A layer, from the disk or from `source`.
    async fn layer(
        self: Arc<Self>,
        source: Source,
        layer: Descriptor,
        diff_id: Digest,
        progress: Arc<Progress>,
    ) -> Result<HeldLayer, Problem> {
        if let Some(held) = self.held_layer(diff_id) {
            progress.layers.fetch_add(1, Ordering::Relaxed);
            return Ok(held);
        }
        progress.expected.fetch_add(layer.size, Ordering::Relaxed);
        loop {
            let (inner, source) = (Arc::clone(&self), source.clone());
            let (layer, counted) = (layer.clone(), Arc::clone(&progress));
            let make = move || {
                async move {
                    inner
                        .bring(source, layer, diff_id, &counted)
                        .await
                        .map_err(Arc::new)
                }
                .boxed()
            };
            match self.layers.run(diff_id, make).await {
                (Ok(held), _) => {
                    progress.layers.fetch_add(1, Ordering::Relaxed);
                    return Ok(held);
                }
                // Somebody else's source failed, which says nothing of ours.
                (Err(_), true) => {}
                (Err(problem), false) => return Err(Problem::clone(&problem)),
            }
        }
    }

    /// Brings a layer, unpacks it beside its place, checks it, and puts it there.
    async fn bring(
        self: Arc<Self>,
        source: Source,
        layer: Descriptor,
        diff_id: Digest,
        progress: &Progress,
    ) -> Result<HeldLayer, Problem> {
        // Another flight may have ended just before this one began.
        if let Some(held) = self.held_layer(diff_id) {
            return Ok(held);
        }
        let packed = self.scratch("blob");
        let blob = source.layer(&layer, packed.0.clone(), progress).await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(Arc::clone(&abandoned));
        let inner = Arc::clone(&self);
        blocking(move || {
            let _packed = packed;
            let unpacked = inner.scratch("layer");
            fs::DirBuilder::new()
                .mode(0o755)
                .create(&unpacked.0)
                .map_err(Problem::disk("create", &unpacked.0))?;
            let bounds = inner.config.bounds;
            let facts =
                blob.read(|reader| unpack(reader, layer.digest, &unpacked.0, bounds, &abandoned))?;
            if facts.digest != diff_id {
                return Err(Problem::WrongDigest {
                    what: "an unpacked layer",
                    expected: diff_id,
                    got: facts.digest,
                    from: "its image's configuration".to_owned(),
                });
            }
            inner.place(&unpacked, diff_id, facts)
        })
        .await
    }

    fn place(
        self: &Arc<Self>,
        unpacked: &Scratch,
        diff_id: Digest,
        found: Unpacked,
    ) -> Result<HeldLayer, Problem> {
        // A flight that was given up may have got here all the same.
        if let Some(held) = self.held_layer(diff_id) {
            return Ok(held);
        }
        let name = layer_name(&diff_id);
        let place = self.path("layers").join(&name);
        let failed = |action| Problem::disk(action, place.clone());
        if found.left_out > 0 {
            tracing::info!("layer {diff_id}: {} devices were left out", found.left_out);
        }
        // All of the layer, in one go: a sync for each file would take longer than unpacking.
        let opened = File::open(&unpacked.0).map_err(failed("open"))?;
        nix::unistd::syncfs(&opened).map_err(|errno| failed("synchronise")(errno.into()))?;
        let facts = LayerFacts {
            digest: diff_id,
            bytes: found.bytes,
            files: found.files,
        };
        let record = place.with_extension("json");
        let bytes = serde_json::to_vec(&facts).unwrap_or_default();
        let scratch = self.scratch("facts");
        write_whole(&record, &bytes, &scratch.0).map_err(Problem::disk("write", &record))?;
        {
            let mut known = self.known.lock();
            if let Some(there) = known.layers.get_mut(&diff_id) {
                there.uses += 1;
            } else {
                fs::rename(&unpacked.0, &place).map_err(failed("rename"))?;
                known.layers.insert(diff_id, KnownLayer { facts, uses: 1 });
            }
        }
        let held = HeldLayer::of(LayerGuard {
            inner: Arc::clone(self),
            digest: diff_id,
        });
        File::open(self.path("layers"))
            .and_then(|layers| layers.sync_all())
            .map_err(failed("synchronise"))?;
        self.pulled_bytes.fetch_add(found.bytes, Ordering::Relaxed);
        Ok(held)
    }
}

/// An image of a directory that stands for a registry: an archive `<name>:<tag>.tar`, or an OCI layout directory `<name>`.
fn local(directory: &Path, reference: &Reference) -> Result<Source, Problem> {
    let name = reference.file_name().unwrap_or_default();
    let archive = directory.join(format!("{name}.tar"));
    if archive.exists() {
        // Whatever it is called inside: its file says what it is.
        let named = Archive::new(archive.clone(), Some(name.clone()));
        if named.find().is_ok() {
            return Ok(Source::Archive(Arc::new(named)));
        }
        return Ok(Source::Archive(Arc::new(Archive::new(archive, None))));
    }
    let (bare, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    let layout = directory.join(bare);
    if layout.join("index.json").exists() {
        return Ok(Source::Layout(Arc::new(Layout::new(
            layout,
            Some(tag.to_owned()),
        ))));
    }
    Err(Problem::NotFound {
        registry: directory.display().to_string(),
        detail: format!(": there is neither {name}.tar nor an OCI layout {bare}"),
    })
}
