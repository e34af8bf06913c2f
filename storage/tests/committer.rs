//! Group commit: one sync for all that waits, answers in order, bounds that hold.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod common;

use common::{batch, hold, read_all, values};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use weir_storage::fs::Fault;
use weir_storage::{
    Batch, CommitError, Committer, CommitterOptions, Completion, FaultyFs, Log, LogOptions, Submission, SubmitError,
};

fn logs(fs: &FaultyFs, count: usize, options: LogOptions) -> Vec<Log> {
    let open = |log| {
        let dir = PathBuf::from(format!("/topics/{log}"));
        Log::open(Arc::new(fs.clone()), &dir, options).unwrap().0
    };
    (0..count).map(open).collect()
}

fn committer(fs: &FaultyFs, count: usize, options: CommitterOptions) -> Committer {
    Committer::spawn(logs(fs, count, LogOptions::default()), options).unwrap()
}

/// A submission and where its completion arrives.
fn submission(parts: Vec<(usize, Batch)>) -> (Submission, mpsc::Receiver<Completion>) {
    let (answer, answered) = mpsc::channel();
    // Not every story waits for its answers.
    let done = Box::new(move |completion| drop(answer.send(completion)));
    (Submission { parts, done }, answered)
}

#[test]
fn everything_that_waits_shares_one_write_and_one_sync_and_is_answered_in_order() {
    let fs = FaultyFs::new(1);
    let committer = committer(&fs, 1, CommitterOptions::default());
    let release = hold(&committer);
    let (answer, answers) = mpsc::channel();
    for round in 0..100 {
        let answer = answer.clone();
        let done = Box::new(move |completion: Completion| {
            let [part] = &completion.parts[..] else { panic!("one part") };
            answer.send((round, part.result.clone().unwrap())).unwrap();
        });
        committer.submit(Submission { parts: vec![(0, batch(&["a", "b"]))], done }).unwrap();
    }
    let before = fs.operations();
    drop(release);
    for round in 0..100u64 {
        assert_eq!(answers.recv().unwrap(), (round, round * 2..round * 2 + 2));
    }
    // The file is made and synced, named and its directory synced; then a write and a sync.
    assert_eq!(fs.operations() - before, 7);
    let [log] = &committer.shutdown()[..] else { panic!("one log") };
    assert_eq!(log.next_offset(), 200);
}

#[test]
fn an_answer_means_durable_and_already_exposed() {
    let fs = FaultyFs::new(1);
    let committer = committer(&fs, 2, CommitterOptions::default());
    let reader = committer.readers()[1].clone();
    let (answer, answered) = mpsc::channel();
    let disk = fs.clone();
    let done = Box::new(move |_| {
        let survivor = disk.power_cut();
        let survived = logs(&survivor, 2, LogOptions::default());
        answer.send((values(&survived[0].reader()), values(&survived[1].reader()), reader.end_offset())).unwrap();
    });
    committer.submit(Submission { parts: vec![(0, batch(&["a"])), (1, batch(&["b", "c"]))], done }).unwrap();
    assert_eq!(answered.recv().unwrap(), (vec!["a".into()], vec!["b".into(), "c".into()], 2));
}

#[test]
fn each_log_answers_for_itself_and_the_batch_comes_back() {
    let fs = FaultyFs::new(1);
    let options = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
    let committer = committer(&fs, 3, options);
    fs.fail_once(Fault::Sync);
    let (first, answered) = submission(vec![(2, batch(&["a"])), (0, batch(&["b"])), (2, batch(&["c"]))]);
    committer.submit(first).unwrap();
    let completion = answered.recv().unwrap();
    assert_eq!(completion.parts.iter().map(|part| part.log).collect::<Vec<_>>(), [2, 0, 2]);
    assert_eq!(completion.parts[0].result.clone().unwrap(), 0..1);
    assert_eq!(completion.parts[2].result.clone().unwrap(), 1..2);
    assert!(matches!(completion.parts[1].result, Err(CommitError::Io(_))));

    let again = completion.parts.into_iter().nth(1).unwrap().batch;
    let (second, answered) = submission(vec![(0, again)]);
    committer.submit(second).unwrap();
    assert_eq!(answered.recv().unwrap().parts[0].result.clone().unwrap(), 0..1);
    assert_eq!(values(&committer.readers()[0]), ["b"]);
}

#[test]
fn the_queue_is_bounded_and_gives_back_what_it_does_not_take() {
    let fs = FaultyFs::new(1);
    let options = CommitterOptions { max_waiting: 2, ..CommitterOptions::default() };
    let committer = committer(&fs, 1, options);
    let release = hold(&committer);
    for _ in 0..2 {
        committer.try_submit(submission(vec![(0, batch(&["a"]))]).0).unwrap();
    }
    let refused = committer.try_submit(submission(vec![(0, batch(&["b"]))]).0).unwrap_err();
    let SubmitError::Full(back) = refused else { panic!("{refused}") };
    assert_eq!(back.parts[0].1.record_count(), 1);

    // A submit that waits goes on as soon as there is room.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| committer.submit(back));
        drop(release);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(committer.shutdown()[0].next_offset(), 3);
}

