//! The agent's flags about images, under Mesos' names where it has them.

use std::path::PathBuf;

use clap::Args;

/// The agent's flags about images.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct ImageFlags {
    /// Registry of image names without one: an address, or a directory with name:tag.tar archives of 'docker save' [default: https://registry-1.docker.io]
    #[arg(long, alias = "docker-registry")]
    pub docker_registry: Option<String>,
    /// Credentials for registries: a docker config.json, as text or as file:///path
    #[arg(long, alias = "docker-config")]
    pub docker_config: Option<String>,
    /// Where images are kept [default: store/ below --work_dir]
    #[arg(long, alias = "docker-store-dir")]
    pub docker_store_dir: Option<PathBuf>,
    /// Registries that are asked first: 'docker.io=http://mirror:5000,quay.io=…', several for one registry in their order
    #[arg(long, alias = "docker-registry-mirrors")]
    pub docker_registry_mirrors: Option<String>,
    /// Registries that are spoken to without TLS: 'host:port,host'; those on loopback addresses are in any case
    #[arg(long, alias = "docker-insecure-registries")]
    pub docker_insecure_registries: Option<String>,
    /// Only 'docker' is there, and always on
    #[arg(long, alias = "image-providers")]
    pub image_providers: Option<String>,
    /// Only 'overlay' is there
    #[arg(long, alias = "image-provisioner-backend")]
    pub image_provisioner_backend: Option<String>,
    /// When unused images go, as JSON or file:///path: image_disk_headroom, image_disk_watch_interval, excluded_images [default: a headroom of 0.1, looked at every minute]
    #[arg(long, alias = "image-gc-config")]
    pub image_gc_config: Option<String>,
    /// The most bytes that a layer may hold, packed or unpacked [default: 20GB]
    #[arg(long, alias = "image-max-layer-size")]
    pub image_max_layer_size: Option<String>,
    /// The most files that a layer may hold [default: 1000000]
    #[arg(long, alias = "image-max-layer-files")]
    pub image_max_layer_files: Option<u64>,
    /// Where a container with an image sees its sandbox [default: /mnt/mesos/sandbox]
    #[arg(long, alias = "sandbox-directory")]
    pub sandbox_directory: Option<PathBuf>,
}

impl ImageFlags {
    /// Those that are set, as text. Credentials are not shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let hidden = |text: &Option<String>| {
            let shown = |text: &String| {
                if text.starts_with("file://") {
                    text.clone()
                } else {
                    "***".to_owned()
                }
            };
            text.as_ref().map(shown)
        };
        [
            ("docker_registry", self.docker_registry.clone()),
            ("docker_config", hidden(&self.docker_config)),
            ("docker_store_dir", path(&self.docker_store_dir)),
            (
                "docker_registry_mirrors",
                self.docker_registry_mirrors.clone(),
            ),
            (
                "docker_insecure_registries",
                self.docker_insecure_registries.clone(),
            ),
            ("image_providers", self.image_providers.clone()),
            (
                "image_provisioner_backend",
                self.image_provisioner_backend.clone(),
            ),
            ("image_gc_config", self.image_gc_config.clone()),
            ("image_max_layer_size", self.image_max_layer_size.clone()),
            (
                "image_max_layer_files",
                self.image_max_layer_files.map(|files| files.to_string()),
            ),
            ("sandbox_directory", path(&self.sandbox_directory)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}
