//! Which descriptions among the dead letters were stored by a redrive: they name no identity by which that shows.
//!
//! What it guarantees: durable before anybody is told that such a letter was stored. A description that was stored and
//! not yet remembered when the power went is stored once all the same, because a schema is known by its hash.
//!
//! Format, in the [`StateFile`] `<data>/topics/weir.deadletter/redriven`: version u8 = 1, then for each letter its
//! partition u32 and offset u64, big endian, ascending. Letters that retention has removed leave it with the next
//! change.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::RedriveError;
use super::letter::Place;
use crate::topics::{TopicId, layout};

const VERSION: u8 = 1;
const PLACE_BYTES: usize = 12;
/// The most letters that are remembered.
pub(super) const MAX_REMEMBERED: usize = 1 << 16;

/// What was redriven.
pub(super) struct Memory {
    file: StateFile,
    places: Mutex<BTreeSet<Place>>,
}

impl Memory {
    /// What the file says. One that is damaged says nothing, and costs nothing but a second try.
    pub(super) fn open(fs: Arc<dyn Fs>, data: &Path) -> Result<Self, IoError> {
        let file = StateFile::new(fs, &layout::topic_dir(data, TopicId::DEAD_LETTER_NAME).join("redriven"));
        let places = match file.load()? {
            Loaded::Missing => BTreeSet::new(),
            Loaded::Good(payload) => decode(&payload).unwrap_or_else(|| {
                tracing::warn!("what was redriven cannot be read: another version; descriptions may be tried again");
                BTreeSet::new()
            }),
            Loaded::Damaged { reason } => {
                tracing::warn!(reason, "what was redriven cannot be read; descriptions may be tried again");
                BTreeSet::new()
            }
        };
        Ok(Self { file, places: Mutex::new(places) })
    }

    pub(super) fn knows(&self, place: Place) -> bool {
        self.lock().contains(&place)
    }

    /// Remembers letters, and forgets those below the first offset of each partition. Writes a file: not for an async
    /// task.
    pub(super) fn remember(&self, new: &[Place], starts: &[u64]) -> Result<(), RedriveError> {
        let mut places = self.lock();
        let mut next: BTreeSet<Place> = places.iter().chain(new).copied().collect();
        next.retain(|place| starts.get(place.partition as usize).is_some_and(|start| place.offset >= *start));
        if next.len() > MAX_REMEMBERED {
            return Err(RedriveError::MemoryFull(places.len()));
        }
        self.file.replace(&encode(&next))?;
        *places = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        // Each change is one assignment.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(places: &BTreeSet<Place>) -> Vec<u8> {
    let mut out = vec![VERSION];
    for place in places {
        out.extend_from_slice(&place.partition.to_be_bytes());
        out.extend_from_slice(&place.offset.to_be_bytes());
    }
    out
}

fn decode(payload: &[u8]) -> Option<BTreeSet<Place>> {
    let (&VERSION, places) = payload.split_first()? else { return None };
    let (places, []) = places.as_chunks::<PLACE_BYTES>() else { return None };
    let place = |bytes: &[u8; PLACE_BYTES]| {
        let (partition, offset) = bytes.split_first_chunk::<4>()?;
        let offset = offset.try_into().ok()?;
        Some(Place { partition: u32::from_be_bytes(*partition), offset: u64::from_be_bytes(offset) })
    };
    places.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use weir_storage::FaultyFs;

    use super::*;

    fn place(partition: u32, offset: u64) -> Place {
        Place { partition, offset }
    }

    fn open(fs: &FaultyFs) -> Memory {
        Memory::open(Arc::new(fs.clone()), Path::new("/data")).unwrap()
    }

    fn empty() -> FaultyFs {
        let fs = FaultyFs::new(1);
        weir_storage::durable::create_dir_all(&fs, Path::new("/data/topics/weir.deadletter")).unwrap();
        fs
    }

    #[test]
    fn what_was_remembered_survives_a_power_cut_until_retention_removes_the_letter() {
        let fs = empty();
        let memory = open(&fs);
        memory.remember(&[place(0, 7), place(1, 3)], &[0, 0]).unwrap();
        let fs = fs.power_cut();
        let memory = open(&fs);
        assert!(memory.knows(place(0, 7)) && memory.knows(place(1, 3)) && !memory.knows(place(1, 7)));
        memory.remember(&[place(1, 9)], &[8, 0]).unwrap();
        assert!(!open(&fs).knows(place(0, 7)), "its letter is gone");
        assert!(open(&fs).knows(place(1, 9)));
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let memory = open(&empty());
        let many: Vec<_> = (0..MAX_REMEMBERED as u64).map(|offset| place(0, offset)).collect();
        memory.remember(&many, &[0]).unwrap();
        let over = memory.remember(&[place(0, u64::MAX)], &[0]);
        assert!(matches!(over, Err(RedriveError::MemoryFull(MAX_REMEMBERED))));
        memory.remember(&[place(0, u64::MAX)], &[1]).unwrap();
    }

    /// Version 1, frozen: what it wrote is read for ever.
    #[test]
    fn its_bytes_are_those_of_version_1() {
        let places = BTreeSet::from([place(1, 0x0203), place(0, 5)]);
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 3];
        assert_eq!(encode(&places), bytes);
        assert_eq!(decode(&bytes), Some(places));
        assert_eq!(decode(&[2]), None);
        assert_eq!(decode(&bytes[..20]), None);
    }
}
