//! Commits, deletions and compactions while the power goes, against what was acknowledged.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 150.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::Timestamp;
use weir_protocol::time::WallClock;
use weir_storage::fs::{Fault, Operation, WatchedFs, Watcher};
use weir_storage::{FaultyFs, Fs, Log, LogOptions, Reader};

use super::*;
use crate::groups::{Each, Error, GroupId, Groups, Opened, Options, Place, Speaker};
use crate::keyed_log;
use crate::topics::Topics;

const GROUPS: [&str; 3] = ["lake", "mill", "dam"];
const PARTITIONS: u32 = 3;

/// The wall clock of these tests: 2026-01-01.
struct Fixed;

impl WallClock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(1_767_225_600_000_000)
    }
}

/// The logs of a topic that is read; it holds nothing.
fn readings() -> Reader {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(0));
    Log::open(fs, Path::new("/readings"), LogOptions::default()).expect("opens").0.reader()
}

pub(crate) fn start(fs: &FaultyFs, options: Options) -> Groups {
    start_on(&(Arc::new(fs.clone()) as Arc<dyn Fs>), options)
}

fn start_on(fs: &Arc<dyn Fs>, options: Options) -> Groups {
    // Small segments: something to compact.
    let log = LogOptions { segment_bytes: 600, ..keyed_log::options() };
    let opened = Opened::open_with(fs, Path::new("/data"), log).expect("opens");
    let topics = Topics::new([], []).with_internal("readings", (0..PARTITIONS).map(|_| readings()));
    let topics = topics.with_internal(TOPIC, [opened.reader()]);
    Groups::new(opened, topics, options, &Fixed, Box::new(rand::random))
}

fn commit(partition: u32, offset: u64) -> Commit {
    Commit { topic: "readings".into(), partition, offset, leader_epoch: -1, metadata: "".into() }
}

fn group(name: &str) -> GroupId {
    GroupId::new(name).expect("a name")
}

fn place(partition: u32) -> Place {
    ("readings".into(), partition)
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story)
}

#[test]
fn an_acknowledged_offset_is_there_after_a_power_cut_and_a_deleted_one_is_not() {
    block_on(async {
        let fs = FaultyFs::new(1);
        let groups = start(&fs, Options::default());
        let commits = vec![commit(0, 10), commit(1, 20), commit(9, 1)];
        let each = groups.commit(&group("lake"), &Speaker::ALONE, commits).await;
        assert_eq!(each, Ok(vec![Ok(()), Ok(()), Err(Error::UnknownPartition)]));
        let end = groups.shared.topics.named(TOPIC).expect("the topic").partitions()[0].exposed();
        assert_eq!(*end.borrow(), 2, "readers of the topic are told");
        groups.delete_offsets(&group("lake"), &[place(1)]).await.expect("deleted");
        groups.commit(&group("mill"), &Speaker::ALONE, vec![commit(2, 5)]).await.expect("committed");
        groups.delete(&group("mill")).await.expect("deleted");
        assert_eq!(groups.delete(&group("mill")).await, Err(Error::NotFound));

        let groups = start(&fs.power_cut(), Options::default());
        let offsets = groups.offsets("lake");
        assert_eq!(offsets.iter().map(|(at, own)| (at.1, own.offset)).collect::<Vec<_>>(), [(0, 10)]);
        assert_eq!(groups.list().len(), 1, "a deleted group does not come back");
    });
}

#[test]
fn a_commit_that_failed_is_refused_and_the_earlier_offset_holds() {
    block_on(async {
        let fs = FaultyFs::new(1);
        let groups = start(&fs, Options::default());
        groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 10)]).await.expect("committed");
        for fault in [Fault::Sync, Fault::Write] {
            fs.fail_once(fault);
            let each = groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 11)]).await.expect("heard");
            assert!(matches!(each[0], Err(Error::NotWritten(_))), "{each:?}");
            assert_eq!(groups.offset("lake", "readings", 0).expect("an offset").offset, 10);
        }
        fs.fail_once(Fault::Sync);
        assert!(matches!(groups.delete(&group("lake")).await, Err(Error::NotWritten(_))));
        assert_eq!(groups.list().len(), 1, "it is still there");
        groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 12)]).await.expect("committed");
        assert_eq!(groups.offset("lake", "readings", 0).expect("an offset").offset, 12);
    });
}

/// Holds a sync back until the sender is gone.
#[derive(Default)]
struct Held(Mutex<Option<mpsc::Receiver<()>>>);

