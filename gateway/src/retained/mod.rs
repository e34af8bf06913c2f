//! Retained messages: the last message of each topic that asked for it.
//!
//! What it guarantees: when the [`Written`] of a [`Retained::set`] resolves, neither a kill nor a power cut brings back what
//! was there before; nobody sees a message that is not on disk; what has expired is not seen. Messages are bounded in number
//! and in bytes ([`Options`]): one too many is refused and counted, none is forgotten for it. A SUBSCRIBE gets its messages page
//! by page ([`Matching`]), so that one that matches all of them takes no more memory and no longer a step than another.
//!
//! They are the records of an internal topic, [`TOPIC`], by tenant and topic name ([`record`]), and all of them are in
//! memory, in the order of their topics. Whatever `weir/1/{tenant}/{agent}/status` says of an agent is one of them.

mod matching;
pub mod record;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;
mod watching;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use weir_protocol::Tenant;
use weir_protocol::time::WallClock;
use weir_storage::{Batch, Fs, LogOptions, Recovery};

use crate::access::ClientId;
use crate::keyed_log::clock::Clock;
use crate::keyed_log::{self, KeyedLog, KeyedLogError, Refused};
use crate::log_gate::LogGate;
use crate::mqtt::packet::{Properties, QoS};
use table::Table;
use watching::Watches;

pub use crate::keyed_log::written::{NotWritten, Written};
pub use matching::Matching;
pub use watching::{Changed, Watch};

/// The topic.
pub const TOPIC: &str = "weir.retained";

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Bytes,
    /// What.
    pub payload: Bytes,
    /// How surely.
    pub qos: QoS,
    /// What else it carries; [`Retained::expiry_left`] says what is left of the expiry.
    pub properties: Properties,
    /// Who published it.
    pub publisher: ClientId,
    /// When, on the clock of the retained messages, in milliseconds; [`Retained::set`] says it.
    pub clock_ms: i64,
}

/// Bounds of retained messages; settings of the table `mqtt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Messages.
    pub messages: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { messages: 100_000, bytes: 64 << 20 }
    }
}

/// A bound is reached: the message before it, if there is one, stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("as much is retained as may be")]
pub struct Full;

/// What there is, and what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages.
    pub messages: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Messages refused at a bound.
    pub refused: u64,
    /// Messages that expired.
    pub expired: u64,
    /// Writes that failed.
    pub failed: u64,
}

/// The retained messages as they were found on disk.
pub struct Opened {
    log: KeyedLog,
    table: Table,
    clock: Option<(i64, i64)>,
    recovery: Recovery,
}

/// All retained messages; cheap to clone.
#[derive(Clone)]
pub struct Retained {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    clock: Clock,
    started: Instant,
    log: KeyedLog,
    table: Mutex<Table>,
    watches: Watches,
    gate: LogGate,
}

impl Opened {
    /// Opens the messages below `data`, making their log if it is not there. Reads files: not for an async task.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn open(fs: &Arc<dyn Fs>, data: &Path) -> Result<Self, KeyedLogError> {
        Self::open_with(fs, data, keyed_log::options())
    }

    /// As [`Opened::open`], with a log that is kept like this.
    fn open_with(fs: &Arc<dyn Fs>, data: &Path, options: LogOptions) -> Result<Self, KeyedLogError> {
        let (log, recovery) = keyed_log::open(fs, data, TOPIC, options)?;
        let (mut table, mut clock) = (Table::default(), None);
        keyed_log::read(&log.reader(), |read| {
            // What another build wrote is left alone.
            let Ok((key, message)) = record::decode(read.key.unwrap_or_default(), read.value) else { return };
            if let Some(message) = &message
                && clock.is_none_or(|(newest, _)| message.clock_ms >= newest)
            {
                clock = Some((message.clock_ms, read.timestamp_ms));
            }
            table.put(key, message);
        })?;
        Ok(Self { log: KeyedLog::start(log, options)?, table, clock, recovery })
    }

    /// What opening the log found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

impl Retained {
    /// Takes up the messages of `opened`.
    pub fn new(opened: Opened, options: Options, wall: &dyn WallClock) -> Self {
        let Opened { log, table, clock, .. } = opened;
        let wall_ms = wall.now().as_millis();
        let (last_ms, last_wall_ms) = clock.unwrap_or((0, wall_ms));
        let clock = Clock::resume(last_ms, last_wall_ms, wall_ms);
        let gate = LogGate::new(std::time::Instant::now());
        Self {
            shared: Arc::new(Shared {
                options,
                clock,
                started: Instant::now(),
                log,
                table: Mutex::new(table),
                watches: Watches::default(),
                gate,
            }),
        }
    }

