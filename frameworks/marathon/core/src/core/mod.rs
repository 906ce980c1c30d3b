//! The machine: one struct that owns all state, one entrance.

mod outbox;

use outbox::Outbox;
use tepui_model::Time;

use crate::{
    config::Config,
    input::Input,
    output::{Output, Record},
    response::Response,
};

/// Marathon's state and decisions. Exists only while its process leads: made on election from what the store holds, dropped on loss.
#[derive(Debug)]
pub struct Marathon {
    config: Config,
    outbox: Outbox,
}

/// Why the stored state cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A record is not what its key says.
    #[error(
        "the stored record {key} cannot be read: {reason}; restore it from a backup or remove it"
    )]
    Record {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A record was written by a newer release.
    #[error(
        "the stored record {key} has version {version}, which this release does not know; run the release that wrote it"
    )]
    Newer {
        /// Its key.
        key: String,
        /// Its version.
        version: u64,
    },
}

impl Marathon {
    /// Takes over what the store holds (nothing, the first time). `out` gets the view's changes, health checks and events.
    ///
    /// # Errors
    /// If a record cannot be understood: nothing is guessed and nothing is lost.
    pub fn new(
        config: Config,
        now: Time,
        records: Vec<Record>,
        out: &mut Vec<Output>,
    ) -> Result<Self, RecoverError> {
        let _ = (now, records);
        let mut marathon = Self {
            config,
            outbox: Outbox::default(),
        };
        marathon.outbox.flush(out);
        Ok(marathon)
    }

    /// The framework id under which to subscribe; none: never subscribed before.
    #[must_use]
    pub fn framework_id(&self) -> Option<&str> {
        None
    }

    /// Takes one input in, and puts out what follows from it.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        let _ = now;
        match input {
            Input::Stored { sequence } => self.outbox.stored(sequence),
            Input::Request(token, _) if self.outbox.waiting() > self.config.max_waiting_outputs => {
                let busy = "Too many changes wait for the store; try again later.";
                out.push(Output::Reply(token, Response::message(503, busy)));
            }
            Input::Request(token, _) => {
                self.outbox.push(Output::Reply(token, Response::empty(503)))
            }
            _ => {}
        }
        self.outbox.flush(out);
    }

    /// When the core wants [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }
}
