//! Opening a log by its tail: what is not read then is found later, exactly as if it had been read at once.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::counting::CountingFs;
use common::{batch, dir, open, read_all};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_storage::{
    Batch, FaultyFs, Fs, Log, LogOptions, Mode, ReadError, Reader, RealFs, Recovery, RecoveryMode, verify,
};

const RECORDS: u64 = 400;
/// Records of a segment: each is a commit of its own.
const PER_SEGMENT: u64 = 20;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 20 * 100,
        index_interval_bytes: 200,
        recovery: RecoveryMode::Tail,
        ..LogOptions::default()
    }
}

fn value(number: u64) -> String {
    format!("value {number:>26}")
}

/// Time of a record; not in order, and the latest of every segment is in its middle.
fn time(number: u64) -> i64 {
    let segment = number / PER_SEGMENT * 100;
    (segment + [5, 90, 40, 10][number as usize % 4]) as i64
}

/// Twenty segments, the closed ones with sidecars.
fn filled() -> FaultyFs {
    let fs = FaultyFs::new(7);
    let (mut log, _) = open(&fs, options());
    for number in 0..RECORDS {
        let mut batch = Batch::new();
        batch.push(time(number), None, Some(value(number).as_bytes()), &[]).unwrap();
        assert_eq!(batch.byte_len(), 100);
        log.commit(&mut batch).unwrap();
    }
    fs
}

fn open_counted(fs: &CountingFs) -> (Log, Recovery) {
    Log::open(fs.watched(), dir(), options()).unwrap()
}

fn segments(fs: &FaultyFs) -> Vec<PathBuf> {
    paths(fs, ".log")
}

fn sidecars(fs: &FaultyFs) -> Vec<PathBuf> {
    paths(fs, ".index")
}

fn paths(fs: &FaultyFs, ending: &str) -> Vec<PathBuf> {
    let mut names = fs.list(dir()).unwrap();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names.iter().map(|name| dir().join(name)).collect()
}

fn size(fs: &FaultyFs, path: &Path) -> u64 {
    fs.open(path, Mode::Read).unwrap().size().unwrap()
}

fn everything_but(gap: &Range<u64>) -> Vec<(u64, String)> {
    (0..RECORDS).filter(|number| !gap.contains(number)).map(|number| (number, value(number))).collect()
}

fn first_at_or_after(timestamp_ms: i64) -> Option<u64> {
    (0..RECORDS).find(|number| time(*number) >= timestamp_ms)
}

#[test]
fn opening_reads_the_frames_of_the_last_segment_only_and_knows_where_every_segment_ends() {
    let fs = CountingFs::new(filled());
    let files = segments(&fs.disk);
    let last = size(&fs.disk, files.last().unwrap());
    fs.take_read("");
    let (log, recovery) = open_counted(&fs);
    assert_eq!(fs.take_read(".log"), last);
    assert_eq!(fs.take_read(".index"), 0);
    assert_eq!((recovery.mode, recovery.segments), (RecoveryMode::Tail, files.len() as u64));
    assert_eq!(log.next_offset(), RECORDS);

    let full = LogOptions { recovery: RecoveryMode::Full, ..options() };
    let known = log.reader().segments();
    let allocated = log.allocated();
    drop(log);
    let (log, recovery) = open(&fs.disk, full);
    assert_eq!((log.reader().segments(), log.allocated()), (known, allocated));
    assert_eq!((recovery.mode, recovery.records), (RecoveryMode::Full, RECORDS));
}

#[test]
fn after_a_clean_stop_opening_reads_the_last_frames_alone() {
    let fs = CountingFs::new(filled());
    let (log, _) = open_counted(&fs);
    log.mark_end();
    drop(log);
    fs.take_read("");
    let (mut log, recovery) = open_counted(&fs);
    assert!(fs.take_read(".log") <= 200);
    assert_eq!((log.next_offset(), recovery.damage_count), (RECORDS, 0));
    assert_eq!(read_all(&log.reader(), 0, 1_000), everything_but(&(0..0)));
    assert_eq!(log.reader().offset_for_time(time(RECORDS - 3)).unwrap(), first_at_or_after(time(RECORDS - 3)));
    assert_eq!(log.commit(&mut batch(&["goes on"])).unwrap(), RECORDS..RECORDS + 1);
}

