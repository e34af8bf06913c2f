//! Exactly once for a client of MQTT at QoS 2, over kills anywhere.
//!
//! The rules: a packet id gets a sequence of the session, and that is durable before the message goes to ingest; the ledger
//! drops a sequence that it has; PUBREC follows the commit of the message; the release of the id is durable before PUBCOMP;
//! restart and counter of the client are kept for ever, over clean starts too. What must hold: no message is in the log twice,
//! and one whose PUBREC the client has is there. A rule that is broken on purpose must be caught.

mod state;

use std::collections::{HashSet, VecDeque};

use state::State;

/// Messages that the client publishes.
const MESSAGES: u8 = 4;
const FAULTS: u8 = 3;
const CLEAN_STARTS: u8 = 1;
/// The most states.
const LIMIT: usize = 6_000_000;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// The message goes to ingest before the sequence of its packet id is durable.
    MappingAfterRecord,
    /// PUBCOMP goes out before the release is durable.
    ReleaseAfterPubcomp,
    /// A clean start forgets the counter, and the restart is used again.
    CounterLost,
}

impl Broken {
    pub(crate) const ALL: [Self; 3] = [Self::MappingAfterRecord, Self::ReleaseAfterPubcomp, Self::CounterLost];
}

/// What was found.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// States in which everything is done.
    pub(crate) rests: usize,
    /// What is violated, or that there were too many states.
    pub(crate) wrong: Option<&'static str>,
}

/// Looks at every state that can be reached, nearest first.
pub(crate) fn explore(broken: Option<Broken>) -> Found {
    let mut found = Found { states: 0, steps: 0, rests: 0, wrong: None };
    let first = State::first(FAULTS, CLEAN_STARTS);
    let mut known = HashSet::from([first.clone()]);
    let mut open = VecDeque::from([first]);
    while let Some(state) = open.pop_front() {
        found.states += 1;
        found.rests += usize::from(state.rests(MESSAGES));
        found.wrong = state.violation().or((known.len() > LIMIT).then_some("too many states"));
        if found.wrong.is_some() {
            return found;
        }
        for action in state.actions(MESSAGES) {
            found.steps += 1;
            let next = state.after(action, broken);
            if known.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    found
}
