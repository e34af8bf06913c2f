//! A ring in RAM, for boards without flash for data: what it holds is lost with the power.
//!
//! One restart, which starts [`Restart::UNBOUND`] unless the board can number it. `N` bytes hold encoded readings back to back, each behind
//! one byte of length, wrapping around at the end; a full ring evicts one reading at a time.

use weir_protocol::serial::Held;
use weir_protocol::serial::device_to_agent::Ring as Kind;
use weir_protocol::{Reading, Restart, SchemaHash, Sequence};

use super::{Acknowledged, PushError, Ring, Run, Sample};

/// The longest encoded reading: its length has one byte.
const MAX_READING: usize = 255;

/// Readings of the running restart, in `N` bytes.
pub struct RamRing<const N: usize> {
    held: Held,
    bytes: [u8; N],
    /// Where the oldest reading starts.
    start: usize,
    used: usize,
}

impl<const N: usize> RamRing<N> {
    /// An empty ring of a restart that the agent will number.
    pub const fn new(schema: SchemaHash) -> Self {
        Self::numbered(Restart::UNBOUND, schema)
    }

    /// An empty ring of a restart that the board has numbered.
    pub const fn numbered(restart: Restart, schema: SchemaHash) -> Self {
        let held = Held { restart, schema, base: Sequence(0), next: Sequence(0) };
        Self { held, bytes: [0; N], start: 0, used: 0 }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get((self.start + at) % N).copied().unwrap_or(0)
    }

    fn append(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut((self.start + self.used) % N) {
            *slot = byte;
            self.used += 1;
        }
    }

    /// Drops the oldest reading.
    fn drop_oldest(&mut self) {
        let length = 1 + usize::from(self.byte(0));
        self.start = (self.start + length) % N;
        self.used = self.used.saturating_sub(length);
        self.held.base.0 += 1;
    }
}

impl<const N: usize> Ring for RamRing<N> {
    fn kind(&self) -> Kind {
        Kind::Volatile
    }

    fn held(&self) -> &[Held] {
        core::slice::from_ref(&self.held)
    }

    fn oldest(&self) -> Held {
        self.held
    }

    fn push(&mut self, sample: &Sample) -> Result<u64, PushError> {
        let Sample { time, clock, ref values } = *sample;
        let mut encoded = [0; MAX_READING];
        let mut readings = values.iter().map(|&(channel, value)| Reading { channel, time, clock, value });
        // All of it must fit at once, or a part of the sample would evict the other.
        let needed = readings
            .clone()
            .try_fold(0, |sum, reading| postcard::to_slice(&reading, &mut encoded).map(|bytes| sum + 1 + bytes.len()));
        if !needed.is_ok_and(|needed| needed <= N) {
            return Err(PushError);
        }
        let before = self.held.base;
        readings.try_for_each(|reading| {
            let bytes = postcard::to_slice(&reading, &mut encoded).map_err(|_| PushError)?;
            while N - self.used < 1 + bytes.len() {
                self.drop_oldest();
            }
            self.append(bytes.len() as u8);
            bytes.iter().for_each(|byte| self.append(*byte));
            self.held.next.0 += 1;
            Ok(())
        })?;
        Ok(self.held.base.0 - before.0)
    }

    fn read(&mut self, from: Sequence, upto: Sequence, run: &mut Run) {
        let from = from.max(self.held.base);
        *run = Run { first: from, ..Run::default() };
        let mut at = 0;
        for sequence in self.held.base.0..upto.min(self.held.next).0 {
            let length = usize::from(self.byte(at));
            if sequence >= from.0 {
                let mut encoded = [0; MAX_READING];
                let encoded = &mut encoded[..length];
                encoded.iter_mut().enumerate().for_each(|(i, byte)| *byte = self.byte(at + 1 + i));
                if !run.push(encoded) {
                    return;
                }
            }
            at += 1 + length;
        }
    }

    fn acknowledge(&mut self, restart: Restart, accepted: Sequence) -> Acknowledged {
        let Held { base, next, .. } = self.held;
        if restart != self.held.restart || accepted <= base || accepted > next {
            return Acknowledged::Ignored;
        }
        while self.held.base < accepted {
            self.drop_oldest();
        }
        Acknowledged::Moved
    }

    fn assign(&mut self, restart: Restart) -> bool {
        let unbound = self.held.restart == Restart::UNBOUND && restart.is_from_agent();
        if unbound {
            self.held.restart = restart;
        }
        unbound
    }
}
