//! Stable ordinals: with the label `TEPUI_ORDINALS: "true"` each instance has a number from 0 on, which it is told.
//!
//! A label because clients of `/v2` are strict about keys, and part of the definition as everything that decides what instances are.

use super::{App, Faults};

/// See the module.
const LABEL: &str = "TEPUI_ORDINALS";

impl App {
    /// Its instances are numbered.
    #[must_use]
    pub fn has_ordinals(&self) -> bool {
        self.labels.get(LABEL).is_some_and(|value| value == "true")
    }
}

pub(in crate::definition) fn validate(app: &App, faults: &mut Faults) {
    let path = format!("/labels({LABEL})");
    if let Some(value) = app.labels.get(LABEL)
        && value != "true"
        && value != "false"
    {
        faults.add(path, format!("got {value}, expected true or false"));
    } else if app.has_ordinals() && app.is_daemon() {
        let message = "instances of a daemon app are told apart by their agents, not by ordinals";
        faults.add(path, message);
    }
}
