//! The journal of several logs: one sync for a group, everything redone that was acknowledged, nothing that was not.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, values};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use weir_storage::fs::Fault;
use weir_storage::{
    CommitError, Committer, CommitterOptions, FaultyFs, Fs, Journal, JournalOptions, Log, LogOptions, Part, Redone,
    Submission, journal,
};

const OPTIONS: JournalOptions = JournalOptions { bytes: journal::MIN_BYTES, salt: 7 };

fn root() -> &'static Path {
    Path::new("/topics")
}

fn dir(log: usize) -> PathBuf {
    root().join(log.to_string())
}

fn file() -> PathBuf {
    root().join("journal")
}

fn logs(fs: &FaultyFs, count: usize) -> Vec<Log> {
    (0..count).map(|log| Log::open(Arc::new(fs.clone()), &dir(log), LogOptions::default()).unwrap().0).collect()
}

fn recover(fs: &FaultyFs) -> Redone {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    journal::recover(&fs, root()).unwrap()
}

/// A committer of two logs that does everything on one thread; what failed at its start is asked for again.
fn committer(fs: &FaultyFs) -> Committer {
    recover(fs);
    let opened = logs(fs, 2);
    let journal = Journal::open(Arc::new(fs.clone()), root(), OPTIONS).unwrap();
    spawn(opened, Some(journal))
}

fn spawn(logs: Vec<Log>, journal: Option<Journal>) -> Committer {
    let options = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
    Committer::spawn_with(logs, options, journal).unwrap()
}

/// Commits one value to each of these logs as one group.
fn commit(committer: &Committer, parts: &[(usize, &str)]) -> Vec<Part> {
    let (answer, answered) = mpsc::channel();
    let parts = parts.iter().map(|(log, value)| (*log, batch(&[value]))).collect();
    let done = Box::new(move |completion: weir_storage::Completion| answer.send(completion.parts).unwrap());
    committer.submit(Submission { parts, done }).unwrap();
    answered.recv().unwrap()
}

fn is_durable(parts: &[Part]) -> bool {
    parts.iter().all(|part| part.result.is_ok())
}

/// What the logs hold after a start on this disk.
fn found(fs: &FaultyFs) -> [Vec<String>; 2] {
    recover(fs);
    let logs = logs(fs, 2);
    [values(&logs[0].reader()), values(&logs[1].reader())]
}

#[test]
fn a_group_over_several_logs_is_one_sync() {
    let fs = FaultyFs::new(1);
    let committer = committer(&fs);
    commit(&committer, &[(0, "a"), (1, "b")]); // makes the segments
    let before = fs.operations();
    assert!(is_durable(&commit(&committer, &[(0, "c"), (1, "d")])));
    // A write to each segment, a write and a sync of the journal.
    assert_eq!(fs.operations() - before, 4);
}

#[test]
fn a_group_for_one_log_is_one_sync_of_the_journal_too() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "a")]);
    let before = fs.operations();
    assert!(is_durable(&commit(&running, &[(0, "b")])));
    // A write to the segment, a write and a sync of the journal; the segment, which grows, is synced later.
    assert_eq!(fs.operations() - before, 3);
    let fs = fs.power_cut();
    assert_eq!(recover(&fs).entries, 2);
    assert_eq!(found(&fs), [vec!["a", "b"], vec![]]);
}

#[test]
fn a_group_too_large_to_be_written_twice_goes_to_its_logs_directly() {
    let fs = FaultyFs::new(1);
    recover(&fs);
    let opened = logs(&fs, 2);
    let options = JournalOptions { bytes: 8 << 20, ..OPTIONS };
    let running = spawn(opened, Some(Journal::open(Arc::new(fs.clone()), root(), options).unwrap()));
    commit(&running, &[(0, "a"), (1, "a")]); // makes the segments
    let (large, before) = ("b".repeat(600 << 10), fs.operations());
    assert!(is_durable(&commit(&running, &[(0, &large), (1, &large)])));
    // A write and a sync of each segment.
    assert_eq!(fs.operations() - before, 4);
    let fs = fs.power_cut();
    assert_eq!(recover(&fs).entries, 1);
    assert_eq!(found(&fs), [["a", &large], ["a", &large]]);
}

#[test]
fn what_was_acknowledged_is_redone_after_every_power_cut_and_only_once() {
    for seed in 0..50 {
        let fs = FaultyFs::new(seed);
        let running = committer(&fs);
        for round in ["a", "b", "c"] {
            assert!(is_durable(&commit(&running, &[(0, round), (1, round)])));
        }
        let fs = fs.power_cut();
        let redone = recover(&fs);
        assert_eq!((redone.entries, redone.damaged, redone.removed), (3, 0, 0));
        assert_eq!(recover(&fs).entries, 0, "what was redone is void");
        assert_eq!(found(&fs), [["a", "b", "c"]; 2]);
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_redo() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "a"), (1, "b")]);
    running.shutdown();
    let fs = fs.power_cut();
    assert_eq!(recover(&fs), Redone::default());
    assert_eq!(found(&fs), [["a"], ["b"]]);
}

