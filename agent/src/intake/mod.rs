//! Intake: what becomes of every message of a device.
//!
//! Guarantees:
//! - A device is acknowledged only after the commit of everything below the acknowledged sequence, as a
//!   reading or as a claim.
//! - What the device evicted becomes a claim on exactly those sequences; what did not follow on is asked for
//!   again and is never loss; what came twice is clipped.
//! - A full queue gives no credit and takes nothing, or drops and claims what comes, as its policy says; a failed
//!   commit acknowledges nothing.
//! - That a restart ended is in a commit that succeeds, however many fail before: its device may never say so again.
//! - No message panics, and memory is bounded by the links and by one stage.
//!
//! [`Intake`] is the rules alone: messages in, answers and a stage out, no clock, no disk, no line, so that
//! they can be tested under every fault. [`task`] moves the bytes.

mod credit;
mod hello;
mod link;
mod processed;
mod readings;
mod stage;
pub mod task;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rand::{RngCore, rngs::StdRng};
use weir_protocol::batch::Claim;
use weir_protocol::batch::describe::Description;
use weir_protocol::name::Name;
use weir_protocol::serial::{Down, Up, device_to_agent};
use weir_protocol::time::WallClock;
use weir_protocol::{DeviceId, Restart, SchemaHash, Sequence, frame};
use weir_storage::Batch;

use crate::counters::{Counters, Event};
use crate::processing::{Processor, Rules, Tap};
use crate::queue::{ClassId, Committed, CommittedPart, Key, Policy, Progress, SharedState, State};

pub use link::LinkId;
pub use stage::{Covered, Mark, Staged};

use link::{CloneWatch, Link};
use processed::Waiting;
use stage::Stage;

/// The rules, and what they must remember.
pub struct Intake {
    state: SharedState,
    links: BTreeMap<LinkId, Link>,
    clones: CloneWatch,
    stage: Stage,
    processor: Processor,
    /// Restarts that the agent gives readings under beside those of its feeds.
    own: HashSet<Key>,
    /// Frames that wait for a description.
    waiting: BTreeMap<(DeviceId, SchemaHash), Waiting>,
    /// Classes by name, for summaries.
    classes: HashMap<Name, ClassId>,
    /// The number of the commit that makes durable what is staged now.
    commit: u64,
    /// Up to this number all of them succeeded or are void.
    durable: u64,
    /// Positions ahead of the commit, staged, or submitted and not answered yet; and on which line each moved last.
    ahead: HashMap<Key, (LinkId, Position)>,
    /// Bytes that readings of each class may still take, the stage not counted.
    rooms: Vec<u64>,
    /// What each class does when it is full.
    policies: Vec<Policy>,
    replies: Vec<(LinkId, Down)>,
    clock: Arc<dyn WallClock>,
    random: StdRng,
    counters: Arc<Counters>,
}

/// How far a restart is.
#[derive(Clone, Copy, Debug)]
struct Position {
    from: Sequence,
    accepted: Sequence,
    ended: bool,
    /// What lies between `accepted` and this was acknowledged once, and the queue lost it.
    forgotten: Sequence,
    /// What lies from `accepted` on may have been acknowledged too, and the queue lost it.
    doubtful: bool,
}

impl Intake {
    /// Rules for a queue that recovered `state` and whose classes do as `policies` say when they are full.
    pub fn new(
        state: SharedState,
        policies: Vec<Policy>,
        clock: Arc<dyn WallClock>,
        random: StdRng,
        counters: Arc<Counters>,
    ) -> Self {
        let mut processor = Processor::default();
        processor.go_back_to(&state.lock().held);
        Self {
            processor,
            own: HashSet::new(),
            waiting: BTreeMap::new(),
            classes: HashMap::new(),
            commit: 1,
            durable: 0,
            state,
            links: BTreeMap::new(),
            clones: CloneWatch::default(),
            stage: Stage::default(),
            ahead: HashMap::new(),
            rooms: vec![u64::MAX; policies.len()],
            policies,
            replies: Vec::new(),
            clock,
            random,
            counters,
        }
    }

