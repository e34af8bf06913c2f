//! A device, a line and an agent in one simulated time, all from one seed.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate that uses a part of it")]

pub mod agent;
pub mod flash;
pub mod sensor;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_firmware::{AnyRing, Config, Device, FRAME, FlashRing, RamRing, Request, Sensor, Uptime, schema_of};
use weir_protocol::serial::{Down, Held};
use weir_protocol::{DeviceId, Restart, frame};

use agent::Agent;
use flash::{Flash, PAGE};
use sensor::Counting;

pub type Board = Device<AnyRing<Flash, 600>, Counting>;

/// Microseconds of one step of the simulation.
pub const STEP: u64 = 5_000;

/// The seeds to run: `WEIR_SEED` alone if it is set, else `WEIR_SEEDS` of them, or `count`.
pub fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number in WEIR_SEED(S)"));
    match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(count)).collect(),
    }
}

/// What happens to a frame on the line, in percent.
#[derive(Clone, Copy, Default)]
pub struct Noise {
    pub drop: u32,
    pub corrupt: u32,
    pub duplicate: u32,
    pub truncate: u32,
}

pub struct World {
    pub seed: u64,
    pub now: u64,
    pub device: Option<Board>,
    pub sensor: Counting,
    pub flash: Flash,
    pub agent: Agent,
    pub noise: Noise,
    pub plugged: bool,
    /// What each sequence of each restart must hold.
    pub truth: BTreeMap<(Restart, u64), i64>,
    pub requests: Vec<Request>,
    /// Microseconds between samples.
    pub interval: u64,
    /// When the running life of the device began.
    pub booted: u64,
    /// What the device said of its running restart last, even if the power failed then.
    pub last: Option<Held>,
    /// Sequences taken before the agent numbered the restart.
    unnumbered: Vec<i64>,
    to_device: Vec<u8>,
    random: StdRng,
}

impl World {
    /// A device on a flash of `pages` for samples, not started. Prints the seed, to run it again.
    pub fn new(seed: u64, pages: usize) -> Self {
        println!("WEIR_SEED={seed}");
        Self {
            seed,
            now: 0,
            device: None,
            sensor: Counting::default(),
            flash: Flash::new(pages + 2),
            agent: Agent::new(),
            noise: Noise::default(),
            plugged: true,
            truth: BTreeMap::new(),
            requests: Vec::new(),
            interval: 20_000,
            booted: 0,
            last: None,
            unnumbered: Vec::new(),
            to_device: Vec::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Power on, with the ring in flash. False if the power failed meanwhile.
    pub fn boot(&mut self) -> bool {
        let nonce = weir_firmware::restart::nonce(self.random.random(), b"chip-001");
        let range = 0..self.flash.content().len() as u32;
        assert!(range.len() >= 4 * PAGE);
        match FlashRing::open(self.flash.clone(), range, nonce, schema_of(self.sensor.channels())) {
            Ok(ring) => self.start(AnyRing::Flash(ring)),
            Err(error) => assert!(!self.flash.is_powered(), "{error:?}"),
        }
        self.device.is_some()
    }

    /// Power on, with the ring in RAM.
    pub fn boot_in_ram(&mut self) {
        self.start(AnyRing::Ram(RamRing::new(schema_of(self.sensor.channels()))));
    }

    fn start(&mut self, ring: AnyRing<Flash, 600>) {
        let device = DeviceId::new("board-1").expect("a name");
        self.booted = self.now;
        self.to_device.clear();
        self.unnumbered.clear();
        self.device =
            Some(Device::new(Uptime(0), Config { device, interval: self.interval }, ring, self.sensor.clone()));
    }

    pub fn device(&mut self) -> &mut Board {
        self.device.as_mut().expect("the device runs")
    }

    /// Runs for `steps`; stops early when the power fails.
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// Runs until all is acknowledged, for at most a minute.
    pub fn drain(&mut self) {
        self.device().stop_sampling();
        for _ in 0..60_000_000 / STEP {
            self.step();
            if self.device().is_drained() {
                return;
            }
        }
        panic!("still held after a minute: {:?}", self.device().held());
    }

    pub fn say(&mut self, down: Down) {
        let frame = frame::to_vec(&down).expect("a frame");
        self.to_device.extend(frame);
    }

    pub fn step(&mut self) {
        self.now += STEP;
        let Some(mut device) = self.device.take() else { return };
        let uptime = Uptime(self.now - self.booted);
        let input = std::mem::take(&mut self.to_device);
        let mut out = [0; FRAME];
        let (taken, measured) = (device.running(), self.sensor.measured.get());
        let turn = device.poll(uptime, &input, &mut out);
        self.note(taken.next.0, measured, &device);
        self.last = Some(device.running());
        self.requests.extend(turn.request);
        if !self.flash.is_powered() {
            // What it would still have said never left.
            return;
        }
        self.device = Some(device);
        if self.plugged {
            let sent = self.disturb(&out[..turn.send]);
            for answer in self.agent.receive(self.now, &sent) {
                let frame = frame::to_vec(&answer).expect("a frame");
                let frame = self.disturb(&frame);
                self.to_device.extend(frame);
            }
        }
    }

    /// Remembers what the sequences that were taken in this step must hold.
    fn note(&mut self, before: u64, measured: u64, device: &Board) {
        let running = device.running();
        let values = 2 * measured as i64..2 * self.sensor.measured.get() as i64;
        if running.restart == Restart::UNBOUND {
            self.unnumbered.extend(values);
            return;
        }
        for (sequence, value) in (0..).zip(std::mem::take(&mut self.unnumbered)) {
            self.truth.insert((running.restart, sequence), value);
        }
        // Also of a sample that the power cut while it was written: it may be whole.
        for (sequence, value) in (before..).zip(values) {
            self.truth.insert((running.restart, sequence), value);
        }
    }

    fn disturb(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut hit = |percent: u32| self.random.random_range(0..100) < percent;
        let mut frame = if hit(self.noise.drop) { Vec::new() } else { frame.to_vec() };
        if hit(self.noise.duplicate) {
            frame.extend(frame.clone());
        }
        let (corrupt, truncate) = (hit(self.noise.corrupt), hit(self.noise.truncate));
        if !frame.is_empty() {
            let at = self.random.random_range(0..frame.len());
            if corrupt {
                frame[at] ^= 1 << self.random.random_range(0..8);
            }
            if truncate {
                frame.truncate(at);
            }
        }
        frame
    }

    /// Everything that the agent has is what was measured, and below `accepted` nothing is missing.
    pub fn check(&self) {
        for (restart, intake) in &self.agent.restarts {
            for (sequence, (value, _)) in &intake.readings {
                assert_eq!(self.truth.get(&(*restart, *sequence)), Some(value), "{restart}: sequence {sequence}");
            }
            for sequence in 0..intake.accepted {
                let (read, lost) = (intake.readings.contains_key(&sequence), intake.claimed.contains(sequence));
                assert!(read || lost, "{restart}: sequence {sequence} of {} is nowhere", intake.accepted);
            }
        }
    }
}
