//! The audit: every administrative act and every refused access, in the internal topic [`TOPIC`].
//!
//! What it guarantees: an act is on disk here before it happens and, with its result, before it is answered
//! ([`Audit::begin`], [`Act::end`]); an act that cannot be written is not done. Of refusals the first of a kind is written at
//! once and those after it as a count each minute, so nobody fills the disk by being refused ([`refusals`]). The topic has
//! retention of its own. Role admin reads it; nothing here changes or removes a record.
//!
//! Format: [`entry`].

pub mod entry;
mod refusals;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use weir_protocol::time::WallClock;
use weir_storage::{Batch, Fs, Reader};

use super::role::Caller;
use crate::keyed_log::{self, KeyedLog, KeyedLogError, Refused};
use crate::topics::Topics;
use entry::{Entry, What, text};
pub use refusals::Wanted;
use refusals::{Kind, Refusals};

/// The topic.
pub const TOPIC: &str = "weir.audit";
/// How often counts of refusals are written.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long the audit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Bytes on disk.
    pub bytes: u64,
    /// Age.
    pub age: Duration,
}

/// The audit; clones are the same.
#[derive(Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

struct Inner {
    /// None: nothing is written, for tests and a door that is open.
    log: Option<KeyedLog>,
    clock: Arc<dyn WallClock>,
    refusals: Mutex<Refusals>,
    /// How often each was refused.
    counts: [AtomicU64; Wanted::ALL.len()],
    /// Told what was written.
    topics: Mutex<Option<Topics>>,
}

/// An act that has begun.
#[must_use = "an act has an end, which is written before it is answered"]
pub struct Act {
    audit: Audit,
    name: String,
    id: String,
    actor: Actor,
    target: String,
    detail: Option<String>,
}

/// Who acts, as the audit names it.
#[derive(Clone, Debug)]
pub struct Actor {
    who: String,
    role: &'static str,
    from: String,
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self { who: caller.who.to_string(), role: caller.role.as_str(), from: place(caller.address) }
    }
}

impl Actor {
    /// A device that gets a certificate at `address`, by what it showed: `token:ID` or `client:TENANT/NAME`.
    pub fn device(shown: String, address: IpAddr) -> Self {
        Self { who: shown, role: "device", from: place(Some(address)) }
    }
}

/// Why an act must not be done: it cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit could not be written, so nothing was done: {0}")]
pub struct NotWritten(String);

impl Audit {
    /// One that writes nothing.
    pub fn none(clock: Arc<dyn WallClock>) -> Self {
        Self::of(None, clock)
    }

