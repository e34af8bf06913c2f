//! Sections on their way to the next commit, and what the commit will have acknowledged.
//!
//! Readings of one restart and class that follow on from each other become one run, so that a record of the queue
//! holds more than one frame's worth. Order within a restart and class is the order of arrival.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_protocol::batch::{
    Claim, Held, LossKind, MAX_HELD, Refusal, RestartEnd, RunBuilder, Section, SetAside, Summary,
};
use weir_protocol::name::Name;
use weir_protocol::{DeviceId, Items, RangeSet, Reading, SchemaHash, Sequence, items};
use weir_storage::Batch;

use super::LinkId;
use crate::processing::held::HeldKey;
use crate::processing::{Issued, Summarised, Window, WindowId};
use crate::queue::records::sequences;
use crate::queue::vault::SEAL_COST;
use crate::queue::{Claims, ClassId, Entries, Key};

/// A run is closed at this many encoded bytes: small enough to halve, large enough to pay.
const RUN_BYTES: usize = 16 * 1024;

/// The most bytes that wait for a commit, about; devices send again.
const MAX_BYTES: u64 = 256 * 1024;
/// The most restarts with claims beside the logs that wait for a commit.
const MAX_BESIDE: usize = 1024;

/// What the commit of a batch acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who waits for the acknowledgement.
    pub link: LinkId,
    /// The restart.
    pub key: Key,
    /// Where its history begins here, if it is new.
    pub from: Sequence,
    /// Everything below this is in the queue once the batch is.
    pub accepted: Sequence,
    /// Whether the batch says that the restart is over.
    pub ended: bool,
}

/// What is ready to commit.
#[derive(Debug)]
pub struct Staged {
    /// The records, and the claims beside the logs.
    pub entries: Entries,
    /// What it acknowledges and holds.
    pub covered: Covered,
}

/// What a commit acknowledges, and what it holds.
#[derive(Debug, Default)]
pub struct Covered {
    /// What the records acknowledge.
    pub marks: Vec<Mark>,
    /// What the claims beside the logs acknowledge, on top of it.
    pub claim_marks: Vec<Mark>,
    /// The records of `default` that are readings in windows, by their place in the batch.
    pub held: Vec<u64>,
    /// Windows whose readings these commits make durable, as they are then.
    pub windows: Vec<Window>,
    /// Summaries among the records of a class: the window, and how far the restart is that they come under.
    pub summarised: Vec<(ClassId, WindowId, (DeviceId, Name), Issued)>,
    /// The number of the commit.
    pub commit: u64,
    /// The sequences that the records of each class name.
    pub named: BTreeMap<ClassId, BTreeMap<Key, RangeSet>>,
    /// How many readings are in it.
    pub readings: u64,
}

/// Sections that wait.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// What is closed already; a class is here once something of it was staged.
    batches: BTreeMap<ClassId, Batch>,
    /// Empty ones, for reuse.
    spare: Vec<Batch>,
    claims: Claims,
    runs: Vec<Run>,
    /// What rules left out.
    reduced: BTreeMap<Key, RangeSet>,
    covered: Covered,
    encoded: Vec<u8>,
    timestamp_ms: i64,
}

#[derive(Debug)]
struct Run {
    place: Place,
    key: Key,
    schema: SchemaHash,
    builder: RunBuilder,
    /// The sequence that follows on.
    next: Sequence,
    bytes: usize,
}

/// Where a reading goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// To the gateway, by a class.
    Class(ClassId),
    /// To the gateway's dead letters, by a class, with what was expected.
    Aside(ClassId, Arc<str>),
    /// Into a window.
    Window(HeldKey),
}

impl Place {
    fn class(&self) -> ClassId {
        match self {
            Self::Class(class) | Self::Aside(class, _) => *class,
            Self::Window(_) => ClassId::DEFAULT,
        }
    }
}

impl Run {
    /// What it takes in a batch, about.
    fn cost(&self) -> usize {
        self.bytes + 96 + SEAL_COST as usize
    }
}

