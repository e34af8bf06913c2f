//! How old records are, whatever the wall clock does.
//!
//! The clock of an internal topic counts milliseconds, from 0 when the first gateway started on this data. While a gateway
//! runs it follows the monotonic clock. Over a restart it goes on where the newest record left it, plus the time that seems
//! to have passed since then, at most [`MAX_AWAY_MS`]: so it never goes back, and a wall clock that jumped years ahead over
//! a restart makes nothing older than that by it.

use std::time::Duration;

/// The most time away that is believed, in milliseconds: a day.
pub const MAX_AWAY_MS: i64 = 24 * 3_600_000;

/// The clock, and the wall clock as this process counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    at_start_ms: i64,
    wall_at_start_ms: i64,
}

impl Clock {
    /// Goes on: the newest record was written when the clock showed `last_clock_ms` and the wall clock `last_wall_ms`.
    pub fn resume(last_clock_ms: i64, last_wall_ms: i64, wall_ms: i64) -> Self {
        let away = wall_ms.saturating_sub(last_wall_ms).clamp(0, MAX_AWAY_MS);
        Self { at_start_ms: last_clock_ms.saturating_add(away), wall_at_start_ms: wall_ms }
    }

    /// What it shows so long after the start of this process, in milliseconds.
    pub fn at(&self, elapsed: Duration) -> i64 {
        self.at_start_ms.saturating_add(millis(elapsed))
    }

    /// The wall clock then, in milliseconds since 1970.
    pub fn wall(&self, elapsed: Duration) -> i64 {
        self.wall_at_start_ms.saturating_add(millis(elapsed)).max(0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 24 * 3_600_000;

    #[test]
    fn it_goes_on_over_a_restart_and_no_jump_adds_more_than_a_day() {
        let shown = |wall: i64| Clock::resume(5_000, YEAR, wall).at(Duration::from_secs(1));
        assert_eq!(shown(YEAR + 3_000), 9_000);
        assert_eq!(shown(0), 6_000, "back a year");
        assert_eq!(shown(10 * YEAR), 6_000 + MAX_AWAY_MS, "forward nine");
        assert_eq!(Clock::resume(i64::MAX, i64::MIN, i64::MAX).at(Duration::MAX), i64::MAX);
    }
}