#[test]
fn old_entries_of_a_recycled_journal_never_come_back() {
    for seed in 0..20 {
        let fs = FaultyFs::new(seed);
        let running = committer(&fs);
        // Seven entries fill a half: this goes round twice.
        let rounds: Vec<String> = (0..30).map(|round| round.to_string()).collect();
        for round in &rounds {
            assert!(is_durable(&commit(&running, &[(0, round), (1, round)])));
        }
        let fs = fs.power_cut();
        let redone = recover(&fs);
        // The fourth run was a full one, and the fifth had come to its second entry; behind it lies the third.
        assert_eq!((redone.entries, redone.damaged), (9, 0));
        let [first, second] = found(&fs);
        assert_eq!((first, second), (rounds.clone(), rounds));
    }
}

#[test]
fn a_failed_sync_of_the_journal_acknowledges_nothing_and_its_group_never_comes_back() {
    for (seed, fault) in (0..40).zip([Fault::Sync, Fault::Write].into_iter().cycle()) {
        let fs = FaultyFs::new(seed);
        let running = committer(&fs);
        commit(&running, &[(0, "a"), (1, "b")]);
        match fault {
            // The next two writes go to the segments.
            Fault::Write => fs.fail_after(fault, 2),
            fault => fs.fail_once(fault),
        }
        let failed = commit(&running, &[(0, "lost"), (1, "lost")]);
        assert!(failed.iter().all(|part| matches!(part.result, Err(CommitError::Io(_)))));
        // The next commit rests on the failure: from here on the group must be void, whatever comes.
        assert!(is_durable(&commit(&running, &[(1, "c")])));
        let fs = fs.power_cut();
        assert_eq!(recover(&fs).entries, 1, "the file that failed is gone, and the new one has one entry");
        assert_eq!(found(&fs), [vec!["a"], vec!["b", "c"]]);
    }
}

#[test]
fn a_failed_sync_in_the_background_is_mended_from_the_journal() {
    for seed in 0..40 {
        let fs = FaultyFs::new(seed);
        let running = committer(&fs);
        let rounds: Vec<String> = (0..30).map(|round| round.to_string()).collect();
        for (at, round) in rounds.iter().enumerate() {
            if at > 0 && at % 7 == 0 {
                // The half is full, so the next sync is of a segment.
                fs.fail_once(Fault::Sync);
            }
            assert!(is_durable(&commit(&running, &[(0, round), (1, round)])));
        }
        let fs = fs.power_cut();
        let [first, second] = found(&fs);
        assert_eq!((&first, &second), (&rounds, &rounds));
    }
}

#[test]
fn without_room_for_its_zeros_there_is_no_journal_and_commits_go_on() {
    let fs = FaultyFs::new(1);
    let opened = logs(&fs, 2);
    fs.set_capacity(Some(fs.used_bytes() + journal::MIN_BYTES / 2));
    let refused = Journal::open(Arc::new(fs.clone()), root(), OPTIONS).map(drop).unwrap_err();
    assert!(refused.is_no_space(), "{refused}");
    let running = spawn(opened, None);
    assert!(is_durable(&commit(&running, &[(0, "a"), (1, "b")])));
    drop(running);
    assert_eq!(found(&fs.power_cut()), [["a"], ["b"]]);
}

#[test]
fn when_the_failed_file_cannot_be_replaced_commits_go_on_directly() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "a"), (1, "b")]);
    fs.fail_once(Fault::Sync);
    commit(&running, &[(0, "lost"), (1, "lost")]);
    // Room for segments, and not for zeros.
    fs.set_capacity(Some(fs.used_bytes() - journal::MIN_BYTES + 20_000));
    assert!(is_durable(&commit(&running, &[(0, "c"), (1, "d")])));
    assert!(!fs.exists(&file()).unwrap());
    assert_eq!(found(&fs.power_cut()), [["a", "c"], ["b", "d"]]);
}

#[test]
fn a_journal_that_is_no_longer_wanted_is_redone_before_it_goes() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "a"), (1, "b")]);
    let fs = fs.power_cut();
    assert_eq!(recover(&fs).entries, 1);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    Journal::remove(&shared, root()).unwrap();
    assert!(!fs.exists(&file()).unwrap());
    assert_eq!(found(&fs), [["a"], ["b"]]);
}

#[test]
fn a_segment_that_was_removed_stays_removed() {
    let fs = FaultyFs::new(1);
    recover(&fs);
    let small = LogOptions { segment_bytes: 100, ..LogOptions::default() };
    let open = |log| Log::open(Arc::new(fs.clone()), &dir(log), small).unwrap().0;
    let opened = vec![open(0), open(1)];
    let journal = Journal::open(Arc::new(fs.clone()), root(), OPTIONS).unwrap();
    let running = spawn(opened, Some(journal));
    for round in ["a", "b", "c"] {
        assert!(is_durable(&commit(&running, &[(0, round), (1, round)])));
    }
    assert_eq!(running.remove_before(0, 2).unwrap(), 2);
    let fs = fs.power_cut();
    assert_eq!(recover(&fs).removed, 2);
    assert_eq!(found(&fs), [vec!["c"], vec!["a", "b", "c"]]);
}

