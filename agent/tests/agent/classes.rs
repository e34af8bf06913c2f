//! A queue with a class for alarms: what one commit puts into two logs survives together or not at all, and each class
//! has its own cap, its own order and its own place in line.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::intake::{Covered, Mark};
use weir_agent::queue::class::read_logs;
use weir_agent::queue::{
    ClassId, ClassOptions, Entries, Examination, Files, Incarnation, Key, Policy, QueueOptions, Summary, repair,
};
use weir_agent::uplink::spool::Spool;
use weir_protocol::batch::{LossKind, RunBuilder};
use weir_protocol::name::Name;
use weir_protocol::{ChannelId, Clock, RangeSet, Reading, Restart, SchemaHash, Sequence, Value, items};
use weir_storage::fs::Fault;
use weir_storage::{Batch, FaultyFs, Fs};

use crate::seeds::for_each_seed;
use crate::support::books::Books;
use crate::support::desk::{Desk, LINE};
use crate::support::kept::{Kept, records_of};
use crate::support::{NOON, device};

const ALARM: ClassId = ClassId(1);
const R: Restart = Restart::from_boot(1, 1);

fn key() -> Key {
    (device("board-1"), R)
}

fn class(name: &str, cap: u64, policy: Policy) -> ClassOptions {
    ClassOptions { name: Name::new(name).expect("a name"), cap, policy, max_age: None }
}

fn options() -> QueueOptions {
    QueueOptions { cap: 1 << 20, classes: vec![class("alarm", 64 << 10, Policy::Block)], ..QueueOptions::default() }
}

/// A desk that is told which readings are alarms.
struct Station {
    disk: FaultyFs,
    desk: Desk,
}

impl Station {
    fn open(disk: &FaultyFs, options: QueueOptions) -> Self {
        Self { disk: disk.clone(), desk: Desk::with_options(disk, options) }
    }

    /// One commit of readings, of which every fifth is an alarm; whether the device is acknowledged for it.
    fn commits(&mut self, range: Range<u64>) -> bool {
        let mut entries = Entries::default();
        let mut covered = Covered::default();
        for class in [ClassId::DEFAULT, ALARM] {
            let mut batch = Batch::new();
            for sequence in range.clone().filter(|sequence| (class == ALARM) == (sequence % 5 == 0)) {
                let mut run = RunBuilder::new(key().0, R, SchemaHash(1), Sequence(sequence));
                let value = Value::Integer(sequence as i64);
                run.push(&Reading { channel: ChannelId(0), time: NOON, clock: Clock::Synchronised, value });
                let mut encoded = Vec::new();
                items::push(&mut encoded, &run.section());
                batch.push(NOON.as_millis(), None, Some(&encoded), &[]).expect("a small record");
                let named = covered.named.entry(class).or_default().entry(key()).or_default();
                named.insert(sequence..sequence + 1);
            }
            entries.batches.push((class, batch));
        }
        let (from, accepted) = (Sequence(0), Sequence(range.end));
        covered.marks = vec![Mark { link: LINE, key: key(), from, accepted, ended: false }];
        let (sender, done) = mpsc::channel();
        let submitted = self.desk.queue.submit(entries, move |committed| sender.send(committed).expect("a listener"));
        submitted.expect("a running committer");
        self.desk.intake.committed(&covered, &done.recv().expect("an answer")).is_ok()
    }

    fn accepted(&self) -> u64 {
        self.desk.queue.state().lock().restarts.get(&key()).map_or(0, |known| known.accepted.0)
    }

    /// What is in both logs.
    fn held(&self) -> RangeSet {
        let all = [ClassId::DEFAULT, ALARM].into_iter().flat_map(|class| records_of(&self.desk.queue, class));
        all.filter_map(|(_, kept)| kept.sequences()).map(|(_, range)| range).collect()
    }

    /// The gateway takes some records of both classes.
    fn ships(&mut self, gateway: &mut RangeSet, random: &mut StdRng) {
        for class in [ClassId::DEFAULT, ALARM] {
            for (offset, kept) in records_of(&self.desk.queue, class) {
                if random.random_bool(0.5) {
                    kept.sequences().into_iter().for_each(|(_, range)| gateway.insert(range));
                    self.desk.queue.state().lock().of_mut(class).shipped.insert(offset..offset + 1);
                }
            }
        }
        let _ = self.desk.queue.trim();
    }
}

