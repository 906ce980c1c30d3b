//! Why a JSON text was not taken.

/// Why a JSON text was not taken. The sentences are Mesos' own where it has one; clients show them to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no JSON.
    #[error("syntax error at byte {at_byte}: {what}")]
    Syntax {
        /// Counted from 0.
        at_byte: usize,
        /// What was expected or found there.
        what: &'static str,
    },
    /// A value does not fit its field.
    #[error("{what} for field '{path}'")]
    Field {
        /// Such as `accept.operations[0].launch`.
        path: String,
        /// The beginning of the sentence.
        what: String,
    },
    /// The whole text is not an object.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// Required fields are not there.
    #[error("Missing required fields: {}", paths.join(", "))]
    Missing {
        /// The paths of the first of them.
        paths: Vec<String>,
    },
    /// The text is too long to be looked at.
    #[error("longer than {limit_bytes} bytes")]
    TooLong {
        /// The bound.
        limit_bytes: usize,
    },
}

impl Error {
    /// Whether the text is no JSON at all, as opposed to JSON that does not fit the message.
    pub fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax { .. } | Self::TooLong { .. })
    }
}
