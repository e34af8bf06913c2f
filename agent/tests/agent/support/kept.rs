//! What is in a queue, read back and named.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_agent::queue::records::Found;
use weir_agent::queue::{ClassId, Key, Queue};
use weir_protocol::batch::{LossKind, Section};
use weir_protocol::{DeviceId, Restart, Value};
use weir_storage::ReadError;

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

/// Every record of the class `default` by its offset.
pub(crate) fn records(queue: &Queue) -> BTreeMap<u64, Kept> {
    records_of(queue, ClassId::DEFAULT)
}

/// Every record of a class by its offset.
pub(crate) fn records_of(queue: &Queue, class: ClassId) -> BTreeMap<u64, Kept> {
    let mut found = BTreeMap::new();
    let readable = queue.log(class).walk(0..u64::MAX, |next| -> Result<(), ReadError> {
        let Found::Entry(entry) = next else { panic!("an unreadable record") };
        assert!(found.insert(entry.offset, Kept::of(&entry.section)).is_none(), "offset {} twice", entry.offset);
        Ok(())
    });
    readable.expect("a readable queue");
    found
}
