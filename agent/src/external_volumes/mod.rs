//! Volumes that are kept outside of the machine: a provider brings one here when a container wants it, and takes it away when none does any more.
//!
//! | folder or file | what for |
//! | --- | --- |
//! | `mod.rs` | the door: all kinds as one |
//! | [`room`] | the volumes of one kind: the first container has one brought, the last has it taken away |
//! | [`ledger`] | who holds what, written down so that any later life of the agent can take it away |
//! | [`storage`] | questions to the file system of a volume, which may not answer |
//! | [`docker`] | docker volume drivers, through the program `dvdcli` |
//! | [`csi`] | plugins of the Container Storage Interface |
//!
//! What it promises: a volume is brought once, however many containers of this agent hold it, and taken away once, after the last of them; the
//! end of a task is told when that is done. Whom a volume is held by is written down before it is brought. What cannot be taken away is tried
//! again.

pub(crate) mod csi;
pub(crate) mod docker;
mod ledger;
mod room;
mod storage;

use std::collections::HashSet;
use std::path::Path;

use crate::config::Config;
use crate::provision::plan::Planned;
pub use csi::{CsiConfig, CsiFlags};
pub use docker::{DockerVolumeFlags, DockerVolumesConfig, sweep as sweep_docker_volumes};

/// The volumes of all providers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ExternalVolumes {
    pub(crate) docker: docker::DockerVolumes,
    pub(crate) csi: csi::CsiVolumes,
}

impl ExternalVolumes {
    /// Reads what an earlier life has left: what containers hold that are not `alive` is taken away by [`ExternalVolumes::tend`]. Blocks.
    pub(crate) fn start(config: &Config, alive: &HashSet<String>, same_boot: bool) -> Self {
        let (docker, runtime_dir) = (&config.docker_volumes, &config.runtime_dir);
        Self {
            docker: docker::start(docker, runtime_dir, alive, same_boot),
            csi: csi::start(&config.csi, &config.work_dir, alive, same_boot),
        }
    }

    /// Whether the container holds any, or did and they are still to be taken away.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.docker.has(container) || self.csi.has(container)
    }

    /// Brings what of these volumes is a provider's, and puts in its place where it is. After an error the container is to be released.
    pub(crate) async fn mount(
        &self,
        container: &str,
        volumes: &mut [Planned],
        sandbox: &Path,
    ) -> Result<(), String> {
        self.docker.mount(container, volumes, sandbox).await?;
        self.csi.mount(container, volumes, sandbox).await
    }

    /// The container is gone, or was never launched: what nobody else holds of its volumes is taken away. Repeatable.
    pub(crate) async fn release(&self, container: &str) {
        tokio::join!(self.docker.release(container), self.csi.release(container));
    }

    /// Takes away what ended containers have left: now, and again for as long as something is left.
    pub(crate) async fn tend(&self) {
        tokio::join!(self.docker.tend(), self.csi.tend());
    }
}
