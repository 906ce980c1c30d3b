//! What an image is called, as Docker reads it: `[registry[:port]/]repository[:tag][@digest]`; and two ways to name one on the disk.
//!
//! | written | what |
//! | --- | --- |
//! | `busybox` | `library/busybox:latest` of the default registry |
//! | `team/app:1.2` | `team/app` of the default registry |
//! | `registry.local:5000/app@sha256:…` | exactly this content: the first part has a dot or a colon, or is `localhost` |
//! | `oci:/path/to/layout[:tag]` | an OCI layout directory |
//! | `docker-archive:/path/to/file.tar[:name:tag]` | a file that `docker save` wrote |

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::Digest;

/// The registry that names without one belong to, under the name that Docker gives it.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// The longest repository name that registries take.
const MAX_REPOSITORY_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// A name that cannot be one of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no image reference: {problem}")]
pub struct ReferenceError {
    /// Its first characters.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// What an image is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// Of a registry.
    Registry {
        /// host[:port]; `None` is the default registry.
        host: Option<String>,
        /// Below it, `library/` included.
        repository: String,
        /// `latest` if neither tag nor digest is given.
        tag: Option<String>,
        /// What its content must be.
        digest: Option<Digest>,
    },
    /// Of an OCI layout directory.
    Layout {
        /// Absolute.
        path: PathBuf,
        /// The one with this name; the only one if there is no name.
        tag: Option<String>,
    },
    /// Of a `docker save` archive.
    Archive {
        /// Absolute.
        path: PathBuf,
        /// `name:tag`, as in the archive's list; the only one if there is no name.
        name: Option<String>,
    },
}

impl Reference {
    /// What is asked of the registry: digest or tag.
    pub(crate) fn version(&self) -> String {
        match self {
            Self::Registry {
                digest: Some(digest),
                ..
            } => digest.to_string(),
            Self::Registry { tag: Some(tag), .. } => tag.clone(),
            _ => "latest".to_owned(),
        }
    }

    /// Whether its content can never change.
    pub(crate) fn is_pinned(&self) -> bool {
        matches!(
            self,
            Self::Registry {
                digest: Some(_),
                ..
            }
        )
    }

    /// Reads a name as Mesos' `--docker_registry=/directory` files it: `<directory>/<name>:<tag>.tar`.
    pub(crate) fn file_name(&self) -> Option<String> {
        let Self::Registry {
            host,
            repository,
            tag,
            ..
        } = self
        else {
            return None;
        };
        let host = host
            .as_ref()
            .map(|host| format!("{host}/"))
            .unwrap_or_default();
        // As it was written: without the part that was added to it.
        let written = repository.strip_prefix("library/").unwrap_or(repository);
        let tag = tag.as_deref().unwrap_or("latest");
        Some(format!("{host}{written}:{tag}"))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry {
                host,
                repository,
                tag,
                digest,
            } => {
                if let Some(host) = host {
                    write!(f, "{host}/")?;
                }
                f.write_str(repository)?;
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@{digest}")?;
                }
                Ok(())
            }
            Self::Layout { path, tag } => {
                write!(f, "oci:{}", path.display())?;
                tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
            }
            Self::Archive { path, name } => {
                write!(f, "docker-archive:{}", path.display())?;
                name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
            }
        }
    }
}

/// A path and what follows its first colon.
fn on_disk(rest: &str) -> Result<(PathBuf, Option<String>), &'static str> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name.to_owned())),
        None => (rest, None),
    };
    if !path.starts_with('/') || path.contains('\0') {
        return Err("the path behind the first colon is not absolute");
    }
    if name.as_deref() == Some("") {
        return Err("there is nothing behind the last colon");
    }
    Ok((Path::new(path).to_owned(), name))
}

fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let wrong = "the registry's name is not host or host:port";
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let v6 = name.starts_with('[')
        && name.ends_with(']')
        && name[1..name.len() - 1]
            .parse::<std::net::Ipv6Addr>()
            .is_ok();
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let named = name.chars().all(plain) && edge(name.chars().next()) && edge(name.chars().last());
    if !(v6 || named) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(wrong);
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > MAX_REPOSITORY_BYTES {
        return Err("the repository's name is longer than 255 bytes");
    }
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("the repository's name has capitals; registries know small letters only");
    }
    let part = |part: &str| {
        let edge = |byte: Option<u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        edge(part.bytes().next())
            && edge(part.bytes().next_back())
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || matches!(byte, b'.' | b'_' | b'-')
            })
            && !part.contains("..")
    };
    if repository.split('/').all(part) {
        Ok(())
    } else {
        Err("the repository's name is made of small letters, digits, '.', '_', '-' and '/'")
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = tag
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first && tag.len() <= MAX_TAG_BYTES && tag.bytes().all(plain) {
        Ok(())
    } else {
        Err("the tag is made of at most 128 letters, digits, '_', '.' and '-'")
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if let Some(rest) = text.strip_prefix("oci:") {
        let (path, tag) = on_disk(rest)?;
        return Ok(Reference::Layout { path, tag });
    }
    if let Some(rest) = text.strip_prefix("docker-archive:") {
        let (path, name) = on_disk(rest)?;
        return Ok(Reference::Archive { path, name });
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| "behind the '@' is no sha256 digest")?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (host, rest) = match rest.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(first), rest),
        _ => (None, rest),
    };
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag.to_owned())),
        None => (rest, None),
    };
    if repository.is_empty() {
        return Err("it is empty");
    }
    if let Some(host) = host {
        check_host(host)?;
    }
    check_repository(repository)?;
    if let Some(tag) = &tag {
        check_tag(tag)?;
    }
    // Docker's own registry under its several names is the one that names without a registry mean.
    let hub = |host: &str| {
        matches!(
            host,
            DOCKER_HUB | "index.docker.io" | "registry-1.docker.io"
        )
    };
    let explicit = host.filter(|host| !hub(host));
    let on_hub = explicit.is_none() && !repository.contains('/');
    Ok(Reference::Registry {
        host: host.map(|host| if hub(host) { DOCKER_HUB } else { host }.to_owned()),
        repository: if on_hub {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        },
        tag: tag.or_else(|| digest.is_none().then(|| "latest".to_owned())),
        digest,
    })
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text.trim()).map_err(|problem| ReferenceError {
            text: text.chars().take(200).collect(),
            problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (written, read) in [
            ("busybox", "library/busybox:latest"),
            ("busybox:1.35", "library/busybox:1.35"),
            ("team/app", "team/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
            ("[::1]:5000/a:b", "[::1]:5000/a:b"),
            ("gcr.io/x/y:z_1.0-r", "gcr.io/x/y:z_1.0-r"),
            ("oci:/var/images/app", "oci:/var/images/app"),
            ("oci:/var/images/app:v1", "oci:/var/images/app:v1"),
            ("docker-archive:/a.tar:x:y", "docker-archive:/a.tar:x:y"),
        ] {
            assert_eq!(written.parse::<Reference>().unwrap().to_string(), read);
        }
        let pinned: Reference = format!("busybox@{D}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("library/busybox@{D}"));
        assert!(pinned.is_pinned() && pinned.version() == D);
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_cause() {
        for (bad, why) in [
            ("", "empty"),
            ("Busybox", "capitals"),
            ("a//b", "small letters"),
            ("../etc", "host:port"),
            ("a/../b", "small letters"),
            ("a b", "small letters"),
            ("a:", "tag"),
            ("a:b/c", "host:port"),
            ("a:.x", "tag"),
            ("a@sha256:12", "digest"),
            ("host:port/a", "host:port"),
            ("oci:relative", "absolute"),
            ("oci:/a:", "nothing behind"),
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn files_of_a_local_registry_are_called_as_in_mesos() {
        for (written, file) in [
            ("busybox", "busybox:latest"),
            ("team/app:1", "team/app:1"),
            ("h:1/app:1", "h:1/app:1"),
        ] {
            assert_eq!(
                written.parse::<Reference>().unwrap().file_name().unwrap(),
                file
            );
        }
    }
}
