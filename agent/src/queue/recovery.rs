//! Opening the queue: the state, and on top of it the records that it does not cover.
//!
//! A missing or damaged state file costs repeats, never readings: every record that is still in the log
//! counts as unshipped, and the gateway drops what it has. The same goes for a state that knows more offsets
//! than the log has: files were removed, or the tail is damaged.

use weir_protocol::batch::Section;
use weir_protocol::items::Items;
use weir_storage::{Loaded, Reader, Recovery, StateFile};

use super::{Incarnation, QueueError, State};

/// Bytes read at once.
const WINDOW: usize = 64 * 1024;

/// What opening found.
#[derive(Debug)]
pub struct Recovered {
    /// Of the log.
    pub log: Recovery,
    /// Records that were read on top of the state.
    pub replayed: u64,
    /// Why the state file could not be believed, if so.
    pub state_damage: Option<String>,
}

pub(super) fn recover(
    file: &StateFile,
    reader: &Reader,
    log: Recovery,
    incarnation: Incarnation,
) -> Result<(State, Recovered), QueueError> {
    let (mut state, mut state_damage) = match file.load()? {
        Loaded::Missing => (State::new(incarnation), None),
        Loaded::Good(bytes) => match State::decode(&bytes) {
            Ok(state) => (state, None),
            Err(reason) => (State::new(incarnation), Some(reason)),
        },
        Loaded::Damaged { reason } => (State::new(incarnation), Some(reason)),
    };
    let (start, end) = (reader.start_offset(), reader.end_offset());
    let known_end = state.shipped.iter().next_back().map_or(0, |last| last.end).max(state.covered);
    let contradicts = known_end > end;
    if contradicts {
        state_damage = Some(format!("it knows offsets below {known_end}, but the queue ends at {end}"));
        // Offsets will be used again, so nothing may count as shipped. Nor may anything count as accepted: a device
        // that still holds what is gone sends it again, and what it does not hold becomes a claim.
        state = State { descriptions: state.descriptions, ..State::new(incarnation) };
    }
    state.shipped.remove(0..start);
    let mut at = state.covered.max(start);
    let mut replayed = 0;
    while at < end {
        let chunk = reader.read(at, WINDOW)?;
        for record in chunk.records().flatten() {
            let section = record.value.and_then(|value| Items::<Section<'_>>::new(value).iter().next());
            if let Some(Ok(section)) = section {
                state.restarts.replay(&section);
                replayed += 1;
            }
        }
        if chunk.next_offset == at {
            break;
        }
        at = chunk.next_offset;
    }
    state.covered = end;
    if contradicts {
        // Once the log has grown past it, the old file would pass for a good one.
        file.replace(&state.encode())?;
    }
    Ok((state, Recovered { log, replayed, state_damage }))
}
