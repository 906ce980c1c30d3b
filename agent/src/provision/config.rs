//! How images are kept and had, decided before anything starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tepui_images::{Bounds, Credentials, Reference, RegistryOptions, StoreConfig};
use tepui_proto::mesos::v1::Image;

use super::docker::bytes;
use super::flags::ImageFlags;
use super::plan::wanted;
use crate::config::ConfigError;

/// How images are kept and had.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Where they are kept.
    pub directory: PathBuf,
    /// Where they come from.
    pub registry: RegistryOptions,
    /// How much a layer may hold.
    pub bounds: Bounds,
    /// Where a container with an image sees its sandbox.
    pub sandbox_directory: PathBuf,
    /// When unused ones go.
    pub gc: ImageGc,
}

/// When unused images go.
#[derive(Debug, Clone)]
pub struct ImageGc {
    /// Part of the disk (0 to 1) that is kept free of them.
    pub headroom: f64,
    /// How often the disk is looked at.
    pub interval: Duration,
    /// Those that never go.
    pub excluded: Vec<Reference>,
}

impl ImagesConfig {
    /// Everything by default, below this work directory.
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            directory: work_dir.join("store"),
            registry: RegistryOptions::default(),
            bounds: Bounds::default(),
            sandbox_directory: PathBuf::from("/mnt/mesos/sandbox"),
            gc: ImageGc {
                headroom: 0.1,
                interval: Duration::from_secs(60),
                excluded: Vec::new(),
            },
        }
    }

    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig {
            directory: self.directory.clone(),
            registry: self.registry.clone(),
            bounds: self.bounds,
        }
    }

    /// Judges the flags.
    pub(crate) fn from_flags(flags: &ImageFlags, work_dir: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::new(work_dir);
        let providers = flags.image_providers.as_deref().unwrap_or("docker");
        if let Some(other) = providers
            .split(',')
            .map(str::trim)
            .find(|provider| !provider.is_empty() && !provider.eq_ignore_ascii_case("docker"))
        {
            return Err(invalid(
                "image_providers",
                other,
                "only 'docker' is there; Appc is no longer kept",
            ));
        }
        if let Some(backend) = flags
            .image_provisioner_backend
            .as_deref()
            .filter(|backend| *backend != "overlay")
        {
            return Err(invalid(
                "image_provisioner_backend",
                backend,
                "only 'overlay' is there",
            ));
        }
        if let Some(directory) = &flags.docker_store_dir {
            config.directory = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        }
        if let Some(registry) = &flags.docker_registry {
            config.registry.default.clone_from(registry);
        }
        if let Some(text) = &flags.docker_config {
            let content = text_or_file("docker_config", text)?;
            config.registry.credentials = Credentials::parse(content.as_bytes())
                .map_err(|error| invalid("docker_config", "…", &error.to_string()))?;
        }
        for pair in list(flags.docker_registry_mirrors.as_deref()) {
            let (registry, mirror) = pair.split_once('=').ok_or_else(|| {
                invalid(
                    "docker_registry_mirrors",
                    pair,
                    "not registry=mirror,registry=mirror",
                )
            })?;
            let mirrors = config
                .registry
                .mirrors
                .entry(registry.to_owned())
                .or_default();
            mirrors.push(mirror.to_owned());
        }
        config.registry.insecure = list(flags.docker_insecure_registries.as_deref())
            .map(str::to_owned)
            .collect();
        if let Some(text) = &flags.image_max_layer_size {
            config.bounds.bytes = bytes(text).ok_or_else(|| {
                invalid(
                    "image_max_layer_size",
                    text,
                    "not a size such as 20GB or 512MB",
                )
            })?;
        }
        if let Some(files) = flags.image_max_layer_files {
            config.bounds.files = files;
        }
        if let Some(directory) = &flags.sandbox_directory {
            if !directory.is_absolute() || directory.components().count() < 2 {
                let shown = directory.display().to_string();
                return Err(invalid(
                    "sandbox_directory",
                    &shown,
                    "not an absolute path below /",
                ));
            }
            config.sandbox_directory.clone_from(directory);
        }
        if let Some(text) = &flags.image_gc_config {
            config.gc = gc(&text_or_file("image_gc_config", text)?)
                .map_err(|problem| invalid("image_gc_config", text, &problem))?;
        }
        Ok(config)
    }
}

