//! What a queue holds of each restart, read from its files alone, also beside the agent that writes them.
//!
//! The state file is as old as the agent's last checkpoint, so what the gateway took since is still listed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use weir_protocol::batch::{LossKind, Section, SetAside, Summary};
use weir_protocol::{Clock, RangeSet, Sequence};
use weir_storage::{Fs, ReadError};

use super::class::read_logs;
use super::files::Files;
use super::records::{Entry, Found, sequences};
use super::{Key, QueueError, Vault, coarsen};

/// The most ranges listed of one restart; more are joined.
const MAX_RANGES: usize = 256;

/// What is held.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// One entry for each restart of which something is held.
    pub restarts: Vec<Holding>,
    /// Records that cannot be read.
    pub unreadable: u64,
}

/// What is held of one restart.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Holding {
    /// The device.
    pub device: String,
    /// The restart; text, because JSON numbers lose bits.
    pub restart: String,
    /// Sequences, first and first behind, at most 256 ranges: readings and claims.
    pub held: Vec<(u64, u64)>,
    /// Readings.
    pub readings: u64,
    /// Sequences in claims, by kind.
    pub claims: BTreeMap<&'static str, u64>,
    /// Bytes of records.
    pub bytes: u64,
    /// The oldest time of a sample, in microseconds since 1970, of those from a synchronised clock.
    pub oldest_us: Option<i64>,
}

#[derive(Default)]
struct Sum {
    held: RangeSet,
    holding: Holding,
}

impl Inspection {
    /// Reads the files below `data_dir`; takes no lock and writes nothing.
    pub fn read(fs: &Arc<dyn Fs>, data_dir: &Path, vault: &Arc<Vault>) -> Result<Self, QueueError> {
        let files = Files::load(fs, data_dir, vault)?;
        let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
        let mut unreadable = 0;
        for log in read_logs(fs, data_dir, vault)? {
            let of_class = files.state.as_ref().and_then(|state| state.named(log.name));
            let shipped = of_class.map(|class| class.shipped.clone()).unwrap_or_default();
            log.walk(0..u64::MAX, |found| -> Result<(), ReadError> {
                match found {
                    Found::Entry(entry) if !shipped.contains(entry.offset) => note(&mut sums, &entry),
                    // What is in a window is in the state.
                    Found::Entry(_) | Found::Held(..) => {}
                    Found::Unreadable(offsets) => {
                        unreadable += shipped.gaps(offsets).map(|gap| gap.end - gap.start).sum::<u64>()
                    }
                }
                Ok(())
            })?;
        }
        for (key, kind, set) in files.claims.unwrap_or_default().lost() {
            let sum = sums.entry(key).or_default();
            sum.held.union(set);
            *sum.holding.claims.entry(kind.as_str()).or_default() += set.len();
        }
        let restarts = sums.into_iter().map(|((device, restart), mut sum)| {
            coarsen(&mut sum.held, MAX_RANGES);
            let held = sum.held.iter().map(|range: Range<u64>| (range.start, range.end)).collect();
            Holding { device: device.to_string(), restart: restart.to_string(), held, ..sum.holding }
        });
        Ok(Self { restarts: restarts.collect(), unreadable })
    }
}

fn note(sums: &mut BTreeMap<Key, Sum>, entry: &Entry<'_>) {
    for (key, range) in sequences(&entry.section) {
        sums.entry(key).or_default().held.insert(range);
    }
    let length = |start: Sequence, end: Sequence| end.0.saturating_sub(start.0);
    match &entry.section {
        Section::Readings(run) | Section::SetAside(SetAside { run, .. }) | Section::Summary(Summary { run, .. })
            if run.count > 0 =>
        {
            let holding = holding(sums, (run.device, run.restart));
            holding.readings += u64::from(run.count);
            holding.bytes += entry.encoded.len() as u64;
            let synchronised = run.iter().flatten().filter(|(_, reading)| reading.clock == Clock::Synchronised);
            let oldest = synchronised.map(|(_, reading)| reading.time.0).min();
            holding.oldest_us = holding.oldest_us.into_iter().chain(oldest).min();
        }
        Section::Claim(claim) => {
            let holding = holding(sums, (claim.device, claim.restart));
            holding.bytes += entry.encoded.len() as u64;
            *holding.claims.entry(claim.kind.as_str()).or_default() += length(claim.start, claim.end);
        }
        _ => {}
    }
    if let Section::Summary(summary) = &entry.section {
        let reduced = summary.ranges.iter().flatten().map(|held| length(held.start, held.end)).sum::<u64>();
        let holding = holding(sums, (summary.run.device, summary.of));
        *holding.claims.entry(LossKind::Reduced.as_str()).or_default() += reduced;
    }
}

fn holding(sums: &mut BTreeMap<Key, Sum>, key: Key) -> &mut Holding {
    &mut sums.entry(key).or_default().holding
}
