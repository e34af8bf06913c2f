//! What a random run does to old data: retention, bits that flip in segments and in checkpoints, and agents that say
//! how far they have come.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::Rng;
use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_storage::{Fs, Mode, ReadError};

use super::super::checkpoint;
use super::log_content::{Identity, LogContent};
use super::model::Said;
use super::payloads::*;
use super::property::{DEVICES, Run, SEQUENCES};
use crate::record::Value;
use crate::topics::Topics;

/// The readings, and what is said to be left out, that can be read: where.
fn identities(topics: &Topics) -> BTreeMap<Identity, (usize, u64)> {
    let mut found = BTreeMap::new();
    for (at, (_, value)) in read(topics).expect("reads") {
        match Value::decode(&value).expect("one of ours") {
            Value::Reading(reading) => {
                found.insert((reading.device, reading.restart, reading.sequence.0), at);
            }
            Value::Loss(loss) if loss.kind == LossKind::Reduced.as_str() => {
                let sequences = loss.ranges.into_iter().flatten();
                found.extend(sequences.map(|sequence| ((loss.device, loss.restart, sequence), at)));
            }
            _ => {}
        }
    }
    found
}

/// Records by log and offset: key and value.
type Records = BTreeMap<(usize, u64), (Option<Vec<u8>>, Vec<u8>)>;

/// What retention removed, as a consumer read it just before.
#[derive(Default)]
pub(super) struct Archive(Records);

impl Archive {
    /// What is removed and what is not, together.
    fn content(&self, topics: &Topics) -> LogContent {
        let mut records = read(topics).expect("reads");
        let starts = starts(topics);
        records.extend(
            self.0.iter().filter(|((log, offset), _)| *offset < starts[*log]).map(|(at, record)| (*at, record.clone())),
        );
        let mut content = LogContent::default();
        for (key, value) in records.values() {
            content.note(Value::decode(value).expect("one of ours"), key.as_deref());
        }
        content
    }
}

fn starts(topics: &Topics) -> Vec<u64> {
    let partitions = topics.all().iter().flat_map(|topic| topic.partitions());
    partitions.map(|partition| partition.reader().start_offset()).collect()
}

fn read(topics: &Topics) -> Result<Records, ReadError> {
    let mut records = Records::new();
    for (log, partition) in topics.all().iter().flat_map(|topic| topic.partitions()).enumerate() {
        let reader = partition.reader();
        let mut at = reader.start_offset();
        while at < reader.end_offset() {
            let chunk = reader.read(at, 1 << 20)?;
            for record in chunk.records() {
                let record = record.expect("a record");
                let value = record.value.expect("a value").to_vec();
                records.insert((log, record.offset), (record.key.map(<[u8]>::to_vec), value));
            }
            at = chunk.next_offset;
        }
    }
    Ok(records)
}

impl Run {
    /// Everything that a consumer ever saw.
    pub(super) fn content(&mut self) -> LogContent {
        let topics = self.gateway().topics.clone();
        self.archive.content(&topics)
    }

    pub(super) fn retain(&mut self) {
        let topics = self.gateway().topics.clone();
        // Without power nothing is removed either.
        let (Ok(before), from) = (read(&topics), starts(&topics)) else { return };
        // A power cut may undo a removal, or finish one that failed: what is in the log counts.
        self.archive.0.retain(|(log, offset), _| *offset < from[*log]);
        self.archive.0.extend(before);
        let _ = self.gateway().retain();
    }

