//! What the disk of an agent gives back, as records of its queue: held readings, summaries and what was set aside, in clear
//! and sealed, below any state.
//!
//! An input is the state behind its length in two bytes, then records: one byte that says what kind of key and whether the
//! value is sealed, the rest of the key behind its length in one byte, the value behind its length in two.

use std::path::Path;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use weir_agent::counters::Counters;
use weir_agent::intake::Intake;
use weir_agent::queue::records::{ASIDE, HELD};
use weir_agent::queue::{
    DEFAULT_CLASS, Examination, Incarnation, Inspection, LOG_DIR, Queue, QueueOptions, STATE_FILE, Summary, Vault,
    repair,
};
use weir_agent::uplink::spool::Spool;
use weir_protocol::batch::Envelope;
use weir_protocol::settings::Source;
use weir_storage::{Batch, FaultyFs, Fs, Log, LogOptions, StateFile, durable};

use super::{Noon, bytes, format_3};
use crate::target::Target;

/// The queue itself, its reserve, what is staged, and the disk in memory.
pub(super) const QUEUE: Target = Target { name: "queue", run, max_len: 8192, memory: 8 << 20, inputs: 3_000, seeds };

const DATA_DIR: &str = "/agent";
/// What a record's first byte says beside the kind of its key.
const SEALED: u8 = 4;

fn run(bytes: &[u8]) {
    let disk: Arc<dyn Fs> = Arc::new(FaultyFs::new(0));
    if write(&disk, bytes).is_none() {
        return;
    }
    let vault = if bytes.len().is_multiple_of(2) { sealing() } else { Arc::new(Vault::clear()) };
    let dir = Path::new(DATA_DIR);
    let _ = (Summary::read(&disk, dir, &vault), Inspection::read(&disk, dir, &vault));
    lives(&disk, &vault);
    if repair(&disk, dir, &vault, Incarnation(8)).is_ok() {
        let found = Examination::read(&disk, dir, &vault);
        assert!(found.is_ok_and(|found| found.is_good()), "what was repaired is good");
    }
    lives(&disk, &vault);
}

/// An agent starts with it, ends its windows, and ships all there is.
fn lives(disk: &Arc<dyn Fs>, vault: &Arc<Vault>) {
    let options = QueueOptions { cap: 1 << 20, vault: Arc::clone(vault), ..QueueOptions::default() };
    let Ok((queue, _)) = Queue::open(disk, Path::new(DATA_DIR), options, Incarnation(7)) else { return };
    let counters = Arc::new(Counters::default());
    let random = StdRng::seed_from_u64(1);
    let mut intake = Intake::new(queue.state(), queue.policies(), Arc::new(Noon), random, counters);
    intake.tick(Duration::from_secs(1));
    intake.close_windows();
    if let Some(staged) = intake.take_stage(Vec::new()) {
        let (sender, done) = mpsc::channel();
        let submitted = queue.submit(staged.entries, move |committed| drop(sender.send(committed)));
        if submitted.is_ok()
            && let Ok(committed) = done.recv()
        {
            let _ = intake.committed(&staged.covered, &committed);
        }
    }
    let _ = queue.standings();
    let mut spool = Spool::new(&queue, 4096, true);
    spool.rewind();
    for lane in spool.lanes() {
        while spool.fill(lane, 4096).is_ok_and(|full| full) || spool.is_forming(lane) {
            let Some(batch) = spool.take(lane) else { break };
            if let Err(error) = Envelope::open(&batch.payload) {
                panic!("what is shipped can be read: {error} in {batch:?}");
            }
            spool.shipped(&batch);
        }
    }
    let _ = (queue.trim(), queue.save());
}

/// Writes the files; none if a record has no place in a log.
fn write(disk: &Arc<dyn Fs>, bytes: &[u8]) -> Option<()> {
    let (state, mut rest) = behind_length(bytes)?;
    let dir = Path::new(DATA_DIR).join(LOG_DIR);
    durable::create_dir_all(&**disk, &dir).ok()?;
    if !state.is_empty() {
        StateFile::new(Arc::clone(disk), &Path::new(DATA_DIR).join(STATE_FILE)).replace(state).ok()?;
    }
    let (mut log, _) = Log::open(Arc::clone(disk), &dir, LogOptions::default()).ok()?;
    while let [kind, length, more @ ..] = rest {
        let (key, more) = more.split_at(usize::from(*length).min(more.len()));
        let (value, more) = behind_length(more)?;
        rest = more;
        let key = match kind % 4 {
            0 => None,
            1 => Some(ASIDE.to_vec()),
            2 => Some([HELD, key].concat()),
            _ => Some(key.to_vec()),
        };
        let class = DEFAULT_CLASS;
        let what = [b"record", class.as_str().as_bytes(), key.as_deref().unwrap_or_default()];
        let value = if kind & SEALED == 0 { value.to_vec() } else { sealing().seal(&what, value.to_vec()) };
        let mut batch = Batch::new();
        batch.push(1_795_262_400_000, key.as_deref(), Some(&value), &[]).ok()?;
        log.commit(&mut batch).ok()?;
    }
    Some(())
}

/// What lies behind a length in two bytes, as far as it is there, and the rest.
fn behind_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    Some(rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len())))
}

/// A vault with a key.
fn sealing() -> Arc<Vault> {
    static VAULT: OnceLock<Arc<Vault>> = OnceLock::new();
    Arc::clone(VAULT.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("weir-fuzz-queue-key-{}", std::process::id()));
        let written = std::fs::write(&path, [7; 32]);
        let settings = format!("[queue.encryption]\nkey_file = {path:?}");
        let config = weir_agent::config::Config::of(&Source::new("settings.toml", &settings));
        let vault = config.ok().and_then(|config| Vault::of(&config).ok());
        let _ = std::fs::remove_file(&path);
        match (written, vault) {
            (Ok(()), Some(vault)) => Arc::new(vault),
            (written, _) => panic!("a key for this target: {written:?}"),
        }
    }))
}

/// The pinned state and records of a queue whose rules make summaries, in clear and sealed.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let pinned = format_3();
    let file = |flags: u8, with_state: bool| {
        let mut input = Vec::new();
        let state = pinned.get("state").filter(|_| with_state).map(|hex| bytes(hex)).unwrap_or_default();
        input.extend((state.len() as u16).to_be_bytes());
        input.extend(state);
        for name in ["held", "readings", "set-aside", "held-next", "claim", "summary"] {
            let key = pinned.get(&*format!("{name}.key")).map(|hex| bytes(hex)).unwrap_or_default();
            let value = pinned.get(&*format!("{name}.value")).map(|hex| bytes(hex)).unwrap_or_default();
            let (kind, key) = match key.strip_prefix(HELD) {
                Some(rest) => (2, rest),
                None => (0, &key[..]),
            };
            input.extend([kind | flags, key.len() as u8]);
            input.extend(key);
            input.extend((value.len() as u16).to_be_bytes());
            input.extend(value);
        }
        input
    };
    vec![("windows", file(0, true)), ("sealed", file(SEALED, true)), ("without-state", file(0, false))]
}
