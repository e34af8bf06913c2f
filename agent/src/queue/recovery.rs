//! Opening the queue: the state, the claims beside the log, and on top of them the records that they do not cover.
//!
//! A missing or damaged state file costs repeats, never readings: every record that is still in the log
//! counts as unshipped, and the gateway drops what it has. The same goes for a state that knows more offsets
//! than the log has: files were removed, or the tail is damaged. What of it the state had acknowledged stays known, so
//! that the gateway hears that it is unaccounted.

use weir_storage::{ReadError, Reader, Recovery, StateFile};

use super::files::load;
use super::records::{Found, sequences, walk};
use super::{Claims, Incarnation, QueueError, State};

/// What opening found.
#[derive(Debug)]
pub struct Recovered {
    /// Of the log.
    pub log: Recovery,
    /// Records that were read on top of the state.
    pub replayed: u64,
    /// Why the state file could not be believed, if so.
    pub state_damage: Option<String>,
    /// Why the file of the claims could not be believed, if so.
    pub claims_damage: Option<String>,
}

pub(super) fn recover(
    file: &StateFile,
    claims: &StateFile,
    reader: &Reader,
    log: Recovery,
    incarnation: Incarnation,
) -> Result<(State, Recovered), QueueError> {
    let (state, mut state_damage) = load(file, State::decode)?;
    let (claims, claims_damage) = load(claims, Claims::decode)?;
    let mut state = State { claims: claims.unwrap_or_default(), ..state.unwrap_or_else(|| State::new(incarnation)) };
    let (start, end) = (reader.start_offset(), reader.end_offset());
    let known_end = state.shipped.iter().next_back().map_or(0, |last| last.end).max(state.covered);
    let contradicts = known_end > end;
    if contradicts {
        state_damage = Some(format!("it knows offsets below {known_end}, but the queue ends at {end}"));
        // Offsets will be used again, so nothing may count as shipped. Nor may anything count as accepted: a device
        // that still holds what is gone sends it again, and what it does not hold is unaccounted.
        let State { mut restarts, descriptions, claims, .. } = state;
        restarts.forget_accepted();
        state = State { restarts, descriptions, claims, ..State::new(incarnation) };
    }
    state.shipped.remove(0..start);
    let replayed = replay(&mut state, reader)?;
    if contradicts {
        // Once the log has grown past it, the old file would pass for a good one.
        file.replace(&state.encode())?;
    }
    Ok((state, Recovered { log, replayed, state_damage, claims_damage }))
}

/// Reads what is not covered; how many records that was.
fn replay(state: &mut State, reader: &Reader) -> Result<u64, QueueError> {
    let begins: Vec<u64> = reader.segments().iter().map(|segment| segment.base_offset).collect();
    let (covered, end) = (state.covered, reader.end_offset());
    let mut replayed = 0;
    walk(reader, covered..end, |found| -> Result<(), ReadError> {
        match found {
            // Held by nobody: what it named is missing in every position.
            Found::Unreadable(_) => {}
            Found::Entry(entry) => {
                replayed += 1;
                if !entry.aside {
                    state.restarts.replay(&entry.section);
                }
                let begins = begins.binary_search(&entry.offset).is_ok();
                state.blocks.note(entry.offset..entry.offset + 1, begins, sequences(&entry.section));
            }
        }
        Ok(())
    })?;
    state.covered = end;
    let State { restarts, claims, .. } = state;
    restarts.replay_claims(claims);
    Ok(replayed)
}
