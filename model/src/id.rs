//! Typed ids: a task id can never be taken for an offer id, and a clone costs a reference count.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Ids have at least one character.
    #[error("ID must not be empty")]
    Empty,
    /// Ids end up in directory names, which hold 255 bytes.
    #[error("ID must not be greater than {max} characters")]
    TooLong {
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// `.` and `..` mean something else in a path.
    #[error("'{0}' is disallowed")]
    Reserved(String),
    /// A path separator, a control character, or for container ids a dot or a blank.
    #[error("'{id}' contains invalid characters")]
    InvalidCharacter {
        /// The refused id.
        id: String,
    },
}

/// The longest id, in bytes.
const ID_MAX_BYTES: usize = 255;
/// The longest container id, in bytes: it is prefixed in file names.
const CONTAINER_ID_MAX_BYTES: usize = 242;

fn validate(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    if id.len() > ID_MAX_BYTES {
        return Err(IdError::TooLong { max: ID_MAX_BYTES });
    }
    if id == "." || id == ".." {
        return Err(IdError::Reserved(id.to_owned()));
    }
    if id.chars().any(|c| c == '/' || c == '\\' || c.is_control()) {
        return Err(IdError::InvalidCharacter { id: id.to_owned() });
    }
    Ok(())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the id rules: 1 to 255 bytes, no `/`, `\` or control character, not `.` or `..`.
            pub fn new(id: impl AsRef<str>) -> Result<Self, IdError> {
                validate(id.as_ref())?;
                Ok(Self(Arc::from(id.as_ref())))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(id: String) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A master process: a random UUID, the prefix of the framework, agent and offer ids that it issues.
    MasterId;
    /// An agent, for its whole life, over restarts and masters.
    AgentId;
    /// A framework, over re-subscriptions and masters.
    FrameworkId;
    /// A task; unique within its framework.
    TaskId;
    /// An executor; unique within its framework and agent.
    ExecutorId;
    /// An offer or inverse offer; both are counted together.
    OfferId;
    /// An offer operation whose author wants feedback.
    OperationId;
    /// A provider of resources beside the agent itself.
    ResourceProviderId;
}

impl FrameworkId {
    /// The `number`th framework that `master` has admitted: `<master>-0000`.
    pub fn numbered(master: &MasterId, number: u64) -> FrameworkId {
        FrameworkId(Arc::from(format!("{master}-{number:04}")))
    }
}

impl AgentId {
    /// The `number`th agent that `master` has admitted: `<master>-S0`.
    pub fn numbered(master: &MasterId, number: u64) -> AgentId {
        AgentId(Arc::from(format!("{master}-S{number}")))
    }
}

impl OfferId {
    /// The `number`th offer that `master` has made: `<master>-O0`.
    pub fn numbered(master: &MasterId, number: u64) -> OfferId {
        OfferId(Arc::from(format!("{master}-O{number}")))
    }
}

/// A container, with its parents if it is nested. Its text form joins the chain with dots, outermost first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    parent: Option<Arc<ContainerId>>,
    value: Arc<str>,
}

impl ContainerId {
    /// A container that is not nested. The id rules hold, with at most 242 bytes and neither dot nor blank.
    pub fn new(value: impl AsRef<str>) -> Result<ContainerId, IdError> {
        ContainerId::with_parent(value.as_ref(), None)
    }

    /// A container nested in `self`.
    pub fn nested(&self, value: impl AsRef<str>) -> Result<ContainerId, IdError> {
        ContainerId::with_parent(value.as_ref(), Some(Arc::new(self.clone())))
    }

    fn with_parent(value: &str, parent: Option<Arc<ContainerId>>) -> Result<ContainerId, IdError> {
        validate(value)?;
        if value.len() > CONTAINER_ID_MAX_BYTES {
            return Err(IdError::TooLong {
                max: CONTAINER_ID_MAX_BYTES,
            });
        }
        if value.contains(['.', ' ']) {
            return Err(IdError::InvalidCharacter {
                id: value.to_owned(),
            });
        }
        Ok(ContainerId {
            parent,
            value: Arc::from(value),
        })
    }

    /// This container's own part of the id.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The container that this one is nested in.
    pub fn parent(&self) -> Option<&ContainerId> {
        self.parent.as_deref()
    }

    /// The outermost container of the chain.
    pub fn root(&self) -> &ContainerId {
        let mut container = self;
        while let Some(parent) = container.parent() {
            container = parent;
        }
        container
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chain = vec![self];
        while let Some(parent) = chain[chain.len() - 1].parent() {
            chain.push(parent);
        }
        for (index, container) in chain.iter().rev().enumerate() {
            f.write_str(if index > 0 { "." } else { "" })?;
            f.write_str(&container.value)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContainerId {
    type Err = IdError;
    /// Reads the dotted text form.
    fn from_str(text: &str) -> Result<ContainerId, IdError> {
        let mut parts = text.split('.');
        let mut container = ContainerId::new(parts.next().unwrap_or_default())?;
        for part in parts {
            container = container.nested(part)?;
        }
        Ok(container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_rules() {
        let long = "x".repeat(256);
        let cases: [(&str, Result<(), IdError>); 9] = [
            ("a", Ok(())),
            ("web.1 of \u{e9}", Ok(())),
            (&long[..255], Ok(())),
            ("", Err(IdError::Empty)),
            (&long, Err(IdError::TooLong { max: 255 })),
            ("..", Err(IdError::Reserved("..".into()))),
            ("a/b", Err(IdError::InvalidCharacter { id: "a/b".into() })),
            ("a\\b", Err(IdError::InvalidCharacter { id: "a\\b".into() })),
            (
                "a\u{7f}",
                Err(IdError::InvalidCharacter {
                    id: "a\u{7f}".into(),
                }),
            ),
        ];
        for (id, expected) in cases {
            assert_eq!(TaskId::new(id).map(|_| ()), expected, "{id:?}");
        }
    }

    #[test]
    fn numbered_ids_have_the_form_of_mesos() {
        let master = MasterId::new("6f2b").unwrap();
        assert_eq!(FrameworkId::numbered(&master, 7).as_str(), "6f2b-0007");
        assert_eq!(
            FrameworkId::numbered(&master, 12_345).as_str(),
            "6f2b-12345"
        );
        assert_eq!(AgentId::numbered(&master, 3).as_str(), "6f2b-S3");
        assert_eq!(OfferId::numbered(&master, 0).as_str(), "6f2b-O0");
    }

    #[test]
    fn container_ids_nest() {
        let c = ContainerId::new("a")
            .unwrap()
            .nested("b")
            .unwrap()
            .nested("c")
            .unwrap();
        assert_eq!(c.to_string(), "a.b.c");
        assert_eq!("a.b.c".parse::<ContainerId>().unwrap(), c);
        assert_eq!(c.root().to_string(), "a");
        assert_eq!(c.parent().unwrap().value(), "b");
        for bad in ["", ".", "a.", "a..b", "a b", "a/b"] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
        assert_eq!(
            ContainerId::new("x".repeat(243)),
            Err(IdError::TooLong { max: 242 })
        );
    }
}
