//! A board: the real device with a ring in flash or in RAM, and what its sensor handed out.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_firmware::{AnyRing, Config, Device, Event, FRAME, FlashRing, RamRing, Sensor, Uptime, schema_of};
use weir_protocol::serial::Held;
use weir_protocol::{DeviceId, Restart};

use crate::flash::Flash;
use crate::sensor::Counting;

/// Readings of a ring in RAM.
const RAM: usize = 600;

/// What a board is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoardPlan {
    pub(crate) name: DeviceId,
    /// Flash pages of the ring; none: it is in RAM.
    pub(crate) pages: Option<usize>,
    /// Microseconds between samples.
    pub(crate) interval: u64,
}

/// A board.
pub(crate) struct Board {
    pub(crate) plan: BoardPlan,
    device: Option<Device<AnyRing<Flash, RAM>, Counting>>,
    flash: Option<Flash>,
    sensor: Counting,
    booted: u64,
    /// When the power is back.
    back_at: Option<u64>,
    /// What each sequence of each restart must hold.
    truth: BTreeMap<(Restart, u64), i64>,
    /// How many readings a ring in RAM evicted, by restart.
    evicted: BTreeMap<Restart, u64>,
    /// Sequences taken before the agent numbered the restart.
    unnumbered: Vec<i64>,
    random: StdRng,
    has_stopped: bool,
}

impl Board {
    /// A new board without power.
    pub(crate) fn new(plan: BoardPlan, seed: u64) -> Self {
        Self {
            plan,
            device: None,
            flash: plan.pages.map(|pages| Flash::new(pages + 2)),
            sensor: Counting::default(),
            booted: 0,
            back_at: Some(0),
            truth: BTreeMap::new(),
            evicted: BTreeMap::new(),
            unnumbered: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            has_stopped: false,
        }
    }

    /// The power goes after so much work of the flash, and is back at `back_at`. A ring in RAM is gone at once.
    pub(crate) fn cut_power(&mut self, fuel: u64, back_at: u64) {
        match &self.flash {
            Some(flash) if self.device.is_some() => flash.cut_after(fuel),
            _ => self.device = None,
        }
        self.back_at.get_or_insert(back_at);
    }

    /// Takes no more samples, but for the first of its life: before that nobody need know that it began another, and what a ring
    /// in RAM lost in between.
    pub(crate) fn stop_sampling(&mut self) {
        self.has_stopped = true;
        self.rest();
    }

    fn rest(&mut self) {
        if self.has_stopped && self.has_sampled() {
            self.device.iter_mut().for_each(Device::stop_sampling);
        }
    }

    fn has_sampled(&self) -> bool {
        self.running().is_some_and(|running| running.next.0 > 0)
    }

    /// Where its running restart is, if it runs.
    pub(crate) fn running(&self) -> Option<Held> {
        self.device.as_ref().map(Device::running)
    }

    /// Whether the agent has everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.has_sampled() && self.device.as_ref().is_some_and(Device::is_drained)
    }

    /// What a sequence must hold, if the board took it.
    pub(crate) fn handed_out(&self, restart: Restart, sequence: u64) -> Option<i64> {
        self.truth.get(&(restart, sequence)).copied()
    }

    /// How many readings its ring in RAM evicted, by restart; none if it is in flash.
    pub(crate) fn evicted(&self) -> &BTreeMap<Restart, u64> {
        &self.evicted
    }

    /// One turn at `now`: takes what came over the cable; what it sends. True: it began to run.
    pub(crate) fn step(&mut self, now: u64, input: &[u8]) -> (Vec<u8>, bool) {
        let begins = self.device.is_none() && self.back_at.is_some_and(|at| at <= now) && self.boot(now);
        let Some(mut device) = self.device.take() else { return (Vec::new(), false) };
        let mut out = [0; FRAME];
        let (taken, measured) = (device.running(), self.sensor.measured.get());
        let turn = device.poll(Uptime(now - self.booted), input, &mut out);
        self.note(taken.next.0, measured, device.running());
        if self.flash.is_none() {
            self.evicted.insert(device.running().restart, device.counters().get(Event::Evicted).into());
        }
        if self.flash.as_ref().is_some_and(|flash| !flash.is_powered()) {
            // What it would still have said never left.
            return (Vec::new(), begins);
        }
        self.device = Some(device);
        self.rest();
        (out[..turn.send].to_vec(), begins)
    }

    fn boot(&mut self, now: u64) -> bool {
        self.back_at = None;
        let (entropy, chip) = (self.random.random(), self.random.random());
        let nonce = weir_firmware::restart::nonce(entropy, &chip);
        let schema = schema_of(self.sensor.channels());
        let ring = match &self.flash {
            None => AnyRing::Ram(RamRing::new(schema)),
            Some(flash) => {
                flash.power_on();
                let range = 0..flash.content().len() as u32;
                match FlashRing::open(flash.clone(), range, nonce, schema) {
                    Ok(ring) => AnyRing::Flash(ring),
                    Err(error) => panic!("a flash with power opens: {error:?}"),
                }
            }
        };
        self.booted = now;
        self.unnumbered.clear();
        let config = Config { device: self.plan.name, interval: self.plan.interval };
        self.device = Some(Device::new(Uptime(0), config, ring, self.sensor.clone()));
        true
    }

    /// Remembers what the sequences that were taken in this turn must hold.
    fn note(&mut self, before: u64, measured: u64, running: Held) {
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
}
