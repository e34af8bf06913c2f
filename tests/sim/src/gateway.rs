//! The machine of the gateway: its disk, its clock, and the gateway while it runs.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use weir_gateway::ingest::{IngestOptions, Retention};
use weir_gateway::sim::{Gateway, Progress};
use weir_storage::{FaultyFs, JournalOptions, LogOptions};

use crate::clock::Clock;
use crate::damage::{self, Spoilt};

/// What the gateway is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatewayPlan {
    pub(crate) partitions: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) with_journal: bool,
    /// Bytes that each partition keeps; none: all of them.
    pub(crate) keeps: Option<u64>,
    /// Messages that an agent may have in flight.
    pub(crate) receive_maximum: u16,
    /// How likely its disk is done with a step of a commit within one step of the world.
    pub(crate) pace: f64,
}

/// The machine.
pub(crate) struct Host {
    pub(crate) plan: GatewayPlan,
    pub(crate) disk: FaultyFs,
    pub(crate) clock: Clock,
    pub(crate) life: Option<Gateway>,
    /// A bit of a log flipped once.
    is_spoilt: bool,
    /// Nothing that is damaged is uncounted.
    is_sound: bool,
    #[cfg(feature = "plant")]
    plant: Option<weir_gateway::ingest::plant::Plant>,
}

impl Host {
    /// A machine on which no gateway ever ran.
    pub(crate) fn new(plan: GatewayPlan, seed: u64) -> Self {
        Self {
            plan,
            disk: FaultyFs::new(seed),
            clock: Clock::new(),
            life: None,
            is_spoilt: false,
            is_sound: true,
            #[cfg(feature = "plant")]
            plant: None,
        }
    }

    /// Plants a fault before the first start.
    #[cfg(feature = "plant")]
    pub(crate) fn plant(&mut self, plant: Option<crate::Plant>) {
        self.plant = plant.and_then(crate::Plant::of_gateway);
        self.disk.lie(self.plant.and_then(weir_gateway::ingest::plant::Plant::lie));
    }

    fn options(&self) -> IngestOptions {
        let GatewayPlan { partitions, segment_bytes, with_journal, keeps, .. } = self.plan;
        IngestOptions {
            partitions,
            log: LogOptions { segment_bytes, ..IngestOptions::default().log },
            retention: Retention { bytes: keeps, age: None },
            journal: with_journal.then_some(JournalOptions { bytes: weir_storage::journal::MIN_BYTES, salt: 7 }),
            #[cfg(feature = "plant")]
            plant: self.plant,
            ..IngestOptions::default()
        }
    }

    /// Starts the gateway; an error says why it does not.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        let wall_ms = self.clock.now().as_millis();
        let gateway = Gateway::start(&self.disk, self.options(), wall_ms, self.plan.receive_maximum)?;
        let damaged = gateway.damaged();
        if !damaged.is_empty() && !self.is_spoilt {
            return Err(format!("nobody damaged the disk: {}", damaged.join(", ")));
        }
        self.life = Some(gateway);
        self.is_sound = !self.is_spoilt;
        Ok(())
    }

    /// A bit of its log flips; what it may cost.
    pub(crate) fn spoil(&mut self, random: &mut StdRng) -> Option<Spoilt> {
        let spoilt = damage::of_log(&self.disk, self.life.as_ref()?.topics(), random)?;
        (self.is_spoilt, self.is_sound) = (true, false);
        Some(spoilt)
    }

    /// Whether nothing waits to be committed, answered or counted.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_sound && self.life.as_ref().is_some_and(Gateway::is_idle)
    }

    /// Ends it as `kill -9` does: what was written is there.
    pub(crate) fn kill(&mut self) {
        self.life = None;
    }

    /// The power goes: what was not synced is there in part, or not.
    pub(crate) fn cut_power(&mut self) {
        let survivor = self.disk.power_cut();
        self.kill();
        self.disk = survivor;
    }

    /// Time passes, and the gateway does what it does meanwhile; how far commits came.
    pub(crate) fn step(&mut self, time: Duration, random: &mut StdRng) -> Vec<Progress> {
        let wall_ms = self.clock.now().as_millis();
        let Some(gateway) = &mut self.life else { return Vec::new() };
        gateway.pass(time, wall_ms);
        let mut progress = Vec::new();
        // A step of a commit takes as long as the disk likes.
        while progress.len() < 3 && random.random_bool(self.plan.pace) {
            match gateway.step_commit() {
                Progress::Idle => break,
                other => progress.push(other),
            }
        }
        if random.random_bool(0.2) {
            // What cannot be written is written later.
            let _ = gateway.keep();
        }
        if !self.is_sound && random.random_bool(0.02) {
            // What cannot be told now is looked for again.
            self.is_sound = gateway.scrub().unwrap_or(false);
        }
        progress
    }
}
