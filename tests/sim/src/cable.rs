//! A serial cable: it loses, spoils, repeats and cuts off frames, can be pulled out, and shows all of it to the ledger.
//!
//! The ledger sees what either end *says*, before the cable does anything to it: a promise counts from when it was given.

use rand::Rng;
use rand::rngs::StdRng;
use weir_lab::ledger::{self, Ledger};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};

/// What happens to a frame, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    pub(crate) drop: u32,
    pub(crate) corrupt: u32,
    pub(crate) duplicate: u32,
    pub(crate) truncate: u32,
}

/// A cable between a board and an agent.
pub(crate) struct Cable {
    pub(crate) noise: Noise,
    pub(crate) plugged: bool,
    to_agent: Vec<u8>,
    to_board: Vec<u8>,
    ledger: ledger::Cable,
    seen: Box<Decoder<MAX_FRAME>>,
}

impl Cable {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self {
            noise: Noise::default(),
            plugged: true,
            to_agent: Vec::new(),
            to_board: Vec::new(),
            ledger: ledger.cable(),
            seen: Box::default(),
        }
    }

    /// The board says something.
    pub(crate) fn up(&mut self, mut frames: &[u8], random: &mut StdRng) {
        self.to_agent.extend(self.disturbed(frames, random));
        while let Some(found) = self.seen.feed(&mut frames) {
            if let Ok(message) = found.and_then(frame::message::<Up<'_>>) {
                self.ledger.up(&message);
            }
        }
    }

    /// The agent says something.
    pub(crate) fn down(&mut self, down: &Down, random: &mut StdRng) {
        self.ledger.down(down);
        let frame = frame::to_vec(down).unwrap_or_default();
        self.to_board.extend(self.disturbed(&frame, random));
    }

    /// What arrives at the agent.
    pub(crate) fn take_for_agent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_agent)
    }

    /// What arrives at the board.
    pub(crate) fn take_for_board(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_board)
    }

    fn disturbed(&self, frame: &[u8], random: &mut StdRng) -> Vec<u8> {
        if !self.plugged || frame.is_empty() {
            return Vec::new();
        }
        let Noise { drop, corrupt, duplicate, truncate } = self.noise;
        let mut hit = |percent: u32| percent > 0 && random.random_range(0..100) < percent;
        let mut frame = if hit(drop) { return Vec::new() } else { frame.to_vec() };
        if hit(duplicate) {
            frame.extend(frame.clone());
        }
        let (corrupt, truncate) = (hit(corrupt), hit(truncate));
        if corrupt || truncate {
            let at = random.random_range(0..frame.len());
            if corrupt {
                frame[at] ^= 1 << random.random_range(0..8);
            }
            if truncate {
                frame.truncate(at);
            }
        }
        frame
    }
}
