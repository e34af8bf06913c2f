//! What is in a queue, read back and named.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_agent::queue::{Key, Queue};
use weir_protocol::batch::{LossKind, Section};
use weir_protocol::{DeviceId, Items, Restart, Value};

/// One record of the queue. Values are those that test devices give: the sequence itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kept {
    Readings(DeviceId, Restart, Range<u64>),
    Claim(DeviceId, Restart, LossKind, Range<u64>),
    End(DeviceId, Restart, u64),
}

impl Kept {
    pub(crate) fn of(section: &Section<'_>) -> Self {
        match section {
            Section::Readings(run) => {
                let mut next = run.first.0;
                for item in run.iter() {
                    let (sequence, reading) = item.expect("a good reading");
                    assert_eq!(sequence.0, next);
                    assert_eq!(reading.value, Value::Integer(next as i64), "the value of another reading");
                    next += 1;
                }
                assert_eq!(next, run.first.0 + u64::from(run.count));
                Self::Readings(run.device, run.restart, run.first.0..next)
            }
            Section::Claim(claim) => Self::Claim(claim.device, claim.restart, claim.kind, claim.start.0..claim.end.0),
            Section::End(end) => Self::End(end.device, end.restart, end.from.0),
            Section::Position(_) => panic!("a position is never queued"),
            Section::Summary(_) | Section::SetAside(_) => panic!("no rules here"),
        }
    }

    /// The identities that it names.
    pub(crate) fn sequences(&self) -> Option<(Key, Range<u64>)> {
        match self {
            Self::Readings(device, restart, range) | Self::Claim(device, restart, _, range) => {
                Some(((*device, *restart), range.clone()))
            }
            Self::End(..) => None,
        }
    }
}

/// Every record of the queue by its offset.
pub(crate) fn records(queue: &Queue) -> BTreeMap<u64, Kept> {
    let reader = queue.reader();
    let mut at = reader.start_offset();
    let mut found = BTreeMap::new();
    while at < reader.end_offset() {
        let chunk = reader.read(at, 4096).expect("a readable queue");
        for record in chunk.records() {
            let record = record.expect("a good record");
            let section = Items::<Section<'_>>::new(record.value.expect("a value")).iter().next();
            let kept = Kept::of(&section.expect("a section").expect("a good section"));
            assert!(found.insert(record.offset, kept).is_none(), "offset {} twice", record.offset);
        }
        at = chunk.next_offset;
    }
    found
}