#[test]
fn draining_reads_each_byte_about_once_and_keeps_few_files_open() {
    let fs = CountingFs::new(filled());
    let bytes: u64 = segments(&fs.disk).iter().map(|path| size(&fs.disk, path)).sum();
    let (log, _) = open_counted(&fs);
    fs.take_read("");
    // A reader that takes half a segment at a time, in both directions.
    assert_eq!(read_all(&log.reader(), 0, 1_000), everything_but(&(0..0)));
    let read = fs.take_read(".log");
    assert!(read <= 4 * bytes, "{read} of {bytes} bytes");
    for from in (0..RECORDS).rev() {
        assert_eq!(log.reader().read(from, 1).unwrap().records().next().unwrap().unwrap().offset, from);
    }
    assert!(fs.most_open() <= 12, "{} files were open at once", fs.most_open());
}

#[test]
fn a_time_is_found_without_reading_the_segments_before_it() {
    let fs = CountingFs::new(filled());
    let (log, _) = open_counted(&fs);
    fs.take_read("");
    let newest = time(RECORDS - PER_SEGMENT * 2 + 1);
    assert_eq!(log.reader().offset_for_time(newest).unwrap(), first_at_or_after(newest));
    assert!(fs.take_read(".log") <= 2 * 2_000);
    assert!(fs.take_read(".index") <= 20 * 52 + 2 * 400);
    for timestamp_ms in -1..RECORDS as i64 / PER_SEGMENT as i64 * 100 {
        assert_eq!(log.reader().offset_for_time(timestamp_ms).unwrap(), first_at_or_after(timestamp_ms));
    }
}

#[test]
fn a_sidecar_that_is_missing_cut_or_flipped_changes_nothing() {
    let fs = filled();
    let [sidecar, ..] = &sidecars(&fs)[..] else { panic!("no sidecar") };
    let bytes = size(&fs, sidecar);
    let check = |fs: &FaultyFs, story: &str| {
        let (log, recovery) = open(fs, options());
        assert_eq!(recovery.damage_count, 0, "{story}");
        assert_eq!(read_all(&log.reader(), 0, 300), everything_but(&(0..0)), "{story}");
        for timestamp_ms in [0, 41, 91] {
            assert_eq!(log.reader().offset_for_time(timestamp_ms).unwrap(), first_at_or_after(timestamp_ms), "{story}");
        }
    };
    // All of the header, some of the entries.
    for byte in (0..52).chain((52..bytes).step_by(5)) {
        let flipped = filled();
        assert!(flipped.flip_bit(sidecar, byte, (byte % 8) as u8));
        check(&flipped, &format!("byte {byte} flipped"));
    }
    for kept in [0, 1, 51, 52, 53, bytes - 1] {
        let cut = filled();
        cut.open(sidecar, Mode::ReadWrite).unwrap().set_len(kept).unwrap();
        check(&cut, &format!("{kept} bytes kept"));
    }
    for sidecar in &sidecars(&fs) {
        fs.remove(sidecar).unwrap();
    }
    check(&fs, "none at all");
}

#[test]
fn a_sidecar_of_other_frames_renumbers_nothing() {
    read_with_a_strange_sidecar(RECORDS as usize / PER_SEGMENT as usize);
    // And if its segment is the last one.
    read_with_a_strange_sidecar(1);
}

