//! What a metered link may carry: bytes in a day, and hours of each class.
//!
//! What it guarantees: bytes are counted on the safe side, everything that the agent sends and gets, with what is below
//! MQTT; a restart forgets none of them, because they are written down in portions before they are spent, as far as the
//! disk keeps up; a day begins at midnight of `utc_offset`, and a clock that goes back does not begin one. With the day's bytes used up only classes go
//! that are exempt, with the descriptions that they need; nothing else is said either, but pings and what connecting takes.
//!
//! A wall clock that is wrong shifts days and hours with it. Where it stays behind the day that was written down, a day is
//! 24 hours of running.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_protocol::Timestamp;
use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::OpenClasses;
use crate::config::{DAY, Hours, UtcOffset};

/// Below the data directory.
pub const BUDGET_FILE: &str = "budget";
/// What the file begins with.
const FORMAT: u8 = 1;
/// Beside the payload of each publish: its topic's length and packet id, the PUBACK, and TCP, IP and TLS below both.
const PER_MESSAGE: u64 = 8 + 6 + 2 * BELOW;
/// Headers of TCP and IPv6 with options, and a record of TLS.
const BELOW: u64 = 72 + 29;
/// A ping and its answer.
const PER_PING: u64 = 2 * (2 + BELOW);
/// Connecting: TCP, handshake of TLS with certificates on both sides, CONNECT with the will, CONNACK, SUBSCRIBE, SUBACK, and
/// the end.
const PER_CONNECTION: u64 = 6 * 1024;
/// The least portion that is written down, in bytes.
const LEAST_PORTION: u64 = 16 * 1024;
/// So many portions make a day: what a crash costs, and how often the disk is written to.
const PORTIONS: u64 = 128;

/// What the settings say.
#[derive(Clone, Debug, Default)]
pub struct BudgetOptions {
    /// The most bytes of a day.
    pub bytes_per_day: Option<u64>,
    /// Classes that go even then.
    pub exempt: OpenClasses,
    /// When classes may go; those that are not here may always.
    pub hours: Vec<(OpenClasses, Hours)>,
    /// How far midnight and hours are ahead of UTC.
    pub utc_offset: UtcOffset,
}

/// The bytes of a day, and what they allow.
pub struct Budget {
    options: BudgetOptions,
    file: Arc<StateFile>,
    /// Days since 1970.
    day: i64,
    used: u64,
    /// What is written down; at least what was used.
    written: u64,
    began: Instant,
}

/// A line of the file, to be written where a slow disk holds nothing up.
pub struct Portion {
    file: Arc<StateFile>,
    payload: Vec<u8>,
}

impl Portion {
    /// Writes it; durable when this returns.
    ///
    /// # Errors
    /// [`IoError`]; a restart then forgets what was used since the last one that was written.
    pub fn save(self) -> Result<(), IoError> {
        self.file.replace(&self.payload)
    }
}

/// What is used of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Bytes sent and received today, estimated.
    pub used: u64,
    /// The most bytes of a day.
    pub limit: u64,
}

impl Budget {
    /// Reads what was used of the present day.
    ///
    /// # Errors
    /// The file cannot be read. One that is damaged counts as a day that is used up to one half: neither is the budget
    /// overrun by much, nor is the link shut for a day.
    pub fn open(fs: &Arc<dyn Fs>, data_dir: &Path, options: BudgetOptions, now: Timestamp) -> Result<Self, IoError> {
        let file = Arc::new(StateFile::new(Arc::clone(fs), &data_dir.join(BUDGET_FILE)));
        let today = day(now, options.utc_offset);
        let limit = options.bytes_per_day.unwrap_or(0);
        let (day, used) = match file.load()? {
            _ if options.bytes_per_day.is_none() => (today, 0),
            Loaded::Missing => (today, 0),
            Loaded::Good(bytes) => decode(&bytes).unwrap_or((today, limit / 2)),
            Loaded::Damaged { reason } => {
                tracing::warn!(reason, "the file of the budget cannot be believed; half of the day counts as used");
                (today, limit / 2)
            }
        };
        Ok(Self { options, file, day, used, written: used, began: Instant::now() })
    }

    /// No bounds at all.
    pub fn unlimited() -> Self {
        let fs: Arc<dyn Fs> = Arc::new(weir_storage::RealFs);
        let file = Arc::new(StateFile::new(fs, Path::new(BUDGET_FILE)));
        Self { options: BudgetOptions::default(), file, day: 0, used: 0, written: 0, began: Instant::now() }
    }