impl Watcher for Held {
    fn before(&self, operation: Operation, _: &Path) {
        let held = self.0.lock().expect("not poisoned").take_if(|_| operation == Operation::Sync);
        if let Some(held) = held {
            // It ends with an error: nothing is ever sent.
            let _ = held.recv();
        }
    }
}

#[test]
fn an_offset_on_its_way_to_the_disk_is_not_ended_with_the_old_one_before_it() {
    block_on(async {
        let held = Arc::new(Held::default());
        let fs: Arc<dyn Fs> =
            Arc::new(WatchedFs::new(Arc::new(FaultyFs::new(1)), Arc::clone(&held) as Arc<dyn Watcher>));
        // Whatever is committed is old at once.
        let groups = start_on(&fs, Options { offsets_retention: Duration::ZERO, ..Options::default() });
        groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 10)]).await.expect("committed");
        let (release, wait) = mpsc::channel::<()>();
        *held.0.lock().expect("not poisoned") = Some(wait);
        let sweep = async {
            groups.sweep();
            drop(release);
        };
        let lake = group("lake");
        let (committed, ()) = tokio::join!(groups.commit(&lake, &Speaker::ALONE, vec![commit(0, 11)]), sweep);
        assert_eq!(committed, Ok(vec![Ok(())]));
        // What the sweep wrote is behind it, and in front of this.
        groups.commit(&group("mill"), &Speaker::ALONE, vec![commit(0, 1)]).await.expect("committed");
        assert_eq!(groups.offset("lake", "readings", 0).map(|committed| committed.offset), Some(11));
    });
}

#[test]
fn offsets_are_bounded_in_number_and_in_what_stands_beside_them() {
    block_on(async {
        let options = Options { offsets_per_group: 2, offsets: 3, ..Options::default() };
        let groups = start(&FaultyFs::new(1), options);
        let three = vec![commit(0, 1), commit(1, 1), commit(2, 1)];
        let each = groups.commit(&group("lake"), &Speaker::ALONE, three.clone()).await;
        assert_eq!(each, Ok(vec![Ok(()), Ok(()), Err(Error::TooManyOffsets)]));
        let each = groups.commit(&group("mill"), &Speaker::ALONE, three).await;
        assert_eq!(each, Ok(vec![Ok(()), Err(Error::TooManyOffsets), Err(Error::TooManyOffsets)]));
        let each = groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 2)]).await;
        assert_eq!(each, Ok(vec![Ok(())]), "one that is there takes no more room");
        let long = Commit { metadata: "m".repeat(MAX_METADATA_BYTES + 1).into(), ..commit(0, 3) };
        let each = groups.commit(&group("lake"), &Speaker::ALONE, vec![long]).await;
        assert_eq!(each, Ok(vec![Err(Error::Metadata)]));
        let large = Commit { metadata: "m".repeat(MAX_METADATA_BYTES).into(), ..commit(0, 3) };
        let each = groups.commit(&group("lake"), &Speaker::ALONE, vec![large]).await;
        assert_eq!(each, Ok(vec![Err(Error::TooManyOffsets)]), "metadata of all takes more than its share");
        assert_eq!(groups.stats().over_bounds, 4);
    });
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_group_that_nobody_uses_end_and_a_jump_of_the_wall_clock_ends_none() {
    let fs = FaultyFs::new(1);
    let options = Options::default();
    let groups = start(&fs, options);
    groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(0, 10), commit(1, 20)]).await.expect("committed");
    tokio::time::advance(options.offsets_retention / 2).await;
    groups.commit(&group("lake"), &Speaker::ALONE, vec![commit(1, 30)]).await.expect("committed");
    tokio::time::advance(options.offsets_retention / 2).await;
    groups.sweep();
    // What comes behind it in the log is written after it.
    groups.commit(&group("mill"), &Speaker::ALONE, vec![commit(0, 1)]).await.expect("committed");
    assert_eq!(groups.offset("lake", "readings", 0), None);
    assert_eq!(groups.offset("lake", "readings", 1).expect("used since").offset, 30);
    assert_eq!(groups.stats().offsets_expired, 1);

    // The wall clock has stood still meanwhile: nothing has grown older over the restart, and nothing younger.
    groups.stop();
    let groups = start(&fs.power_cut(), options);
    groups.sweep();
    assert!(groups.offset("lake", "readings", 1).is_some());
    tokio::time::advance(options.offsets_retention / 2).await;
    groups.sweep();
    groups.commit(&group("mill"), &Speaker::ALONE, vec![commit(0, 2)]).await.expect("committed");
    assert_eq!(groups.offset("lake", "readings", 1), None, "its age went on where it was");
}