/// Of a log of so many segments the first one has the sidecar of another log's.
fn read_with_a_strange_sidecar(kept: usize) {
    // Another log whose first segment has the same base, length and end, but other frames.
    let other = FaultyFs::new(1);
    let (mut log, _) = open(&other, options());
    let long = "x".repeat(230);
    let mut commits = vec![(300, batch(&[&long]))];
    commits.extend((1..17).map(|number| (100, batch(&[&value(number)]))));
    commits.push((100, batch(&["sixsix", "sixsix", "sixsix"])));
    for (bytes, mut batch) in commits {
        assert_eq!(batch.byte_len(), bytes);
        log.commit(&mut batch).unwrap();
    }
    log.commit(&mut batch(&[&"next".repeat(10)])).unwrap();
    let fs = filled();
    let theirs = &sidecars(&other)[0];
    let mut content = vec![0; size(&other, theirs) as usize];
    other.open(theirs, Mode::Read).unwrap().read_at(&mut content, 0).unwrap();
    let file = fs.open(theirs, Mode::ReadWrite).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&content, 0).unwrap();
    for name in segments(&fs).split_off(kept) {
        fs.remove(&name).unwrap();
    }
    let (log, _) = open(&fs, options());
    let next = kept as u64 * PER_SEGMENT;
    assert_eq!(log.next_offset(), next);
    for from in 0..next {
        let first = log.reader().read(from, 1).unwrap();
        let record = first.records().next().unwrap().unwrap();
        assert_eq!((record.offset, record.value), (from, Some(value(from).as_bytes())), "{:?}", first.gaps);
    }
}

#[test]
fn damage_in_a_closed_segment_is_met_by_its_reader_and_named_as_a_whole_opening_names_it() {
    for byte in (0..2_000).step_by(7) {
        let fs = filled();
        let fifth = &segments(&fs)[4];
        assert!(fs.flip_bit(fifth, byte.min(size(&fs, fifth) - 1), (byte % 8) as u8));
        let found = verify(&fs, dir()).unwrap();
        let [damage] = &found.damage[..] else { panic!("byte {byte}: {found:?}") };
        let (log, recovery) = open(&fs, options());
        assert_eq!(recovery.damage_count, 0, "not looked at yet");
        assert_eq!(read_all(&log.reader(), 0, 500), everything_but(&damage.gap), "byte {byte}");
        if !damage.gap.is_empty() {
            let chunk = log.reader().read(damage.gap.start, 1).unwrap();
            assert_eq!(chunk.gaps, std::slice::from_ref(damage), "byte {byte}");
        }
    }
}

#[test]
fn a_closed_segment_that_is_gone_is_a_gap_of_exactly_its_offsets() {
    let fs = filled();
    let (log, _) = open(&fs, options());
    fs.remove(&segments(&fs)[3]).unwrap();
    let gap = 3 * PER_SEGMENT..4 * PER_SEGMENT;
    assert_eq!(read_all(&log.reader(), 0, 500), everything_but(&gap));
    assert_eq!(log.reader().read(gap.start + 3, 1).unwrap().gaps[0].gap, gap);
    drop(log);
    let (log, _) = open(&fs, options());
    assert_eq!(read_all(&log.reader(), 0, 500), everything_but(&gap));
    assert_eq!(log.reader().read(gap.start, 1).unwrap().gaps[0].gap, gap);
}

#[test]
fn removing_takes_the_sidecar_along_and_one_that_comes_back_is_removed_at_the_next_start() {
    let fs = filled();
    let orphan = sidecars(&fs)[0].clone();
    let (mut log, _) = open(&fs, options());
    let before = log.allocated();
    log.remove_before(PER_SEGMENT).unwrap();
    assert_eq!(before - log.allocated(), 2 * 4096);
    assert!(!fs.exists(&orphan).unwrap());
    drop(log);
    fs.open(&orphan, Mode::CreateNew).unwrap();
    let view: Arc<dyn Fs> = Arc::new(fs.clone());
    Reader::open(&view, dir(), RecoveryMode::Tail).unwrap();
    assert!(fs.exists(&orphan).unwrap(), "a reader changes nothing");
    let (log, _) = open(&fs, options());
    assert!(!fs.exists(&orphan).unwrap());
    assert!(matches!(log.reader().read(0, 1), Err(ReadError::OutOfRange { start: PER_SEGMENT, .. })));
}