    /// Opens the topic.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn open(fs: &Arc<dyn Fs>, data: &Path, clock: Arc<dyn WallClock>) -> Result<Self, KeyedLogError> {
        let options = keyed_log::options();
        let (log, _) = keyed_log::open(fs, data, TOPIC, options)?;
        Ok(Self::of(Some(KeyedLog::start(log, options)?), clock))
    }

    fn of(log: Option<KeyedLog>, clock: Arc<dyn WallClock>) -> Self {
        let inner =
            Inner { log, clock, refusals: Mutex::default(), counts: Default::default(), topics: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the topic; `None` if there is none.
    pub fn reader(&self) -> Option<Reader> {
        self.inner.log.as_ref().map(|log| log.reader().clone())
    }

    /// Wakes up those who follow the topic in `topics`.
    pub fn announce_in(&self, topics: &Topics) {
        *self.inner.topics() = Some(topics.clone());
    }

    /// Writes that somebody is about to do something; it may be done when this returns.
    ///
    /// # Errors
    /// [`NotWritten`]: it must not be done.
    pub async fn begin(&self, actor: impl Into<Actor>, name: &str, id: &str, target: &str) -> Result<Act, NotWritten> {
        let actor = actor.into();
        let act = Act {
            audit: self.clone(),
            name: name.to_owned(),
            id: id.to_owned(),
            actor,
            target: text(target),
            detail: None,
        };
        self.write(&act.entry("begun", None)).await?;
        Ok(act)
    }

    /// Counts a refusal, and writes it if it is the first of its kind. Waits for nothing. `from` is `None` for a topic that a
    /// connected client may not use: its CONNECT had an address, its messages have none.
    pub fn refused(&self, refused: Wanted, who: &str, from: Option<IpAddr>, why: &'static str) {
        self.inner.counts[refused as usize].fetch_add(1, Relaxed);
        let from = from.map_or_else(|| "mqtt".to_owned(), |address| address.to_canonical().to_string());
        let kind = Kind { refused, who: text(who), from, why };
        if self.inner.refusals().count(kind.clone()) {
            self.write_soon(&[(kind, 1)]);
        }
    }

    /// How often each was refused since the start.
    pub fn counts(&self) -> impl Iterator<Item = (Wanted, u64)> {
        Wanted::ALL.iter().map(|wanted| (*wanted, self.inner.counts[*wanted as usize].load(Relaxed)))
    }

    /// Writes counts and removes what is too old, until `stop` turns true; then writes the last counts.
    pub async fn run(self, mut keep: watch::Receiver<Keep>, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            let counted = self.inner.refusals().take();
            self.write_soon(&counted);
            if stopped {
                return;
            }
            let (audit, keep) = (self.clone(), *keep.borrow_and_update());
            // A disk that is slow to remove files delays the next look, and nothing else.
            let _ = tokio::task::spawn_blocking(move || audit.retain(keep)).await;
        }
    }

    /// Removes what is too old or too much. Reads and writes files: not for an async task.
    pub fn retain(&self, keep: Keep) {
        let Some(log) = &self.inner.log else { return };
        let age = i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
        let since = self.inner.clock.now().as_millis().saturating_sub(age);
        if let Err(error) = log.retain(keep.bytes, since) {
            tracing::warn!(%error, "{TOPIC}: old segments were not removed");
        }
    }

    /// Commits what was handed in, and ends. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        if let Some(log) = &self.inner.log {
            log.stop();
        }
    }

    async fn write(&self, what: &What<'_>) -> Result<(), NotWritten> {
        let Some(log) = &self.inner.log else { return Ok(()) };
        let mut batch = Batch::new();
        let not_written = |error: &dyn std::fmt::Display| NotWritten(error.to_string());
        self.push(&mut batch, what.clone()).map_err(|error| not_written(&error))?;
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let done = move |written: Result<std::ops::Range<u64>, String>| {
            let written = written.map(|offsets| inner.announce(offsets.end));
            let _ = tell.send(written);
        };
        log.submit(batch, done).unwrap_or_else(Refused::tell);
        let written = told.await.unwrap_or_else(|_| Err("the gateway stops".to_owned()));
        written.map_err(|error| not_written(&error))
    }

    fn write_soon(&self, counted: &[(Kind, u64)]) {
        let Some(log) = self.inner.log.as_ref().filter(|_| !counted.is_empty()) else { return };
        let mut batch = Batch::new();
        for (Kind { refused, who, from, why }, count) in counted {
            let what =
                What::Refused { refused: refused.as_str(), who: who.clone(), from: from.clone(), why, count: *count };
            // Bounded texts are far below the largest record.
            let _ = self.push(&mut batch, what);
        }
        let inner = Arc::clone(&self.inner);
        let done = move |written: Result<std::ops::Range<u64>, String>| match written {
            Ok(offsets) => inner.announce(offsets.end),
            Err(error) => tracing::warn!(error, "{TOPIC}: refusals were not written"),
        };
        log.submit(batch, done).unwrap_or_else(Refused::tell);
    }

    fn push(&self, batch: &mut Batch, what: What<'_>) -> Result<(), weir_storage::RecordTooLarge> {
        let at_ms = self.inner.clock.now().as_millis();
        batch.push(at_ms, None, Some(&Entry::new(at_ms, what).encode()), &[])
    }
}

impl Inner {
    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, Option<Topics>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, end: u64) {
        let topics = self.topics();
        let topic = topics.as_ref().and_then(|topics| topics.named(TOPIC));
        topic.iter().flat_map(|topic| topic.partitions()).for_each(|partition| partition.announce(end));
    }
}

impl Act {
    /// Says more of what was done than the target does, which its end will have; nothing, if there is nothing more.
    pub fn with_detail(self, detail: &str) -> Self {
        Self { detail: Some(text(detail)).filter(|detail| !detail.is_empty()), ..self }
    }

    /// Writes how it ended; it may be answered when this returns.
    ///
    /// # Errors
    /// [`NotWritten`]: what was done is done, and whoever asked is told so.
    pub async fn end(self, is_done: bool, result: &str) -> Result<(), NotWritten> {
        let state = if is_done { "done" } else { "failed" };
        self.audit.write(&self.entry(state, Some(result))).await
    }

    fn entry<'a>(&'a self, state: &'a str, result: Option<&'a str>) -> What<'a> {
        What::Act {
            act: &self.name,
            id: &self.id,
            state,
            who: self.actor.who.clone(),
            role: self.actor.role,
            from: self.actor.from.clone(),
            target: self.target.clone(),
            result,
            // What is begun has none yet.
            detail: result.and(self.detail.as_deref()),
        }
    }
}

/// Where somebody comes from.
fn place(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "socket".to_owned(), |address| address.to_canonical().to_string())
}
