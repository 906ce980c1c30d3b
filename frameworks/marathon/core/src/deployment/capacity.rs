//! The arithmetic of a rolling replacement.

use crate::definition::UpgradeStrategy;

/// Bounds that hold while old instances are replaced, and what is killed at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// So many healthy instances are kept, as far as there are any.
    pub(crate) min_healthy: usize,
    /// So many instances run at most.
    pub(crate) max_running: usize,
    /// So many old instances are killed before anything is launched.
    pub(crate) kill_now: usize,
}

/// For `target` wanted instances, `healthy` ones and `known` ones altogether. Where nothing could move, instances that keep their place
/// (`resident`) go one below the first bound; others one above the second.
pub(crate) fn capacity(
    target: usize,
    healthy: usize,
    known: usize,
    strategy: UpgradeStrategy,
    resident: bool,
) -> Capacity {
    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers of instances are far below 2^53"
    )]
    let wanted = target as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and twice the target"
    )]
    let whole = |number: f64| number as usize;
    let mut min_healthy = whole((wanted * strategy.minimum_health_capacity).ceil());
    let mut max_running = whole((wanted * (1.0 + strategy.maximum_over_capacity)).floor());
    if min_healthy == max_running && max_running <= healthy {
        if resident {
            min_healthy = min_healthy.saturating_sub(1);
        } else {
            max_running += 1;
        }
    }
    let mut kill_now = healthy.saturating_sub(min_healthy);
    if target < known {
        kill_now = kill_now.max(known - target);
    }
    Capacity {
        min_healthy,
        max_running,
        kill_now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_reference() {
        for (target, known, min, over, want) in [
            (10, 10, 1.0, 1.0, (10, 20, 0)),
            (10, 10, 0.5, 0.2, (5, 12, 5)),
            (10, 10, 1.0, 0.0, (10, 11, 0)),
            (3, 3, 0.0, 0.0, (0, 3, 3)),
            (1, 1, 0.5, 0.5, (1, 2, 0)),
            (5, 10, 1.0, 1.0, (5, 10, 5)),
            (1, 1, 0.5, 0.0, (0, 1, 1)),
            (3, 3, 1.0, 0.0, (2, 3, 1)),
        ] {
            let resident = over == 0.0 && target % 2 == 1 && min > 0.0;
            let strategy = UpgradeStrategy {
                minimum_health_capacity: min,
                maximum_over_capacity: over,
            };
            let got = capacity(target, known, known, strategy, resident);
            assert_eq!(
                (got.min_healthy, got.max_running, got.kill_now),
                want,
                "{target} of {known}, {min}, {over}"
            );
        }
    }
}
