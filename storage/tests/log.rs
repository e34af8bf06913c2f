//! One log: what a commit promises, what a reader sees, what full means.

mod common;

use common::{batch, dir, open, read_all, values};
use std::sync::Arc;
use weir_storage::fs::Fault;
use weir_storage::{
    Batch, CommitError, FaultyFs, Fs, Log, LogOptions, OpenError, ReadError, Reader, RealFs, RecoveryMode,
};

fn small_segments() -> LogOptions {
    LogOptions { segment_bytes: 256, index_interval_bytes: 64, ..LogOptions::default() }
}

#[test]
fn what_was_committed_is_read_back_after_a_power_cut() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    assert_eq!(log.commit(&mut batch(&["a", "b"])).unwrap(), 0..2);
    assert_eq!(log.commit(&mut batch(&["c"])).unwrap(), 2..3);

    let (log, recovery) = open(&fs.power_cut(), LogOptions::default());
    assert_eq!(values(&log.reader()), ["a", "b", "c"]);
    assert_eq!((recovery.records, recovery.damage_count, recovery.truncated_bytes), (3, 0, 0));
    assert_eq!(log.next_offset(), 3);
}

#[test]
fn a_real_directory_works_the_same_and_a_second_writer_is_told_who_has_it() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("deep/below/log");
    let (mut log, _) = Log::open(Arc::new(RealFs), &dir, small_segments()).unwrap();
    for round in 0..20 {
        log.commit(&mut batch(&[&format!("value {round}")])).unwrap();
    }
    let second = Log::open(Arc::new(RealFs), &dir, small_segments()).err().unwrap();
    assert!(matches!(second, OpenError::Locked(_)));
    assert!(second.to_string().contains("stop that one first"), "{second}");
    drop(log);

    let (log, recovery) = Log::open(Arc::new(RealFs), &dir, small_segments()).unwrap();
    assert_eq!(recovery.records, 20);
    assert!(recovery.segments > 3);
    assert_eq!(values(&log.reader())[19], "value 19");
    assert!(log.allocated() >= 4096 * recovery.segments);
}

#[test]
fn readers_go_from_any_offset_and_get_at_least_one_frame() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, small_segments());
    let mut expected = Vec::new();
    for round in 0..40u64 {
        let names: Vec<String> = (0..3).map(|part| format!("{round}.{part}")).collect();
        let offsets = log.commit(&mut batch(&names.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        expected.extend(offsets.zip(names));
    }
    let reader = log.reader();
    for from in 0..120 {
        assert_eq!(read_all(&reader, from, 1), expected[from as usize..], "from {from}, a frame at a time");
        assert_eq!(read_all(&reader, from, 1 << 20), expected[from as usize..], "from {from}");
    }
    let ahead = reader.read(121, 1).unwrap_err();
    assert!(matches!(ahead, ReadError::OutOfRange { got: 121, start: 0, end: 120 }));
}

#[test]
fn a_reader_sees_nothing_before_it_is_exposed() {
    let fs = FaultyFs::new(1);
    let options = LogOptions { expose_on_commit: false, ..LogOptions::default() };
    let (mut log, _) = open(&fs, options);
    let reader = log.reader();
    log.commit(&mut batch(&["a"])).unwrap();
    log.commit(&mut batch(&["b"])).unwrap();
    assert_eq!(values(&reader), Vec::<String>::new());
    log.expose(1);
    assert_eq!(values(&reader), ["a"]);
    log.exposer().expose(99);
    assert_eq!(values(&reader), ["a", "b"]);
    assert_eq!(reader.end_offset(), 2);
}

#[test]
fn a_time_finds_the_first_record_at_or_after_it_although_times_are_out_of_order() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, small_segments());
    let times = [10, 30, 20, 25, 50, 40, 45, 49, 70, 60, 61, 62, 80, 15, 90, 100];
    for time in times {
        let mut batch = Batch::new();
        batch.push(time, Some(b"key"), Some(&[0; 40]), &[]).unwrap();
        log.commit(&mut batch).unwrap();
    }
    let before = log.reader();
    drop(log);
    let (reopened, _) = open(&fs, small_segments());
    for reader in [before, reopened.reader()] {
        for time in 0..=101 {
            let expected = times.iter().position(|&candidate| candidate >= time).map(|at| at as u64);
            assert_eq!(reader.offset_for_time(time).unwrap(), expected, "time {time}");
        }
    }
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_the_next_commit_takes_the_same_offset() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    log.commit(&mut batch(&["a"])).unwrap();
    fs.fail_once(Fault::Sync);
    let error = log.commit(&mut batch(&["lost"])).unwrap_err();
    assert!(matches!(error, CommitError::Io(_)), "{error}");
    assert_eq!(values(&log.reader()), ["a"]);

    assert_eq!(log.commit(&mut batch(&["b"])).unwrap(), 1..2);
    assert_eq!(values(&log.reader()), ["a", "b"]);
    let (log, _) = open(&fs.power_cut(), LogOptions::default());
    assert_eq!(values(&log.reader()), ["a", "b"]);
}