#[test]
fn one_damaged_entry_is_counted_and_those_behind_it_are_redone() {
    let fs = FaultyFs::new(3);
    let running = committer(&fs);
    for round in ["a", "b", "c"] {
        assert!(is_durable(&commit(&running, &[(0, round), (1, round)])));
    }
    let fs = fs.power_cut();
    // The header is two blocks; the second entry starts in the fourth.
    assert!(fs.flip_bit(&file(), 3 * 4096 + 60, 1));
    let redone = recover(&fs);
    assert_eq!((redone.entries, redone.damaged), (2, 1));
}

#[test]
fn one_damaged_header_slot_costs_nothing_and_two_put_the_file_aside() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "a"), (1, "b")]);
    let fs = fs.power_cut();
    recover(&fs);
    // Recovery has written the second slot.
    assert!(fs.flip_bit(&file(), 40, 1));
    assert_eq!(recover(&fs), Redone::default());
    assert!(fs.flip_bit(&file(), 4096 + 40, 1));
    assert!(recover(&fs).put_aside);
    assert!(fs.exists(&root().join("journal.damaged")).unwrap() && !fs.exists(&file()).unwrap());
    assert_eq!(found(&fs), [["a"], ["b"]]);
}

#[test]
fn bytes_of_a_payload_that_look_like_an_entry_are_none() {
    let fs = FaultyFs::new(1);
    let running = committer(&fs);
    commit(&running, &[(0, "victim"), (1, "victim")]);
    // An entry as somebody makes it who has a journal of his own, and everything but the salt.
    let forged = {
        let other = FaultyFs::new(2);
        recover(&other);
        let opened = logs(&other, 2);
        let options = JournalOptions { salt: 8, ..OPTIONS };
        let journal = Journal::open(Arc::new(other.clone()), root(), options).unwrap();
        let theirs = spawn(opened, Some(journal));
        commit(&theirs, &[(0, "theirs"), (1, "theirs")]);
        commit(&theirs, &[(0, "FORGED"), (1, "FORGED")]);
        let mut entry = vec![0; 4096];
        let file = other.open(&file(), weir_storage::Mode::Read).unwrap();
        file.read_at(&mut entry, 3 * 4096).unwrap();
        entry
    };
    // It comes to lie at the start of every block of the file, behind what counts.
    let journal = fs.open(&file(), weir_storage::Mode::ReadWrite).unwrap();
    for block in 3..14 {
        journal.write_at(&forged, block * 4096).unwrap();
    }
    journal.sync_data().unwrap();
    let fs = fs.power_cut();
    assert_eq!(recover(&fs).entries, 1);
    assert_eq!(found(&fs), [["victim"], ["victim"]]);
}

#[test]
fn a_log_elsewhere_is_refused() {
    let fs = FaultyFs::new(1);
    let (mut opened, elsewhere) = (logs(&fs, 1), Path::new("/elsewhere"));
    opened.push(Log::open(Arc::new(fs.clone()), elsewhere, LogOptions::default()).unwrap().0);
    let journal = Journal::open(Arc::new(fs.clone()), root(), OPTIONS).unwrap();
    let refused = Committer::spawn_with(opened, CommitterOptions::default(), Some(journal)).map(drop).unwrap_err();
    assert!(refused.to_string().contains("/elsewhere"), "{refused}");
}

/// A segment was closed while its end was in the journal alone, and then the power went: whoever looks at the files
/// before the next start finds that end missing, and must be able to tell that from damage.
#[test]
fn what_a_closed_segment_lacks_until_it_is_redone_is_told_from_damage() {
    let mut lacking = 0;
    for seed in 0..20 {
        let fs = FaultyFs::new(seed);
        recover(&fs);
        let options = LogOptions { segment_bytes: 100, ..LogOptions::default() };
        let open = |log| Log::open(Arc::new(fs.clone()), &dir(log), options).unwrap().0;
        let opened = (0..2).map(open).collect();
        let running = spawn(opened, Some(Journal::open(Arc::new(fs.clone()), root(), OPTIONS).unwrap()));
        for value in ["a", "b", "c"] {
            assert!(is_durable(&commit(&running, &[(0, value), (1, value)])));
        }
        let fs = fs.power_cut();
        let damages = |fs: &FaultyFs| weir_storage::verify(fs, &dir(0)).unwrap().damage_count;
        lacking += damages(&fs);
        assert!(journal::awaits_redo(&fs, root()).unwrap());
        recover(&fs);
        assert!(!journal::awaits_redo(&fs, root()).unwrap());
        assert_eq!(damages(&fs), 0);
    }
    assert!(lacking > 0, "no seed closed a segment early");
}
