//! Sessions as they are found on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;
use weir_protocol::time::WallClock;
use weir_storage::{Fs, LogOptions, ReadError, Reader, Recovery};

use super::leave::after;
use super::record::{self, Entry, History, Part, Said, SessionRecord};
use super::state::Whole;
use super::table::{Away, Table};
use super::{Key, Options, Sessions, Shared};
use crate::delivery::{Positions, Subscription};
use crate::keyed_log::clock::Clock;
use crate::keyed_log::{self, KeyedLog, KeyedLogError};
use crate::log_gate::LogGate;
use crate::mqtt::packet::Will;

/// The topic.
pub const TOPIC: &str = "weir.sessions";

/// The sessions as they were found.
pub struct Opened {
    log: KeyedLog,
    found: Found,
    recovery: Recovery,
}

#[derive(Default)]
struct Found {
    clients: BTreeMap<Key, Client>,
    /// The newest clock in a record, and its wall clock.
    clock: Option<(i64, i64)>,
    /// Records that another build wrote, or nobody.
    foreign: u64,
}

/// What records say of one client: of the last session, and perhaps left over from others.
#[derive(Default)]
struct Client {
    session: Option<SessionRecord>,
    subscriptions: BTreeMap<Box<str>, (u64, Subscription)>,
    positions: Option<(u64, Positions)>,
    history: Option<History>,
    open: BTreeMap<u16, (u64, u64)>,
    will: Option<(u64, Will)>,
}

impl Opened {
    /// Opens the sessions below `data`, making their log if it is not there. Reads files: not for an async task.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn open(fs: &Arc<dyn Fs>, data: &Path) -> Result<Self, KeyedLogError> {
        Self::open_with(fs, data, keyed_log::options())
    }

    /// As [`Opened::open`], with a log that is kept like this.
    pub(super) fn open_with(fs: &Arc<dyn Fs>, data: &Path, options: LogOptions) -> Result<Self, KeyedLogError> {
        let (log, recovery) = keyed_log::open(fs, data, TOPIC, options)?;
        let found = Found::read(&log.reader())?;
        Ok(Self { log: KeyedLog::start(log, options)?, found, recovery })
    }

    /// What opening the log found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Parts that belong to no session.
    #[cfg(test)]
    pub(super) fn leftovers(self) -> usize {
        self.found.clients.into_values().map(|client| client.settle().2.len()).sum()
    }

    /// Records that another build wrote, or nobody; they are left alone.
    pub fn foreign(&self) -> u64 {
        self.found.foreign
    }
}

impl Found {
    fn read(reader: &Reader) -> Result<Self, ReadError> {
        let mut found = Self::default();
        keyed_log::read(reader, |read| match record::decode(read.key.unwrap_or_default(), read.value) {
            Ok(Entry::Of(key, said)) => {
                if let Said::Session(Some(session)) = &said {
                    found.note_clock(session.clock_ms, read.timestamp_ms);
                }
                found.clients.entry(key).or_default().apply(said);
            }
            Ok(Entry::Clock(Some(clock_ms))) => found.note_clock(clock_ms, read.timestamp_ms),
            Ok(Entry::Clock(None)) => (),
            Err(_) => found.foreign += 1,
        })?;
        Ok(found)
    }

    fn note_clock(&mut self, clock_ms: i64, wall_ms: i64) {
        if self.clock.is_none_or(|(newest, _)| clock_ms >= newest) {
            self.clock = Some((clock_ms, wall_ms));
        }
    }
}

impl Client {
    fn apply(&mut self, said: Said) {
        match said {
            Said::Session(session) => self.session = session,
            Said::Subscription(filter, Some(subscription)) => {
                self.subscriptions.insert(filter, subscription);
            }
            Said::Subscription(filter, None) => {
                self.subscriptions.remove(&filter);
            }
            Said::Positions(positions) => self.positions = positions,
            Said::History(history) => self.history = history,
            Said::OpenId(id, Some(sequence)) => {
                self.open.insert(id, sequence);
            }
            Said::OpenId(id, None) => {
                self.open.remove(&id);
            }
            Said::Will(will) => self.will = will,
        }
    }

    /// What holds of it, and the parts that were left behind.
    fn settle(self) -> (Whole, Option<SessionRecord>, BTreeSet<Part>) {
        let number = self.session.map(|session| session.number);
        let (mut whole, mut left) = (Whole::default(), BTreeSet::new());
        for (filter, (of, subscription)) in self.subscriptions {
            match Some(of) == number {
                true => drop(whole.state.subscriptions.set(subscription)),
                false => drop(left.insert(Part::Subscription(filter))),
            }
        }
        for (id, (of, sequence)) in self.open {
            match Some(of) == number {
                true => drop(whole.kept.open.insert(id, sequence)),
                false => drop(left.insert(Part::OpenId(id))),
            }
        }
        match self.positions {
            Some((of, positions)) if Some(of) == number => whole.state.positions = positions,
            Some(_) => drop(left.insert(Part::Positions)),
            None => (),
        }
        match self.will {
            Some((of, will)) if Some(of) == number => whole.kept.will = Some(Box::new(will)),
            Some(_) => drop(left.insert(Part::Will)),
            None => (),
        }
        whole.kept.number = number;
        whole.kept.expiry = self.session.map_or(0, |session| session.expiry);
        whole.kept.history = self.history;
        (whole, self.session, left)
    }
}

impl Sessions {
    /// Takes up the sessions of `opened`: whoever was connected is away from now on. `random` draws numbers that are never
    /// drawn again.
    pub fn new(opened: Opened, options: Options, wall: &dyn WallClock, random: Box<dyn FnMut() -> u64 + Send>) -> Self {
        let Opened { log, found, .. } = opened;
        let wall_ms = wall.now().as_millis();
        let (last_ms, last_wall_ms) = found.clock.unwrap_or((0, wall_ms));
        let shared = Arc::new(Shared {
            options,
            clock: Clock::resume(last_ms, last_wall_ms, wall_ms),
            started: Instant::now(),
            log,
            random: Mutex::new(random),
            table: Mutex::new(Table::default()),
            hurry: Notify::new(),
            bytes: AtomicUsize::new(0),
            gate: LogGate::new(std::time::Instant::now()),
            commits: AtomicU64::new(0),
            commits_failed: AtomicU64::new(0),
        });
        for (key, client) in found.clients {
            shared.restore(&key, client);
        }
        Self { shared }
    }
}

impl Shared {
    fn restore(&self, key: &Key, client: Client) {
        let mut table = self.table();
        let (mut whole, session, left) = client.settle();
        let Some(session) = session else {
            if let Some(history) = whole.kept.history {
                table.keep_history(key, history);
            }
            if !left.is_empty() {
                self.owe(&mut table, key, left);
            }
            return;
        };
        let now_ms = self.now_ms();
        let away_ms = if session.attached { now_ms } else { session.clock_ms };
        let ends_ms = after(away_ms, session.expiry);
        let will_ms = whole.kept.will.as_ref().map(|will| after(now_ms, will.delay).min(ends_ms));
        let bytes = whole.contents().measure();
        self.account(&mut whole.kept, bytes);
        if !left.is_empty() {
            whole.kept.failed.add(left);
            table.owing.insert(key.clone());
        }
        let since_ms = self.clock.wall(self.elapsed()).saturating_sub(now_ms.saturating_sub(away_ms));
        let generation = table.generation();
        let whole = Box::new(whole);
        table.put_away(
            key.clone(),
            Away { generation, whole, since_ms, ends_ms, will_ms, is_firing: false, waiting: Vec::new() },
        );
    }
}
