//! What is durable of open windows: part of the state of the queue.
//!
//! Guarantees: what the records of the queue say is folded in exactly once, whichever of them the state covers: held
//! readings only as far as their device was acknowledged for them, and none that a summary names already. So a power cut
//! at any point neither loses a sequence nor counts it twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_protocol::batch::{ReadingRun, Section, Summary};
use weir_protocol::items::{self, Items};
use weir_protocol::name::Name;
use weir_protocol::{DeviceId, RangeSet, Restart, SchemaHash, Sequence};

use super::windows::{Window, WindowId, WindowKey, Windows};
use crate::queue::records::sequences;
use crate::queue::{Key, Restarts};

/// The most restarts of its own that the agent remembers; one more, and the first is never used again.
const MAX_ISSUED: usize = 4096;

/// A restart of the agent's own: the summaries of one device that go into one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The restart.
    pub restart: Restart,
    /// The sequence of its next reading.
    pub next: Sequence,
}

/// Restarts of the agent's own, by device and class.
pub(crate) type AllIssued = BTreeMap<(DeviceId, Name), Issued>;

/// Open windows, and the restarts that summaries come under.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    windows: BTreeMap<WindowId, Window>,
    issued: AllIssued,
}

/// On disk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredHeld {
    windows: Vec<Window>,
    issued: Vec<(DeviceId, Name, Issued)>,
}

impl Held {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.issued.is_empty()
    }

    /// Every window.
    pub fn windows(&self) -> impl Iterator<Item = &Window> {
        self.windows.values()
    }

    /// The sequences that are held.
    pub fn ranges(&self) -> impl Iterator<Item = (Key, Range<u64>)> + '_ {
        self.windows.values().flat_map(|window| window.ranges().map(|range| (window.of(), range)))
    }

    /// Whether the agent issued this restart for summaries.
    pub fn is_own(&self, device: DeviceId, restart: Restart) -> bool {
        self.issued.iter().any(|((of, _), issued)| *of == device && issued.restart == restart)
    }

    pub(crate) fn issued(&self) -> &AllIssued {
        &self.issued
    }

    /// The readings of a window are durable as far as it has them.
    pub(crate) fn put(&mut self, window: Window) {
        self.windows.insert(window.id(), window);
    }

    /// The summary of a window is durable.
    pub(crate) fn summarised(&mut self, id: &WindowId, lane: (DeviceId, Name), issued: Issued) {
        self.windows.remove(id);
        issue(&mut self.issued, lane, issued);
    }

    pub(crate) fn stored(&self) -> StoredHeld {
        let issued = self.issued.iter().map(|((device, class), issued)| (*device, *class, *issued));
        StoredHeld { windows: self.windows.values().cloned().collect(), issued: issued.collect() }
    }

    pub(crate) fn of_stored(stored: StoredHeld) -> Self {
        let issued = stored.issued.into_iter().map(|(device, class, issued)| ((device, class), issued));
        let windows = stored.windows.into_iter().map(|window| (window.id(), window));
        Self { windows: windows.collect(), issued: issued.collect() }
    }
}

/// Notes how far a restart of the agent's own is.
pub(crate) fn issue(all: &mut AllIssued, lane: (DeviceId, Name), issued: Issued) {
    if all.len() >= MAX_ISSUED && !all.contains_key(&lane) {
        all.pop_first();
    }
    all.insert(lane, issued);
}

/// What the key of a held record says beside the readings in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldKey {
    pub summary: SchemaHash,
    pub class: Name,
    pub every_us: i64,
}

impl HeldKey {
    /// The key of the record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut key = crate::queue::records::HELD.to_vec();
        items::push(&mut key, self);
        key
    }

    /// What follows [`crate::queue::records::HELD`] in a key.
    fn decode(rest: &[u8]) -> Option<Self> {
        Items::<Self>::new(rest).iter().next().and_then(Result::ok)
    }

    pub(crate) fn window(&self, run: &ReadingRun<'_>) -> WindowKey {
        self.of(run.device, run.restart, run.schema)
    }

    pub(crate) fn of(&self, device: DeviceId, restart: Restart, schema: SchemaHash) -> WindowKey {
        let Self { summary, class, every_us } = *self;
        WindowKey { device, restart, schema, summary, class, every_us }
    }
}

/// What the records that a state does not cover say of windows.
#[derive(Debug, Default)]
pub(crate) struct HeldReplay {
    /// What summaries and other records name.
    named: BTreeMap<Key, RangeSet>,
    summarised: BTreeMap<Key, RangeSet>,
    /// Whether there are held records.
    pub(crate) found: bool,
}

impl HeldReplay {
    /// Takes in what the log of a class says.
    pub(crate) fn record(&mut self, section: &Section<'_>, class: Name, held: &mut Held) {
        for (key, range) in sequences(section) {
            self.named.entry(key).or_default().insert(range);
        }
        let Section::Summary(Summary { of, ranges, run }) = section else { return };
        // Without readings it stands for what was left out, which no window had.
        let Some(end) = run.end().filter(|_| run.count > 0) else { return };
        let gone = self.summarised.entry((run.device, *of)).or_default();
        ranges.iter().flatten().for_each(|range| gone.insert(range.start.0..range.end.0));
        let lane = (run.device, class);
        let known =
            held.issued.get(&lane).filter(|known| known.restart == run.restart).map_or(Sequence(0), |known| known.next);
        issue(&mut held.issued, lane, Issued { restart: run.restart, next: known.max(end) });
    }

    /// Windows whose summary is durable are gone. What is left goes on.
    pub(crate) fn open(&self, held: &Held) -> Windows {
        let is_gone = |window: &&Window| {
            let gone = self.summarised.get(&window.of());
            gone.is_some_and(|gone| window.ranges().any(|range| gone.intersects(range)))
        };
        Windows::of(held.windows().filter(|window| !is_gone(window)), Duration::ZERO)
    }

    /// Folds a held record in. What a device was not acknowledged for comes again, or came again: a commit that was not
    /// durable in all logs may have left it here, and then it is in another record, too.
    pub(crate) fn fold(&self, windows: &mut Windows, rest: &[u8], section: &Section<'_>, restarts: &Restarts) {
        let (Section::Readings(run), Some(key)) = (section, HeldKey::decode(rest)) else { return };
        let raw = (run.device, run.restart);
        let accepted = restarts.get(&raw).map_or(0, |progress| progress.accepted.0);
        let is_elsewhere = |sequence| self.named.get(&raw).is_some_and(|named| named.contains(sequence));
        for (sequence, reading) in run.iter().flatten() {
            if sequence.0 < accepted && !is_elsewhere(sequence.0) && !windows.have(raw, sequence.0) {
                // There was room when it was held, and there is no more now.
                let _ = windows.fold(key.window(run), sequence.0, &reading, (Duration::ZERO, 0));
            }
        }
    }

    /// The windows as they are durable now.
    pub(crate) fn finish(held: &mut Held, windows: Windows) {
        held.windows = windows.into_all().map(|window| (window.id(), window)).collect();
    }
}
