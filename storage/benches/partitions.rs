//! What many partitions cost: the same records to one log and to several, with a journal and without, in turns of one
//! run, so that the ratios hold where absolute rates do not.
//!
//! ```text
//! cargo bench -p weir-storage --bench partitions [-- --dir DIR] [--turns N] [--logs 64] [--records 32]
//! ```
//!
//! Prints a line for each side: records/s (median of the turns), share of the rate of one log without a journal
//! (median, least and most of the turns), bytes that the device wrote per payload byte (whoever caused them: give the
//! bench a device of its own, such as a loop-mounted image), and the 99th percentile of the time that a submission
//! waits.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use weir_storage::{
    Batch, Committer, CommitterOptions, Completion, Journal, JournalOptions, Log, LogOptions, RealFs, Submission,
};

const RECORD_BYTES: usize = 200;
/// Submissions that wait for their commit: as many connections with a batch each.
const WAITING: usize = 256;
/// Bytes of payload in a turn.
const TURN_BYTES: usize = 64 << 20;
const JOURNAL: JournalOptions = JournalOptions { bytes: 64 << 20, salt: 0x7765_6972 };

struct Side {
    name: String,
    committer: Committer,
    dir: PathBuf,
    logs: usize,
    rates: Vec<f64>,
    waits: Vec<f64>,
    written: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(()); // `cargo test --all-targets` comes here; it measures nothing.
    }
    let option = |name| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let number = |name, default| option(name).map_or(Ok(default), |number| number.parse::<usize>());
    let (turns, logs, records) = (number("--turns", 5)?, number("--logs", 64)?, number("--records", 32)?);
    let parent = option("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("weir-partitions-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let measured = measure(&dir, turns, logs, records);
    fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &Path, turns: usize, logs: usize, records: usize) -> Result<(), Box<dyn Error>> {
    let mut sides = [
        Side::new(&dir.join("one"), "1 log, direct", 1, false)?,
        Side::new(&dir.join("direct"), &format!("{logs} logs, direct"), logs, false)?,
        Side::new(&dir.join("journal"), &format!("{logs} logs, journal"), logs, true)?,
    ];
    for turn in 0..=turns {
        for side in &mut sides {
            // The first turn warms every side.
            side.turn(records, turn > 0)?;
        }
    }
    println!("{WAITING} submissions of {records} x {RECORD_BYTES} B waiting, {turns} turns");
    let one = sides[0].rates.clone();
    for side in &mut sides {
        let mut shares: Vec<f64> = side.rates.iter().zip(&one).map(|(own, one)| own / one).collect();
        let (rate, share) = (median(&mut side.rates), median(&mut shares));
        let (least, most) = (shares[0], shares[shares.len() - 1]);
        let written = side.written as f64 / (turns * TURN_BYTES) as f64;
        side.waits.sort_by(f64::total_cmp);
        let wait = side.waits[side.waits.len() * 99 / 100] * 1e3;
        let name = &side.name;
        println!(
            "{name:<20} {rate:>9.0} records/s {share:>5.2} of one log ({least:.2} to {most:.2}) \
             {written:>5.2} bytes written per payload byte {wait:>6.1} ms p99"
        );
    }
    Ok(())
}

impl Side {
    fn new(dir: &Path, name: &str, logs: usize, with_journal: bool) -> Result<Side, Box<dyn Error>> {
        let fs = Arc::new(RealFs);
        let open = |log: usize| Ok(Log::open(fs.clone(), &dir.join(log.to_string()), LogOptions::default())?.0);
        let opened = (0..logs).map(open).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let journal = if with_journal { Some(Journal::open(fs, dir, JOURNAL)?) } else { None };
        let committer = Committer::spawn_with(opened, CommitterOptions::default(), journal)?;
        let dir = dir.to_owned();
        Ok(Side { name: name.to_owned(), committer, dir, logs, rates: Vec::new(), waits: Vec::new(), written: 0 })
    }

    /// Commits the bytes of one turn with [`WAITING`] submissions always on their way.
    fn turn(&mut self, records: usize, counts: bool) -> Result<(), Box<dyn Error>> {
        let payload = [0x5a; RECORD_BYTES];
        let (done, free) = mpsc::channel();
        for _ in 0..WAITING {
            let mut batch = Batch::new();
            (0..records).try_for_each(|_| batch.push(0, None, Some(&payload), &[]))?;
            done.send((batch, None))?;
        }
        let submissions = TURN_BYTES / (records * RECORD_BYTES);
        let (bytes_before, begun) = (device_bytes(&self.dir)?, Instant::now());
        for number in 0..submissions {
            let (batch, waited): (Batch, Option<f64>) = free.recv()?;
            self.waits.extend(waited.filter(|_| counts));
            let (done, submitted) = (done.clone(), Instant::now());
            let done = Box::new(move |completion: Completion| {
                for part in completion.parts.into_iter().filter(|part| part.result.is_ok()) {
                    // Nobody waits any more once the turn is over.
                    let _ = done.send((part.batch, Some(submitted.elapsed().as_secs_f64())));
                }
            });
            self.committer.submit(Submission { parts: vec![(number % self.logs, batch)], done })?;
        }
        // A batch that failed never comes back, so this ends only if all are on disk.
        drop(done);
        let back = free.iter().count();
        if back != WAITING {
            return Err(format!("{} commits failed", WAITING - back).into());
        }
        let rate = (submissions * records) as f64 / begun.elapsed().as_secs_f64();
        if counts {
            self.rates.push(rate);
            self.written += device_bytes(&self.dir)? - bytes_before;
        }
        Ok(())
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Bytes that the device below `dir` has written (Documentation/ABI/stable/sysfs-block, `stat`), once all that waits
/// for it is there.
fn device_bytes(dir: &Path) -> Result<u64, Box<dyn Error>> {
    rustix::fs::syncfs(fs::File::open(dir)?)?;
    let device = fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"))?;
    let sectors = stat.split_whitespace().nth(6).ok_or("no sectors written in stat")?;
    Ok(sectors.parse::<u64>()? * 512)
}
