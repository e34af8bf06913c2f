//! What is sent beside the queue: where each restart stands, and the claims that wait.
//!
//! Positions go out on each connect, when the queue is empty for the first time after that or after something in it
//! could not be read, and periodically. They are not kept: a position that is lost is said anew by the next round.
//! Claims go out as soon as they are durable, one batch at a time; the queue holds them until they are acknowledged.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use weir_protocol::Sequence;
use weir_protocol::batch::{EnvelopeBuilder, Held, Position, Section};
use weir_protocol::items::{self, Items};

use crate::queue::{Key, Queue, Standing};

/// A batch of positions is sent at this size.
const BATCH_BYTES: usize = 32 * 1024;
/// The most claims and ends in one batch.
const MAX_CLAIMS: usize = 512;

/// What there is to say beside the queue, over all connections.
pub(super) struct Accounts {
    interval: Duration,
    /// When the next round of positions starts.
    pub(super) due_at: Instant,
    /// The gateway takes positions; one that refused is asked again with the next periodic round.
    taken: bool,
    /// A round is due once the queue is empty.
    when_empty: bool,
    round: VecDeque<Standing>,
    /// Restarts of which the gateway knows all, on this connection: not said again until something changed.
    settled: HashMap<Key, u64>,
    /// The most claims in a batch: fewer while one that cannot be read is looked for.
    most_claims: usize,
}

/// Positions in flight: what is settled once they are acknowledged.
pub(super) type Positions = Vec<(Key, Option<u64>)>;

impl Accounts {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            due_at: Instant::now(),
            taken: true,
            when_empty: false,
            round: VecDeque::new(),
            settled: HashMap::new(),
            most_claims: MAX_CLAIMS,
        }
    }

    /// A connection begins: everything is said.
    pub(super) fn connected(&mut self) {
        self.settled.clear();
        self.round.clear();
        if self.taken {
            self.due_at = Instant::now();
            self.when_empty = true;
        }
    }

    /// Something was found to be gone: the gateway hears of it once the rest is there.
    pub(super) fn damaged(&mut self) {
        self.when_empty |= self.taken;
    }

    /// Whether there are positions to say now, or a queue that is empty asks for them.
    pub(super) fn is_waiting(&self) -> bool {
        self.when_empty || !self.round.is_empty()
    }

    /// Starts a round if one is due.
    pub(super) fn plan(&mut self, queue: &Queue, is_empty: bool) {
        let now = Instant::now();
        if now < self.due_at && !(self.when_empty && is_empty) {
            return;
        }
        if now >= self.due_at {
            self.due_at = now + self.interval;
            self.taken = true;
        }
        if is_empty {
            self.when_empty = false;
        }
        let standings = queue.standings();
        let changed = |standing: &Standing| self.settled.get(&standing.key) != Some(&standing.upto);
        self.round = standings.into_iter().filter(changed).collect();
    }

    /// The next batch of positions.
    pub(super) fn positions(&mut self, forming: &mut EnvelopeBuilder) -> Positions {
        let mut said = Vec::new();
        while forming.body_len() < BATCH_BYTES
            && let Some(standing) = self.round.pop_front()
        {
            let mut held = Vec::new();
            for range in standing.held.iter() {
                items::push(&mut held, &Held { start: Sequence(range.start), end: Sequence(range.end) });
            }
            let (device, restart) = standing.key;
            let (from, upto) = (Sequence(0), Sequence(standing.upto));
            forming.push(&Section::Position(Position { device, restart, from, upto, held: Items::new(&held) }));
            said.push((standing.key, standing.held.is_empty().then_some(standing.upto)));
        }
        said
    }

    /// The gateway took positions.
    pub(super) fn told(&mut self, positions: Positions) {
        let settled = positions.into_iter().filter_map(|(key, upto)| Some((key, upto?)));
        self.settled.extend(settled);
    }

    /// The gateway cannot read positions: it is asked again with the next periodic round.
    pub(super) fn refused(&mut self) {
        (self.taken, self.when_empty) = (false, false);
        self.round.clear();
        self.due_at = Instant::now() + self.interval;
    }

    /// The claims that go next.
    pub(super) fn claims(&self, queue: &Queue) -> Vec<Section<'static>> {
        queue.state().lock().claims.sections(self.most_claims)
    }

    /// The gateway has these.
    pub(super) fn claimed(&mut self, queue: &Queue, sections: &[Section<'static>]) {
        self.most_claims = (self.most_claims * 2).min(MAX_CLAIMS);
        let state = queue.state();
        let mut state = state.lock();
        sections.iter().for_each(|section| state.claims.remove(section));
    }

    /// The gateway could not read these: fewer next time. True if it refused one alone, which is given up: positions
    /// no longer hold it, so that what it named is unaccounted.
    pub(super) fn unreadable(&mut self, queue: &Queue, sections: &[Section<'static>]) -> bool {
        self.most_claims = (sections.len() / 2).max(1);
        let alone = sections.len() == 1;
        if alone {
            self.claimed(queue, sections);
            self.damaged();
        }
        alone
    }
}