#[test]
fn what_a_failed_commit_left_behind_is_void_even_when_it_could_not_be_cut_off() {
    let fs = FaultyFs::new(3);
    let (mut log, _) = open(&fs, LogOptions::default());
    log.commit(&mut batch(&["a"])).unwrap();
    // The bytes reach the disk, the answer is an error all the same, and the cut fails too.
    fs.fail_once(Fault::SetLen);
    fs.fail_once(Fault::Sync);
    log.commit(&mut batch(&["void"])).unwrap_err();
    log.commit(&mut batch(&["b"])).unwrap();
    drop(log);

    let (log, recovery) = open(&fs, LogOptions::default());
    assert_eq!(values(&log.reader()), ["a", "b"]);
    assert_eq!(recovery.damage_count, 0);
    assert_eq!(recovery.truncations[0].reason, weir_storage::TruncationReason::BaseRule);
}

#[test]
fn failing_over_and_over_at_the_same_offset_ends_well() {
    let fs = FaultyFs::new(5);
    let (mut log, _) = open(&fs, LogOptions::default());
    for fault in [Fault::Name, Fault::SyncDir, Fault::Write, Fault::Sync, Fault::Name, Fault::SyncDir, Fault::Write] {
        fs.fail_once(fault);
        log.commit(&mut batch(&["x"])).unwrap_err();
    }
    assert_eq!(log.commit(&mut batch(&["a"])).unwrap(), 0..1);
    let (log, _) = open(&fs.power_cut(), LogOptions::default());
    assert_eq!(values(&log.reader()), ["a"]);
}

#[test]
fn a_log_at_its_cap_refuses_before_it_writes_and_goes_on_once_segments_are_removed() {
    let fs = FaultyFs::new(1);
    let cap = 64 * 1024;
    let options = LogOptions { cap_bytes: Some(cap), ..LogOptions::default() };
    let (mut log, _) = open(&fs, options);
    let value = "x".repeat(1000);
    let refused = loop {
        let operations = fs.operations();
        match log.commit(&mut batch(&[&value])) {
            Ok(_) => assert!(log.allocated() <= cap),
            Err(error) => {
                assert_eq!(fs.operations(), operations, "nothing was written");
                break error;
            }
        }
    };
    assert!(matches!(refused, CommitError::Full { .. }) && refused.is_full(), "{refused}");
    assert!(log.allocated() > cap * 9 / 10);
    assert!(!log.has_room(1000 + 100));

    let half = log.next_offset() / 2;
    let start = log.remove_before(half).unwrap();
    assert!(start <= half && start > half / 2);
    assert!(log.has_room(1000 + 100));
    log.commit(&mut batch(&[&value])).unwrap();
}

#[test]
fn a_full_disk_refuses_still_opens_and_takes_commits_again_when_there_is_room() {
    let fs = FaultyFs::new(1);
    fs.set_capacity(Some(64 * 1024));
    let (mut log, _) = open(&fs, small_segments());
    let mut committed = 0;
    let error = loop {
        match log.commit(&mut batch(&["something"])) {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::NoSpace(_)) && error.is_full(), "{error}");
    drop(log);

    fs.set_capacity(Some(0));
    let (mut log, recovery) = open(&fs, small_segments());
    assert_eq!(recovery.records, committed);
    log.commit(&mut batch(&["something"])).unwrap_err();

    fs.set_capacity(None);
    assert_eq!(log.commit(&mut batch(&["room"])).unwrap(), committed..committed + 1);
    assert_eq!(values(&log.reader()).last().unwrap(), "room");
}

#[test]
fn removing_goes_from_the_front_and_a_reader_that_holds_a_chunk_finishes() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, small_segments());
    for round in 0..40 {
        log.commit(&mut batch(&[&format!("value {round}")])).unwrap();
    }
    let reader = log.reader();
    let chunk = reader.read(0, 1 << 20).unwrap();
    assert_eq!(log.remove_before(0).unwrap(), 0);
    let start = log.remove_before(20).unwrap();
    assert!(start > 0 && start <= 20);
    assert_eq!(chunk.records().count() as u64, chunk.next_offset);
    assert!(matches!(reader.read(0, 1), Err(ReadError::OutOfRange { .. })));

    let (reopened, _) = open(&fs.power_cut(), small_segments());
    assert_eq!(reopened.start_offset(), start);
    assert_eq!(values(&reopened.reader()).len() as u64, 40 - start);
    let names = fs.power_cut().list(dir()).unwrap();
    assert!(!names.contains(&"00000000000000000000.log".to_owned()));
}

