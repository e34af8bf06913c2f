//! From the text of a push to readings on disk.
//!
//! What it guarantees: lines are taken one by one, so that memory is bounded by the text and the rings of the devices;
//! nothing is put where there is no room, so that nothing is evicted for it; a bad line is named and takes no other
//! with it; [`Outcome::Kept`] means that every reading of every good line is on disk here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weir_protocol::channel::MAX_CHANNELS;
use weir_protocol::time::Timestamp;
use weir_protocol::{Clock, DeviceId};

use super::collectd::ValueList;
use super::line::{Line, Naming, Precision};
use super::plain;
use super::settings::LineProtocolConfig;
use crate::counters::Event;
use crate::source::clock::SampleTime;
use crate::source::context::Context;
use crate::source::feed::{Feed, Sample};
use crate::source::units::{UnitRule, unit_of};

/// The longest line, in bytes: each of its fields is held until all of them are read.
const MAX_LINE: usize = 64 << 10;
/// Characters of a bad line that are shown.
const SHOWN: usize = 60;
/// Faults of one push that are named.
const NAMED: usize = 8;
/// A time that is further ahead of this machine's clock is not believed. The gateway does not believe it either.
const AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

/// Takes pushes.
pub struct Writer {
    context: Context,
    naming: Naming,
    units: Vec<UnitRule>,
    most_devices: usize,
    ring: usize,
    patience: Duration,
    trusts_time: bool,
    /// Held by the push whose turn it is to put.
    feeds: Mutex<BTreeMap<DeviceId, Feed>>,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every good line is on disk.
    Kept(Refused),
    /// There is no room, or the disk did not take it in time. Lines before this one may be on disk.
    Late {
        /// The first line that was not put anywhere; None: all were, and some may not be on disk.
        line: Option<usize>,
    },
}

/// Lines that were not taken, or not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub count: u64,
    /// The first of them: number, from 1, and why.
    pub named: Vec<(usize, String)>,
}

impl Refused {
    fn add(&mut self, number: usize, why: String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((number, why));
        }
    }
}

impl Writer {
    /// A writer for one life of the source.
    pub fn new(config: &LineProtocolConfig, naming: Naming, context: Context) -> Self {
        Self {
            context,
            naming,
            units: config.unit.clone(),
            most_devices: usize::from(*config.max_devices.get_ref()),
            ring: *config.ring.get_ref() as usize,
            patience: config.wait.get_ref().0,
            trusts_time: config.trust_time,
            feeds: Default::default(),
        }
    }

    /// Takes the lines of `text`.
    pub async fn write(&self, text: &str, precision: Precision) -> Outcome {
        let mut push = Push::new(self);
        for (at, line) in read(text, &self.naming, precision) {
            if let Err(late) = push.take(at, line).await {
                return late;
            }
        }
        push.finish().await
    }

    /// Takes what a body of collectd says.
    pub async fn write_collectd(&self, lists: &[ValueList]) -> Outcome {
        let mut push = Push::new(self);
        for (at, list) in lists.iter().enumerate() {
            if let Err(late) = push.take(at + 1, list.line(self.naming.device)).await {
                return late;
            }
        }
        push.finish().await
    }

    /// The feed of a device, of which there are only so many.
    fn feed(&self, device: DeviceId) -> Result<Feed, String> {
        let mut feeds = self.feeds();
        if let Some(feed) = feeds.get(&device) {
            return Ok(feed.clone());
        }
        if feeds.len() == self.most_devices {
            return Err(format!("device {device} is one more than {}; raise line_protocol.max_devices", feeds.len()));
        }
        let feed = self.context.feed_with(device, self.ring).map_err(|error| error.to_string())?;
        feeds.insert(device, feed.clone());
        Ok(feed)
    }