/// One commit touches two logs, and a power cut may keep only one of them. The reading that is there does not stand for
/// those before it that are not: a device that was told so would discard what nobody has.
#[test]
fn a_restart_is_accepted_only_as_far_as_all_logs_together_reach() {
    for_each_seed("a_restart_is_accepted_only_as_far", 25, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut station = Station::open(&FaultyFs::new(seed), options());
        let mut gateway = RangeSet::new();
        let mut acked = 0;
        for _ in 0..60 {
            let first = station.accepted();
            match random.random_range(0..10) {
                0 => station.ships(&mut gateway, &mut random),
                1 => station.disk.fail_once(Fault::Sync),
                2 => {
                    let _ = station.desk.queue.save();
                }
                3..6 => {
                    station.disk.fail_power_after(random.random_range(0..6));
                    if station.commits(first..first + random.random_range(1..12)) {
                        acked = station.accepted();
                    }
                    station = Station::open(&station.disk.power_cut(), options());
                }
                _ => {
                    if station.commits(first..first + random.random_range(1..12)) {
                        acked = station.accepted();
                    }
                }
            }
            let mut have = station.held();
            have.union(&gateway);
            let accepted = station.accepted();
            assert!(accepted >= acked, "acknowledged {acked}, accepted {accepted}");
            let nowhere: Vec<_> = have.gaps(0..accepted).collect();
            assert!(nowhere.is_empty(), "accepted below {accepted} and nowhere: {nowhere:?}");
        }
    });
}

#[test]
fn the_state_of_each_class_is_kept_by_name_whatever_their_order_becomes() {
    let disk = FaultyFs::new(1);
    let mut station = Station::open(&disk, options());
    assert!(station.commits(0..20));
    station.desk.queue.state().lock().of_mut(ALARM).shipped.insert(0..3);
    station.desk.queue.save().expect("a good disk");
    drop(station);
    let mut others = options();
    others.classes.insert(0, class("fire", 64 << 10, Policy::Block));
    let station = Station::open(&disk, others);
    assert!(station.desk.recovered.state_damage.is_none());
    assert_eq!(station.desk.recovered.replayed, 0);
    let state = station.desk.queue.state();
    assert_eq!(state.lock().of(ClassId(2)).first_unshipped(0), 3);
    assert_eq!(state.lock().of(ClassId(1)).first_unshipped(0), 0);
}

/// Nobody reads a directory that no settings name, unless somebody thought of it.
#[test]
fn what_is_in_a_class_that_the_settings_no_longer_name_is_shipped() {
    let disk = FaultyFs::new(2);
    let mut station = Station::open(&disk, options());
    assert!(station.commits(0..20));
    drop(station);
    let station = Station::open(&disk, QueueOptions { classes: Vec::new(), ..options() });
    let mut books = Books::default();
    books.ship(&station.desk.queue);
    assert_eq!(books.stored(key()), [0..20]);
}

#[test]
fn a_log_of_a_class_that_was_removed_by_hand_is_unaccounted_and_nothing_else_is() {
    let disk = FaultyFs::new(3);
    let mut station = Station::open(&disk, options());
    assert!(station.commits(0..20));
    station.desk.queue.save().expect("a good disk");
    drop(station);
    disk.remove(Path::new("/agent/classes/alarm/00000000000000000000.log")).expect("a file");
    let station = Station::open(&disk, options());
    assert!(station.desk.recovered.state_damage.is_some(), "it is told");
    let mut books = Books::default();
    books.ship(&station.desk.queue);
    assert_eq!(books.lost(key(), LossKind::Unaccounted), [0..1, 5..6, 10..11, 15..16]);
    assert!(books.balances(key(), 0..20));
}

