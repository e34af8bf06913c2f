//! Opening the queue: the state, the claims beside the logs, and on top of them the records that they do not cover.
//!
//! A missing or damaged state file costs repeats, never readings: every record that is still in a log
//! counts as unshipped, and the gateway drops what it has. The same goes for a state that knows more offsets
//! than a log has: files were removed, or the tail is damaged. What of it the state had acknowledged stays known, so
//! that the gateway hears that it is unaccounted.

use weir_storage::{ReadError, Recovery};

use super::records::{Found, sequences};
use super::replay::Replay;
use super::sealed_file::SealedFile;
use super::{ClassLog, ClassState, Incarnation, QueueError, State};
use crate::processing::Held;
use crate::processing::held::HeldReplay;

/// What opening found.
#[derive(Debug)]
pub struct Recovered {
    /// Of each log, `default` first.
    pub logs: Vec<Recovery>,
    /// Records that were read on top of the state.
    pub replayed: u64,
    /// Why the state file could not be believed, if so.
    pub state_damage: Option<String>,
    /// Why the file of the claims could not be believed, if so.
    pub claims_damage: Option<String>,
}

/// Recovers the state of the classes whose logs are `logs`, in that order.
pub(super) fn recover(
    file: &SealedFile,
    claims: &SealedFile,
    logs: &[ClassLog],
    found: Vec<Recovery>,
    incarnation: Incarnation,
) -> Result<(State, Recovered), QueueError> {
    let (state, state_damage) = file.load(State::decode)?;
    let (claims, claims_damage) = claims.load(super::Claims::decode)?;
    // Something was removed, so there was a state.
    let is_gone = state.is_none() && logs.iter().any(|log| log.reader.start_offset() > 0);
    let mut state = State { claims: claims.unwrap_or_default(), ..state.unwrap_or_else(|| State::new(incarnation)) };
    let is_damaged = is_gone || state_damage.is_some() || claims_damage.is_some();
    let mut replay = Replay::new(is_damaged, claims_damage.is_some());
    let contradiction = arrange(&mut state, logs);
    if contradiction.is_some() {
        // Offsets will be used again, so nothing may count as shipped. Nor may anything count as accepted: a device
        // that still holds what is gone sends it again, and what it does not hold is unaccounted.
        state.restarts.forget_accepted();
        state.incarnation = incarnation;
        replay.is_damaged = true;
    }
    let mut replayed = 0;
    let covered: Vec<u64> = state.classes.iter().map(|class| class.covered).collect();
    let State { classes, held, .. } = &mut state;
    for (log, class) in logs.iter().zip(classes) {
        class.shipped.remove(0..log.reader.start_offset());
        replayed += read_on((&mut replay, held), class, log)?;
    }
    replay.beside(&state.claims);
    let windows = replay.finish(&mut state.restarts);
    fold(&windows, &mut state, logs, &covered)?;
    if contradiction.is_some() {
        // Once the log has grown past it, the old file would pass for a good one.
        file.replace(state.encode())?;
    }
    let state_damage = contradiction.or(state_damage);
    Ok((state, Recovered { logs: found, replayed, state_damage, claims_damage }))
}

/// Brings the classes of the state into the order of the logs. What contradicts the logs counts as not known; says what.
fn arrange(state: &mut State, logs: &[ClassLog]) -> Option<String> {
    let mut contradiction = None;
    let mut known = std::mem::take(&mut state.classes);
    for log in logs {
        let at = known.iter().position(|class| class.name == log.name);
        let class = at.map_or_else(|| ClassState::new(log.name), |at| known.swap_remove(at));
        let (knows, end) = (class.known_end(), log.reader.end_offset());
        let class = if knows > end {
            let what = format!("it knows offsets below {knows} of {}, but its log ends at {end}", log.name);
            contradiction.get_or_insert(what);
            ClassState::new(log.name)
        } else {
            class
        };
        state.classes.push(class);
    }
    if let Some(gone) = known.iter().find(|class| class.known_end() > 0) {
        contradiction.get_or_insert(format!("it knows offsets of {}, which has no log", gone.name));
    }
    contradiction
}

/// Folds held readings in that are not covered: behind the rest, which says how far devices were acknowledged.
fn fold(replay: &HeldReplay, state: &mut State, logs: &[ClassLog], covered: &[u64]) -> Result<(), QueueError> {
    let mut windows = replay.open(&state.held);
    for (log, covered) in logs.iter().zip(covered).filter(|_| replay.found) {
        log.walk(*covered..u64::MAX, |found| -> Result<(), ReadError> {
            if let Found::Held(_, window, section) = found {
                replay.fold(&mut windows, window, &section, &state.restarts);
            }
            Ok(())
        })?;
    }
    HeldReplay::finish(&mut state.held, windows);
    Ok(())
}

/// Reads what is not covered of one log; how many records that was.
fn read_on(
    (replay, held): (&mut Replay, &mut Held),
    class: &mut ClassState,
    log: &ClassLog,
) -> Result<u64, QueueError> {
    let begins: Vec<u64> = log.reader.segments().iter().map(|segment| segment.base_offset).collect();
    let (covered, end) = (class.covered, log.reader.end_offset());
    let mut replayed = 0;
    log.walk(covered..end, |found| -> Result<(), ReadError> {
        match found {
            // Held by nobody: what it named is missing in every position.
            Found::Unreadable(_) => (replay.is_damaged, replay.is_unreadable) = (true, true),
            Found::Held(offset, _, section) => {
                replayed += 1;
                replay.record(&section);
                replay.windows.found = true;
                class.shipped.insert(offset..offset + 1);
                class.blocks.note(offset..offset + 1, begins.binary_search(&offset).is_ok(), []);
            }
            Found::Entry(entry) => {
                replayed += 1;
                replay.windows.record(&entry.section, log.name, held);
                if !entry.aside {
                    replay.record(&entry.section);
                }
                let begins = begins.binary_search(&entry.offset).is_ok();
                class.blocks.note(entry.offset..entry.offset + 1, begins, sequences(&entry.section));
            }
        }
        Ok(())
    })?;
    class.covered = end;
    Ok(replayed)
}
