//! How the program that runs a master lets operators change its log.

use std::sync::Arc;

/// Sets how much the process logs: level 0 is what it was started with, 1 adds debugging, anything above everything.
#[derive(Clone)]
pub struct LogDial(Arc<Turn>);

type Turn = dyn Fn(u32) -> Result<(), String> + Send + Sync;

impl LogDial {
    /// A dial that does this; an error is a sentence for the operator.
    pub fn new(turn: impl Fn(u32) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(turn))
    }

    pub(crate) fn turn(&self, level: u32) -> Result<(), String> {
        (self.0)(level)
    }
}

impl std::fmt::Debug for LogDial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogDial")
    }
}

impl PartialEq for LogDial {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
