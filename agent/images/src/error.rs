//! What can go wrong with an image. Each error is a sentence for the framework's author and the operator: which image, what, what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;

/// An image that cannot be had.
#[derive(Debug, Clone)]
pub struct ImageError {
    /// As it was asked for.
    pub image: String,
    /// Why.
    pub problem: Problem,
}

impl ImageError {
    pub(crate) fn new(image: impl fmt::Display, problem: Problem) -> Self {
        Self {
            image: image.to_string(),
            problem,
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image '{}': {}", self.image, self.problem)
    }
}

impl std::error::Error for ImageError {}

/// Why an image cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// 401 or 403, after whatever credentials there are.
    #[error(
        "registry {registry} refuses access ({status}{detail}). Does the repository exist, and has --docker_config (or the task's image) credentials for {registry} that may read it?"
    )]
    Unauthorized {
        /// host:port.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What the registry says, or nothing.
        detail: String,
    },
    /// 404 for the manifest.
    #[error("registry {registry} does not have it (404{detail}). Check its name and tag")]
    NotFound {
        /// host:port.
        registry: String,
        /// What the registry says, or nothing.
        detail: String,
    },
    /// 404 for something that the manifest names.
    #[error(
        "{registry} has the image's manifest, but not its {what} {digest} (404). The image is broken there: push it again"
    )]
    Missing {
        /// host:port, or a path.
        registry: String,
        /// "layer" or "configuration".
        what: &'static str,
        /// Of what is missing.
        digest: Digest,
    },
    /// 429, again and again.
    #[error(
        "registry {registry} answers 429 (too many requests), {attempts} times within {seconds} s. Launch it again later, give --docker_config credentials with a higher limit, or set a mirror with --docker_registry_mirrors"
    )]
    TooManyRequests {
        /// host:port.
        registry: String,
        /// How often it was asked.
        attempts: usize,
        /// For how long.
        seconds: u64,
    },
    /// 5xx, again and again, or a status that makes no sense.
    #[error(
        "registry {registry} answers {status}{detail} ({attempts} attempts). Look at the registry's own log"
    )]
    Status {
        /// host:port.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What the registry says, or nothing.
        detail: String,
        /// How often it was asked.
        attempts: usize,
    },
    /// No connection, no answer.
    #[error(
        "registry {registry} cannot be reached: {cause} ({attempts} attempts). Check the network, the name, and the certificate (or --docker_insecure_registries for one without)"
    )]
    Unreachable {
        /// host:port.
        registry: String,
        /// What the network says.
        cause: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// The connection broke in the middle, again and again.
    #[error(
        "the connection to registry {registry} was cut after {got} of {size} bytes of {what} {digest}: {cause} ({attempts} attempts). Nothing of it is used; launch it again when the network is well"
    )]
    Cut {
        /// host:port.
        registry: String,
        /// "layer", "configuration", …
        what: &'static str,
        /// Of what was being read.
        digest: Digest,
        /// How much had come.
        got: u64,
        /// How much there is.
        size: u64,
        /// What the network says.
        cause: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// The content is not what its name says.
    #[error(
        "{what} has the wrong digest: it should be {expected} and is {got}. It was damaged or replaced on its way from {from}; nothing of it is used"
    )]
    WrongDigest {
        /// "layer", "manifest", "unpacked layer", …
        what: &'static str,
        /// As named.
        expected: Digest,
        /// As computed.
        got: Digest,
        /// host:port, or a path.
        from: String,
    },
    /// A manifest, index or configuration that cannot be understood.
    #[error("its {what} cannot be used: {problem}")]
    Invalid {
        /// "manifest", "index", "configuration", …
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// An index without this machine's platform.
    #[error("it is not made for {wanted}, only for {found}")]
    Platform {
        /// This machine's.
        wanted: String,
        /// The index's.
        found: String,
    },
    /// An archive entry that would leave its layer, or make no sense.
    #[error("layer {layer} is refused: its entry '{entry}' {problem}")]
    Hostile {
        /// Its digest.
        layer: Digest,
        /// The path in the archive.
        entry: String,
        /// What is wrong.
        problem: String,
    },
    /// More than the bounds allow.
    #[error("layer {layer} is refused: it has more than {limit} {of} ({flag} sets the bound)")]
    TooLarge {
        /// Its digest.
        layer: Digest,
        /// The bound.
        limit: u64,
        /// "bytes", "files".
        of: &'static str,
        /// The agent's flag.
        flag: &'static str,
    },
    /// The archive ends early or is none.
    #[error("layer {layer} cannot be unpacked: {source}")]
    Unpack {
        /// Its digest.
        layer: Digest,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The disk, or a file of an archive or layout.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// "write", "read", …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Something of the machine is missing.
    #[error("{0}")]
    Machine(String),
}

impl Problem {
    pub(crate) fn disk(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk {
            action,
            path,
            source: Arc::new(source),
        }
    }

    pub(crate) fn invalid(what: &'static str, problem: impl fmt::Display) -> Self {
        Self::Invalid {
            what,
            problem: problem.to_string(),
        }
    }
}
