//! The device: everything wired, behind one call.
//!
//! A shell calls [`Device::poll`] with the uptime, the bytes that arrived, and room for one frame. It returns
//! at once (but for the measurement itself) and says how many bytes to send and when to call again at the
//! latest; calling earlier, such as when bytes arrive, is always right.
//!
//! What leaves, first of what there is: results of commands, Hello, Describe, time request, readings, report.

use heapless::Deque;
use weir_protocol::frame::{self, Decoder};
use weir_protocol::items::ItemsWriter;
use weir_protocol::serial::agent_to_device::Command;
use weir_protocol::serial::device_to_agent::{CommandResult, Describe, Hello, MAX_HELD, Outcome, Readings};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{Channel, DeviceId, Items, SchemaHash, Sequence};

use crate::clock::WallTime;
use crate::event::{Counters, Event};
use crate::ring::{Acknowledged, PushError, RUN_BYTES, Ring, Run, Sample};
use crate::sampler::{MAX_INTERVAL_MS, MIN_INTERVAL_MS, Sampler};
use crate::sender::{Next, Sender};
use crate::sensor::{Sensor, SensorError};
use crate::uptime::Uptime;

/// The longest frame that a device sends, in bytes on the line.
pub const FRAME: usize = 512;
/// The longest of its messages before framing: what [`RUN_BYTES`] of readings need, and a Hello of
/// [`MAX_HELD`] restarts.
const PLAIN: usize = RUN_BYTES + 80;
/// The longest frame that a device reads; every message of [`Down`] is shorter than half of it.
const DOWN_FRAME: usize = 64;
/// Call again after this long when nothing is due; in microseconds.
const IDLE: u64 = 1_000_000;
/// Results of commands that wait to be sent.
const RESULTS: usize = 4;
/// One encoded [`Held`]: three varints of 64 bits and one of 32.
const MAX_ENCODED_HELD: usize = 35;

/// How a device starts.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its name.
    pub device: DeviceId,
    /// Time between samples, in microseconds; 0 samples at every call. An agent may change it until the next
    /// restart.
    pub interval: u64,
}

/// What only the shell can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Show yourself to a person: blink.
    Identify,
    /// Restart, after the bytes of this turn were sent.
    Reboot,
}

/// What came of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// How many bytes of the buffer to send; one frame or 0.
    pub send: usize,
    /// Call again at this time at the latest, and when bytes arrived or the line has room again.
    pub wake: Uptime,
    /// Something to do.
    pub request: Option<Request>,
}

/// A device over its ring `R` and its sensor `S`.
pub struct Device<R, S> {
    name: DeviceId,
    schema: SchemaHash,
    ring: R,
    sensor: S,
    sampler: Sampler,
    sender: Sender,
    wall: WallTime,
    decoder: Decoder<DOWN_FRAME>,
    counters: Counters,
    hello: bool,
    describe: bool,
    results: Deque<CommandResult, RESULTS>,
    request: Option<Request>,
}

/// The hash of `channels`: a ring is opened with it. Channels that do not fit one frame (from some 20 on) are
/// not described.
pub fn schema_of(channels: &[Channel<'static>]) -> SchemaHash {
    let mut buffer = [0; RUN_BYTES];
    SchemaHash::of(describe(channels, &mut buffer))
}

fn describe<'b>(channels: &[Channel<'static>], buffer: &'b mut [u8]) -> Items<'b, Channel<'b>> {
    let mut writer = ItemsWriter::new(buffer);
    let _fitting = channels.iter().take_while(|channel| writer.push(channel)).count();
    writer.finish()
}

impl<R: Ring, S: Sensor> Device<R, S> {
    /// A device that starts `now`. It says Hello and samples in its first turns.
    pub fn new(now: Uptime, config: Config, ring: R, sensor: S) -> Self {
        Self {
            name: config.device,
            schema: schema_of(sensor.channels()),
            ring,
            sensor,
            sampler: Sampler::new(now, config.interval),
            sender: Sender::new(now),
            wall: WallTime::default(),
            decoder: Decoder::new(),
            counters: Counters::default(),
            hello: true,
            describe: false,
            results: Deque::new(),
            request: None,
        }
    }

    /// The restarts that are held, oldest first; the last one is the running one.
    pub fn held(&self) -> &[Held] {
        self.ring.held()
    }

    /// The restart that samples go to.
    pub fn running(&self) -> Held {
        self.ring.running()
    }

