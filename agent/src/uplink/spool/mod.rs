//! From the queue to batches, and back from acknowledgements to offsets.
//!
//! Guarantees:
//! - Each class has two lanes ([`LaneId`]): live is what was committed since the connection began, or shortly before;
//!   backlog is what waited longer. A lane goes in the order of the log; lanes go in the order of [`Spool::lanes`].
//! - After a lost connection [`Spool::rewind`] starts each lane at its first record that the gateway does not have. A
//!   live lane that is far behind becomes backlog, so that fresh readings never wait for old ones; a backlog that is
//!   nearly done is live again.
//! - A batch that the gateway cannot read is halved until it is one reading, which is then sent as a claim that it was
//!   rejected: the record itself stays in the queue until that claim is acknowledged, so a crash at any point only
//!   repeats this. Searching in one lane leaves the others as they are.
//! - Memory is bounded by the lanes: a window of the log and one batch each.

mod lane;
mod shelf;
mod source;

use tokio::time::Instant;
use weir_protocol::Sequence;
use weir_storage::ReadError;

use crate::queue::{ClassId, Key, Queue, SharedState};

use lane::Formed;
use shelf::Shelf;

/// Which part of which class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId {
    /// The class.
    pub class: ClassId,
    /// What waited longer, and not what is fresh.
    pub backlog: bool,
}

/// A part of a record: units are the readings of a run, or the one claim or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The record.
    pub offset: u64,
    /// Which of its units.
    pub units: std::ops::Range<u32>,
    /// How many it has.
    pub of: u32,
    /// Whether they are readings.
    pub readings: bool,
}

/// A batch ready to send.
#[derive(Debug)]
pub struct Outgoing {
    /// Where it is from.
    pub lane: LaneId,
    /// The envelope.
    pub payload: Vec<u8>,
    /// Its bytes.
    pub bytes: usize,
    /// What is in it.
    pub parts: Vec<Part>,
    /// How many units that is.
    pub units: u32,
    /// The last reading in it.
    pub newest: Option<(Key, Sequence)>,
    /// Its place among all batches.
    pub number: u64,
    /// When it was formed.
    pub formed_at: Instant,
}

/// What becomes of a batch that the gateway could not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It goes again in halves.
    Halved,
    /// A reading alone: it goes again as a claim that it was rejected. Its record, and which of its readings.
    Reading(u64, u32),
    /// A claim or an end alone, refused before: nothing more can be done for the record at this offset.
    GivenUp(u64),
    /// It goes again as it is: not the reading is at fault.
    Again,
}

/// Forms batches.
pub struct Spool {
    state: SharedState,
    /// By [`ClassId::index`].
    shelves: Vec<Shelf>,
    batch_bytes: usize,
    compress: bool,
    formed: u64,
}

impl Spool {
    /// Starts each lane at its first record that the gateway does not have.
    pub fn new(queue: &Queue, batch_bytes: usize, compress: bool) -> Self {
        let state = queue.state();
        let shelves = queue.ids().map(|class| Shelf::new(class, queue.log(class).clone())).collect();
        let mut spool = Self { state, shelves, batch_bytes, compress, formed: 0 };
        spool.rewind();
        spool
    }

    /// All lanes, in the order in which they go: what is fresh before what waited, urgent classes before others.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> + use<> {
        let count = self.shelves.len();
        [false, true]
            .into_iter()
            .flat_map(move |backlog| ClassId::by_priority(count).map(move |class| LaneId { class, backlog }))
    }

    /// Forgets what was sent and not acknowledged.
    pub fn rewind(&mut self) {
        let mut state = self.state.lock();
        for shelf in &mut self.shelves {
            let class = state.of_mut(shelf.class);
            class.sent_below = 0;
            shelf.rewind(class);
        }
    }

    /// Takes records into the batch that a lane is forming, up to `most` bytes; true when it is full.
    pub fn fill(&mut self, lane: LaneId, most: usize) -> Result<bool, ReadError> {
        let most = self.batch_bytes.min(most);
        self.shelves[lane.class.index()].fill(lane.backlog, &self.state, most)
    }

    /// The batch of a lane as far as it is formed, if there is anything in it.
    pub fn take(&mut self, lane: LaneId) -> Option<Outgoing> {
        let shelf = &mut self.shelves[lane.class.index()];
        let is_front = lane.backlog || !shelf.has_backlog();
        let Formed { payload, parts, units, newest } = shelf.lane(lane.backlog).take(self.compress)?;
        if let Some(last) = parts.last().filter(|_| is_front) {
            self.state.lock().of_mut(lane.class).sent_below = last.offset + 1;
        }
        self.formed += 1;
        let (number, formed_at) = (self.formed, Instant::now());
        Some(Outgoing { lane, bytes: payload.len(), payload, parts, units, newest, number, formed_at })
    }

    /// Whether something of a class waits that is not live.
    pub fn has_backlog(&self, class: ClassId) -> bool {
        self.shelves[class.index()].has_backlog()
    }

    /// Whether a lane has begun a batch.
    pub fn is_forming(&self, lane: LaneId) -> bool {
        self.shelves[lane.class.index()].lane_ref(lane.backlog).is_forming()
    }

    /// Whether any lane has.
    pub fn is_forming_any(&self) -> bool {
        self.lanes().any(|lane| self.is_forming(lane))
    }

    /// The gateway has this.
    pub fn shipped(&mut self, batch: &Outgoing) {
        let LaneId { class, backlog } = batch.lane;
        let mut state = self.state.lock();
        self.shelves[class.index()].shipped(backlog, &batch.parts, state.of_mut(class));
    }

    /// Whether something unreadable is being looked for; send one batch at a time then.
    pub fn is_searching(&self) -> bool {
        self.shelves.iter().any(Shelf::is_searching)
    }

    /// The gateway could not read this.
    pub fn unreadable(&mut self, batch: &Outgoing) -> Unreadable {
        let verdict = self.shelves[batch.lane.class.index()].unreadable(batch.lane.backlog, &batch.parts);
        if let Unreadable::GivenUp(_) = verdict {
            self.shipped(batch);
        }
        verdict
    }

    /// A connection closed while this was the oldest in flight, and gave no reason, as MQTT 3.1.1 has none. True if
    /// it was the same batch so often that it goes in halves from now on. A reading alone is never given up for it:
    /// nobody said that the reading is at fault.
    pub fn closed_on(&mut self, batch: &Outgoing) -> bool {
        self.shelves[batch.lane.class.index()].lane(batch.lane.backlog).closed_on(&batch.parts)
    }

    /// Damaged records skipped since the last call.
    pub fn take_damaged(&mut self) -> u64 {
        self.shelves.iter_mut().map(|shelf| core::mem::take(&mut shelf.source.damaged)).sum()
    }
}
