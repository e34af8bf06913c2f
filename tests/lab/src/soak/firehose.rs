//! A device that holds more than any chip, as fast as the agent takes it: readings of 128 bytes of text, or what a
//! sensor has sampled over hours.
//!
//! It speaks the serial protocol by itself, because no sensor could sample so much in the time of a test. Its ring is
//! durable, so everything that it holds must be accounted for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::device_to_agent::{Describe, Hello, Readings, Ring};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
    items,
};

use crate::board::line::Line;

/// Its only channel, of texts or of measurements.
const TEXTS: Channel<'static> =
    Channel { id: ChannelId(1), name: "log", unit: "1", kind: ValueKind::Text, resolution: 0.0 };
const MEASUREMENTS: Channel<'static> =
    Channel { id: ChannelId(1), name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 0.01 };
const RESTART: Restart = Restart(1 << 32 | 1);
/// Bytes of the text of a reading: as many as there may be.
const TEXT: usize = 128;
/// Bytes that a reading takes in the queue, about.
pub(super) const READING: u64 = 134;
/// Texts and measurements that fit into one frame.
const TEXTS_IN_FRAME: u64 = 7;
const MEASUREMENTS_IN_FRAME: u64 = 50;
/// Without an acknowledgement for so long, everything unacknowledged is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

/// What it holds.
#[derive(Clone, Copy)]
enum Load {
    /// Texts of now.
    Texts,
    /// Measurements since then, so long after one another.
    Measurements { began: Timestamp, apart: i64 },
}

/// The device, running until it is dropped.
pub(super) struct Firehose {
    accepted: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Firehose {
    /// Holds `total` readings and sends those below `open` along the line at `path`.
    pub(super) fn start(path: &Path, total: u64, open: u64) -> Result<Self> {
        Self::of(Load::Texts, path, total, open)
    }

    /// Holds `total` measurements, so many of each second up to now, and sends them along the line at `path`.
    pub(super) fn measured(path: &Path, total: u64, a_second: u32) -> Result<Self> {
        let apart = 1_000_000 / i64::from(a_second.max(1));
        let began = SystemClock.now().plus_micros(-apart * i64::try_from(total)?);
        Self::of(Load::Measurements { began, apart }, path, total, total)
    }

    fn of(load: Load, path: &Path, total: u64, open: u64) -> Result<Self> {
        let (accepted, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let open = Arc::new(AtomicU64::new(open));
        let device = DeviceId::new("firehose").context("its name")?;
        let mut source = Source::new(load, path.to_owned(), device, total, (accepted.clone(), open.clone()));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("firehose".into()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                source.turn();
            }
        })?;
        Ok(Self { accepted, open, stop, thread: Some(thread) })
    }

    /// Sends those below `open` from now on.
    pub(super) fn open(&self, open: u64) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// Every reading below was acknowledged.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Firehose {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the thread.
struct Source {
    load: Load,
    line: Line,
    decoder: Box<Decoder<MAX_FRAME>>,
    device: DeviceId,
    channels: Vec<u8>,
    total: u64,
    accepted: Arc<AtomicU64>,
    /// What is not to be sent yet begins here.
    open: Arc<AtomicU64>,
    /// The next to send, and the first that may not be sent.
    at: u64,
    upto: u64,
    heard: Instant,
}

impl Source {
    fn new(
        load: Load,
        path: PathBuf,
        device: DeviceId,
        total: u64,
        (accepted, open): (Arc<AtomicU64>, Arc<AtomicU64>),
    ) -> Self {
        let mut channels = Vec::new();
        items::push(&mut channels, if matches!(load, Load::Texts) { &TEXTS } else { &MEASUREMENTS });
        let (line, decoder) = (Line::new(&path), Box::default());
        Self { load, line, decoder, device, channels, total, accepted, open, at: 0, upto: 0, heard: Instant::now() }
    }

    /// The first that may not be sent now.
    fn limit(&self) -> u64 {
        self.upto.min(self.total).min(self.open.load(Ordering::Relaxed))
    }

