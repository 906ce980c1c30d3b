//! From a `ContainerInfo` to what the containerizer is given: images pulled and laid out, commands merged with their configuration, volumes.
//!
//! | file | what for |
//! | --- | --- |
//! | [`plan`] | reads a `ContainerInfo`, of type MESOS or DOCKER, and says what is wanted; refuses by name what is not built |
//! | [`docker`] | `DockerInfo.parameters`: the options of `docker run` that have an equivalent |
//! | [`volumes`] | `Volume`s |
//! | [`merge`] | an image's entrypoint, cmd, env and working directory with the task's command, as Mesos does it |
//! | [`flags`], [`config`] | the agent's flags about images |
//!
//! Pulling may take minutes; it happens outside of the core's thread, one container does not wait for another's, and a kill ends it.

pub(crate) mod config;
pub(crate) mod flags;
pub(crate) mod merge;
pub(crate) mod plan;

pub(crate) mod docker;
mod secrets;
pub(crate) mod volumes;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tepui_images::{Held, Image, Pruned, Reference, Store};

use crate::containerizer::{Containerizer, Mount, Overlay, Source};
use config::ImagesConfig;
use plan::{Plan, Planned, What};

pub(crate) use docker::capability_number;
pub(crate) use secrets::resolve as resolve_secret;

/// Images and the roots of containers.
#[derive(Debug, Clone)]
pub(crate) struct Provisioner {
    store: Store,
    /// Why containers cannot have a root of their own here.
    missing: Option<Arc<str>>,
    pub(crate) config: Arc<ImagesConfig>,
}

/// What was made for one container.
#[derive(Debug, Default)]
pub(crate) struct Provisioned {
    /// Its own root, with the image it is of.
    pub(crate) root: Option<(Overlay, Arc<Image>)>,
    pub(crate) volumes: Vec<Mount>,
    /// Those of its volumes that are devices, and whether they are only read.
    pub(crate) devices: Vec<(PathBuf, bool)>,
}

impl Provisioner {
    /// Opens the store below the work directory, and tries whether this machine can overlay. Blocks.
    pub(crate) fn start(
        config: &ImagesConfig,
        containerizer: &Containerizer,
    ) -> Result<Self, tepui_images::Problem> {
        let store = Store::open(config.store())?;
        let missing = if containerizer.capabilities().namespaces {
            try_overlay(&config.directory, containerizer).err()
        } else {
            Some("this machine does not let the agent make namespaces".to_owned())
        };
        if let Some(missing) = &missing {
            tracing::warn!(
                "containers cannot have images on this machine, and will be refused: {missing}"
            );
        }
        Ok(Self {
            store,
            missing: missing.map(Arc::from),
            config: Arc::new(config.clone()),
        })
    }

    /// Keeps what these containers hold and removes what all others have left. Blocks.
    pub(crate) fn recover(&self, alive: &HashSet<String>) {
        let removed = self.store.recover(alive);
        if removed > 0 {
            tracing::info!("removed the roots of {removed} containers that are gone");
        }
    }

    /// Brings the images that a container wants. Dropping the future lets them go.
    pub(crate) async fn pull(&self, plan: &Plan) -> Result<Pulled, String> {
        if let (Some(missing), true) = (&self.missing, plan.wants_images()) {
            return Err(format!("images cannot be run on this machine: {missing}"));
        }
        let mut pulled = Pulled::default();
        if let Some(image) = &plan.image {
            let held = self.store.get(image).await;
            pulled.root = Some(held.map_err(|error| error.to_string())?);
        }
        for volume in &plan.volumes {
            if let What::Image(image) = &volume.what {
                let held = self.store.get(image).await;
                pulled
                    .volumes
                    .push(held.map_err(|error| error.to_string())?);
            }
        }
        Ok(pulled)
    }

