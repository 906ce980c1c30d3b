//! The commands of application owners and operators. Each uses only what any other client could: the public APIs.

pub(crate) mod app;
mod autoscale;
pub(crate) mod deployment;
mod ended;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod framework;
pub(crate) mod group;
pub(crate) mod image;
mod instances;
pub(crate) mod maintenance;
pub(crate) mod node;
pub(crate) mod plan;
pub(crate) mod pod;
pub(crate) mod role;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod task;
mod trial;
mod upkeep;

use serde_json::Value;

use crate::client::{ClientError, Cluster};

/// Why a command failed. Every message is one sentence that says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The cluster refused, or is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file that was named cannot be used.
    #[error("{path}: {reason}")]
    Input { path: String, reason: String },
    /// Anything else that went wrong.
    #[error("{0}")]
    Failed(String),
    /// Nothing went wrong: the command tells its outcome by its exit code, and has said the rest.
    #[error("exit code {0}")]
    Exit(u8),
}

impl CommandError {
    /// The process's exit code: 2 for bad input, 1 for all else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } => 2,
            Self::Exit(code) => *code,
            _ => 1,
        }
    }
}

/// Where a command writes to and what it talks to.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) cluster: Cluster,
    /// Print JSON for scripts rather than tables for people.
    pub(crate) json: bool,
}

/// Prints a document for scripts.
pub(crate) fn print_json(document: &Value) {
    println!("{document:#}");
}

/// A string member of a document; empty where it is absent.
pub(crate) fn text<'a>(document: &'a Value, key: &str) -> &'a str {
    document[key].as_str().unwrap_or("")
}

/// A number as people write it: `0.1`, `2`.
pub(crate) fn number(value: &Value) -> String {
    match value {
        Value::Number(n) => n.as_i64().map_or_else(
            || {
                // Not as exact as a float is: Mesos adds 0.1 up to 1.2000000000000002.
                let rounded = |f: f64| (f * 1e9).round() / 1e9;
                n.as_f64()
                    .map_or_else(|| n.to_string(), |f| rounded(f).to_string())
            },
            |i| i.to_string(),
        ),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// The elements of an array member.
pub(crate) fn items<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map_or(&[], Vec::as_slice)
}
