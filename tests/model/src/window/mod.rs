//! A rule that puts a summary in the place of readings, over kills anywhere.
//!
//! The rules: a reading that an open window holds is durable before the device is acknowledged; when the window closes, its
//! summary, the claim that leaves its readings out, and their leaving the window are one commit of the queue; only what is
//! durable is shipped, under an identity that a restart does not change; summary and claim are answered when both logs of the
//! gateway are committed; what is left out is settled there, so a reading that comes for it later is a repeat. What must
//! hold: nothing that was acknowledged is nowhere; nothing is left out without a summary that stands for it, in two
//! summaries, left out twice, or a reading beside its summary. A rule that is broken on purpose must be caught.

mod gateway;
mod queue;
mod state;

use std::collections::{HashSet, VecDeque};

use crate::foreign::Found;
use state::State;

/// Readings of the device.
const READINGS: u8 = 3;
const FAULTS: u8 = 3;
/// The most states.
const LIMIT: usize = 6_000_000;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// The device is acknowledged before what the window holds is durable.
    AckBeforeHeld,
    /// What the window held leaves it in a commit before that of the summary.
    HeldDroppedFirst,
    /// The claim is a commit before that of the summary.
    ClaimBeforeSummary,
    /// The summary is a commit before that of the claim.
    SummaryBeforeClaim,
    /// What is not durable yet is shipped.
    ShippedBeforeDurable,
    /// Summaries get another identity when the agent starts again.
    NumberedAgain,
    /// A batch is answered when its claim is committed, whatever became of its summary.
    AnsweredByLosses,
    /// A claim is appended although its sequences are left out already.
    LeftOutAgain,
    /// A reading is stored although its sequence is left out, as one that was lost is.
    LeftOutHeals,
}

impl Broken {
    pub(crate) const ALL: [Self; 9] = [
        Self::AckBeforeHeld,
        Self::HeldDroppedFirst,
        Self::ClaimBeforeSummary,
        Self::SummaryBeforeClaim,
        Self::ShippedBeforeDurable,
        Self::NumberedAgain,
        Self::AnsweredByLosses,
        Self::LeftOutAgain,
        Self::LeftOutHeals,
    ];
}

/// Looks at every state that can be reached, nearest first.
pub(crate) fn explore(broken: Option<Broken>) -> Found {
    let mut found = Found { states: 0, steps: 0, rests: 0, wrong: None };
    let first = State::first(FAULTS);
    let mut known = HashSet::from([first.clone()]);
    let mut open = VecDeque::from([first]);
    while let Some(state) = open.pop_front() {
        found.states += 1;
        found.rests += usize::from(state.rests());
        found.wrong = state.violation().or((known.len() > LIMIT).then_some("too many states"));
        if found.wrong.is_some() {
            return found;
        }
        for action in state.actions(broken) {
            found.steps += 1;
            let next = state.after(action, broken);
            if known.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    found
}
