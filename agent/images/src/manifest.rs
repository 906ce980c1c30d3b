//! Manifests, indexes and configurations, of OCI and of Docker (v2, schema 2): the parts that are needed.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Problem;

/// The largest manifest, index or configuration that is read.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// The most layers: overlayfs' own bound on how their names are passed is near it.
pub(crate) const MAX_LAYERS: usize = 127;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Every form of manifest that is understood, as an Accept header.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Points at a blob.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
}

/// Of one image, for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What a name can point at.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    /// Several images, for several platforms.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest or an index. `content_type` is what the registry calls it, if it says; the document's own word goes first.
pub(crate) fn read(bytes: &[u8], content_type: &str) -> Result<Document, Problem> {
    let any: Any =
        serde_json::from_slice(bytes).map_err(|error| Problem::invalid("manifest", error))?;
    if any.schema_version == Some(1) {
        return Err(Problem::invalid(
            "manifest",
            "it is of Docker's schema 1, which is no longer supported: push it again with a newer client",
        ));
    }
    let kind = [any.media_type.as_str(), content_type]
        .into_iter()
        .find(|kind| kind.starts_with("application/vnd."))
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    match (kind, any.manifests, any.config) {
        (OCI_INDEX | DOCKER_LIST | "", Some(manifests), _) => Ok(Document::Index(manifests)),
        (OCI_MANIFEST | DOCKER_MANIFEST | "", None, Some(config)) => {
            let layers = any.layers.unwrap_or_default();
            if layers.len() > MAX_LAYERS {
                return Err(Problem::invalid(
                    "manifest",
                    format!("{} layers are more than {MAX_LAYERS}", layers.len()),
                ));
            }
            if layers.is_empty() {
                return Err(Problem::invalid("manifest", "it has no layers"));
            }
            let foreign = layers
                .iter()
                .find(|layer| !layer.media_type.is_empty() && !is_layer(&layer.media_type));
            match foreign {
                Some(layer) => Err(Problem::invalid(
                    "manifest",
                    format!("a layer of type '{}' is no file system", layer.media_type),
                )),
                None => Ok(Document::Manifest(Manifest { config, layers })),
            }
        }
        ("", None, None) => Err(Problem::invalid(
            "manifest",
            "it has neither 'config' nor 'manifests'",
        )),
        (kind, ..) => Err(Problem::invalid(
            "manifest",
            format!("type '{kind}' is none that is understood, or does not fit its content"),
        )),
    }
}

fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.v1.tar")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
        || media_type.starts_with("application/vnd.docker.image.rootfs.diff.tar")
}

/// This machine's architecture as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The image for this machine.
pub(crate) fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, Problem> {
    choose_for(manifests, architecture())
}

