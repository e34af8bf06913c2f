//! Throughput of the commit path when the same records go to 64 partitions instead of one, with the journal and without.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use weir_storage::{
    Batch, Committer, CommitterOptions, Fs, Journal, JournalOptions, Log, LogOptions, RealFs, Submission,
};

use super::Measure;
use super::found::Found;
use super::table::{ratios, spread};
use crate::deployment::Scratch;

/// Partitions that share the records.
const PARTITIONS: usize = 64;
/// Records of a submission, and their bytes.
const RECORDS: usize = 32;
const RECORD: usize = 200;
/// Submissions that wait for their commit: as many connections with a batch each.
const WAITING: usize = 256;
/// As the gateway keeps it.
const JOURNAL: JournalOptions = JournalOptions { bytes: 64 << 20, salt: 1 };
/// Submissions of a turn.
const SUBMISSIONS: usize = 20_000;
const TURNS: usize = 5;

pub(super) fn run(quick: bool) -> Result<Found> {
    let scratch = Scratch::new()?;
    let submissions = if quick { SUBMISSIONS / 10 } else { SUBMISSIONS };
    let sides = [("one", 1, None), ("many", PARTITIONS, Some(JOURNAL)), ("direct", PARTITIONS, None)];
    let committers = sides.map(|(name, partitions, journal)| start(&scratch.join(name), partitions, journal));
    let mut rates = [const { Vec::new() }; 3];
    for turn in 0..=TURNS {
        for (index, committer) in committers.iter().enumerate() {
            let committer = committer.as_ref().map_err(|error| anyhow!("{error:#}"))?;
            let rate = rate(committer, sides[index].1, submissions)?;
            // The first turn warms all sides.
            if turn > 0 {
                rates[index].push(rate);
            }
        }
    }
    drop(committers);
    let [of_one, of_many, direct] = rates;
    scratch.remove()?;
    let measure = Measure {
        what: format!("commits of {RECORDS} x {RECORD} B over {PARTITIONS} partitions, {WAITING} waiting"),
        got: Some(format!("{} of one partition; {} records/s", spread(&ratios(&of_many, &of_one)), spread(&of_many))),
        reference: format!(
            "the same to one partition: {} records/s; over {PARTITIONS} without the journal: {} of one",
            spread(&of_one),
            spread(&ratios(&direct, &of_one))
        ),
        goal: "0.7".to_owned(),
    };
    let turns = [
        ("records/s to one partition", &*of_one),
        ("records/s over many", &*of_many),
        ("records/s over many without the journal", &*direct),
    ];
    Ok(Found::from(vec![measure]).with_turns(turns))
}

fn start(root: &Path, partitions: usize, journal: Option<JournalOptions>) -> Result<Committer> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let logs = (0..partitions).map(|number| {
        let opened = Log::open(fs.clone(), &root.join(number.to_string()), LogOptions::default());
        opened.map(|(log, _)| log).context("cannot open a log")
    });
    let logs = logs.collect::<Result<_>>()?;
    let journal =
        journal.map(|options| Journal::open(fs, root, options)).transpose().context("cannot make a journal")?;
    Committer::spawn_with(logs, CommitterOptions::default(), journal).context("cannot start a committer")
}

/// Records a second, with [`WAITING`] submissions always on their way.
fn rate(committer: &Committer, partitions: usize, submissions: usize) -> Result<f64> {
    let payload = [0x5a; RECORD];
    let (done, free) = mpsc::channel();
    for _ in 0..WAITING {
        let mut batch = Batch::new();
        (0..RECORDS).try_for_each(|_| batch.push(0, None, Some(&payload), &[])).context("a record")?;
        done.send(batch).context("a batch")?;
    }
    let begun = Instant::now();
    for number in 0..submissions {
        let batch = free.recv().context("the committer is gone")?;
        let done = done.clone();
        let done = Box::new(move |completion: weir_storage::Completion| {
            for part in completion.parts.into_iter().filter(|part| part.result.is_ok()) {
                // Nobody waits any more once the turn is over.
                let _ = done.send(part.batch);
            }
        });
        let submission = Submission { parts: vec![(number % partitions, batch)], done };
        committer.submit(submission).map_err(|error| anyhow!("{error}"))?;
    }
    // A batch that failed never comes back, so this ends only if all are on disk.
    drop(done);
    let back = free.iter().count();
    anyhow::ensure!(back == WAITING, "{} commits failed", WAITING - back);
    Ok((submissions * RECORDS) as f64 / begun.elapsed().as_secs_f64())
}