    /// The same with rules, which `tap` shows at work. `classes` are those that summaries may go into.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules, tap: Tap, classes: impl IntoIterator<Item = (Name, ClassId)>) -> Self {
        self.processor = Processor::new(rules, tap);
        self.processor.go_back_to(&self.state.lock().held);
        self.classes = classes.into_iter().collect();
        self
    }

    /// The same with restarts of a device whose readings the agent keeps by itself: each ends exactly with what was
    /// accepted of it, and no Hello of another source of the device says otherwise.
    #[must_use]
    pub fn with_own(mut self, device: DeviceId, restarts: impl IntoIterator<Item = Restart>) -> Self {
        for restart in restarts {
            self.own.insert((device, restart));
            self.finish((device, restart));
        }
        self
    }

    /// A line opened: ask who is there.
    pub fn attach(&mut self, link: LinkId) {
        self.links.insert(link, Link::default());
        self.reply(link, Down::HelloRequest);
    }

    /// A line closed.
    pub fn detach(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// A message arrived, its frame checked and removed.
    pub fn receive(&mut self, link: LinkId, message: &[u8]) {
        if !self.links.contains_key(&link) || self.stage.is_full() {
            return;
        }
        self.stage.set_time(self.clock.now().as_millis());
        match frame::message::<Up<'_>>(message) {
            Ok(Up::Hello(hello)) => self.hello(link, &hello),
            Ok(Up::Describe(describe)) => self.describe(link, &describe),
            Ok(Up::Readings(readings)) => self.readings(link, &readings),
            Ok(Up::TimeRequest { sent }) => self.reply(link, Down::TimeSync { sent, time: self.clock.now() }),
            Ok(Up::CommandResult(result)) => tracing::debug!(?link, ?result, "command answered"),
            Err(error) => self.counters.warn(error.into(), || format!("a frame on line {} holds no message", link.0)),
        }
    }

    /// A local source stopped with nothing left to send: its restart ends at exactly what was accepted.
    pub fn finish(&mut self, key: Key) {
        let mut state = self.state.lock();
        if let Some(progress) = state.restarts.get(&key).copied() {
            state.restarts.accept(key, progress.from, progress.accepted, true);
        }
    }

    /// What to answer, since the last call.
    pub fn take_replies(&mut self) -> Vec<(LinkId, Down)> {
        core::mem::take(&mut self.replies)
    }

    /// What to commit, if anything; `spare` are buffers to reuse.
    pub fn take_stage(&mut self, spare: Vec<Batch>) -> Option<Staged> {
        if self.stage.is_empty() {
            return None;
        }
        let mut staged = self.stage.take(spare);
        (staged.covered.windows, staged.covered.commit) = (self.processor.windows.take_changed(), self.commit);
        self.commit += 1;
        Some(staged)
    }

    /// Whether something waits for a commit.
    pub fn has_staged(&self) -> bool {
        !self.stage.is_empty()
    }

    /// The commit of the stage taken before ended: acknowledges what it covers, if all of it is durable. `Err` says why
    /// not; then what was staged on top of it is void too, and devices send again.
    pub fn committed(&mut self, covered: &Covered, committed: &Committed) -> Result<(), String> {
        let mut state = self.state.lock();
        let nothing = BTreeMap::new();
        for CommittedPart { class, result, .. } in &committed.parts {
            if let Ok((offsets, began)) = result {
                state.of_mut(*class).note(offsets, *began, covered.named.get(class).unwrap_or(&nothing));
                covered.note_summaries(*class, offsets.start, &mut state);
            }
        }
        if let Some(error) = committed.failure() {
            drop(state);
            self.failed();
            return Err(error.to_string());
        }
        self.counters.add(Event::ReadingsAccepted, covered.readings);
        // With the offsets, before anybody can save the one without the other.
        let accept = |state: &mut State, marks: &[Mark]| {
            marks.iter().for_each(|mark| state.restarts.accept(mark.key, mark.from, mark.accepted, mark.ended));
        };
        covered.windows.iter().for_each(|window| state.held.put(window.clone()));
        self.durable = covered.commit;
        accept(&mut state, &covered.marks);
        if committed.claims.is_ok() {
            accept(&mut state, &covered.claim_marks);
        }
        drop(state);
        self.acknowledge_all(&covered.marks);
        match &committed.claims {
            Ok(_) => self.acknowledge_all(&covered.claim_marks),
            Err(error) => {
                self.failed();
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn acknowledge_all(&mut self, marks: &[Mark]) {
        for mark in marks {
            let reached = |(_, ahead): &(_, Position)| ahead.accepted == mark.accepted && ahead.ended == mark.ended;
            if self.ahead.get(&mark.key).is_some_and(reached) {
                self.ahead.remove(&mark.key);
            }
        }
        for mark in marks {
            self.acknowledge(mark.link, mark.key);
        }
    }

    /// What is staged is void. Devices send again what they hold; that they do not hold a restart any more they said
    /// once, so its end is staged anew.
    pub fn failed(&mut self) {
        self.stage.discard();
        let ends = self.ahead.drain().filter(|(_, (_, position))| position.ended);
        let mut ends: Vec<_> = ends.map(|(key, (link, _))| (link, key)).collect();
        ends.sort();
        self.processor.go_back_to(&self.state.lock().held);
        ends.into_iter().for_each(|(link, key)| self.end(link, key));
    }

    /// Acknowledges what is committed, and says what may come next.
    fn acknowledge(&mut self, link: LinkId, key: Key) {
        let accepted = self.state.lock().restarts.get(&key).map_or(Sequence(0), |progress| progress.accepted);
        if accepted > Sequence(0) {
            self.reply(link, Down::Ack { restart: key.1, accepted });
        }
        self.give_credit(link, key);
    }

    /// How far a restart is, counting what is not committed yet.
    fn position(&self, key: &Key) -> Option<Position> {
        let committed = || {
            let state = self.state.lock();
            let progress = state.restarts.get(key)?;
            let &Progress { from, accepted, ended, forgotten, doubtful, .. } = progress;
            Some(Position { from, accepted, ended, forgotten, doubtful })
        };
        self.ahead.get(key).map(|(_, position)| *position).or_else(committed)
    }

    /// Moves a restart on, to be acknowledged on `link` by the next commit.
    fn advance(&mut self, link: LinkId, key: Key, position: Position) {
        let mark = self.mark(link, key, position);
        self.stage.mark(mark);
    }

    /// Claims sequences beside the log and moves the restart on.
    fn advance_beside(&mut self, link: LinkId, claim: &Claim, position: Position) {
        let mark = self.mark(link, (claim.device, claim.restart), position);
        self.stage.claim_beside(claim, mark);
    }

    fn mark(&mut self, link: LinkId, key: Key, position: Position) -> Mark {
        self.ahead.insert(key, (link, position));
        let Position { from, accepted, ended, .. } = position;
        Mark { link, key, from, accepted, ended }
    }

    pub(crate) fn reply(&mut self, link: LinkId, down: Down) {
        self.replies.push((link, down));
    }

    /// The device on a line; asks for its name if nobody said.
    fn device_on(&mut self, link: LinkId) -> Option<DeviceId> {
        let device = self.links.get(&link).and_then(|link| link.device);
        if device.is_none() {
            self.counters.add(Event::UnknownDevice, 1);
            self.reply(link, Down::HelloRequest);
        }
        device
    }

    /// Asks the device for a description that nobody has.
    fn want_description(&mut self, link: LinkId, device: DeviceId, schema: SchemaHash) {
        if self.state.lock().descriptions.get(device, schema).is_none() {
            self.reply(link, Down::DescribeRequest { schema });
        }
    }

    fn describe(&mut self, link: LinkId, describe: &device_to_agent::Describe<'_>) {
        let Some(device) = self.device_on(link) else { return };
        let description = Description { device, schema: describe.schema, channels: describe.channels };
        let kept = self.state.lock().descriptions.insert(&description);
        if let Err(error) = kept {
            self.counters.warn(Event::BadDescription, || format!("description of {device}: {error}"));
        }
        self.described((device, describe.schema));
    }

    /// A number for a restart that its device could not number. A new one for each time it asks: whoever asks again may be
    /// another life of it, and the one before used its number without a word of it having arrived.
    fn assign(&mut self, link: LinkId) {
        let restart = Restart::from_agent(self.random.next_u64());
        self.reply(link, Down::AssignRestart { restart });
    }
}
