//! The agent's intake, as a device with any messages drives it: what it says, what it commits, and what it answers.
//!
//! An input is messages, each behind its length in two bytes; the first byte of a message says whether the commit
//! of what it staged succeeds, fails, or waits.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use weir_agent::config::Config;
use weir_agent::counters::Counters;
use weir_agent::intake::{Intake, LinkId};
use weir_agent::processing::{Rules, Tap};
use weir_agent::queue::{
    ClassId, ClassState, Committed, CommittedPart, DEFAULT_CLASS, Incarnation, Policy, SharedState, State,
};
use weir_protocol::frame;
use weir_protocol::name::Name;
use weir_protocol::settings::Source;
use weir_storage::Batch;

use super::serial::NAMES;
use super::{Noon, pinned};
use crate::target::Target;

pub(super) const INTAKE: Target =
    Target { name: "intake", run, max_len: 16 << 10, memory: 1 << 20, inputs: 200_000, seeds };

/// Rules with every step, and a class that they put alarms into; what a channel is called is any text.
const RULES: &str = r#"
    [[queue.class]]
    name = "alarm"
    [[process]]
    channel = "?????"
    drop = true
    [[process]]
    channel = "t*"
    scale = 1.8
    range = [-1e9, 1e9]
    deadband = 0.1
    heartbeat = "10s"
    [[process]]
    channel = "d*"
    class = "alarm"
    [[process]]
    window = "100ms"
    take = ["min", "max", "mean", "last", "count"]
"#;

/// The rules, and which classes there are.
fn rules() -> &'static (Rules, Vec<(Name, ClassId)>) {
    static READ: OnceLock<(Rules, Vec<(Name, ClassId)>)> = OnceLock::new();
    READ.get_or_init(|| {
        let config = match Config::of(&Source::new("rules", RULES)) {
            Ok(config) => config,
            Err(error) => panic!("rules of this target: {error}"),
        };
        let alarm = config.queue.class.iter().map(|class| (*class.name.get_ref(), ClassId(1)));
        let classes = [(DEFAULT_CLASS, ClassId::DEFAULT)].into_iter().chain(alarm).collect();
        (Rules::of(&config.process, |class| config.queue.class_named(class)), classes)
    })
}

fn run(bytes: &[u8]) {
    let state = SharedState::new(State::new(Incarnation(1)));
    let policy = [Policy::Block, Policy::DropOldest, Policy::DropNewest][bytes.len() % 3];
    let (rules, classes) = rules();
    state.lock().classes.extend(classes[1..].iter().map(|(name, _)| ClassState::new(*name)));
    let policies = vec![policy; classes.len()];
    let random = StdRng::seed_from_u64(1);
    let mut intake = Intake::new(state, policies, Arc::new(Noon), random, Arc::new(Counters::default()));
    // Half of the inputs meet rules.
    let is_ruled = (bytes.len() / 3).is_multiple_of(2);
    if is_ruled {
        intake = intake.with_rules(rules.clone(), Tap::default(), classes.iter().copied());
    }
    let mut now = Duration::ZERO;
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
        now += Duration::from_millis(u64::from(*fate));
        intake.tick(now);
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
    intake.close_windows();
    let _ = intake.take_stage(Vec::new());
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
