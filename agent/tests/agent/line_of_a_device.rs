//! The core that boards run, on a line to the rules of the intake and a queue, in one simulated time: commits that are far
//! apart make it send nothing twice, and what the line loses is repaired soon all the same.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_agent::counters::Event;
use weir_firmware::sender::SHORTEST_SILENCE;
use weir_firmware::sensor::{SensorError, Values};
use weir_firmware::{Config, Device, FRAME, RamRing, Sensor, Uptime, schema_of};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::Up;
use weir_protocol::{Channel, ChannelId, Restart, Value, ValueKind};
use weir_storage::FaultyFs;

use crate::seeds::for_each_seed;
use crate::support::desk::{Desk, LINE};
use crate::support::kept::Kept;

/// Microseconds of one step: what one side says is heard in the next.
const STEP: u64 = 5_000;
/// Time between two commits, as `queue.commit_interval` has it.
const COMMITS: u64 = 3_000_000;
/// More than any of these stories fills.
const RING: usize = 1 << 16;
const R: Restart = Restart::from_boot(1, 7);

/// Counts what it measures.
struct Count(i64);

impl Sensor for Count {
    fn channels(&self) -> &[Channel<'static>] {
        &[Channel { id: ChannelId(0), name: "count", unit: "1", kind: ValueKind::Integer, resolution: 1.0 }]
    }

    fn measure(&mut self) -> Result<Values, SensorError> {
        let value = self.0;
        self.0 += 1;
        Ok(Values::from_iter([(ChannelId(0), Value::Integer(value))]))
    }
}

/// A device and an agent.
struct Line {
    now: u64,
    device: Device<RamRing<RING>, Count>,
    desk: Desk,
    decoder: Decoder<MAX_FRAME>,
    to_device: Vec<u8>,
    /// Whether the next frame with readings is lost.
    loses: bool,
}

impl Line {
    /// A device that samples each `interval`.
    fn open(interval: Duration) -> Self {
        let (sensor, device) = (Count(0), crate::support::device("board-1"));
        let ring = RamRing::numbered(R, schema_of(sensor.channels()));
        let config = Config { device, interval: interval.as_micros() as u64 };
        let device = Device::new(Uptime(0), config, ring, sensor);
        let desk = Desk::open(&FaultyFs::new(1));
        let to_device = Vec::new();
        let mut line = Self { now: 0, device, desk, decoder: Decoder::new(), to_device, loses: false };
        line.answers();
        line
    }

    /// One side speaks, then the other; a commit when it is due.
    fn step(&mut self) {
        self.now += STEP;
        let mut out = [0; FRAME];
        let input = std::mem::take(&mut self.to_device);
        let turn = self.device.poll(Uptime(self.now), &input, &mut out);
        self.heard(&out[..turn.send]);
        if self.now.is_multiple_of(COMMITS) {
            assert!(self.desk.commits());
        }
        self.answers();
    }

    fn heard(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(message) = self.decoder.feed(&mut bytes) else { break };
            let message = message.expect("a whole frame");
            let has_readings =
                matches!(frame::message::<Up<'_>>(message), Ok(Up::Readings(frame)) if !frame.readings.is_empty());
            if has_readings && std::mem::take(&mut self.loses) {
                continue;
            }
            self.desk.intake.receive(LINE, message);
        }
    }

    fn answers(&mut self) {
        for down in self.desk.answers() {
            self.to_device.extend(frame::to_vec(&down).expect("a frame"));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time.as_micros() as u64;
        while self.now < end {
            self.step();
        }
    }

    /// No more samples; until all of them are acknowledged.
    fn drains(&mut self) {
        self.device.stop_sampling();
        let end = self.now + 4 * COMMITS;
        while !self.device.is_drained() {
            assert!(self.now < end, "still held: {:?}", self.device.held());
            self.step();
        }
    }

    /// How often readings were asked for again, and how many came twice.
    fn repeats(&self) -> (u64, u64) {
        (self.desk.count(Event::Resends), self.desk.count(Event::ReadingsRepeated))
    }

    /// Every sequence is in the queue, once.
    fn is_whole(&self) {
        let ranges = self.desk.kept().into_iter().map(|kept| match kept {
            Kept::Readings(_, R, range) => range,
            other => panic!("{other:?}"),
        });
        let end = ranges.fold(0, |end, range| {
            assert_eq!(range.start, end, "once, and in order");
            range.end
        });
        assert_eq!(end, self.device.running().next.0);
    }
}

/// Regression: after a second without an acknowledgement the device began again at what was acknowledged, and an agent that
/// commits each three seconds got everything twice.
#[test]
fn with_commits_that_are_far_apart_nothing_is_sent_twice() {
    for interval in [20, 100, 700, 2_000, 10_000].map(Duration::from_millis) {
        let mut line = Line::open(interval);
        line.run(Duration::from_secs(60));
        line.drains();
        assert_eq!(line.repeats(), (0, 0), "a sample each {interval:?}");
        line.is_whole();
    }
}

/// A lost frame that others follow is asked for when the next one comes, and one that nothing follows when the device says
/// how far it has sent: no later than before, and nothing else comes again.
#[test]
fn what_the_line_loses_is_repaired_within_a_silence_and_alone() {
    for_each_seed("what_the_line_loses", 20, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        for interval in [20, 100, 700, 10_000].map(Duration::from_millis) {
            let mut line = Line::open(interval);
            line.run(Duration::from_secs(20) + Duration::from_millis(random.random_range(0..10_000)));
            line.loses = true;
            while line.loses {
                line.step();
            }
            let lost_at = line.now;
            let most = SHORTEST_SILENCE + 4 * STEP;
            while line.repeats().0 == 0 {
                line.step();
                let waited = line.now - lost_at;
                assert!(waited <= most, "a sample each {interval:?}: not asked for after {waited} us");
            }
            line.drains();
            assert_eq!(line.repeats(), (1, 0), "a sample each {interval:?}");
            line.is_whole();
        }
    });
}

/// The request is lost too: the next time that the device says how far it has sent, it is asked again.
#[test]
fn a_request_that_is_lost_is_made_again_with_the_next_report() {
    let mut line = Line::open(Duration::from_millis(100));
    line.run(Duration::from_secs(10));
    line.loses = true;
    while line.repeats().0 == 0 {
        line.step();
    }
    line.to_device.clear();
    let asked_at = line.now;
    while line.repeats().0 == 1 {
        line.step();
        let waited = line.now - asked_at;
        assert!(waited <= 2 * SHORTEST_SILENCE, "not asked again after {waited} us");
    }
    line.drains();
    line.is_whole();
}
