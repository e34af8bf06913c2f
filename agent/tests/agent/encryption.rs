//! A queue whose disk tells nobody anything.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::path::Path;
use std::sync::Arc;

use weir_agent::queue::vault::{Key, Locked};
use weir_agent::queue::{
    Examination, Incarnation, Inspection, Queue, QueueError, QueueOptions, RepairError, Vault, repair,
};
use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_protocol::serial::device_to_agent::Ring;
use weir_storage::{FaultyFs, Fs, Mode};

use crate::support::books::Books;
use crate::support::desk::Desk;
use crate::support::device::Talker;

const R: Restart = Restart::from_boot(1, 1);
const DATA: &str = "/agent";

fn vault(key: Option<u8>, previous: Option<u8>) -> Arc<Vault> {
    let key_of = |byte| Key([byte; 32]);
    Arc::new(match key {
        Some(key) => Vault::with_key(key_of(key), previous.map(key_of)).expect("random bytes"),
        None => Vault::clear(),
    })
}

fn options(vault: &Arc<Vault>) -> QueueOptions {
    QueueOptions { cap: 128 << 10, vault: Arc::clone(vault), ..QueueOptions::default() }
}

/// Opens the queue and puts readings of a board into it, `first..end`.
fn writes(disk: &FaultyFs, vault: &Arc<Vault>, first: u64, end: u64) -> (Desk, Talker) {
    let mut desk = Desk::with_options(disk, options(vault));
    let mut talker = Talker::new("secret-board", Ring::Durable);
    desk.hears(&talker.hello(&[(R, first, end)]));
    desk.hears(&talker.describe());
    for at in (first..end).step_by(10) {
        desk.hears(&talker.readings(R, (first, end), at, (at + 10).min(end)));
        assert!(desk.commits());
    }
    desk.queue.trim().expect("a good disk");
    (desk, talker)
}

/// Every byte of every file.
fn bytes(disk: &FaultyFs) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for dir in [DATA, "/agent/queue"] {
        for name in disk.list(Path::new(dir)).expect("a directory") {
            let Ok(file) = disk.open(&Path::new(dir).join(&name), Mode::Read) else { continue };
            let mut bytes = vec![0; file.size().expect("a size") as usize];
            let _ = file.read_at(&mut bytes, 0);
            all.push((format!("{dir}/{name}"), bytes));
        }
    }
    all.sort();
    all
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn open(disk: &FaultyFs, vault: &Arc<Vault>) -> Result<Queue, QueueError> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    Queue::open(&fs, Path::new(DATA), options(vault), Incarnation(1)).map(|(queue, _)| queue)
}

#[test]
fn no_reading_and_no_name_is_on_the_disk_and_all_of_it_comes_back() {
    let disk = FaultyFs::new(1);
    let key = vault(Some(1), None);
    let (desk, talker) = writes(&disk, &key, 30, 500);
    let mut claims = weir_agent::queue::Claims::default();
    claims.add((talker.device, R), LossKind::Queue, 1000..1010);
    desk.queue.claim(&claims).expect("a good disk");
    drop(desk);
    assert!(bytes(&disk).iter().all(|(_, bytes)| !holds(bytes, b"secret")));
    let clear = FaultyFs::new(1);
    drop(writes(&clear, &vault(None, None), 30, 500));
    assert!(bytes(&clear).iter().any(|(_, bytes)| holds(bytes, b"secret")), "without a key it would be there");
    let desk = Desk::with_options(&disk.power_cut(), options(&key));
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored((talker.device, R)), [30..500]);
    assert_eq!(books.lost((talker.device, R), LossKind::Queue), [1000..1010]);
}

#[test]
fn without_the_key_or_with_a_wrong_one_nothing_opens_and_nothing_is_touched() {
    let disk = FaultyFs::new(2);
    drop(writes(&disk, &vault(Some(1), None), 0, 200));
    let before = bytes(&disk);
    for (wrong, reason) in [(vault(None, None), Locked::NoKey), (vault(Some(2), None), Locked::WrongKey)] {
        let error = open(&disk, &wrong).err().expect("it does not open");
        assert!(matches!(error, QueueError::Locked(got) if got == reason), "{error}");
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        assert!(Examination::read(&fs, Path::new(DATA), &wrong).is_err());
        assert!(Inspection::read(&fs, Path::new(DATA), &wrong).is_err());
        let repaired = repair(&fs, Path::new(DATA), &wrong, Incarnation(1));
        assert!(matches!(repaired, Err(RepairError::Queue(QueueError::Locked(_)))), "a repair would be the end of it");
        assert!(bytes(&disk) == before, "nothing is touched");
    }
    assert!(open(&disk, &vault(Some(1), None)).is_ok());
}

/// The state is what tells whether there was a key: one that was never saved would let records pass for damaged.
#[test]
fn a_queue_that_was_killed_before_its_first_checkpoint_still_asks_for_its_key() {
    let disk = FaultyFs::new(3);
    let mut desk = Desk::with_options(&disk, options(&vault(Some(1), None)));
    let mut talker = Talker::new("secret-board", Ring::Durable);
    desk.hears(&talker.hello(&[(R, 0, 10)]));
    desk.hears(&talker.describe());
    desk.hears(&talker.readings(R, (0, 10), 0, 10));
    assert!(desk.commits());
    drop(desk);
    let disk = disk.power_cut();
    assert!(matches!(open(&disk, &vault(None, None)), Err(QueueError::Locked(Locked::NoKey))));
}

#[test]
fn what_was_written_in_clear_and_what_the_key_before_sealed_is_read_beside_the_rest() {
    let disk = FaultyFs::new(4);
    let talker = writes(&disk, &vault(None, None), 0, 100).1;
    drop(writes(&disk, &vault(Some(1), None), 100, 200));
    drop(writes(&disk, &vault(Some(2), Some(1)), 200, 300));
    // The key before is gone too soon, and something that it sealed is still there.
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    assert!(Examination::read(&fs, Path::new(DATA), &vault(Some(2), Some(1))).expect("it opens").is_good());
    let desk = Desk::with_options(&disk, options(&vault(Some(2), Some(1))));
    let mut books = Books::default();
    books.ship(&desk.queue);
    assert_eq!(books.stored((talker.device, R)), [0..300]);
    assert!(books.balances((talker.device, R), 0..300));
}

#[test]
fn a_key_that_is_put_away_too_soon_is_missed_before_anything_is_lost() {
    let disk = FaultyFs::new(5);
    drop(writes(&disk, &vault(Some(1), None), 0, 100));
    drop(writes(&disk, &vault(Some(2), Some(1)), 100, 200));
    assert!(matches!(open(&disk, &vault(Some(2), None)), Err(QueueError::Locked(Locked::WrongKey))));
    let queue = open(&disk, &vault(Some(2), Some(1))).expect("with both it opens");
    let mut books = Books::default();
    books.ship(&queue);
    queue.trim().expect("a good disk");
}

#[test]
fn one_flipped_bit_costs_its_frame_and_is_counted_as_ever() {
    let disk = FaultyFs::new(6);
    let key = vault(Some(1), None);
    let (desk, talker) = writes(&disk, &key, 0, 2000);
    drop(desk);
    assert!(disk.flip_bit(Path::new("/agent/queue/00000000000000000000.log"), 700, 3));
    let desk = Desk::with_options(&disk, options(&key));
    let mut books = Books::default();
    books.ship(&desk.queue);
    let board = (talker.device, R);
    assert_eq!(books.lost(board, LossKind::Unaccounted).len(), 1);
    assert!(books.balances(board, 0..2000));
}
