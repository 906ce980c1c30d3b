//! The task that holds the subscription.

use std::sync::Arc;

use tepui_coordination::Detector;
use tokio::sync::{mpsc, watch};

use super::FrameworkBuilder;
use super::driver::Status;
use super::event::Event;
use super::offer::Held;
use super::outbox::Outbox;
use crate::error::Error;

pub(super) struct Session {
    builder: FrameworkBuilder,
    detector: Detector,
    events: mpsc::Sender<Result<Event, Error>>,
    status: watch::Sender<Status>,
    outbox: Arc<Outbox>,
    held: Arc<Held>,
}

impl Session {
    pub(super) fn new(
        builder: FrameworkBuilder,
        detector: Detector,
        events: mpsc::Sender<Result<Event, Error>>,
        status: watch::Sender<Status>,
        outbox: Arc<Outbox>,
        held: Arc<Held>,
    ) -> Self {
        Self {
            builder,
            detector,
            events,
            status,
            outbox,
            held,
        }
    }

    /// Runs until the framework ends.
    pub(super) async fn run(mut self) {
        self.detector.wait().await;
    }
}
