//! The launch queue's back-off: after a failure an app waits, longer with each.
//!
//! One delay for each app and configuration. It grows when an instance ends by itself, starts anew when one is launched or runs, and is
//! forgotten when it was not needed for as long as it may last, when the configuration changes, and on request.

use std::time::Duration;

use tepui_model::Time;

use crate::definition::App;

/// How long an app waits before its next launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    /// From when the delay counts.
    pub(crate) since: Time,
    /// How long it is.
    pub(crate) length: Duration,
}

impl Delay {
    /// When launches may go on.
    pub(crate) fn deadline(self) -> Time {
        self.since + self.length
    }

    /// When it is forgotten.
    pub(crate) fn forgotten_at(self, app: &App) -> Time {
        // One nanosecond later: the rule is "after".
        self.since + app.backoff().2 + Duration::from_nanos(1)
    }

    /// The delay after one more failure.
    pub(crate) fn after_failure(old: Option<Self>, app: &App, now: Time) -> Self {
        let (first, factor, max) = app.backoff();
        let length = match old.filter(|delay| now < delay.forgotten_at(app)) {
            None => first,
            Some(delay) => {
                Duration::try_from_secs_f64(delay.length.as_secs_f64() * factor).unwrap_or(max)
            }
        };
        Self {
            since: now,
            length: length.min(max),
        }
    }

    /// The same delay, counted from now.
    pub(crate) fn advanced(self, now: Time) -> Self {
        Self { since: now, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::app;

    #[test]
    fn the_delay_grows_by_its_factor_up_to_its_bound_and_is_forgotten() {
        let rounded = |seconds: f64| (seconds * 1e6).round() / 1e6;
        for (seconds, factor, max, want) in [
            (1, 1.15, 300, vec![1.0, 1.15, 1.3225, 1.520_875]),
            (1, 2.0, 5, vec![1.0, 2.0, 4.0, 5.0, 5.0]),
            (10, 2.0, 5, vec![5.0, 5.0]),
            (0, 2.0, 5, vec![0.0, 0.0]),
        ] {
            let mut app = app(r#"{"id":"/a","cmd":"sleep 1"}"#);
            (
                app.backoff_seconds,
                app.backoff_factor,
                app.max_launch_delay_seconds,
            ) = (seconds, factor, max);
            let (mut delay, mut got, mut now) = (None, Vec::new(), Time::from_secs(1000));
            for _ in &want {
                let next = Delay::after_failure(delay, &app, now);
                assert_eq!(next.deadline(), now + next.length);
                got.push(rounded(next.length.as_secs_f64()));
                now = next.deadline();
                delay = Some(next.advanced(now));
            }
            assert_eq!(got, want);
            let later = now + Duration::from_secs(max + 1);
            assert_eq!(
                Delay::after_failure(delay, &app, later).length,
                Duration::from_secs(seconds.min(max)),
                "forgotten"
            );
        }
    }
}