fn choose_for(mut manifests: Vec<Descriptor>, architecture: &str) -> Result<Descriptor, Problem> {
    let fits = |one: &Descriptor| match &one.platform {
        Some(platform) => platform.os == "linux" && platform.architecture == architecture,
        None => false,
    };
    // Of several variants of one architecture the plain one, or else the first.
    let plain = |one: &Descriptor| {
        let variant = one
            .platform
            .as_ref()
            .and_then(|found| found.variant.as_deref());
        variant.is_none_or(|variant| variant == "v8" || variant == "v1")
    };
    let found = manifests
        .iter()
        .position(|one| fits(one) && plain(one))
        .or_else(|| manifests.iter().position(fits))
        // An index with a single image that says nothing of its platform.
        .or((manifests.len() == 1 && manifests[0].platform.is_none()).then_some(0));
    match found {
        Some(index) => Ok(manifests.swap_remove(index)),
        None => Err(Problem::Platform {
            wanted: format!("linux/{architecture}"),
            found: manifests
                .iter()
                .take(20)
                .map(|one| {
                    one.platform.as_ref().map_or("unknown".to_owned(), |it| {
                        format!("{}/{}", it.os, it.architecture)
                    })
                })
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// How an image wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// What always runs.
    pub entrypoint: Vec<String>,
    /// Its arguments, or what runs without an entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Absolute, or empty.
    pub working_dir: String,
    /// `user`, `user:group`, by name or number, or empty.
    pub user: String,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Inner>,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
}

/// Reads an image's configuration: how it runs, and the digests of its unpacked layers, the lowest first.
pub(crate) fn read_config(
    bytes: &[u8],
    layers: usize,
) -> Result<(ImageConfig, Vec<Digest>), Problem> {
    let wrong = |problem: String| Problem::invalid("configuration", problem);
    let file: ConfigFile =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if !matches!(file.os.as_str(), "" | "linux")
        || !(file.architecture.is_empty() || file.architecture == architecture())
    {
        return Err(Problem::Platform {
            wanted: format!("linux/{}", architecture()),
            found: format!("{}/{}", file.os, file.architecture),
        });
    }
    let diff_ids = file
        .rootfs
        .map(|rootfs| rootfs.diff_ids)
        .unwrap_or_default();
    if diff_ids.len() != layers {
        return Err(wrong(format!(
            "it names {} layers, the manifest {layers}",
            diff_ids.len()
        )));
    }
    let inner = file.config.unwrap_or_default();
    let config = ImageConfig {
        entrypoint: inner.entrypoint.unwrap_or_default(),
        cmd: inner.cmd.unwrap_or_default(),
        env: inner.env.unwrap_or_default(),
        working_dir: inner.working_dir.unwrap_or_default(),
        user: inner.user.unwrap_or_default(),
    };
    Ok((config, diff_ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(layer_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{D}","size":1}},"layers":[{{"mediaType":"{layer_type}","digest":"{D}","size":2}}]}}"#
        )
    }

    #[test]
    fn manifests_of_both_families_are_understood() {
        for (kind, layer) in [
            (OCI_MANIFEST, "application/vnd.oci.image.layer.v1.tar+zstd"),
            (
                DOCKER_MANIFEST,
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
            ("", ""),
            ("application/json; charset=utf-8", ""),
        ] {
            let read = read(manifest(layer).as_bytes(), kind).unwrap();
            assert!(matches!(read, Document::Manifest(found) if found.layers[0].size == 2));
        }
        for (text, kind, why) in [
            (manifest("text/html"), "", "no file system"),
            (manifest(""), OCI_INDEX, "does not fit"),
            (r#"{"schemaVersion":1}"#.to_owned(), "", "schema 1"),
            ("{}".to_owned(), "", "neither"),
            ("<html>".to_owned(), "", "expected"),
            (manifest("").replace(D, "sha256:../../x"), "", "no digest"),
        ] {
            let problem = read(text.as_bytes(), kind).unwrap_err().to_string();
            assert!(problem.contains(why), "{problem}");
        }
    }

    fn for_platforms(platforms: &[&str]) -> Vec<Descriptor> {
        let one = |platform: &&str| {
            let mut parts = platform.split('/').map(str::to_owned);
            Descriptor {
                media_type: String::new(),
                digest: Digest::of(platform.as_bytes()),
                size: 1,
                platform: parts.next().filter(|os| !os.is_empty()).map(|os| Platform {
                    os,
                    architecture: parts.next().unwrap_or_default(),
                    variant: parts.next(),
                }),
                annotations: Default::default(),
            }
        };
        platforms.iter().map(one).collect()
    }

    #[test]
    fn the_image_of_this_machine_is_chosen() {
        for (platforms, wanted, chosen) in [
            (
                &["windows/amd64", "linux/arm64/v8", "linux/amd64"][..],
                "amd64",
                Some(2),
            ),
            (&["linux/arm/v6", "linux/arm/v7"], "arm", Some(0)),
            (&["linux/amd64/v3", "linux/amd64"], "amd64", Some(1)),
            (&["linux/s390x"], "amd64", None),
            (&[""], "amd64", Some(0)),
            (&["", ""], "amd64", None),
            (&["unknown/unknown"], "amd64", None),
        ] {
            let all = for_platforms(platforms);
            let found = choose_for(all.clone(), wanted);
            match (found, chosen) {
                (Ok(found), Some(index)) => assert_eq!(found, all[index]),
                (Err(problem), None) => assert!(problem.to_string().contains("linux/amd64")),
                (found, _) => panic!("{platforms:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_configuration_says_how_to_run() {
        let text = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["/a"],"Cmd":null,"Env":["A=b"],"WorkingDir":"/w","User":"1:2"}},"rootfs":{{"type":"layers","diff_ids":["{D}"]}}}}"#,
            architecture()
        );
        let (config, diff_ids) = read_config(text.as_bytes(), 1).unwrap();
        assert_eq!(
            (config.entrypoint, config.cmd),
            (vec!["/a".to_owned()], vec![])
        );
        assert_eq!((config.user.as_str(), diff_ids.len()), ("1:2", 1));
        assert!(
            read_config(text.as_bytes(), 2)
                .unwrap_err()
                .to_string()
                .contains("1 layers")
        );
        let other = text.replace(architecture(), "vax");
        assert!(
            read_config(other.as_bytes(), 1)
                .unwrap_err()
                .to_string()
                .contains("linux/vax")
        );
    }
}
