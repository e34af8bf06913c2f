//! The agent's intake, as a device with any messages drives it: what it says, what it commits, and what it answers.
//!
//! An input is messages, each behind its length in two bytes; the first byte of a message says whether the commit
//! of what it staged succeeds, fails, or waits.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use weir_agent::counters::Counters;
use weir_agent::intake::{Intake, LinkId};
use weir_agent::queue::{ClassId, Committed, CommittedPart, Incarnation, Policy, SharedState, State};
use weir_protocol::time::WallClock;
use weir_protocol::{Timestamp, frame};
use weir_storage::Batch;

use super::pinned;
use super::serial::NAMES;
use crate::target::Target;

pub(super) const INTAKE: Target =
    Target { name: "intake", run, max_len: 16 << 10, memory: 1 << 20, inputs: 200_000, seeds };

struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(1_767_268_800_000_000)
    }
}

fn run(bytes: &[u8]) {
    let state = SharedState::new(State::new(Incarnation(1)));
    let policy = [Policy::Block, Policy::DropOldest, Policy::DropNewest][bytes.len() % 3];
    let mut intake =
        Intake::new(state, vec![policy], Arc::new(Noon), StdRng::seed_from_u64(1), Arc::new(Counters::default()));
    let link = LinkId(1);
    intake.attach(link);
    let mut offset = 0;
    let mut rest = bytes;
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(more.len());
        let (message, more) = more.split_at(length);
        rest = more;
        let Some((fate, message)) = message.split_first() else { continue };
        intake.receive(link, message);
        if fate % 4 < 3
            && let Some(staged) = intake.take_stage(Vec::new())
        {
            let part = |(class, spare): (ClassId, Batch)| {
                let next = offset + spare.record_count();
                let result = Ok((offset..next, None));
                offset = next;
                CommittedPart { class, result, spare }
            };
            if fate % 4 == 2 {
                intake.failed();
            } else {
                let parts = staged.entries.batches.into_iter().map(part).collect();
                let _ = intake.committed(&staged.covered, &Committed { parts, claims: Ok(false) });
            }
        }
        let _ = intake.take_replies();
    }
    intake.detach(link);
}

/// Every message of a device, without its frame, one behind the other.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for name in NAMES.iter().filter(|name| name.starts_with("up.")) {
        let framed = pinned(name);
        let mut decoder = frame::Decoder::<{ frame::MAX_FRAME }>::new();
        if let Some(Ok(message)) = decoder.feed(&mut framed.as_slice()) {
            all.extend((message.len() as u16 + 1).to_be_bytes());
            all.push(0);
            all.extend_from_slice(message);
        }
    }
    vec![("conversation", all)]
}