#[test]
fn after_a_clean_stop_a_flip_in_the_last_commit_is_damage_and_no_torn_tail() {
    for mode in [RecoveryMode::Full, RecoveryMode::Tail] {
        for stopped in [true, false] {
            let fs = filled();
            let options = LogOptions { recovery: mode, ..options() };
            let (log, _) = open(&fs, options);
            if stopped {
                log.mark_end();
            }
            drop(log);
            let last = segments(&fs).pop().unwrap();
            assert!(fs.flip_bit(&last, size(&fs, &last) - 1, 0));
            let gap = RECORDS - 1..RECORDS;
            assert_eq!(verify(&fs, dir()).unwrap().damage_count, u64::from(stopped));
            let (mut log, recovery) = open(&fs, options);
            if stopped {
                assert_eq!((recovery.damage[0].gap.clone(), recovery.truncated_bytes), (gap.clone(), 0));
                assert_eq!(read_all(&log.reader(), 0, 500), everything_but(&gap));
                // The offset was given, so it is not given again.
                assert_eq!(log.commit(&mut batch(&["later"])).unwrap(), RECORDS..RECORDS + 1);
                drop(log);
                let (log, _) = open(&fs, options);
                assert_eq!(read_all(&log.reader(), RECORDS, 500), [(RECORDS, "later".to_owned())]);
            } else {
                assert_eq!((recovery.damage_count, log.next_offset()), (0, RECORDS - 1));
            }
        }
    }
}

#[test]
fn a_mark_of_the_end_stays_true_when_the_log_goes_on() {
    let fs = filled();
    let (log, _) = open(&fs, options());
    log.mark_end();
    drop(log);
    let (mut log, _) = open(&fs, options());
    log.commit(&mut batch(&["more"])).unwrap();
    drop(log);
    let last = segments(&fs).pop().unwrap();
    fs.open(&last, Mode::ReadWrite).unwrap().set_len(size(&fs, &last) - 1).unwrap();
    let (log, recovery) = open(&fs, options());
    assert_eq!((recovery.damage_count, log.next_offset()), (0, RECORDS), "the new commit was torn");
    assert_eq!(read_all(&log.reader(), 0, 500), everything_but(&(0..0)));
}

#[test]
fn readers_in_closed_segments_go_on_while_the_writer_removes_them() {
    let temporary = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(Arc::new(RealFs), temporary.path(), options()).unwrap();
    let finished = AtomicBool::new(false);
    let readers: Vec<Reader> = (0..3).map(|_| log.reader()).collect();
    std::thread::scope(|scope| {
        let reading = readers.iter().map(|reader| scope.spawn(|| read_until(reader, &finished))).collect::<Vec<_>>();
        for number in 0..600 {
            log.commit(&mut batch(&[&value(number)])).unwrap();
            if number % 40 == 39 {
                log.remove_before(number.saturating_sub(60)).unwrap();
            }
        }
        finished.store(true, Ordering::Release);
        let read: Vec<u64> = reading.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(read.iter().all(|records| *records > 0), "{read:?}");
    });
    assert!(log.start_offset() > 450);
}

/// Reads from the front again and again; how many records that were.
fn read_until(reader: &Reader, finished: &AtomicBool) -> u64 {
    let (mut at, mut records) = (0, 0);
    loop {
        let was_finished = finished.load(Ordering::Acquire);
        match reader.read(at, 500) {
            Ok(chunk) => {
                assert_eq!(chunk.gaps, []);
                for record in chunk.records().map(Result::unwrap) {
                    assert_eq!(record.value, Some(value(record.offset).as_bytes()));
                    records += 1;
                }
                at = chunk.next_offset;
            }
            // Removed; a reader that fell behind goes on at the front.
            Err(ReadError::OutOfRange { start, .. }) => at = start,
            Err(error) => panic!("{error}"),
        }
        if was_finished && at == reader.end_offset() {
            return records;
        }
    }
}
