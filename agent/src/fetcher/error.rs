//! Why something could not be fetched.

/// A URI, and why it could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{uri}': {cause}")]
pub(crate) struct FetchError {
    /// Without a password.
    pub(super) uri: String,
    pub(super) cause: Cause,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    /// It asks for what cannot be.
    #[error("{0}")]
    Uri(String),
    /// The server's doing, or that of the way to it.
    #[error("{0}")]
    Remote(String),
    /// A file of this machine, or the sandbox's disk.
    #[error("cannot {action} {subject}: {why}")]
    Local {
        action: &'static str,
        subject: String,
        why: String,
    },
    /// What an archive holds.
    #[error("the archive cannot be unpacked: {0}")]
    Archive(String),
    /// It is larger than the agent lets it be.
    #[error("{what} has more than {limit} {of}")]
    TooLarge {
        what: &'static str,
        limit: u64,
        of: &'static str,
    },
    /// The cache has no room for it; it is fetched past it.
    #[error("the cache has no room: {0}")]
    NoRoom(String),
    /// Nobody waits for it any more.
    #[error("it was abandoned")]
    Abandoned,
}

impl Cause {
    /// A failure of the system, in words.
    pub(super) fn local(
        action: &'static str,
        subject: impl ToString,
    ) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Local {
            action,
            subject: subject.to_string(),
            why: error.to_string(),
        }
    }
}