    /// Puts the samples of a line, each piece once there is room for it. A sender may name one channel as often as it
    /// likes, so a line may have more of them than the ring.
    async fn put(&self, feed: &Feed, samples: &[Sample<'_>], faults: &mut Vec<String>) -> Option<Range<u64>> {
        let mut all: Option<Range<u64>> = None;
        for piece in samples.chunks(MAX_CHANNELS.min(self.ring)) {
            let taken = self.put_piece(feed, piece, faults).await;
            all = Some(all.map_or(taken.start, |all| all.start)..taken.end);
        }
        all
    }

    async fn put_piece(&self, feed: &Feed, samples: &[Sample<'_>], faults: &mut Vec<String>) -> Range<u64> {
        loop {
            if let Some(sequences) = self.put_now(feed, samples, faults) {
                return sequences;
            }
            feed.has_room(samples.len()).await;
        }
    }

    /// Puts samples if there is room for them.
    fn put_now(&self, feed: &Feed, samples: &[Sample<'_>], faults: &mut Vec<String>) -> Option<Range<u64>> {
        // Pushes take turns, so that the room is there for whoever saw it.
        let _turn = self.feeds();
        if feed.room() < samples.len() {
            return None;
        }
        let taken = feed.put_all(samples);
        faults.extend(taken.refused.into_iter().map(|(_, error)| error.to_string()));
        Some(taken.sequences)
    }

    fn feeds(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Feed>> {
        // A feed is in it or is not.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a sender says of the time is a wall clock's, and mostly this machine's, as senders are mostly here. So it is
    /// believed as far as that is, and not if it is ahead of it; without a clock to compare with only if the settings
    /// say that senders have better ones.
    fn sampled(&self, now: SampleTime, said: Option<Timestamp>) -> SampleTime {
        let is_believed = |time: &Timestamp| match now.clock {
            Clock::Synchronised => time.since(now.time) <= AHEAD_MICROS,
            _ => self.trusts_time,
        };
        match said.filter(is_believed) {
            Some(time) => SampleTime { time, clock: Clock::Synchronised },
            None => now,
        }
    }
}

/// A push on its way to the disk.
struct Push<'w> {
    writer: &'w Writer,
    deadline: Instant,
    /// When it came: to ask the kernel for each line whether the clock is to be believed costs more than the line.
    now: SampleTime,
    refused: Refused,
    /// The feeds that it puts into, and what it has put.
    put: BTreeMap<DeviceId, (Feed, Option<Range<u64>>)>,
}

impl<'w> Push<'w> {
    fn new(writer: &'w Writer) -> Self {
        let deadline = Instant::now() + writer.patience;
        let now = writer.context.now();
        Self { writer, deadline, now, refused: Refused::default(), put: BTreeMap::new() }
    }

    /// Puts the readings of a line, the `number`th, once there is room for them.
    async fn take(&mut self, number: usize, line: Result<Line<'_>, String>) -> Result<(), Outcome> {
        let line = match line.and_then(|line| self.open(line.device).map(|()| line)) {
            Ok(line) => line,
            Err(why) => {
                self.refused.add(number, why);
                return Ok(());
            }
        };
        let at = self.writer.sampled(self.now, line.time);
        let mut faults = Vec::new();
        let mut samples: Vec<Sample<'_>> = Vec::with_capacity(line.fields.len());
        for (name, field) in &line.fields {
            let unit = unit_of(&self.writer.units, name);
            match field {
                Ok(field) => samples.push(Sample { name, unit, resolution: 0.0, value: field.value(), at }),
                Err(why) => faults.push(format!("channel {name}: {why}")),
            }
        }
        let Some((feed, all)) = self.put.get_mut(&line.device) else { return Ok(()) };
        let put = timeout_at(self.deadline, self.writer.put(feed, &samples, &mut faults)).await;
        let Ok(sequences) = put else { return Err(Outcome::Late { line: Some(number) }) };
        if let Some(sequences) = sequences {
            let start = all.as_ref().map_or(sequences.start, |all| all.start);
            *all = Some(start..sequences.end);
        }
        if !faults.is_empty() {
            self.refused.add(number, faults.join("; "));
        }
        Ok(())
    }

    /// Has the feed of a device at hand.
    fn open(&mut self, device: DeviceId) -> Result<(), String> {
        if !self.put.contains_key(&device) {
            let feed = self.writer.feed(device)?;
            self.put.insert(device, (feed, None));
        }
        Ok(())
    }

    /// Waits until all of it is on disk.
    async fn finish(self) -> Outcome {
        self.writer.context.counters.add(Event::LinesRefused, self.refused.count);
        for (feed, sequences) in self.put.into_values() {
            let Some(sequences) = sequences else { continue };
            match timeout_at(self.deadline, feed.kept(sequences)).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Outcome::Late { line: None },
            }
        }
        Outcome::Kept(self.refused)
    }
}

/// The lines of a body that say something, by their number from 1.
pub(super) fn read<'t>(
    text: &'t str,
    naming: &'t Naming,
    precision: Precision,
) -> impl Iterator<Item = (usize, Result<Line<'t>, String>)> {
    let mut number = 1;
    lines(text).filter_map(move |raw| {
        let at = number;
        number += 1 + raw.matches('\n').count();
        // The Go parser of InfluxDB does not mind what stands at the end.
        let raw = raw.trim_end_matches([' ', '\t', '\r']);
        if raw.len() > MAX_LINE {
            return Some((at, Err(format!("got a line of {} bytes, expected at most {MAX_LINE}", raw.len()))));
        }
        if let Some(line) = plain::read(raw) {
            return Some((at, naming.plain_line(line, precision)));
        }
        let parsed = influxdb_line_protocol::parse_lines(raw).next()?;
        Some((at, parsed.map_err(|error| unread(&error, raw)).and_then(|line| naming.line(line, precision))))
    })
}

/// The lines of a body. Quotes and escapes alone can make one go on in the next.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let is_simple = !text.bytes().any(|byte| matches!(byte, b'"' | b'\\'));
    let simple = is_simple.then(|| text.split('\n'));
    let any = (!is_simple).then(|| influxdb_line_protocol::split_lines(text));
    simple.into_iter().flatten().chain(any.into_iter().flatten())
}

/// Why a line cannot be read, and what one looks like.
fn unread(error: &influxdb_line_protocol::Error, raw: &str) -> String {
    use influxdb_line_protocol::Error;
    let got = |text: &str| text.chars().take(SHOWN).collect::<String>();
    match error {
        Error::GenericParsingError { .. } | Error::FieldSetMissing | Error::TagSetMalformed => {
            format!("got {:?}, expected measurement,tag=value field=value timestamp", got(raw))
        }
        Error::CannotParseEntireLine { trailing_content } => {
            format!("got {:?} after the last value that can be read", got(trailing_content))
        }
        // These name the value.
        other => other.to_string(),
    }
}
