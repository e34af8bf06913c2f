//! Windows that are open: readings that are durable here and not sent, until a summary takes their place.
//!
//! Guarantees: a window names exactly the sequences that were folded into it, each once; windows of one group share no
//! sequence; their number, their channels and their ranges are bounded. A window is a stretch of sample time that begins
//! at a multiple of its length, by one clock; a reading that comes late is folded into the one that is open.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_protocol::batch::MAX_HELD;
use weir_protocol::name::Name;
use weir_protocol::{ChannelId, Clock, DeviceId, RangeSet, Reading, Restart, SchemaHash, Timestamp};

use super::accumulator::Accumulator;
use crate::queue::Key;

/// The most windows that are open or wait for their summary.
pub const MAX_WINDOWS: usize = 1024;
/// The most channels in all of them.
pub const MAX_CHANNELS: usize = 8192;

/// What is folded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WindowKey {
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The schema of what is folded.
    pub schema: SchemaHash,
    /// The schema of the summaries.
    pub summary: SchemaHash,
    /// The class that the summaries go into.
    pub class: Name,
    /// How long it is, in microseconds.
    pub every_us: i64,
}

/// One window: its key and its first sequence.
pub type WindowId = (WindowKey, u64);

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub(crate) key: WindowKey,
    first: u64,
    /// Its place among the multiples of its length.
    index: i64,
    clock: Clock,
    #[serde(with = "ranges")]
    pub(crate) ranges: RangeSet,
    pub(crate) channels: BTreeMap<ChannelId, Accumulator>,
    /// When it was opened in this life of the agent.
    #[serde(skip)]
    opened: Duration,
    /// The commit that makes its last reading durable.
    #[serde(skip)]
    pub(crate) commit: u64,
    #[serde(skip)]
    is_dirty: bool,
}

impl Window {
    /// What it is told apart by.
    pub fn id(&self) -> WindowId {
        (self.key, self.first)
    }

    /// The restart whose sequences it names.
    pub fn of(&self) -> Key {
        (self.key.device, self.key.restart)
    }

    /// The sequences that were folded into it.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter()
    }

    fn new(key: WindowKey, sequence: u64, reading: &Reading<'_>, now: Duration) -> Self {
        Self {
            key,
            first: sequence,
            index: index(&key, reading.time),
            clock: reading.clock,
            ranges: RangeSet::new(),
            channels: BTreeMap::new(),
            opened: now,
            commit: 0,
            is_dirty: false,
        }
    }

    /// Whether a reading belongs into it by its time, and its sequence finds room.
    fn takes(&self, sequence: u64, reading: &Reading<'_>) -> bool {
        let index = index(&self.key, reading.time);
        let is_here = reading.clock == self.clock && (index == self.index || index.checked_add(1) == Some(self.index));
        let follows = self.ranges.end() == Some(sequence);
        is_here && (follows || self.ranges.range_count() < MAX_HELD)
    }

    fn length(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.key.every_us).unwrap_or(0))
    }
}

fn index(key: &WindowKey, time: Timestamp) -> i64 {
    time.0.div_euclid(key.every_us.max(1))
}

/// Windows, as far as readings were folded into them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    open: BTreeMap<WindowKey, Window>,
    /// Those into which nothing more is folded.
    closing: Vec<Window>,
    channels: usize,
}