#[test]
fn whatever_fails_an_acknowledged_offset_never_goes_back_and_a_deleted_one_never_comes_back() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(150)).collect(),
    };
    for seed in seeds {
        println!("WEIR_SEED={seed}");
        block_on(Run::new(seed).run());
    }
}

/// What an offset may be: one value, or several while the power went over a commit.
type Lawful = BTreeMap<(&'static str, u32), BTreeSet<Option<u64>>>;

/// What each partition is to have.
type Asked = Vec<(u32, Option<u64>)>;

struct Run {
    random: StdRng,
    fs: FaultyFs,
    groups: Groups,
    lawful: Lawful,
    next: u64,
    compactions: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let fs = FaultyFs::new(seed);
        let groups = start(&fs, Options::default());
        let places = GROUPS.iter().flat_map(|group| (0..PARTITIONS).map(|partition| (*group, partition)));
        let lawful = places.map(|place| (place, BTreeSet::from([None]))).collect();
        Self { random: StdRng::seed_from_u64(seed), fs, groups, lawful, next: 0, compactions: 0 }
    }

    async fn run(mut self) {
        for _ in 0..6 {
            for _ in 0..self.random.random_range(1..40) {
                match self.random.random_range(0..20) {
                    0 => self.fs.fail_once(Fault::Sync),
                    1 => self.fs.fail_once(Fault::Write),
                    _ => (),
                }
                self.act(false).await;
                self.check();
            }
            let is_clean = self.random.random_bool(0.3);
            if is_clean {
                self.groups.stop();
            } else {
                // It goes at any moment of what comes now.
                self.fs.fail_power_after(self.random.random_range(0..30));
                for _ in 0..4 {
                    self.act(true).await;
                }
            }
            self.fs = self.fs.power_cut();
            self.groups = start(&self.fs, Options::default());
            self.check();
        }
    }

    async fn act(&mut self, power_fails: bool) {
        let name = GROUPS[self.random.random_range(0..GROUPS.len())];
        let id = group(name);
        let partitions: Vec<u32> = (0..PARTITIONS).filter(|_| self.random.random()).collect();
        let (asked, done): (Asked, Each) = match self.random.random_range(0..20) {
            0..14 => {
                self.next += 1;
                let commits = partitions.iter().map(|partition| commit(*partition, self.next)).collect();
                let each = self.groups.commit(&id, &Speaker::ALONE, commits).await.expect("an empty group");
                (partitions.iter().map(|partition| (*partition, Some(self.next))).collect(), each)
            }
            14..16 => {
                let places: Vec<Place> = partitions.iter().map(|partition| place(*partition)).collect();
                let each = match self.groups.delete_offsets(&id, &places).await {
                    Ok(each) => each,
                    Err(_) => return,
                };
                (partitions.iter().map(|partition| (*partition, None)).collect(), each)
            }
            16 => {
                let deleted = self.groups.delete(&id).await;
                if deleted == Err(Error::NotFound) {
                    return;
                }
                let each = (0..PARTITIONS).map(|_| deleted.clone()).collect();
                ((0..PARTITIONS).map(|partition| (partition, None)).collect(), each)
            }
            _ => {
                // It may fail like anything else; then it is tried again.
                let compacted = self.groups.shared.log.compact();
                self.compactions += u64::from(compacted.is_ok_and(|done| done.removed_records > 0));
                return;
            }
        };
        for ((partition, value), done) in asked.into_iter().zip(done) {
            let lawful = self.lawful.get_mut(&(name, partition)).expect("a place");
            match done {
                // Perhaps the power is off, and there was nothing to delete: nothing was written.
                Ok(()) if value.is_none() && lawful.len() > 1 => {
                    lawful.insert(None);
                }
                Ok(()) => *lawful = BTreeSet::from([value]),
                // Nobody was told that it is stored, and it may be.
                Err(_) if power_fails => {
                    lawful.insert(value);
                }
                Err(_) => (),
            }
        }
    }

    /// What is served is lawful; from here on it is what holds.
    fn check(&mut self) {
        for ((group, partition), lawful) in &mut self.lawful {
            let found = self.groups.offset(group, "readings", *partition).map(|committed| committed.offset);
            assert!(lawful.contains(&found), "{group}:{partition}: got {found:?}, expected one of {lawful:?}");
            *lawful = BTreeSet::from([found]);
        }
    }
}
