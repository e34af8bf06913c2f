//! The agent: what it has accepted, as the page cache has it and as the disk has it.
//!
//! A kill leaves the page cache; a power cut leaves the disk, and any of what was written or removed since the
//! last sync.

use crate::device::Frame;
use crate::rules::Rule;
use crate::sequences::Set;
use crate::uplink::{Batch, Position};
use crate::world::{Policy, World};

/// Readings and claims that are kept, and how far the restart was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) readings: Set,
    pub(crate) claims: Set,
    /// Nothing before the first frame, and again after the disk was wiped.
    pub(crate) reach: Option<Reach>,
}

/// Everything below `accepted` was here once, as a reading or as a claim; `first` is where the readings began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Reach {
    pub(crate) first: u8,
    pub(crate) accepted: u8,
}

/// The agent's queue and what it remembers beside it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Agent {
    pub(crate) written: Queue,
    pub(crate) durable: Queue,
    /// Chosen by drop-oldest: unlinked once their claims are durable. Forgotten by a restart.
    pub(crate) dropping: Set,
    /// The gateway has answered a position that named all of `reach` and held nothing.
    pub(crate) audited: bool,
    /// Everything that was ever sent; what a broken rule looks at.
    pub(crate) sent: Set,
    /// For the properties: what the policy chose to drop, what faults took, and what only coarsening claimed.
    pub(crate) dropped: Set,
    pub(crate) destroyed: Set,
    pub(crate) coarsened: Set,
}

impl Agent {
    pub(crate) fn accepted(queue: &Queue) -> u8 {
        queue.reach.map_or(0, |reach| reach.accepted)
    }

    fn is_full(&self, world: &World) -> bool {
        self.written.readings.len() >= world.queue
    }

    /// Takes a frame: claims what is gone, keeps what there is room for.
    pub(crate) fn accept(&mut self, world: &World, frame: Frame) {
        let first = self.written.reach.map_or(frame.base, |reach| reach.first);
        let known = Self::accepted(&self.written);
        if frame.base > known && !world.breaks(Rule::JumpWithoutClaim) {
            self.written.claims |= Set::range(known..frame.base);
        }
        let mut accepted = known.max(frame.base);
        while accepted < frame.next {
            let one = Set::of(accepted);
            if !self.is_full(world) {
                self.written.readings |= one;
            } else if world.policy == Policy::DropNewest {
                self.dropped |= one;
                if !world.breaks(Rule::DropWithoutClaim) {
                    self.written.claims |= one;
                }
            } else {
                break;
            }
            accepted += 1;
        }
        let reach = Some(Reach { first, accepted });
        if self.written.reach != reach {
            self.written.reach = reach;
            self.audited = false;
        }
    }

    pub(crate) fn sync(&mut self) {
        self.durable = self.written;
    }

    /// What the device may be told.
    pub(crate) fn acknowledgeable(&self, world: &World) -> u8 {
        Self::accepted(if world.breaks(Rule::AckBeforeSync) { &self.written } else { &self.durable })
    }

    /// The reading that drop-oldest would drop, if the device has more than there is room for.
    pub(crate) fn droppable(&self, world: &World, next: u8) -> Option<u8> {
        let wanted = world.policy == Policy::DropOldest && self.is_full(world) && Self::accepted(&self.written) < next;
        if wanted && self.dropping.is_empty() { self.written.readings.lowest() } else { None }
    }

    /// Claims a reading that is to be dropped.
    pub(crate) fn claim(&mut self, sequence: u8) {
        self.written.claims |= Set::of(sequence);
        self.dropping |= Set::of(sequence);
        self.dropped |= Set::of(sequence);
        self.audited = false;
    }

    /// What may be unlinked: its claim is durable.
    pub(crate) fn unlinkable(&self, world: &World) -> Set {
        let claimed = if world.breaks(Rule::UnlinkBeforeClaim) { self.written.claims } else { self.durable.claims };
        self.dropping & claimed
    }

