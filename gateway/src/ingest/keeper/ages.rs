//! How old closed segments are, whatever the wall clock does.
//!
//! Guarantees: while the gateway runs, age passes by the monotonic clock alone. Over a restart the age at the last
//! checkpoint goes on, plus the time that seems to have passed since, but at most [`MAX_AWAY`]: a clock that jumped
//! years ahead over a restart makes segments older by that at most, and one that jumped back makes nothing younger. So a
//! gateway that was off for longer keeps its data longer by that time.
//!
//! The axis: milliseconds of the monotonic clock, 0 when this process started, below 0 before it did.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Now;

/// The most time away that is believed.
const MAX_AWAY: Duration = Duration::from_secs(24 * 3600);

/// From and to the axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// The wall clock at 0 of the axis; read once.
    wall_at_zero: i64,
}

impl Ages {
    pub(crate) fn new(now: Now) -> Self {
        Self { wall_at_zero: now.wall_ms.saturating_sub(millis(now.elapsed)) }
    }

    /// What a checkpoint written at `written_ms` says about closed segments, on the axis.
    pub(crate) fn restore(&self, written_ms: i64, closed: impl IntoIterator<Item = (u64, i64)>) -> BTreeMap<u64, i64> {
        let away = self.wall_at_zero.saturating_sub(written_ms).clamp(0, millis(MAX_AWAY));
        let age = |closed_ms: i64| written_ms.saturating_sub(closed_ms).max(0).saturating_add(away);
        closed.into_iter().map(|(base, closed_ms)| (base, -age(closed_ms))).collect()
    }

    /// The wall clock as this process counts it, in milliseconds since 1970.
    pub(crate) fn wall_ms(&self, at: i64) -> i64 {
        self.wall_at_zero.saturating_add(at).max(0)
    }

    /// Now, on the axis.
    pub(crate) fn at(now: Now) -> i64 {
        millis(now.elapsed)
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const START: i64 = 1_767_225_600_000;

    fn started(wall_ms: i64) -> Ages {
        Ages::new(Now { elapsed: Duration::ZERO, wall_ms })
    }

    fn age_over_a_restart(at_stop: i64, at_start: i64) -> i64 {
        -started(at_start).restore(at_stop, [(0, at_stop - 5 * HOUR)])[&0]
    }

    #[test]
    fn age_goes_on_over_a_restart_and_no_clock_that_jumps_adds_more_than_a_day() {
        assert_eq!(age_over_a_restart(START, START + HOUR), 6 * HOUR);
        assert_eq!(age_over_a_restart(START, START - YEAR), 5 * HOUR, "back a year");
        assert_eq!(age_over_a_restart(START, START + 10 * YEAR), 29 * HOUR, "forward ten");
        assert_eq!(age_over_a_restart(0, START), 29 * HOUR, "a clock that was never set, and then was");
        assert_eq!(age_over_a_restart(i64::MAX, i64::MIN), 5 * HOUR);
    }
}
