//! What the Kafka port counts. Counters only grow; gauges say what is there now.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::messages::{ApiKey, ErrorCode, SUPPORTED};
use super::refusal::Refusal;

/// The errors that are shown before they were ever answered; any other one is shown from its first time on.
const SHOWN: [ErrorCode; 5] = [
    ErrorCode::OffsetOutOfRange,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnsupportedVersion,
    ErrorCode::KafkaStorageError,
    ErrorCode::SaslAuthenticationFailed,
];

/// The counters of the Kafka port, all since the start.
#[derive(Debug)]
pub struct Counters {
    connections: AtomicU64,
    requests: [AtomicU64; SUPPORTED.len()],
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
    refusals: [AtomicU64; Refusal::ALL.len()],
    sent_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    fetch_waits: AtomicU64,
    fetch_throttles: AtomicU64,
    gaps: AtomicU64,
}

/// The counters without labels at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections that began.
    pub connections: u64,
    /// Bytes of all responses.
    pub sent_bytes: u64,
    /// Bytes of records in them.
    pub fetched_bytes: u64,
    /// Fetches that waited for records.
    pub fetch_waits: u64,
    /// Fetches that waited for room in memory.
    pub fetch_throttles: u64,
    /// Stretches of damage that fetches passed.
    pub gaps: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connections: AtomicU64::default(),
            requests: Default::default(),
            errors: Mutex::new(SHOWN.map(|code| (code, 0)).into()),
            refusals: Default::default(),
            sent_bytes: AtomicU64::default(),
            fetched_bytes: AtomicU64::default(),
            fetch_waits: AtomicU64::default(),
            fetch_throttles: AtomicU64::default(),
            gaps: AtomicU64::default(),
        }
    }
}

impl Counters {
    /// All but those with labels.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections: self.connections.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            fetched_bytes: self.fetched_bytes.load(Relaxed),
            fetch_waits: self.fetch_waits.load(Relaxed),
            fetch_throttles: self.fetch_throttles.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
        }
    }

    /// Requests by API.
    pub fn requests(&self) -> impl Iterator<Item = (ApiKey, u64)> {
        SUPPORTED.iter().zip(&self.requests).map(|(api, count)| (api.key, count.load(Relaxed)))
    }

    /// Errors that were answered, by code.
    pub fn errors(&self) -> Vec<(ErrorCode, u64)> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Connections that were closed, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(&self.refusals).map(|(refusal, count)| (refusal, count.load(Relaxed)))
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn requested(&self, key: ApiKey) {
        let counts = SUPPORTED.iter().zip(&self.requests);
        for (_, count) in counts.filter(|(api, _)| api.key == key) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts an error that is answered, and passes it on.
    pub(super) fn failed(&self, code: ErrorCode) -> ErrorCode {
        if !code.is_none() {
            // There are as many codes as the enum has; each change is one addition.
            *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
        }
        code
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn fetched(&self, bytes: usize) {
        self.fetched_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn fetch_waited(&self) {
        self.fetch_waits.fetch_add(1, Relaxed);
    }

    pub(super) fn fetch_throttled(&self) {
        self.fetch_throttles.fetch_add(1, Relaxed);
    }

    pub(super) fn passed_gaps(&self, gaps: usize) {
        self.gaps.fetch_add(gaps as u64, Relaxed);
    }
}