    fn turn(&mut self) {
        let mut bytes = [0; 4096];
        let wait = if self.at < self.limit() { Duration::ZERO } else { Duration::from_millis(20) };
        let length = self.line.receive(wait, &mut bytes);
        let mut fresh = &bytes[..length];
        let mut heard = Vec::new();
        while let Some(found) = self.decoder.feed(&mut fresh) {
            heard.extend(found.ok().and_then(|message| frame::message::<Down>(message).ok()));
        }
        for down in heard {
            self.obey(&down);
        }
        let accepted = self.accepted.load(Ordering::Relaxed);
        if self.heard.elapsed() > PATIENCE && accepted < self.total {
            self.heard = Instant::now();
            self.at = accepted;
            self.hello(accepted);
        }
        while !self.line.is_busy() && self.at < self.limit() {
            self.readings(accepted);
        }
    }

    fn obey(&mut self, down: &Down) {
        let accepted = self.accepted.load(Ordering::Relaxed);
        match down {
            Down::Ack { restart: RESTART, accepted: now } => {
                self.accepted.store(accepted.max(now.0), Ordering::Relaxed);
                self.at = self.at.max(now.0);
                self.heard = Instant::now();
            }
            Down::Credit { restart: RESTART, upto } => self.upto = self.upto.max(upto.0),
            Down::Resend { restart: RESTART, from } => self.at = from.0.max(accepted),
            Down::HelloRequest => self.hello(accepted),
            Down::DescribeRequest { .. } => {
                let channels = Items::new(&self.channels);
                let describe = Describe { schema: SchemaHash::of(channels), channels };
                let frame = frame::to_vec(&Up::Describe(describe)).unwrap_or_default();
                self.line.send(&frame);
            }
            _ => {}
        }
    }

    fn schema(&self) -> SchemaHash {
        SchemaHash::of(Items::new(&self.channels))
    }

    fn hello(&mut self, accepted: u64) {
        let schema = self.schema();
        let mut held = Vec::new();
        items::push(
            &mut held,
            &Held { restart: RESTART, schema, base: Sequence(accepted), next: Sequence(self.total) },
        );
        let hello = Hello { device: self.device, schema, ring: Ring::Durable, held: Items::new(&held) };
        self.line.send(&frame::to_vec(&Up::Hello(hello)).unwrap_or_default());
    }

    /// The next frame of readings.
    fn readings(&mut self, accepted: u64) {
        let mut encoded = Vec::with_capacity(1024);
        let (now, limit) = (SystemClock.now(), self.limit());
        let in_frame = if matches!(self.load, Load::Texts) { TEXTS_IN_FRAME } else { MEASUREMENTS_IN_FRAME };
        let end = (self.at + in_frame).min(limit);
        for sequence in self.at..end {
            // No two are alike, and none can be compressed much.
            let word = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut text = String::new();
            let (time, value) = match self.load {
                Load::Texts => {
                    text.extend((0..8).map(|turn| format!("{:016x}", word.rotate_left(turn * 7) ^ u64::from(turn))));
                    (now, Value::Text(&text[..TEXT]))
                }
                // A day goes up and down, and the last digit is noise.
                Load::Measurements { began, apart } => {
                    let slow = (sequence as f64 / 1e6).sin() * 10.0 + 20.0 + (word >> 60) as f64 / 100.0;
                    (began.plus_micros(apart * sequence as i64), Value::Float((slow * 100.0).round() as f32 / 100.0))
                }
            };
            items::push(&mut encoded, &Reading { channel: TEXTS.id, time, clock: Clock::Synchronised, value });
        }
        let (base, next, first) = (Sequence(accepted), Sequence(self.total), Sequence(self.at));
        let readings =
            Readings { restart: RESTART, schema: self.schema(), base, next, first, readings: Items::new(&encoded) };
        if let Some(frame) = frame::to_vec(&Up::Readings(readings)) {
            self.line.send(&frame);
        }
        self.at = end;
    }
}