#[test]
fn alarms_overtake_what_was_there_before_them() {
    let mut station = Station::open(&FaultyFs::new(4), options());
    assert!(station.commits(0..5) && station.commits(5..10));
    let mut spool = Spool::new(&station.desk.queue, 1 << 10, false);
    let mut came = Vec::new();
    while let Some(batch) = spool.lanes().find_map(|lane| {
        spool.fill(lane, usize::MAX).expect("a good disk");
        spool.take(lane)
    }) {
        came.push(batch.lane.class);
        spool.shipped(&batch);
    }
    assert_eq!(came, [ALARM, ClassId::DEFAULT]);
    assert!(station.desk.queue.is_empty());
}

#[test]
fn a_full_class_drops_its_own_oldest_and_nothing_of_the_others() {
    let mut full = options();
    full.classes = vec![class("alarm", 64 << 10, Policy::DropOldest)];
    let mut station = Station::open(&FaultyFs::new(5), full);
    let mut next = 0;
    let mut dropped = 0;
    while dropped < 50 {
        assert!(station.commits(next..next + 100));
        next += 100;
        if station.desk.queue.wants_room() {
            dropped += station.desk.queue.make_room().expect("a good disk").readings;
        }
        assert!(station.desk.queue.reader(ALARM).allocated() <= 64 << 10);
    }
    let mut books = Books::default();
    books.ship(&station.desk.queue);
    let lost = books.lost(key(), LossKind::Queue);
    assert!(lost.iter().all(|range| range.end == range.start + 1 && range.start % 5 == 0), "{lost:?}");
    assert_eq!(lost.len() as u64, dropped);
    assert!(books.balances(key(), 0..next));
}

#[test]
fn the_commands_look_at_every_class_and_a_repair_repairs_the_one_that_is_damaged() {
    let disk = FaultyFs::new(6);
    let mut station = Station::open(&disk, options());
    for at in 0..200 {
        assert!(station.commits(20 * at..20 * at + 20));
    }
    station.desk.queue.save().expect("a good disk");
    drop(station);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let data = Path::new("/agent");
    let summary = Summary::read(&fs, data, &Arc::default()).expect("a readable disk");
    let records: BTreeMap<_, _> = summary.classes.iter().map(|class| (class.class.as_str(), class.records)).collect();
    assert_eq!(records, [("alarm", 800), ("default", 3200)].into());
    assert!(disk.flip_bit(Path::new("/agent/classes/alarm/00000000000000000000.log"), 900, 1));
    let examination = Examination::read(&fs, data, &Arc::default()).expect("a readable disk");
    assert!(examination.damage.iter().all(|place| place.starts_with("alarm: ")), "{:?}", examination.damage);
    let repaired = repair(&fs, data, &Arc::default(), Incarnation(1)).expect("a good disk");
    assert_eq!(repaired.kept.len(), 1, "{repaired:?}");
    assert!(Examination::read(&fs, data, &Arc::default()).expect("a readable disk").is_good());
    let station = Station::open(&disk, options());
    let mut books = Books::default();
    books.ship(&station.desk.queue);
    let lost = books.lost(key(), LossKind::Unaccounted);
    assert!(!lost.is_empty() && lost.iter().all(|range| range.start % 5 == 0), "{lost:?}");
    assert!(books.balances(key(), 0..4000));
}

#[test]
fn a_queue_of_before_there_were_classes_gets_one_and_its_state_stays_readable() {
    let disk = FaultyFs::new(7);
    let desk = Desk::with_options(&disk, QueueOptions { classes: Vec::new(), ..options() });
    desk.queue.save().expect("a good disk");
    drop(desk);
    let mut station = Station::open(&disk, options());
    assert!(station.commits(0..10));
    station.desk.queue.save().expect("a good disk");
    drop(station);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let state =
        Files::load(&fs, Path::new("/agent"), &Arc::default()).expect("a readable disk").state.expect("a state");
    assert_eq!(state.classes.iter().map(|class| class.name.to_string()).collect::<Vec<_>>(), ["default", "alarm"]);
    assert_eq!(state.classes.iter().map(|class| class.covered).collect::<Vec<_>>(), [8, 2]);
    assert_eq!(read_logs(&fs, Path::new("/agent"), &Arc::default()).expect("a readable disk").len(), 2);
    assert!(matches!(records_of(&Station::open(&disk, options()).desk.queue, ALARM)[&1], Kept::Readings(..)));
}