    /// Flips a bit in a segment that checkpoints cover, perhaps restarts, and looks for the damage.
    pub(super) fn rot(&mut self) {
        let Some((log, covered)) = self.sound_log() else { return };
        let kept = &self.gateway().keeper.logs[log];
        let segments = kept.reader.segments();
        let old: Vec<u64> = segments
            .iter()
            .filter(|segment| segment.next_offset <= covered)
            .map(|segment| segment.base_offset)
            .collect();
        let dir = kept.dir.clone();
        if old.is_empty() {
            return;
        }
        let base = old[self.random.random_range(0..old.len())];
        let before = identities(&self.gateway().topics);
        self.flip(&dir.join(format!("{base:020}.log")));
        self.model.note_rot();
        self.gateway().unnamed = 0;
        self.gateway().fs.set_capacity(None);
        if self.random.random() {
            self.restart();
        }
        self.finish_commit();
        let mut looks = 0;
        while self.gateway().scrub() > 0 {
            looks += 1;
            assert!(looks < 10, "counted once");
        }
        // What a keeper does: the next one need not find it again.
        let _ = self.gateway().keep();
        self.excuse(&before);
    }

    /// What rotted away and was told by offsets alone, as it may be where shares are coarse.
    fn excuse(&mut self, before: &BTreeMap<Identity, (usize, u64)>) {
        let after = identities(&self.gateway().topics);
        let content = self.content();
        let is_told = |id: &Identity| content.lost.contains_key(id) || content.dead.contains_key(id);
        let untold: BTreeMap<_, _> = before
            .iter()
            .filter(|(id, _)| !after.contains_key(id) && !is_told(id))
            .map(|(id, at)| (*id, *at))
            .collect();
        let offsets = untold.values().collect::<BTreeSet<_>>().len() as u64;
        let unnamed = self.gateway().unnamed;
        assert!(offsets <= unnamed, "{unnamed} offsets, and untold are {untold:?}");
        self.model.excuse(untold.into_keys().collect());
    }

    /// Flips a bit in one of two good checkpoints.
    pub(super) fn spoil_checkpoint(&mut self) {
        let Some((log, _)) = self.sound_log() else { return };
        let gateway = self.gateway();
        let dir = gateway.keeper.logs[log].dir.clone();
        let kept = checkpoint::list(&gateway.fs, &dir).expect("lists");
        let [.., older, newest] = kept[..] else { return };
        let offset = if self.random.random() { older } else { newest };
        self.flip(&dir.join(format!("ranges-{offset:020}")));
    }

    /// A log whose two checkpoints are good, and what the older one covers.
    fn sound_log(&mut self) -> Option<(usize, u64)> {
        let count = self.gateway().keeper.logs.len();
        let log = self.random.random_range(0..count);
        let gateway = self.gateway();
        let kept = &gateway.keeper.logs[log];
        let offsets = checkpoint::list(&gateway.fs, &kept.dir).ok()?;
        let [.., older, newest] = offsets[..] else { return None };
        let is_good = |offset| checkpoint::load(&gateway.fs, &kept.dir, offset).is_ok();
        // The one at the first offset says what was removed: it stays as it is.
        let start = kept.reader.start_offset();
        let is_known = start == 0 || is_good(start);
        (older > start && is_known && is_good(older) && is_good(newest)).then_some((log, older))
    }

    fn flip(&mut self, path: &Path) {
        let path: PathBuf = path.to_owned();
        let size = self.gateway().fs.open(&path, Mode::Read).and_then(|file| file.size()).expect("is there");
        let (position, bit) = (self.random.random_range(0..size), self.random.random_range(0..8));
        assert!(self.gateway().fs.flip_bit(&path, position, bit));
    }

    /// A position: of what was acknowledged the agent holds nothing, and of some more neither.
    pub(super) fn random_position(&mut self) -> (Vec<u8>, Said) {
        let device = device(DEVICES[self.random.random_range(0..DEVICES.len())]);
        let restart = self.random.random_range(1..3);
        let mut missing = self.model.acknowledged(device, Restart(restart));
        let start = self.random.random_range(0..SEQUENCES);
        missing.extend(start..start + self.random.random_range(0..4));
        let upto = SEQUENCES + 20;
        let held: Vec<_> =
            (0..upto).filter(|sequence| !missing.contains(sequence)).map(|sequence| (sequence, sequence + 1)).collect();
        let claimed = missing.into_iter().map(|sequence| (device, Restart(restart), sequence)).collect();
        (position(device, restart, 0..upto, &held), Said { claimed, ..Said::default() })
    }
}
