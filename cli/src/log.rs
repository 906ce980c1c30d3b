//! The log of this process: to standard error, as `TEPUI_LOG` says, until an operator asks for more or less.
//!
//! The master's operators raise the level of everything that is Tepui's, Marathon's set that of single loggers. Both may be in one process, so
//! what they ask for is kept apart and joined: what was from the start, then the master's, then Marathon's; of two that say something about
//! the same the later counts.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

/// Changes what is logged.
#[derive(Clone)]
pub(crate) struct Log {
    at_start: Arc<str>,
    asked: Arc<Mutex<Asked>>,
    reload: Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

/// What operators ask for beyond the start, as a filter's text.
#[derive(Clone, Debug, Default)]
struct Asked {
    master: String,
    marathon: String,
}

impl Asked {
    fn joined(&self, at_start: &str) -> String {
        let parts = [at_start, &self.master, &self.marathon];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(",")
    }
}

impl Log {
    /// Begins to log. `TEPUI_LOG` says what (`debug`, `tepui_agent=trace,info`), `default` if it does not or cannot be read.
    pub(crate) fn start(default: &str) -> Self {
        let named = std::env::var("TEPUI_LOG").ok();
        let wanted = named.filter(|text| EnvFilter::try_new(text).is_ok());
        let at_start: Arc<str> = wanted.as_deref().unwrap_or(default).into();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(&*at_start))
            .with_writer(std::io::stderr)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Self {
            at_start,
            asked: Arc::default(),
            reload: Arc::new(move |filter| {
                handle.reload(filter).map_err(|error| error.to_string())
            }),
        }
    }

    fn turn(&self, change: impl FnOnce(&mut Asked)) -> Result<(), String> {
        let mut asked = self.asked.lock();
        let mut wanted = asked.clone();
        change(&mut wanted);
        let filter = EnvFilter::try_new(wanted.joined(&self.at_start));
        (self.reload)(filter.map_err(|error| error.to_string())?)?;
        *asked = wanted;
        Ok(())
    }

    /// For the master's operators.
    pub(crate) fn of_master(&self) -> tepui_master::LogDial {
        let log = self.clone();
        tepui_master::LogDial::new(move |level| {
            let wanted = match level {
                0 => "",
                1 => "tepui=debug",
                _ => "tepui=trace",
            };
            log.turn(|asked| wanted.clone_into(&mut asked.master))
        })
    }

    /// For Marathon's.
    pub(crate) fn of_marathon(&self) -> tepui_marathon::LogDial {
        let log = self.clone();
        tepui_marathon::LogDial::new(&self.at_start, move |wanted| {
            log.turn(|asked| wanted.clone_into(&mut asked.marathon))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_joined_and_what_cannot_be_read_changes_nothing() {
        let filters: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&filters);
        let log = Log {
            at_start: "tepui_sdk=warn,info".into(),
            asked: Arc::default(),
            reload: Arc::new(move |filter| {
                kept.lock().push(filter.to_string());
                Ok(())
            }),
        };
        let (turn_marathon, turn_master) = (
            |text: &str| log.turn(|asked| text.clone_into(&mut asked.marathon)),
            |text: &str| log.turn(|asked| text.clone_into(&mut asked.master)),
        );
        turn_marathon("error,tepui_marathon=debug").expect("good");
        turn_master("tepui=trace").expect("good");
        turn_marathon("tepui_marathon=loud").expect_err("no level");
        turn_marathon("").expect("good");
        turn_master("").expect("good");
        let filters: Vec<Vec<String>> = filters
            .lock()
            .iter()
            .map(|filter| {
                let mut all: Vec<String> = filter.split(',').map(str::to_owned).collect();
                all.sort();
                all
            })
            .collect();
        assert_eq!(
            filters,
            [
                vec!["error", "tepui_marathon=debug", "tepui_sdk=warn"],
                vec![
                    "error",
                    "tepui=trace",
                    "tepui_marathon=debug",
                    "tepui_sdk=warn"
                ],
                vec!["info", "tepui=trace", "tepui_sdk=warn"],
                vec!["info", "tepui_sdk=warn"],
            ]
        );
    }
}