    /// How often what happened since power-on.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes no more samples; what is held is still sent.
    pub fn stop_sampling(&mut self) {
        self.sampler.stop();
    }

    /// Whether everything is acknowledged.
    pub fn is_drained(&self) -> bool {
        matches!(self.ring.held(), [running] if running.base == running.next)
    }

    /// One turn: takes `input`, samples if it is time, and fills `out` with at most one frame. `out` shorter
    /// than [`FRAME`] means that the line is busy: nothing is sent, everything else goes on.
    pub fn poll(&mut self, now: Uptime, mut input: &[u8], out: &mut [u8]) -> Turn {
        while !input.is_empty() {
            self.receive(now, &mut input);
        }
        // Also before sampling: a silence counts from when something began to wait, not from the turn before.
        let (oldest, ended) = self.oldest();
        self.sender.follow(now, oldest, ended);
        if self.sampler.is_due(now) {
            self.sample(now);
        }
        let (oldest, ended) = self.oldest();
        self.sender.follow(now, oldest, ended);
        if self.sender.silence_due(oldest, ended).is_some_and(|due| due <= now) {
            self.counters.count(Event::Silence);
            self.sender.break_silence(now);
            self.hello = true;
        }
        let room = out.len() >= FRAME;
        let send = if room { self.send(now, out).unwrap_or(0) } else { 0 };
        self.counters.add(Event::FrameSent, u64::from(send > 0));
        // The agent hears that a reboot was accepted before it happens.
        let request = if self.results.is_empty() { self.request.take() } else { None };
        Turn { send, wake: self.wake(now, send > 0, room), request }
    }

    fn oldest(&self) -> (Held, bool) {
        (self.ring.oldest(), self.ring.held().len() > 1)
    }

    fn wake(&self, now: Uptime, sent: bool, room: bool) -> Uptime {
        if sent {
            return now;
        }
        let (oldest, ended) = self.oldest();
        let to_send = [Some(self.wall.due()), self.sender.silence_due(oldest, ended), self.sender.report_due(oldest)];
        // On a busy line nothing that wants to be sent is worth a call; the shell calls when there is room.
        let to_send = to_send.into_iter().flatten().filter(|_| room);
        let earliest = to_send.chain(self.sampler.due()).min();
        earliest.map_or(now.plus(IDLE), |earliest| earliest.max(now))
    }

    /// Takes bytes up to the end of a frame.
    fn receive(&mut self, now: Uptime, input: &mut &[u8]) {
        let Some(framed) = self.decoder.feed(input) else { return };
        let Ok(down) = framed.and_then(frame::message::<Down>) else {
            return self.counters.count(Event::FrameBad);
        };
        self.counters.count(Event::FrameReceived);
        match down {
            Down::Ack { restart, accepted } => match self.ring.acknowledge(restart, accepted) {
                Acknowledged::Ignored => self.counters.count(Event::AckIgnored),
                Acknowledged::Moved => self.sender.progress(now),
                Acknowledged::Released => self.hello = true,
            },
            Down::Credit { restart, upto } => {
                let (oldest, ended) = self.oldest();
                self.sender.follow(now, oldest, ended);
                self.sender.credit(now, restart, upto);
            }
            Down::Resend { restart, from } => {
                if self.sender.resend(now, self.ring.oldest(), restart, from) {
                    self.counters.count(Event::Resend);
                }
            }
            Down::HelloRequest => {
                self.hello = true;
                self.sender.forget_credit();
            }
            // The description of an earlier firmware is not kept; the agent keeps those that it saw.
            Down::DescribeRequest { schema } => self.describe |= schema == self.schema,
            Down::AssignRestart { restart } => self.hello |= self.ring.assign(restart),
            Down::TimeSync { sent, time } => {
                let used = self.wall.answer(now, sent, time);
                self.counters.count(if used { Event::TimeSet } else { Event::TimeIgnored });
            }
            Down::Configure { id, interval_ms } => self.configure(now, id, interval_ms),
            Down::Command { id, command } => self.command(now, id, command),
        }
    }

    fn configure(&mut self, now: Uptime, id: u32, interval_ms: u32) {
        self.counters.count(Event::Command);
        let valid = (MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&interval_ms);
        if valid {
            self.sampler.set_interval(now, u64::from(interval_ms) * 1000);
        }
        self.answer(id, if valid { Outcome::Done } else { Outcome::OutOfRange });
    }