#[test]
fn waiting_bytes_are_bounded_too() {
    let fs = FaultyFs::new(1);
    let options = CommitterOptions { max_waiting_bytes: 10_000, ..CommitterOptions::default() };
    let committer = committer(&fs, 1, options);
    let release = hold(&committer);
    let large = "x".repeat(20_000);
    // One that is larger than the bound is let in alone, or it never would be.
    committer.try_submit(submission(vec![(0, batch(&[&large]))]).0).unwrap();
    let refused = committer.try_submit(submission(vec![(0, batch(&["a"]))]).0).unwrap_err();
    assert!(matches!(refused, SubmitError::Full(_)));
    drop(release);
}

#[test]
fn shutting_down_commits_what_was_accepted() {
    let fs = FaultyFs::new(1);
    let committer = committer(&fs, 2, CommitterOptions::default());
    let answers: Vec<_> = (0..50)
        .map(|round| {
            let (submission, answered) = submission(vec![(round % 2, batch(&["a"]))]);
            committer.submit(submission).unwrap();
            answered
        })
        .collect();
    let logs = committer.shutdown();
    assert_eq!(logs.iter().map(Log::next_offset).collect::<Vec<_>>(), [25, 25]);
    assert!(answers.iter().all(|answered| answered.try_recv().unwrap().parts[0].result.is_ok()));
}

#[test]
fn a_log_that_is_not_there_is_an_error_and_not_a_loss() {
    let committer = committer(&FaultyFs::new(1), 2, CommitterOptions::default());
    let error = committer.submit(submission(vec![(0, batch(&["a"])), (2, batch(&["a"]))]).0).unwrap_err();
    assert_eq!(error.to_string(), "no such log: got index 2, expected below 2");
}

#[test]
fn what_does_not_fit_is_refused_with_all_that_came_after_it() {
    let fs = FaultyFs::new(1);
    let capped = LogOptions { cap_bytes: Some(64 * 1024), ..LogOptions::default() };
    let committer = Committer::spawn(logs(&fs, 1, capped), CommitterOptions::default()).unwrap();
    let release = hold(&committer);
    let (large, small) = ("x".repeat(40_000), "y".repeat(10));
    let answers: Vec<_> = [&large, &large, &small]
        .map(|value| {
            let (submission, answered) = submission(vec![(0, batch(&[value]))]);
            committer.submit(submission).unwrap();
            answered
        })
        .into();
    drop(release);
    let fitted: Vec<bool> = answers.iter().map(|answered| answered.recv().unwrap().parts[0].result.is_ok()).collect();
    // The small one alone would have fitted, but it would have overtaken.
    assert_eq!(fitted, [true, false, false]);
}

#[test]
fn removing_goes_through_the_committer_and_readers_see_it() {
    let fs = FaultyFs::new(1);
    let small = LogOptions { segment_bytes: 100, ..LogOptions::default() };
    let committer = Committer::spawn(logs(&fs, 2, small), CommitterOptions::default()).unwrap();
    for _ in 0..10 {
        let (submission, answered) = submission(vec![(1, batch(&["value"]))]);
        committer.submit(submission).unwrap();
        answered.recv().unwrap();
    }
    assert_eq!(committer.remove_before(1, 7).unwrap(), 7);
    assert_eq!(committer.readers()[1].start_offset(), 7);
    assert!(fs.operations() > 0 && committer.readers()[0].start_offset() == 0);
}

#[test]
fn many_threads_submit_and_a_reader_follows() {
    let fs = FaultyFs::new(1);
    let options = CommitterOptions { max_waiting: 8, max_group_bytes: 2_000, ..CommitterOptions::default() };
    let segments = LogOptions { segment_bytes: 4_000, ..LogOptions::default() };
    let committer = Committer::spawn(logs(&fs, 3, segments), options).unwrap();
    let reader = committer.readers()[0].clone();
    thread::scope(|scope| {
        for name in 0..4 {
            let committer = &committer;
            scope.spawn(move || {
                for round in 0..200 {
                    let value = format!("{name} {round:03}");
                    let parts = vec![(0, batch(&[&value])), (1 + round % 2, batch(&[&value]))];
                    committer.submit(submission_without_answer(parts)).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let mut next = 0;
            while next < 800 {
                let chunk = reader.read(next, 500).unwrap();
                assert!(chunk.gaps.is_empty());
                next = chunk.next_offset;
                thread::yield_now();
            }
        });
    });
    committer.shutdown();
    let all = read_all(&reader, 0, 1_000);
    assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (0..800).collect::<Vec<_>>());
    for name in 0..4 {
        let own = all.iter().filter(|(_, value)| value.starts_with(&format!("{name} ")));
        assert!(own.map(|(_, value)| value).is_sorted(), "the order of one submitter is kept");
    }
}

fn submission_without_answer(parts: Vec<(usize, Batch)>) -> Submission {
    Submission { parts, done: Box::new(|completion| assert!(completion.parts.iter().all(|part| part.result.is_ok()))) }
}