impl Stage {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.values().all(Batch::is_empty)
            && self.runs.is_empty()
            && self.reduced.is_empty()
            && self.claims.is_empty()
    }

    /// Bytes that wait, about.
    pub(super) fn bytes(&self) -> u64 {
        let closed: usize = self.batches.values().map(Batch::byte_len).sum();
        (closed + self.runs.iter().map(Run::cost).sum::<usize>() + self.reduced_cost()) as u64
    }

    /// Bytes of them that go into one class.
    pub(super) fn bytes_of(&self, class: ClassId) -> u64 {
        let closed = self.batches.get(&class).map_or(0, |batch| {
            // Sealed or not, what waits must fit.
            batch.byte_len() + batch.record_count() as usize * SEAL_COST as usize
        });
        let reduced = if class == ClassId::DEFAULT { self.reduced_cost() } else { 0 };
        let open = self.runs.iter().filter(|run| run.place.class() == class).map(Run::cost).sum::<usize>();
        (closed + open + reduced) as u64
    }

    /// What claims take for what rules left out, about.
    fn reduced_cost(&self) -> usize {
        self.reduced.values().map(|set| 96 + 8 * set.range_count()).sum()
    }

    /// Bytes that may still be staged before a commit, about.
    pub(super) fn room(&self) -> u64 {
        MAX_BYTES.saturating_sub(self.bytes())
    }

    /// Whether nothing more is taken before a commit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() > MAX_BYTES || self.covered.claim_marks.len() > MAX_BESIDE
    }

    /// The time that the next records get, in milliseconds since 1970.
    pub(super) fn set_time(&mut self, timestamp_ms: i64) {
        self.timestamp_ms = timestamp_ms;
    }

    /// Appends the reading with sequence `sequence` where it goes; it need not follow on from the one before. `bytes` is
    /// its encoded size.
    pub(super) fn reading(
        &mut self,
        place: &Place,
        key: Key,
        schema: SchemaHash,
        sequence: Sequence,
        reading: &Reading<'_>,
        bytes: usize,
    ) {
        self.covered.readings += 1;
        let open = self.runs.iter().position(|run| run.key == key && run.place == *place);
        let fits = |run: &Run| run.schema == schema && run.next == sequence && run.bytes + bytes <= RUN_BYTES;
        let at = match open {
            Some(at) if fits(&self.runs[at]) => at,
            closed => {
                if let Some(at) = closed {
                    self.close(at);
                }
                let builder = RunBuilder::new(key.0, key.1, schema, sequence);
                self.runs.push(Run { place: place.clone(), key, schema, builder, next: sequence, bytes: 0 });
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[at];
        run.builder.push(reading);
        run.bytes += bytes;
        run.next = Sequence(sequence.0 + 1);
    }

    /// A rule leaves a sequence out.
    pub(super) fn reduce(&mut self, key: Key, sequence: Sequence) {
        self.reduced.entry(key).or_default().insert(sequence.0..sequence.0 + 1);
    }

    /// Appends a summary, encoded, to a class.
    pub(super) fn summary(&mut self, class: ClassId, summarised: &Summarised) {
        let Summarised { window, lane, issued, encoded, .. } = summarised;
        if let Some(Ok(section)) = Items::<Section<'_>>::new(encoded).iter().next() {
            self.record(class, None, &section);
            self.covered.summarised.push((class, window.id(), *lane, *issued));
        }
    }

    /// Appends a claim to a class.
    pub(super) fn claim(&mut self, class: ClassId, claim: Claim) {
        self.section(class, (claim.device, claim.restart), &Section::Claim(claim));
    }

    /// Adds a claim beside the logs; until the next commit all of its restart is acknowledged only with it.
    pub(super) fn claim_beside(&mut self, claim: &Claim, mark: Mark) {
        let key = (claim.device, claim.restart);
        self.claims.add(key, claim.kind, claim.start.0..claim.end.0);
        put(&mut self.covered.claim_marks, mark);
    }

    /// Adds the end of a restart beside the logs.
    pub(super) fn end_beside(&mut self, end: &RestartEnd, mark: Mark) {
        self.claims.add_end(end);
        put(&mut self.covered.claim_marks, mark);
    }

    /// Whether something of a restart goes beside the logs with the next commit.
    pub(super) fn is_beside(&self, key: &Key) -> bool {
        self.covered.claim_marks.iter().any(|mark| mark.key == *key)
    }

    /// Appends the end of a restart to `default`.
    pub(super) fn end(&mut self, end: RestartEnd) {
        self.section(ClassId::DEFAULT, (end.device, end.restart), &Section::End(end));
    }

    /// Notes what the commit will have acknowledged.
    pub(super) fn mark(&mut self, mark: Mark) {
        let beside = self.is_beside(&mark.key);
        put(if beside { &mut self.covered.claim_marks } else { &mut self.covered.marks }, mark);
    }

    /// Everything that waits, and batches to collect the next in.
    pub(super) fn take(&mut self, spare: Vec<Batch>) -> Staged {
        while !self.runs.is_empty() {
            self.close(0);
        }
        self.claim_reduced();
        // At least one, so that claims alone are refused, too, while the logs are.
        self.batch(ClassId::DEFAULT);
        let batches = core::mem::take(&mut self.batches).into_iter().collect();
        self.spare = spare;
        self.spare.iter_mut().for_each(Batch::clear);
        let entries = Entries { batches, claims: core::mem::take(&mut self.claims) };
        Staged { entries, covered: core::mem::take(&mut self.covered) }
    }

    /// Forgets everything that waits.
    pub(super) fn discard(&mut self) {
        self.batches.clear();
        self.runs.clear();
        self.reduced.clear();
        (self.claims, self.covered) = Default::default();
    }

    fn section(&mut self, class: ClassId, key: Key, section: &Section<'_>) {
        if let Some(at) = self.runs.iter().position(|run| run.key == key && run.place == Place::Class(class)) {
            self.close(at);
        }
        self.record(class, None, section);
    }

    /// Moves an open run into its batch; the order of the others stays.
    fn close(&mut self, at: usize) {
        let run = self.runs.remove(at);
        let (place, run) = (&run.place, run.builder.run());
        match place {
            Place::Class(class) => self.record(*class, None, &Section::Readings(run)),
            Place::Aside(class, expected) => {
                let refusal = Refusal::OutOfRange;
                self.record(*class, None, &Section::SetAside(SetAside { refusal, expected, run }));
            }
            Place::Window(key) => self.record(ClassId::DEFAULT, Some(&key.encode()), &Section::Readings(run)),
        }
    }

    /// Claims what rules left out, many ranges at once.
    fn claim_reduced(&mut self) {
        for ((device, restart), set) in core::mem::take(&mut self.reduced) {
            let all: Vec<_> = set.iter().map(|range| (Sequence(range.start), Sequence(range.end))).collect();
            for part in all.chunks(MAX_HELD) {
                if let [(start, end)] = *part {
                    let kind = LossKind::Reduced;
                    self.record(ClassId::DEFAULT, None, &Section::Claim(Claim { device, restart, kind, start, end }));
                    continue;
                }
                let mut ranges = Vec::new();
                part.iter().for_each(|(start, end)| items::push(&mut ranges, &Held { start: *start, end: *end }));
                // Nothing comes in their place.
                let nothing = RunBuilder::new(device, restart, SchemaHash(0), Sequence(0));
                let summary = Summary { of: restart, ranges: Items::new(&ranges), run: nothing.run() };
                self.record(ClassId::DEFAULT, None, &Section::Summary(summary));
            }
        }
    }

    fn batch(&mut self, class: ClassId) -> &mut Batch {
        let spare = &mut self.spare;
        self.batches.entry(class).or_insert_with(|| spare.pop().unwrap_or_default())
    }

    fn record(&mut self, class: ClassId, window: Option<&[u8]>, section: &Section<'_>) {
        // The window names what is in it.
        for (key, range) in sequences(section).filter(|_| window.is_none()) {
            self.covered.named.entry(class).or_default().entry(key).or_default().insert(range);
        }
        let mut encoded = core::mem::take(&mut self.encoded);
        encoded.clear();
        items::push(&mut encoded, section);
        let timestamp_ms = self.timestamp_ms;
        // A record is at most a run and one frame, far below what a record may hold.
        if window.is_some() {
            let at = self.batch(class).record_count();
            self.covered.held.push(at);
        }
        let pushed = self.batch(class).push(timestamp_ms, window, Some(&encoded), &[]);
        debug_assert!(pushed.is_ok(), "a section larger than a record");
        self.encoded = encoded;
    }
}

/// Adds a mark; a later one about the same restart takes the place of the one before.
fn put(marks: &mut Vec<Mark>, mark: Mark) {
    match marks.iter_mut().find(|other| other.link == mark.link && other.key == mark.key) {
        Some(other) => *other = Mark { from: other.from, ..mark },
        None => marks.push(mark),
    }
}
