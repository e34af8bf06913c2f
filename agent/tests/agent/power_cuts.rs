//! The queue under power cuts and failing syncs, against a model.
//!
//! A device with a small flash ring samples, sends, loses frames and evicts; the gateway takes records in
//! any order and the keeper removes them; the queue is small, runs full and does as its policy says; writes and syncs
//! fail; the power goes at any moment. What must hold after each recovery: every sequence that a device was acknowledged
//! for is with the gateway or in the queue, as a reading or a claim; no sequence is in the queue twice as a reading;
//! nothing that a device still held is claimed; and what positions say is no longer held is with the gateway, so that
//! nothing is ever unaccounted but for damage.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::queue::records::sequences;
use weir_agent::queue::{ClassId, Key, Policy};
use weir_protocol::batch::LossKind;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::{RangeSet, Restart};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::seeds::for_each_seed;
use crate::support::desk::Desk;
use crate::support::device::Talker;
use crate::support::kept::{Kept, records};

/// Readings that the device's ring holds.
const RING: u64 = 200;
/// Far below what settings allow, so that a story fills it several times.
const CAP: u64 = 20 << 10;
const POLICIES: [Policy; 3] = [Policy::Block, Policy::DropOldest, Policy::DropNewest];

struct World {
    random: StdRng,
    disk: FaultyFs,
    desk: Desk,
    talker: Talker,
    restart: Restart,
    boots: u32,
    base: u64,
    next: u64,
    /// The highest acknowledgement that the device ever saw, for each restart.
    acked: BTreeMap<Key, u64>,
    /// What the gateway has: readings and claims.
    gateway: BTreeMap<Key, RangeSet>,
    /// What the device evicted before it was acknowledged: all that may be claimed.
    evicted: BTreeMap<Key, RangeSet>,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = FaultyFs::new(seed);
        let desk = Desk::with_cap(&disk, POLICIES[seed as usize % 3], CAP);
        let talker = Talker::new("board-1", Ring::Durable);
        let random = StdRng::seed_from_u64(seed);
        let restart = Restart::from_boot(1, 1);
        let (acked, gateway, evicted) = Default::default();
        let mut world =
            Self { random, disk, desk, talker, restart, boots: 1, base: 0, next: 0, acked, gateway, evicted };
        world.says_hello();
        world
    }

    fn key(&self) -> Key {
        (self.talker.device, self.restart)
    }

    fn says_hello(&mut self) {
        self.desk.hears(&self.talker.hello(&[(self.restart, self.base, self.next)]));
        self.desk.hears(&self.talker.describe());
    }

    fn samples(&mut self, count: u64) {
        self.next += count;
        let base = self.base.max(self.next.saturating_sub(RING));
        let key = self.key();
        self.evicted.entry(key).or_default().insert(self.base..base);
        self.base = base;
    }

    fn sends(&mut self) {
        // Mostly what comes next, sometimes something older or too new.
        let first = self.random.random_range(self.base..=self.next);
        let first = if self.random.random_bool(0.7) { self.base } else { first };
        let end = self.next.min(first + self.random.random_range(0..40));
        self.desk.intake.set_rooms(self.desk.queue.rooms());
        self.desk.hears(&self.talker.readings(self.restart, (self.base, self.next), first, end));
    }

    fn commits(&mut self) {
        self.desk.commits();
        for down in self.desk.answers() {
            let Down::Ack { restart, accepted } = down else { continue };
            // Answers get lost too.
            if self.random.random_bool(0.2) {
                continue;
            }
            let seen = self.acked.entry((self.talker.device, restart)).or_default();
            *seen = accepted.0.max(*seen);
            if restart == self.restart && self.base < accepted.0 && accepted.0 <= self.next {
                self.base = accepted.0;
            }
        }
    }

    /// The queue drops what its policy says. On a disk that fails it keeps more than it must, no less.
    fn makes_room(&mut self) {
        if self.desk.queue.wants_room() {
            let _ = self.desk.queue.make_room();
        }
    }

    /// The gateway takes some records and claims, in any order.
    fn ships(&mut self, odds: f64) {
        let state = self.desk.queue.state();
        let claims = state.lock().claims.sections(usize::MAX);
        for section in claims {
            if self.random.random_bool(odds) {
                for (key, range) in sequences(&section) {
                    self.gateway.entry(key).or_default().insert(range);
                }
                state.lock().claims.remove(&section);
            }
        }
        for (offset, kept) in records(&self.desk.queue) {
            if self.random.random_bool(odds) {
                if let Some((key, range)) = kept.sequences() {
                    self.gateway.entry(key).or_default().insert(range);
                }
                state.lock().of_mut(ClassId::DEFAULT).shipped.insert(offset..offset + 1);
            }
        }
        if self.random.random_bool(odds) {
            // A disk that fails now keeps more than it must, no less.
            let _ = self.desk.queue.trim();
        }
    }

    fn reboots(&mut self) {
        // Only with an empty ring, so that one restart at a time is enough.
        if self.base == self.next {
            self.boots += 1;
            self.restart = Restart::from_boot(self.boots, 9);
            (self.base, self.next) = (0, 0);
            self.says_hello();
        }
    }

    /// The power goes somewhere inside a commit or a checkpoint.
    fn loses_power_while_writing(&mut self) {
        let operations = self.random.random_range(0..8);
        self.disk.fail_power_after(operations);
        self.sends();
        self.commits();
        self.makes_room();
        let _ = self.desk.queue.trim();
        self.loses_power();
    }

    fn loses_power(&mut self) {
        for fault in [Fault::Sync, Fault::Write] {
            self.disk.fail_sometimes(fault, 0);
        }
        let disk = self.disk.power_cut();
        self.desk = Desk::with_cap(&disk, self.desk.queue.options().policy, CAP);
        self.disk = disk;
        self.check();
        self.says_hello();
    }

    fn check(&self) {
        let state = self.desk.queue.state();
        for stands in self.desk.queue.standings() {
            let there = self.gateway.get(&stands.key).cloned().unwrap_or_default();
            let gone = stands.held.gaps(0..stands.upto);
            let wrong: Vec<_> = gone.flat_map(|gap| there.gaps(gap).collect::<Vec<_>>()).collect();
            assert!(wrong.is_empty(), "said to be no longer held, and not with the gateway: {wrong:?} of {stands:?}");
        }
        let mut have: BTreeMap<Key, RangeSet> = self.gateway.clone();
        for (key, _, set) in state.lock().claims.lost() {
            have.entry(key).or_default().union(set);
        }
        let mut readings: BTreeMap<Key, RangeSet> = BTreeMap::new();
        for (offset, kept) in records(&self.desk.queue) {
            let Some((key, range)) = kept.sequences() else { continue };
            have.entry(key).or_default().insert(range.clone());
            match kept {
                Kept::Readings(..) => {
                    let seen = readings.entry(key).or_default();
                    assert!(!seen.intersects(range.clone()), "offset {offset}: {range:?} is in the queue twice");
                    seen.insert(range);
                }
                Kept::Claim(_, _, LossKind::UnknownHistory, range) => {
                    // Only what is with the gateway, or was evicted, may be unknown here.
                    let mut known = self.gateway.get(&key).cloned().unwrap_or_default();
                    self.evicted.get(&key).iter().for_each(|evicted| known.union(evicted));
                    assert!(known.contains_all(range.clone()), "offset {offset}: {range:?} claimed as unknown");
                }
                Kept::Claim(_, _, kind, range) => {
                    let evicted = self.evicted.get(&key).cloned().unwrap_or_default();
                    assert!(evicted.contains_all(range.clone()), "offset {offset}: {range:?} claimed as {kind}");
                }
                Kept::End(..) => panic!("a durable ring has no unknown tail"),
            }
        }
        for (key, acked) in &self.acked {
            let have = have.get(key).cloned().unwrap_or_default();
            let orphans: Vec<_> = have.gaps(0..*acked).collect();
            assert!(orphans.is_empty(), "acknowledged below {acked} and nowhere: {orphans:?} of {key:?}");
        }
    }
}

#[test]
fn what_a_device_was_acknowledged_for_survives_every_power_cut() {
    for_each_seed("what_a_device_was_acknowledged_for", 25, |seed| {
        let mut world = World::new(seed);
        for _ in 0..400 {
            match world.random.random_range(0..100) {
                0..25 => {
                    let count = world.random.random_range(1..30);
                    world.samples(count);
                }
                25..60 => world.sends(),
                60..80 => world.commits(),
                80..82 => world.ships(0.7),
                82..88 => world.makes_room(),
                88..90 => world.says_hello(),
                90..92 => world.reboots(),
                92..94 => world.disk.fail_once(Fault::Sync),
                94..95 => world.disk.fail_sometimes(Fault::Write, 20),
                95..97 => world.loses_power_while_writing(),
                _ => world.loses_power(),
            }
        }
        world.loses_power();
        world.ships(1.0);
        assert!(world.desk.queue.is_empty());
        world.check();
    });
}