    /// Retains `message` in place of what `topic` has; nothing, or an empty payload, takes out what is there. It is seen, and
    /// there for good, when the [`Written`] resolves.
    ///
    /// # Errors
    /// [`Full`].
    pub fn set(&self, tenant: Tenant, topic: &[u8], message: Option<Message>) -> Result<Written, Full> {
        let shared = &self.shared;
        // Copies: the payload of a PUBLISH may hold a whole read buffer.
        let key = (tenant, Bytes::copy_from_slice(topic));
        let message = message.filter(|message| !message.payload.is_empty()).map(|message| Message {
            topic: key.1.clone(),
            payload: Bytes::copy_from_slice(&message.payload),
            properties: Properties {
                forwarded: Bytes::copy_from_slice(&message.properties.forwarded),
                ..message.properties
            },
            clock_ms: shared.now_ms(),
            ..message
        });
        let (told, hear) = oneshot::channel();
        let mut table = shared.table();
        table.reserve(&key, message.as_ref(), shared.options)?;
        let refused = shared.hand_in(&key, message, move |is_written| {
            // Whoever asked may be gone.
            let _ = told.send(is_written);
        });
        drop(table);
        refused.into_iter().for_each(Refused::tell);
        Ok(Written::one(hear))
    }

    /// The message of a topic.
    pub fn get(&self, tenant: Tenant, topic: &[u8]) -> Option<Arc<Message>> {
        let now_ms = self.shared.now_ms();
        let key = (tenant, Bytes::copy_from_slice(topic));
        self.shared.table().get(&key).filter(|message| !message.has_expired(now_ms)).cloned()
    }

    /// Tells `told` of every message that comes on a topic, or on the topics one level below it: `a/+`.
    pub fn watch(&self, tenant: Tenant, topic: &[u8], told: Arc<Notify>) -> Watch {
        self.shared.watches.watch((tenant, Bytes::copy_from_slice(topic)), told)
    }

    /// The messages that a filter, which is valid, matches.
    pub fn matching(&self, tenant: Tenant, filter: &str) -> Matching {
        Matching::new(self.clone(), tenant, filter)
    }

    /// The same of all tenants, for operators.
    pub fn matching_of_all(&self, filter: &str) -> Matching {
        Matching::of_all(self.clone(), filter)
    }

    /// When a message came, in milliseconds since 1970.
    pub fn came_ms(&self, message: &Message) -> i64 {
        let elapsed = self.shared.started.elapsed();
        self.shared.clock.wall(elapsed) - (self.shared.clock.at(elapsed) - message.clock_ms)
    }

    /// Seconds after which nobody wants a message any more; none: it does not expire.
    pub fn expiry_left(&self, message: &Message) -> Option<u32> {
        let expiry = message.properties.expiry?;
        let waited = (self.shared.now_ms() - message.clock_ms).max(0) / 1000;
        Some(expiry.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX)))
    }

    /// What is counted.
    pub fn stats(&self) -> Stats {
        self.shared.table().stats()
    }
}

impl Message {
    fn has_expired(&self, now_ms: i64) -> bool {
        let lives = |expiry: u32| now_ms - self.clock_ms < 1000 * i64::from(expiry);
        !self.properties.expiry.is_none_or(lives)
    }
}

impl Shared {
    /// Every change under it is complete in itself: a panic elsewhere leaves nothing half done.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.clock.at(self.started.elapsed())
    }

    /// Hands in what a topic is to have, for which there is room reserved; under the lock, so that the log has changes in
    /// the order in which they were asked for. Whoever gets [`Refused`] back tells it without the lock.
    #[must_use]
    fn hand_in(
        self: &Arc<Self>,
        key: &(Tenant, Bytes),
        message: Option<Message>,
        told: impl FnOnce(bool) + Send + 'static,
    ) -> Option<Refused> {
        let (mut batch, mut name, mut value) = (Batch::new(), Vec::new(), Vec::new());
        record::encode_key(key, &mut name);
        if let Some(message) = &message {
            record::encode(message, &mut value);
        }
        let pushed = batch.push(
            self.clock.wall(self.started.elapsed()),
            Some(&name),
            message.is_some().then_some(&value[..]),
            &[],
        );
        debug_assert!(pushed.is_ok(), "a PUBLISH is smaller than the largest record");
        let (shared, key) = (Arc::clone(self), key.clone());
        let done = move |written: Result<std::ops::Range<u64>, String>| {
            let is_gone = message.is_none();
            shared.table().settle(key.clone(), message, written.is_ok());
            // Of what is gone there is nothing to send.
            if !is_gone {
                shared.watches.changed(&key);
            }
            if let Err(error) = &written
                && let Some(left_out) = shared.gate.pass(std::time::Instant::now())
            {
                tracing::error!(error, left_out, "a retained message could not be written");
            }
            told(written.is_ok());
        };
        self.log.submit(batch, done).err()
    }
}
