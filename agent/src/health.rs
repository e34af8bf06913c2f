//! How the parts of the agent are: what each of them said of itself last.
//!
//! Health is progress: when a source last gave a reading says more than "open". Every lock is held for a few
//! instructions, so that whoever looks never holds up who works. What is here is bounded by the settings: one entry
//! a source.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use weir_protocol::Timestamp;

use crate::uplink::health::UplinkHealth;

/// The longest error that is kept, in bytes.
const MAX_ERROR: usize = 512;

/// What the parts said. One for the process.
#[derive(Debug, Default)]
pub struct Health {
    /// The way to the gateway.
    pub uplink: Arc<UplinkHealth>,
    sources: Mutex<Vec<Arc<Report>>>,
}

/// What a source does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It has begun and given no reading yet.
    #[default]
    Starting,
    /// It gives readings.
    Running,
    /// It failed and is started again after a pause, or what it reads is not there.
    Waiting,
}

impl SourceState {
    /// As it is said.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceHealth {
    /// `kind.name`, unique in the process.
    pub id: String,
    /// The section of the settings that it comes from.
    pub kind: &'static str,
    /// What it does now.
    pub state: SourceState,
    /// What went wrong last, which may be long over.
    pub last_error: Option<String>,
    /// How often it failed and was started again.
    pub failures: u64,
    /// Readings that it gave.
    pub readings: u64,
    /// When it gave the last one, by this machine's wall clock.
    pub last_reading_at: Option<Timestamp>,
}

impl Health {
    /// Makes the entry of a source. A name that is taken gets a number.
    pub fn source(&self, kind: &'static str, name: &str) -> Arc<Report> {
        let mut sources = lock(&self.sources);
        let plain = format!("{kind}.{name}");
        let taken = |id: &String| sources.iter().any(|source| source.id == *id);
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let id = std::iter::once(plain.clone()).chain(numbered).find(|id| !taken(id)).unwrap_or(plain);
        let report = Arc::new(Report::new(id, kind));
        sources.push(Arc::clone(&report));
        report
    }

    /// Forgets all sources, which are about to be made anew from other settings.
    pub fn clear_sources(&self) {
        lock(&self.sources).clear();
    }

    /// How every source is, in the order in which they began.
    pub fn sources(&self) -> Vec<SourceHealth> {
        lock(&self.sources).iter().map(|report| report.look()).collect()
    }
}

/// Where one source says how it is.
#[derive(Debug)]
pub struct Report {
    id: String,
    kind: &'static str,
    state: Mutex<(SourceState, Option<String>)>,
    failures: AtomicU64,
    readings: AtomicU64,
    /// [`NEVER`], or microseconds.
    last_reading_at: AtomicI64,
}

const NEVER: i64 = i64::MIN;

impl Report {
    fn new(id: String, kind: &'static str) -> Self {
        let (failures, readings) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { id, kind, state: Mutex::default(), failures, readings, last_reading_at: AtomicI64::new(NEVER) }
    }

    /// `kind.name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many readings there were.
    pub fn readings(&self) -> u64 {
        self.readings.load(Ordering::Relaxed)
    }

    /// The source gave readings.
    pub fn gave(&self, readings: u64, now: Timestamp) {
        if readings > 0 {
            self.readings.fetch_add(readings, Ordering::Relaxed);
            self.last_reading_at.store(now.0, Ordering::Relaxed);
            self.running();
        }
    }

    /// The source works, even if it gave nothing yet: a port that listens, a line that is open.
    pub fn running(&self) {
        lock(&self.state).0 = SourceState::Running;
    }

    /// The source begins.
    pub fn starting(&self) {
        lock(&self.state).0 = SourceState::Starting;
    }

    /// The source waits for what it needs, which is no failure: a line that is not plugged in.
    pub fn waiting(&self) {
        lock(&self.state).0 = SourceState::Waiting;
    }

    /// Something went wrong that the source lives with.
    pub fn error(&self, what: impl Into<String>) {
        lock(&self.state).1 = Some(cut(what.into()));
    }

    /// The source ended with an error and waits to be started again.
    pub fn failed(&self, what: impl Into<String>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *lock(&self.state) = (SourceState::Waiting, Some(cut(what.into())));
    }

    fn look(&self) -> SourceHealth {
        let (state, last_error) = lock(&self.state).clone();
        let at = self.last_reading_at.load(Ordering::Relaxed);
        SourceHealth {
            id: self.id.clone(),
            kind: self.kind,
            state,
            last_error,
            failures: self.failures.load(Ordering::Relaxed),
            readings: self.readings(),
            last_reading_at: (at != NEVER).then_some(Timestamp(at)),
        }
    }
}

/// What is behind these locks is whole after every step, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_ERROR {
        let end = (0..=MAX_ERROR).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_says_what_it_does_what_went_wrong_and_when_it_last_gave_something() {
        let health = Health::default();
        let report = health.source("i2c", "1-48");
        assert_eq!(health.sources()[0].state, SourceState::Starting);
        report.failed("no answer at 0x48");
        report.starting();
        report.gave(2, Timestamp(7));
        let expected = SourceHealth {
            id: "i2c.1-48".to_owned(),
            kind: "i2c",
            state: SourceState::Running,
            last_error: Some("no answer at 0x48".to_owned()),
            failures: 1,
            readings: 2,
            last_reading_at: Some(Timestamp(7)),
        };
        assert_eq!(health.sources(), [expected]);
    }

    #[test]
    fn two_sources_of_one_name_can_be_told_apart() {
        let health = Health::default();
        let ids: Vec<String> = (0..3).map(|_| health.source("exec", "ups").id().to_owned()).collect();
        assert_eq!(ids, ["exec.ups", "exec.ups-2", "exec.ups-3"]);
    }

    #[test]
    fn an_error_without_end_is_cut() {
        let report = Health::default().source("exec", "ups");
        report.error("ü".repeat(MAX_ERROR));
        assert_eq!(report.look().last_error.map(|text| text.len()), Some(MAX_ERROR));
    }
}
