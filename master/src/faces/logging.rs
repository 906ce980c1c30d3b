//! How much is logged, raised for a while by operators: SET_LOGGING_LEVEL and `/logging/toggle`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tracing::info;

use super::Face;
use super::asked::{Asked, Response, empty, text};
use crate::config::parse_duration;
use crate::log_dial::LogDial;

/// The present level, and who turns it.
#[derive(Debug)]
pub(crate) struct Logging {
    dial: Option<LogDial>,
    /// The level, and how often it was set: only the last one who set it sets it back.
    now: Mutex<(u32, u64)>,
}

impl Logging {
    pub(crate) fn new(dial: Option<LogDial>) -> Self {
        Self {
            dial,
            now: Mutex::new((0, 0)),
        }
    }

    /// 0 unless somebody raised it.
    pub(crate) fn level(&self) -> u32 {
        self.now.lock().0
    }

    /// Sets the level; the number names this setting for [`Self::unset`].
    fn set(&self, level: u32) -> Result<u64, Response> {
        let Some(dial) = &self.dial else {
            return Err(text(
                StatusCode::NOT_IMPLEMENTED,
                "The log of this process cannot be changed while it runs",
            ));
        };
        let mut now = self.now.lock();
        dial.turn(level)
            .map_err(|why| text(StatusCode::INTERNAL_SERVER_ERROR, why))?;
        *now = (level, now.1 + 1);
        Ok(now.1)
    }

    /// Back to 0, unless somebody else has set it since.
    fn unset(&self, setting: u64) {
        let mut now = self.now.lock();
        if now.1 == setting
            && let Some(dial) = &self.dial
            && dial.turn(0).is_ok()
        {
            now.0 = 0;
        }
    }
}

/// Raises the level for a while.
pub(super) fn set(face: &Arc<Face>, level: u32, lasting: Duration) -> Response {
    match face.logging.set(level) {
        Ok(setting) => {
            info!(?lasting, "the log's level is {level}");
            let face = face.clone();
            tokio::spawn(async move {
                tokio::time::sleep(lasting).await;
                face.logging.unset(setting);
            });
            empty(StatusCode::OK)
        }
        Err(refusal) => refusal,
    }
}

/// `/logging/toggle`: the level as a line of text, or with `level` and `duration` a new one for a while.
pub(super) async fn toggle(face: Arc<Face>, asked: Asked) -> Response {
    let parameters = asked.parameters();
    let bad = |why: &str| text(StatusCode::BAD_REQUEST, why);
    match (parameters.get("level"), parameters.get("duration")) {
        (None, None) => text(StatusCode::OK, format!("{}\n", face.logging.level())),
        (None, Some(_)) => bad("Expecting 'level=value' in query."),
        (Some(_), None) => bad("Expecting 'duration=value' in query."),
        (Some(level), Some(duration)) => match (level.parse(), parse_duration(duration)) {
            (Err(_), _) => bad("Expecting 'level' to be a number from 0."),
            (_, None) => bad("Expecting 'duration' to be a duration such as 5secs."),
            (Ok(level), Some(duration)) => set(&face, level, duration),
        },
    }
}