    /// Counts a publish of so many bytes, topic and payload.
    pub fn publish(&mut self, bytes: usize, now: Timestamp) {
        self.spend(PER_MESSAGE + bytes as u64, now);
    }

    /// Counts a ping.
    pub fn ping(&mut self, now: Timestamp) {
        self.spend(PER_PING, now);
    }

    /// Counts a connection, whether it comes to stand or not.
    pub fn connection(&mut self, now: Timestamp) {
        self.spend(PER_CONNECTION, now);
    }

    /// What is to be written down now, if anything is; counted as written from here on.
    pub fn portion(&mut self) -> Option<Portion> {
        let limit = self.options.bytes_per_day?;
        let portion = (limit / PORTIONS).max(LEAST_PORTION);
        // While it is being written the other half is spent.
        if self.used.saturating_add(portion / 2) <= self.written {
            return None;
        }
        self.written = self.used.saturating_add(portion);
        Some(Portion { file: Arc::clone(&self.file), payload: encode(self.day, self.written) })
    }

    /// The classes that may go now.
    pub fn open_classes(&mut self, now: Timestamp) -> OpenClasses {
        self.turn(now);
        let minute = minute(now, self.options.utc_offset);
        let closed = self.options.hours.iter().filter(|(_, hours)| !hours.contains(minute));
        let by_hours = closed.fold(OpenClasses::ALL, |open, (classes, _)| open.without(*classes));
        if self.is_used_up() { by_hours.and(self.options.exempt) } else { by_hours }
    }

    /// Whether status, positions and claims may go now.
    pub fn may_tell(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        !self.is_used_up()
    }

    /// How long what may go stays as it is, if only time changes it.
    pub fn until_change(&self, now: Timestamp) -> Option<Duration> {
        let minute = minute(now, self.options.utc_offset);
        let hours = self.options.hours.iter().filter_map(|(_, hours)| hours.until_change(minute));
        let midnight = self.is_used_up().then_some(DAY - minute);
        let minutes = hours.chain(midnight).min()?;
        let into = now.0.rem_euclid(MINUTE_US).unsigned_abs();
        // A moment late rather than early: then it is so.
        Some(Duration::from_secs(u64::from(minutes) * 60).saturating_sub(Duration::from_micros(into)) + SETTLE)
    }

    /// What is used, if there is a limit.
    pub fn usage(&self) -> Option<Usage> {
        self.options.bytes_per_day.map(|limit| Usage { used: self.used, limit })
    }

    fn is_used_up(&self) -> bool {
        self.options.bytes_per_day.is_some_and(|limit| self.used >= limit)
    }

    fn spend(&mut self, bytes: u64, now: Timestamp) {
        self.turn(now);
        self.used = self.used.saturating_add(bytes);
    }

    /// Begins a day if there is a new one.
    fn turn(&mut self, now: Timestamp) {
        let today = day(now, self.options.utc_offset);
        let whole_day = self.began.elapsed() >= Duration::from_secs(u64::from(DAY) * 60);
        if today > self.day || (today < self.day && whole_day) {
            (self.day, self.used, self.written) = (today, 0, 0);
            self.began = Instant::now();
        }
    }
}

const MINUTE_US: i64 = 60_000_000;
const SETTLE: Duration = Duration::from_millis(10);

/// Minutes since 1970 began there.
fn minutes(now: Timestamp, offset: UtcOffset) -> i64 {
    now.0.div_euclid(MINUTE_US) + i64::from(offset.0)
}

fn day(now: Timestamp, offset: UtcOffset) -> i64 {
    minutes(now, offset).div_euclid(i64::from(DAY))
}

fn minute(now: Timestamp, offset: UtcOffset) -> u16 {
    minutes(now, offset).rem_euclid(i64::from(DAY)) as u16
}

/// Format: version u8, day i64, bytes u64, big endian.
fn encode(day: i64, used: u64) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&day.to_be_bytes());
    out.extend_from_slice(&used.to_be_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<(i64, u64)> {
    let bytes: &[u8; 17] = bytes.try_into().ok()?;
    let (version, rest) = bytes.split_first()?;
    let (day, used) = rest.split_at(8);
    let day = i64::from_be_bytes(day.try_into().ok()?);
    (*version == FORMAT).then_some((day, u64::from_be_bytes(used.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
