//! How a running process changes what it logs.

use std::sync::Arc;

type Turn = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Changes what this process logs while it runs: the program that set the log up gives one to [`Config`](crate::Config), or none if it cannot be
/// changed.
#[derive(Clone)]
pub struct LogDial {
    /// What is logged from the start, as `info` or `tepui_marathon=debug,warn`.
    at_start: Arc<str>,
    turn: Arc<Turn>,
}

impl LogDial {
    /// `at_start` is what is logged as long as nobody changes it, in the form of `tracing_subscriber::EnvFilter`. `turn` gets what is to be
    /// logged beyond that or instead of it, in the same form, empty for nothing; it says why it cannot.
    pub fn new(
        at_start: &str,
        turn: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            at_start: at_start.into(),
            turn: Arc::new(turn),
        }
    }

    pub(crate) fn at_start(&self) -> &str {
        &self.at_start
    }

    pub(crate) fn turn(&self, directives: &str) -> Result<(), String> {
        (self.turn)(directives)
    }
}

impl std::fmt::Debug for LogDial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LogDial({})", self.at_start)
    }
}