/// No room for one more window or channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Windows {
    /// Windows as they are durable. Of each key the youngest goes on; `now` is when it was opened if that was in an
    /// earlier life of the agent.
    pub(crate) fn of<'w>(durable: impl Iterator<Item = &'w Window>, now: Duration) -> Self {
        let mut windows = Self::default();
        for window in durable {
            windows.channels += window.channels.len();
            let opened = if window.opened.is_zero() { now } else { window.opened };
            let window = Window { opened, commit: 0, is_dirty: false, ..window.clone() };
            // In the order of their first sequences.
            windows.closing.extend(windows.open.insert(window.key, window));
        }
        windows
    }

    /// Whether a reading finds room: in the window that is open, or in one more.
    pub(crate) fn has_room(&self, key: &WindowKey, reading: &Reading<'_>, sequence: u64) -> bool {
        let has_channels = self.channels < MAX_CHANNELS;
        match self.open.get(key).filter(|window| window.takes(sequence, reading)) {
            Some(window) => has_channels || window.channels.contains_key(&reading.channel),
            None => has_channels && self.open.len() + self.closing.len() < MAX_WINDOWS,
        }
    }

    /// Whether a window has this sequence.
    pub(crate) fn have(&self, of: Key, sequence: u64) -> bool {
        let all = self.open.values().chain(&self.closing);
        all.filter(|window| window.of() == of).any(|window| window.ranges.contains(sequence))
    }

    /// Folds a reading in; `commit` is the commit that makes it durable.
    pub(crate) fn fold(
        &mut self,
        key: WindowKey,
        sequence: u64,
        reading: &Reading<'_>,
        (now, commit): (Duration, u64),
    ) -> Result<(), Full> {
        if !self.has_room(&key, reading, sequence) {
            return Err(Full);
        }
        if self.open.get(&key).is_some_and(|window| !window.takes(sequence, reading)) {
            self.closing.extend(self.open.remove(&key));
        }
        let window = self.open.entry(key).or_insert_with(|| Window::new(key, sequence, reading, now));
        if window.ranges.contains(sequence) {
            return Ok(());
        }
        window.ranges.insert(sequence..sequence + 1);
        (window.commit, window.is_dirty) = (commit, true);
        match window.channels.get_mut(&reading.channel) {
            Some(accumulator) => accumulator.add(reading),
            None => {
                window.channels.insert(reading.channel, Accumulator::new(reading));
                self.channels += 1;
            }
        }
        Ok(())
    }

    /// Closes the windows that are open for as long as they are; when the next one will be.
    pub(crate) fn close_due(&mut self, now: Duration) -> Option<Duration> {
        let is_due = |window: &Window| window.opened + window.length() <= now;
        let due: Vec<WindowKey> = self.open.values().filter(|window| is_due(window)).map(|window| window.key).collect();
        due.iter().for_each(|key| self.closing.extend(self.open.remove(key)));
        self.open.values().map(|window| window.opened + window.length()).min()
    }

    /// Closes all of them.
    pub(crate) fn close_all(&mut self) {
        self.closing.extend(std::mem::take(&mut self.open).into_values());
    }

    /// Closed windows all of whose readings are durable, if the commits up to and with `committed` are.
    pub(crate) fn take_ready(&mut self, committed: u64) -> Vec<Window> {
        let (ready, waiting) =
            std::mem::take(&mut self.closing).into_iter().partition(|window| window.commit <= committed);
        self.closing = waiting;
        ready
    }

    /// A closed window whose summary finds no room yet.
    pub(crate) fn put_back(&mut self, window: Window) {
        self.closing.push(window);
    }

    /// The summary of a window is on its way; its channels make room.
    pub(crate) fn release(&mut self, window: &Window) {
        self.channels = self.channels.saturating_sub(window.channels.len());
    }

    /// Windows that changed since the last call, as they are now.
    pub(crate) fn take_changed(&mut self) -> Vec<Window> {
        let all = self.open.values_mut().chain(&mut self.closing);
        all.filter_map(|window| std::mem::take(&mut window.is_dirty).then(|| window.clone())).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closing.is_empty()
    }

    /// All of them, to keep them.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Window> {
        self.closing.into_iter().chain(self.open.into_values())
    }
}

/// Ranges as pairs.
mod ranges {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use weir_protocol::RangeSet;

    pub(super) fn serialize<S: Serializer>(set: &RangeSet, serializer: S) -> Result<S::Ok, S::Error> {
        set.iter().map(|range| (range.start, range.end)).collect::<Vec<(u64, u64)>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RangeSet, D::Error> {
        let pairs = Vec::<(u64, u64)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|(start, end)| start..end).collect())
    }
}

#[cfg(test)]
mod tests;