#[test]
fn everything_removed_keeps_counting_offsets() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, small_segments());
    for _ in 0..40 {
        log.commit(&mut batch(&["value"])).unwrap();
    }
    log.remove_before(u64::MAX).unwrap();
    let (mut log, _) = open(&fs.power_cut(), small_segments());
    assert_eq!(log.commit(&mut batch(&["value"])).unwrap(), 40..41);
}

#[test]
fn a_log_can_be_read_beside_its_writer_and_nothing_is_touched() {
    for mode in [RecoveryMode::Full, RecoveryMode::Tail] {
        let fs = FaultyFs::new(1);
        let (mut log, _) = open(&fs, small_segments());
        for round in 0..30 {
            log.commit(&mut batch(&[&format!("value {round}")])).unwrap();
        }
        let before = fs.operations();
        let disk: Arc<dyn Fs> = Arc::new(fs.clone());
        let (reader, recovery) = Reader::open(&disk, dir(), mode).unwrap();
        assert_eq!(values(&reader), values(&log.reader()));
        assert_eq!(reader.segments(), log.reader().segments());
        assert_eq!((recovery.mode, recovery.damage_count), (mode, 0));
        assert_eq!(fs.operations(), before, "nothing was changed");

        log.commit(&mut batch(&["later"])).unwrap();
        assert_eq!(reader.end_offset(), 30, "it ends where it did when it was opened");
        let start = log.remove_before(25).unwrap();
        let begins = loop {
            match reader.read(reader.start_offset(), 1) {
                Ok(_) => break reader.start_offset(),
                Err(error) => assert!(matches!(error, ReadError::OutOfRange { .. }), "{error}"),
            }
        };
        // A few segments may be open still, and those go on being read.
        assert!(begins <= start, "{begins}");
        assert_eq!(values(&reader).last().unwrap(), "value 29");
    }
}

#[test]
fn the_log_says_which_segments_it_has_and_when_it_began_one() {
    let options = LogOptions { segment_bytes: 4096, ..LogOptions::default() };
    let (mut log, _) = open(&FaultyFs::new(1), options);
    let mut begun = Vec::new();
    for number in 0..100_u64 {
        let mut batch = Batch::new();
        batch.push(0, None, Some(&[7; 200]), &[]).expect("fits");
        log.commit(&mut batch).expect("commits");
        begun.extend(log.take_rolled().inspect(|base| assert_eq!(*base, number)));
    }
    let segments = log.reader().segments();
    assert_eq!(segments.iter().map(|segment| segment.base_offset).collect::<Vec<_>>(), begun);
    assert!(segments.windows(2).all(|pair| pair[0].next_offset == pair[1].base_offset));
    assert_eq!(segments.last().map(|last| last.next_offset), Some(100));
    assert_eq!(segments.iter().map(|segment| segment.allocated).sum::<u64>(), log.allocated());
}

/// What is in the segment that is written cannot be removed; one that is closed for it can, over a power cut too.
#[test]
fn a_segment_that_is_closed_early_can_go_and_the_log_goes_on_behind_it() {
    let fs = FaultyFs::new(1);
    let (mut log, _) = open(&fs, LogOptions::default());
    log.roll().expect("nothing to close");
    assert!(log.reader().segments().is_empty());
    log.commit(&mut batch(&["a", "b"])).expect("commits");
    fs.fail_once(Fault::Name);
    log.roll().expect_err("a disk that makes no file");
    assert_eq!(log.commit(&mut batch(&["c"])).expect("the one that is there goes on"), 2..3);
    for _ in 0..2 {
        log.roll().expect("a disk");
        assert_eq!(log.reader().segments().iter().map(|segment| segment.base_offset).collect::<Vec<_>>(), [0, 3]);
    }
    let fs = fs.power_cut();
    drop(log);
    let (mut log, recovery) = open(&fs, LogOptions::default());
    assert_eq!((recovery.records, recovery.damage_count), (3, 0));
    assert_eq!(log.remove_before(3).expect("a disk"), 3);
    assert_eq!(log.commit(&mut batch(&["d"])).expect("commits"), 3..4);
    assert_eq!(values(&log.reader()), ["d"]);
}