    pub(crate) fn unlink(&mut self, sequence: u8) {
        let one = Set::of(sequence);
        self.written.readings -= one;
        self.dropping -= one;
    }

    /// The claims as one covering range, when room for claims runs out.
    pub(crate) fn coarse(&self, world: &World) -> Set {
        let covering = self.written.claims.covering();
        if world.breaks(Rule::CoarsenBeyondAccepted) && !covering.is_empty() {
            return Set::range(0..world.sequences);
        }
        covering
    }

    pub(crate) fn coarsen(&mut self, world: &World) {
        let coarse = self.coarse(world);
        if !world.breaks(Rule::CoarsenBeyondAccepted) {
            self.coarsened |= coarse - self.written.claims;
        }
        self.written.claims = coarse;
        self.audited = false;
    }

    /// What a batch may carry: any readings unless order is promised, and only claims that are durable.
    pub(crate) fn shippable(&self, world: &World, in_flight: &Batch) -> (Set, Set) {
        let early = if world.in_order { Set::EMPTY } else { self.written.readings };
        let claims = self.written.claims & self.durable.claims;
        let readings = self.written.readings & (self.durable.readings | early);
        (readings - in_flight.readings, claims - in_flight.claims)
    }

    /// How far the agent has come: everything durable that the gateway has not acknowledged is held.
    pub(crate) fn position(&self, world: &World) -> Option<Position> {
        let mut reach = self.durable.reach?;
        let mut held = self.durable.readings | self.durable.claims;
        if world.breaks(Rule::PositionBeforeSync) {
            reach.accepted = Self::accepted(&self.written);
        } else {
            held |= self.written.readings | self.written.claims;
        }
        if world.breaks(Rule::PositionFromCursor) {
            held -= self.sent;
        }
        let from = if world.breaks(Rule::PositionFromReadings) { reach.first } else { 0 };
        Some(Position { from, upto: reach.accepted, held })
    }

    /// The gateway has this.
    pub(crate) fn shipped(&mut self, batch: &Batch) {
        self.written.readings -= batch.readings;
        self.written.claims -= batch.claims;
        self.dropping -= batch.readings;
        let all = |position: &Position| {
            position.held.is_empty() && [self.durable, self.written].iter().all(|q| Self::accepted(q) == position.upto)
        };
        self.audited |= batch.position.is_some_and(|position| all(&position));
    }

    /// The process was killed, and what it wrote is still in the page cache; opening the queue syncs it.
    pub(crate) fn killed(&mut self) {
        self.durable = self.written;
        self.dropping = Set::EMPTY;
    }

    /// The power went: of what was not synced, additions and removals may each be there or not.
    pub(crate) fn power_cut(&mut self, additions_survive: bool, removals_survive: bool) {
        let survives = |written: Set, durable: Set| {
            let kept = if removals_survive { durable & written } else { durable };
            if additions_survive { kept | (written - durable) } else { kept }
        };
        let left = Queue {
            readings: survives(self.written.readings, self.durable.readings),
            claims: survives(self.written.claims, self.durable.claims),
            reach: if additions_survive { self.written.reach } else { self.durable.reach },
        };
        *self = Self { written: left, durable: left, dropping: Set::EMPTY, ..self.clone() };
    }

    /// The disk is new.
    pub(crate) fn wiped(&mut self) {
        let Queue { readings, claims, .. } = self.durable;
        self.destroyed |= self.written.readings | self.written.claims | readings | claims;
        *self = Self { written: Queue::default(), durable: Queue::default(), dropping: Set::EMPTY, ..self.clone() };
    }

    /// A damaged record: what it held is gone, and nobody knows what it was.
    pub(crate) fn damaged(&mut self, sequence: u8) {
        let one = Set::of(sequence);
        self.destroyed |= one;
        for queue in [&mut self.written, &mut self.durable] {
            queue.readings -= one;
            queue.claims -= one;
        }
        self.audited = false;
    }
}
