//! Retention by age: what the gateway did not take in time goes, whole segments of it.
//!
//! Guarantees: what goes is claimed as expired before it is removed; while the agent runs, age passes by the monotonic
//! clock alone. Over a restart the age at the last checkpoint goes on, plus the time that seems to have passed since, but
//! at most [`MAX_AWAY`]: a clock that jumped years ahead over a restart makes readings older by that at most, and one
//! that jumped back makes nothing younger. Age counts from when a segment was closed, so that its newest reading is at
//! least that old. The segment that is written is closed once it has been written for a part of the age ([`PART`]), so that
//! nothing stays for longer than the age and that part of it, whether more readings come or none.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_protocol::batch::LossKind;

use super::{ClassId, DropError, Dropped, Queue};

/// The most time away that is believed.
const MAX_AWAY: Duration = Duration::from_secs(24 * 3600);

/// For this part of the age a segment is written at most: more would be more segments on a small disk, less would keep
/// readings for longer.
const PART: u64 = 8;

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

    /// Notes how old the closed segments are now, of the classes that have a `max_age`, and for how long that has been
    /// written which is not closed.
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
            let reader = self.reader(class);
            let bases: Vec<u64> = reader.segments().iter().map(|segment| segment.base_offset).collect();
            let Some(last) = bases.last().copied() else { continue };
            let known = std::mem::take(&mut state.of_mut(class).ages);
            // The last one was written the last time; if it is closed by now, its newest reading is new.
            let written = known.keys().next_back().copied();
            let age = |base: u64| match known.get(&base) {
                Some(age) if written != Some(base) || base == last => age.saturating_add(passed),
                _ => 0,
            };
            let mut ages: BTreeMap<u64, u64> = bases.iter().map(|base| (*base, age(*base))).collect();
            if reader.end_offset() == last {
                // Nothing is in it yet.
                ages.insert(last, 0);
            }
            state.of_mut(class).ages = ages;
            state.aged_ms = now.wall_ms;
        }
        *aged_at = Some(now.elapsed);
    }

    /// Closes the segment of a class if it has been written for long enough.
    fn close_old(&self, class: ClassId, max_age: u64) -> Result<(), DropError> {
        let (start, end) = (self.reader(class).start_offset(), self.reader(class).end_offset());
        let is_old = {
            let state = self.state.lock();
            let written = state.of(class).ages.last_key_value().map(|(_, age)| *age);
            // What the gateway has goes with its segment anyway.
            written.is_some_and(|age| age > max_age / PART) && state.of(class).first_unshipped(start) < end
        };
        if !is_old {
            return Ok(());
        }
        self.committer.roll(class.index())?;
        let last = self.reader(class).segments().last().map(|segment| segment.base_offset);
        let mut state = self.state.lock();
        let ages = &mut state.of_mut(class).ages;
        // From now on it grows old, and what comes next is written.
        if let Some(mut written) = ages.last_entry() {
            written.insert(0);
        }
        ages.extend(last.map(|base| (base, 0)));
        Ok(())
    }

    /// Drops the segments that are older than their class keeps them. Blocks.
    pub fn expire(&self) -> Result<Dropped, DropError> {
        let mut dropped = Dropped::default();
        for class in self.ids() {
            let Some(max_age) = self.classes[class.index()].options.max_age.map(millis) else { continue };
            self.close_old(class, max_age)?;
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
