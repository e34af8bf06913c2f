//! What a proof found, as data: the JSON file, and what the page is drawn from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timeline::{Consumed, Latency, Timeline};
use crate::faults::Struck;
use crate::load::Second;
use crate::reconcile;

/// The whole report. Times are seconds from the start of the load.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Whether every promise was kept.
    pub holds: bool,
    /// What it was run against.
    pub against: String,
    /// The command that does the same again.
    pub replay: String,
    /// Seed of load and faults.
    pub seed: u64,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// How long load and faults went on.
    pub seconds: f64,
    /// Processor, cores, memory, kernel and version of Weir.
    pub machine: String,
    /// What was driven.
    pub load: Vec<(String, String)>,
    /// The sums.
    pub totals: Totals,
    /// From due to PUBACK, of each fleet by its name.
    pub latency: BTreeMap<String, Latency>,
    /// Until a consumer had it, over Kafka.
    pub consumed: BTreeMap<String, Consumed>,
    /// Both, second by second, in microseconds.
    pub seconds_of: BTreeMap<String, Vec<Second>>,
    /// What was broken.
    pub faults: Vec<Broken>,
    /// What was left out, why, and what to type to have it broken.
    pub unavailable: Vec<String>,
    /// Every promise that was not kept.
    pub findings: Vec<Finding>,
    /// The run, moment by moment.
    pub timeline: Timeline,
}

/// Readings, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Devices and their restarts.
    pub devices: u64,
    /// Restarts of devices.
    pub restarts: u64,
    /// Sequences that were given to samples.
    pub sampled: u64,
    /// Of those, acknowledged by the gateway.
    pub acknowledged: u64,
    /// Found in the log as readings.
    pub found: u64,
    /// Found as dead letters alone.
    pub dead_lettered: u64,
    /// Counted lost, by kind: with a record in the log that names the sequences.
    pub counted_lost: BTreeMap<String, u64>,
    /// Left out by rules of an agent.
    pub reduced: u64,
    /// Acknowledged and nowhere in the log.
    pub lost: u64,
    /// In the log more than once.
    pub doubled: u64,
    /// In the log and not what the sensor handed out.
    pub altered: u64,
    /// Behind a later sequence of their lane.
    pub reordered: u64,
    /// Records that were read over Kafka and over HTTP, and compared.
    pub compared: u64,
}

/// A fault that was injected.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// When it began.
    pub at: f64,
    /// When it was over.
    pub until: f64,
    /// What it was.
    pub what: String,
    /// What there is to say about it.
    pub note: Option<String>,
    /// When the gateway acknowledged something again.
    pub alive_at: Option<f64>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// Whose readings, if not the log itself.
    pub device: Option<String>,
    /// Which restart of it; a string, since it has 64 bits.
    pub restart: Option<String>,
    /// The sequences or the reading that show it, in words.
    pub evidence: String,
    /// How many sequences it is about.
    pub count: u64,
    /// The sequences, as first and one behind the last of each range; the first 10,000 ranges.
    pub sequences: Vec<[u64; 2]>,
}

/// Ranges of one finding that the report has.
const LISTED: usize = 10_000;

impl From<&reconcile::Finding> for Finding {
    fn from(finding: &reconcile::Finding) -> Self {
        let listed = finding.sequences.iter().take(LISTED);
        Self {
            what: finding.what.to_owned(),
            device: finding.key.map(|(device, _)| device.to_string()),
            restart: finding.key.map(|(_, restart)| restart.0.to_string()),
            evidence: finding.evidence.clone(),
            count: finding.sequences.len(),
            sequences: listed.map(|range| [range.start, range.end]).collect(),
        }
    }
}

impl Broken {
    /// What became of a fault of a run that took `seconds`.
    pub fn new(struck: &Struck, timeline: &Timeline, seconds: f64) -> Self {
        let until = struck.until.map_or(seconds, |until| until.as_secs_f64());
        Self {
            at: struck.event.at.as_secs_f64(),
            until,
            what: struck.event.fault.to_string(),
            note: struck.note.clone(),
            alive_at: timeline.alive_after(until),
        }
    }
}

impl Totals {
    /// The sums of a reconciliation.
    pub fn of(report: &reconcile::Report, acknowledged: u64) -> Self {
        let (sampled, found, dead_lettered, ..) = report.total();
        let mut counted_lost: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, count) in report.rows.iter().flat_map(|row| &row.kinds).filter(|(kind, _)| *kind != "reduced") {
            *counted_lost.entry(kind.clone()).or_default() += count;
        }
        let sequences =
            |what: &str| report.findings.iter().filter(|f| f.what.contains(what)).map(|f| f.sequences.len()).sum();
        let devices: std::collections::BTreeSet<_> = report.rows.iter().map(|row| row.key.0).collect();
        Self {
            devices: devices.len() as u64,
            restarts: report.rows.len() as u64,
            sampled,
            acknowledged,
            found,
            dead_lettered,
            counted_lost,
            reduced: report.reduced(),
            lost: sequences("acknowledged and"),
            doubled: sequences("in the log twice"),
            altered: sequences("not what the sensor"),
            reordered: sequences("stored behind") + sequences("overtaken"),
            compared: report.over_kafka.unwrap_or(0),
        }
    }
}
