//! Retention by age: what the gateway did not take in time goes, whole segments of it.
//!
//! Guarantees: what goes is claimed as expired before it is removed; while the agent runs, age passes by the monotonic
//! clock alone. Over a restart the age at the last checkpoint goes on, plus the time that seems to have passed since, but
//! at most [`MAX_AWAY`]: a clock that jumped years ahead over a restart makes readings older by that at most, and one
//! that jumped back makes nothing younger. Age counts from when a segment was closed, so that its newest reading is at
//! least that old; the segment that is written stays.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_protocol::batch::LossKind;

use super::{DropError, Dropped, Queue};

/// The most time away that is believed.
const MAX_AWAY: Duration = Duration::from_secs(24 * 3600);

/// The time by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic, since the queue was opened.
    pub elapsed: Duration,
    /// Milliseconds since 1970 by the wall clock; only written down, and looked at once after a restart.
    pub wall_ms: i64,
}

impl Queue {
    /// Whether any class has a `max_age`.
    pub(super) fn keeps_ages(&self) -> bool {
        self.classes.iter().any(|class| class.options.max_age.is_some())
    }

    /// Notes how old the closed segments are now, of the classes that have a `max_age`.
    pub fn age(&self, now: Now) {
        let mut aged_at = self.aged_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut state = self.state.lock();
        let passed = match *aged_at {
            Some(before) => millis(now.elapsed.saturating_sub(before)),
            // Never written: nobody knows how old anything is.
            None if state.aged_ms == 0 => 0,
            None => now.wall_ms.saturating_sub(state.aged_ms).clamp(0, millis(MAX_AWAY) as i64) as u64,
        };
        for class in self.ids().filter(|class| self.classes[class.index()].options.max_age.is_some()) {
            let segments = self.reader(class).segments();
            let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
            let known = std::mem::take(&mut state.of_mut(class).ages);
            let age = |base: u64| known.get(&base).map_or(0, |age| age.saturating_add(passed));
            let ages: BTreeMap<u64, u64> =
                closed.iter().map(|segment| (segment.base_offset, age(segment.base_offset))).collect();
            state.of_mut(class).ages = ages;
            state.aged_ms = now.wall_ms;
        }
        *aged_at = Some(now.elapsed);
    }

    /// Drops the segments that are older than their class keeps them. Blocks.
    pub fn expire(&self) -> Result<Dropped, DropError> {
        let mut dropped = Dropped::default();
        for class in self.ids() {
            let Some(max_age) = self.classes[class.index()].options.max_age.map(millis) else { continue };
            let is_old = || {
                let start = self.reader(class).start_offset();
                self.state.lock().of(class).ages.get(&start).is_some_and(|age| *age > max_age)
            };
            if is_old() {
                // What the gateway has costs nothing.
                self.trim()?;
            }
            while is_old() && self.drop_oldest(class, LossKind::Expired, &mut dropped)? {}
        }
        Ok(dropped)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