    fn command(&mut self, now: Uptime, id: u32, command: Command) {
        self.counters.count(Event::Command);
        let done = match command {
            Command::Sample => self.measure(now),
            Command::Identify => {
                self.request = Some(Request::Identify);
                true
            }
            Command::Reboot => {
                self.request = Some(Request::Reboot);
                true
            }
        };
        self.answer(id, if done { Outcome::Done } else { Outcome::Failed });
    }

    fn answer(&mut self, id: u32, outcome: Outcome) {
        if self.results.push_back(CommandResult { id, outcome }).is_err() {
            self.counters.count(Event::CommandDropped);
        }
    }

    /// Takes the sample that is due.
    fn sample(&mut self, now: Uptime) {
        if self.measure(now) {
            let missed = self.sampler.taken(now);
            self.counters.add(Event::SampleSkipped, missed);
        } else {
            self.sampler.failed(now);
        }
    }

    /// Measures and keeps a sample. Only what is kept takes sequences.
    fn measure(&mut self, now: Uptime) -> bool {
        if self.ring.is_blocked() {
            self.counters.count(Event::TooManyRestarts);
            return false;
        }
        let values = match self.sensor.measure() {
            Ok(values) => values,
            Err(error) => {
                self.counters.count(match error {
                    SensorError::Missing => Event::SensorMissing,
                    SensorError::Damaged => Event::SensorDamaged,
                });
                return false;
            }
        };
        let (time, clock) = self.wall.stamp(now);
        match self.ring.push(&Sample { time, clock, values }) {
            Ok(evicted) => {
                self.counters.count(Event::Sampled);
                self.counters.add(Event::Evicted, evicted);
                true
            }
            Err(PushError) => {
                self.counters.count(Event::RingFailed);
                false
            }
        }
    }

    /// Encodes the most urgent frame into `out`.
    fn send(&mut self, now: Uptime, out: &mut [u8]) -> Option<usize> {
        if let Some(result) = self.results.front() {
            let length = encode(&Up::CommandResult(*result), out);
            self.results.pop_front();
            return length;
        }
        if core::mem::take(&mut self.hello) {
            return self.send_hello(out);
        }
        if core::mem::take(&mut self.describe) {
            let mut buffer = [0; RUN_BYTES];
            let channels = describe(self.sensor.channels(), &mut buffer);
            return encode(&Up::Describe(Describe { schema: self.schema, channels }), out);
        }
        if self.wall.due() <= now {
            self.wall.asked(now);
            return encode(&Up::TimeRequest { sent: now.0 }, out);
        }
        self.send_readings(now, out)
    }

    fn send_hello(&self, out: &mut [u8]) -> Option<usize> {
        let mut buffer = [0; MAX_HELD * MAX_ENCODED_HELD];
        let mut writer = ItemsWriter::new(&mut buffer);
        let (running, ended) = self.ring.held().split_last()?;
        let listed = ended.iter().take(MAX_HELD - 1).chain([running]);
        if !listed.into_iter().all(|held| writer.push(held)) {
            return None;
        }
        let held = writer.finish();
        encode(&Up::Hello(Hello { device: self.name, schema: self.schema, ring: self.ring.kind(), held }), out)
    }

    fn send_readings(&mut self, now: Uptime, out: &mut [u8]) -> Option<usize> {
        let (oldest, ended) = self.oldest();
        let mut run = Run::default();
        match self.sender.next(now, oldest, ended)? {
            Next::Report(sent) => run.first = sent,
            Next::Readings(from, upto) => {
                self.ring.read(from, upto, &mut run);
                // Reading may find that the oldest readings are damaged: the frame then says so. Behind a hole,
                // or when the flash cannot be read, there is nothing to say now.
                if self.ring.oldest().base != oldest.base {
                    self.counters.count(Event::Hole);
                } else if run.count == 0 {
                    self.sender.found_nothing(now);
                    return None;
                }
            }
        }
        let found = self.ring.oldest();
        let Held { restart, schema, base, next } = found;
        let readings = Items::new(&run.bytes);
        let length = encode(&Up::Readings(Readings { restart, schema, base, next, first: run.first, readings }), out)?;
        self.sender.sent(now, found, if run.count > 0 { run.end() } else { Sequence(0) });
        Some(length)
    }
}

fn encode(up: &Up<'_>, out: &mut [u8]) -> Option<usize> {
    let mut plain = [0; PLAIN];
    frame::encode(up, &mut plain, out)
}