    /// Makes the container's own directories over the images that were pulled. What was made is removed by `release`.
    pub(crate) fn lay_out(
        &self,
        container: &str,
        volumes: Vec<Planned>,
        pulled: Pulled,
    ) -> Result<Provisioned, String> {
        let make = |held: &Held| {
            self.store
                .make_root(container, held)
                .map(Overlay::from)
                .map_err(|error| format!("cannot make the container's root: {error}"))
        };
        let mut provisioned = Provisioned::default();
        if let Some(held) = &pulled.root {
            provisioned.root = Some((make(held)?, Arc::clone(held.image())));
        }
        let mut images = pulled.volumes.iter();
        for volume in volumes {
            let from = match volume.what {
                What::Mount(source) => source,
                What::Device(path) => {
                    provisioned.devices.push((path.clone(), volume.read_only));
                    Source::Host(path)
                }
                What::Driver(wanted) => return Err(format!("{} is not mounted", wanted.key)),
                What::Csi(wanted) => return Err(format!("{} is not mounted", wanted.key)),
                What::Image(_) => match images.next() {
                    Some(held) => Source::Overlay(make(held)?),
                    None => continue,
                },
            };
            provisioned.volumes.push(Mount {
                from,
                at: volume.at,
                read_only: volume.read_only,
            });
        }
        Ok(provisioned)
    }

    /// The container is gone. Blocks for as long as removing its root takes.
    pub(crate) fn release(&self, container: &str) {
        if let Err(error) = self.store.release(container) {
            tracing::warn!(
                "cannot remove the root of container {container}, which is tried again at the next start: {error}"
            );
        }
    }

    pub(crate) fn has_roots(&self, container: &str) -> bool {
        self.store.has_roots(container)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Removes images that nobody uses while the disk is short. Blocks.
    pub(crate) fn relieve(&self) -> Pruned {
        let gc = &self.config.gc;
        let directory = &self.config.directory;
        let short =
            || crate::sandbox::disk_usage(directory).is_some_and(|used| used > 1.0 - gc.headroom);
        if !short() {
            return Pruned::default();
        }
        self.store.relieve(&gc.excluded, &short)
    }

    /// What an operator asks for: everything goes that no container uses. Blocks.
    pub(crate) fn prune(&self, excluded: &[Reference]) -> Pruned {
        let excluded: Vec<Reference> = excluded
            .iter()
            .chain(&self.config.gc.excluded)
            .cloned()
            .collect();
        self.store.prune(&excluded)
    }
}

/// Images that stay while a container is being made of them.
#[derive(Debug, Default)]
pub(crate) struct Pulled {
    root: Option<Held>,
    volumes: Vec<Held>,
}

/// Mounts an overlay made for the purpose, where containers' will be.
fn try_overlay(directory: &Path, containerizer: &Containerizer) -> Result<(), String> {
    let probe = directory.join("tmp/overlay");
    let cannot = |error: std::io::Error| format!("cannot use {}: {error}", probe.display());
    for part in ["lower", "upper", "work", "root"] {
        std::fs::create_dir_all(probe.join(part)).map_err(cannot)?;
    }
    let tried = containerizer.try_overlay(Overlay {
        layers: probe.clone(),
        lower: vec!["lower".to_owned()],
        upper: "upper".to_owned(),
        work: "work".to_owned(),
        mount: probe.join("root"),
    });
    // What cannot be removed now is by the store's next start.
    let _ = tepui_images::remove_tree(&probe);
    tried.map_err(|error| error.to_string())
}

/// Frees the disk of images now and then.
pub(crate) async fn collect(provisioner: Provisioner) {
    loop {
        tokio::time::sleep(provisioner.config.gc.interval).await;
        let collector = provisioner.clone();
        let collecting = tokio::task::spawn_blocking(move || collector.relieve()).await;
        if let Ok(pruned) = collecting
            && !pruned.images.is_empty()
        {
            tracing::info!(
                "the disk is short: removed the unused images {} ({} MiB)",
                pruned.images.join(", "),
                pruned.bytes >> 20
            );
        }
    }
}