fn invalid(flag: &'static str, value: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        flag,
        value: value.to_owned(),
        problem: problem.to_owned(),
    }
}

fn list(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// JSON, or the path of a file with it, with or without `file://`.
fn text_or_file(flag: &'static str, text: &str) -> Result<String, ConfigError> {
    let path = match text.strip_prefix("file://") {
        Some(path) => path,
        None if text.starts_with('/') => text,
        None => return Ok(text.to_owned()),
    };
    std::fs::read_to_string(path)
        .map_err(|error| invalid(flag, text, &format!("cannot read {path}: {error}")))
}

/// Mesos' `ImageGcConfig`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GcConfig {
    image_disk_headroom: Option<f64>,
    image_disk_watch_interval: Option<Nanoseconds>,
    #[serde(default)]
    excluded_images: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Nanoseconds {
    nanoseconds: i64,
}

fn gc(text: &str) -> Result<ImageGc, String> {
    let read: GcConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let headroom = read.image_disk_headroom.unwrap_or(0.1);
    if !(0.0..=1.0).contains(&headroom) {
        return Err(format!(
            "image_disk_headroom {headroom} is not between 0 and 1"
        ));
    }
    let nanoseconds = read
        .image_disk_watch_interval
        .map_or(3_600_000_000_000, |it| it.nanoseconds);
    let interval =
        u64::try_from(nanoseconds).map_err(|_| "image_disk_watch_interval is negative")?;
    let mut excluded = Vec::new();
    for value in read.excluded_images {
        let image: Image = tepui_proto::json::from_slice(value.to_string().as_bytes())
            .map_err(|error| format!("excluded_images: {error}"))?;
        excluded.push(wanted(&image)?.reference);
    }
    Ok(ImageGc {
        headroom,
        interval: Duration::from_nanos(interval).max(Duration::from_secs(1)),
        excluded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesos_configuration_of_collection_is_read() {
        let read = gc(r#"{"image_disk_headroom":0.2,"image_disk_watch_interval":{"nanoseconds":5000000000},"excluded_images":[{"type":"DOCKER","docker":{"name":"busybox"}}]}"#).unwrap();
        assert_eq!(
            (read.headroom, read.interval),
            (0.2, Duration::from_secs(5))
        );
        assert_eq!(read.excluded[0].to_string(), "library/busybox:latest");
        for (bad, why) in [
            ("{\"image_disk_headroom\":2}", "not between"),
            ("{\"headroom\":0.1}", "unknown field"),
            (
                "{\"excluded_images\":[{\"type\":\"APPC\",\"appc\":{\"name\":\"x\"}}]}",
                "APPC",
            ),
        ] {
            assert!(gc(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn flags_are_judged() {
        let work = Path::new("/w");
        let good = ImageFlags {
            docker_registry: Some("https://r".to_owned()),
            docker_registry_mirrors: Some(
                "docker.io=http://m1, docker.io=m2,quay.io=m3".to_owned(),
            ),
            docker_insecure_registries: Some("a:80,b".to_owned()),
            image_max_layer_size: Some("512MB".to_owned()),
            ..ImageFlags::default()
        };
        let config = ImagesConfig::from_flags(&good, work).unwrap();
        assert_eq!(config.directory, Path::new("/w/store"));
        assert_eq!(config.registry.mirrors["docker.io"], ["http://m1", "m2"]);
        assert_eq!(
            (config.registry.insecure.len(), config.bounds.bytes),
            (2, 512 << 20)
        );
        for (flags, why) in [
            (
                ImageFlags {
                    image_providers: Some("docker,appc".to_owned()),
                    ..ImageFlags::default()
                },
                "only 'docker'",
            ),
            (
                ImageFlags {
                    image_provisioner_backend: Some("copy".to_owned()),
                    ..ImageFlags::default()
                },
                "only 'overlay'",
            ),
            (
                ImageFlags {
                    sandbox_directory: Some("/".into()),
                    ..ImageFlags::default()
                },
                "absolute path below /",
            ),
            (
                ImageFlags {
                    docker_config: Some("{".to_owned()),
                    ..ImageFlags::default()
                },
                "no docker config.json",
            ),
        ] {
            let error = ImagesConfig::from_flags(&flags, work)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
