//! A simulated SHT4x on an I2C bus: the real driver talks to it as to the chip.
//!
//! Each measurement hands out a pair of ticks that no other measurement of the same restart has, and that is a
//! pure function of seed, restart and number of the measurement ([`ticks`]), so that a ledger outside knows
//! what every sequence must hold: a device keeps each measurement as two sequences, `2 * number` and the next.
//!
//! Commands: 0xFD, 0xF6, 0xE0 measure; everything else is not acknowledged (datasheet, section 4.5). Words
//! carry a CRC-8 (polynomial 0x31, initially 0xFF; section 4.4).

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use weir_protocol::Restart;

const ADDRESS: u8 = 0x44;
const MEASURE: [u8; 3] = [0xfd, 0xf6, 0xe0];

/// Temperature and humidity ticks of measurement `number`, from 0, of `restart`. Pairs repeat after 2^32.
pub fn ticks(seed: u64, restart: Restart, number: u64) -> (u16, u16) {
    let start = mix64(seed ^ mix64(restart.0)) as u32;
    let pair = mix32((number as u32).wrapping_add(start));
    ((pair >> 16) as u16, pair as u16)
}

/// A bijection of 32 bits that looks random: MurmurHash3's finaliser (Appleby, public domain).
fn mix32(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x85eb_ca6b);
    x = (x ^ x >> 13).wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

/// The same of 64 bits.
fn mix64(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// The bus with the sensor on it.
pub(super) struct SimulatedBus {
    seed: u64,
    restart: Restart,
    /// Measurements handed out so far.
    measured: u64,
    /// What the next read returns.
    answer: Option<[u8; 6]>,
}

impl SimulatedBus {
    /// A sensor that hands out the ticks of `restart` from measurement 0 on.
    pub(super) fn new(seed: u64, restart: Restart) -> Self {
        Self { seed, restart, measured: 0, answer: None }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let [command] = bytes else { return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data)) };
        if !MEASURE.contains(command) {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data));
        }
        let (temperature, humidity) = ticks(self.seed, self.restart, self.measured);
        self.measured += 1;
        let [t, u] = temperature.to_be_bytes();
        let [h, i] = humidity.to_be_bytes();
        self.answer = Some([t, u, crc8([t, u]), h, i, crc8([h, i])]);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        // A measurement that is not ready, or was read already, is not acknowledged.
        let answer = self.answer.take().ok_or(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))?;
        buffer.iter_mut().zip(answer).for_each(|(to, from)| *to = from);
        Ok(())
    }
}

impl ErrorType for SimulatedBus {
    type Error = ErrorKind;
}

impl I2c for SimulatedBus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        if address != ADDRESS {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        operations.iter_mut().try_for_each(|operation| match operation {
            Operation::Write(bytes) => self.write(bytes),
            Operation::Read(buffer) => self.read(buffer),
        })
    }
}

fn crc8(word: [u8; 2]) -> u8 {
    word.into_iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x31 })
    })
}

/// The simulated sensor is always ready: its time of measurement is not waited for.
pub(super) struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use weir_firmware::sensor::{celsius, relative_humidity};
    use weir_firmware::{Sensor, Sht4x};
    use weir_protocol::{ChannelId, Value};

    use super::*;

    #[test]
    fn the_driver_reads_the_ticks_of_each_measurement_in_order() {
        let restart = Restart::from_boot(7, 99);
        let mut sensor = Sht4x::new(SimulatedBus::new(3, restart), NoDelay);
        for number in 0..100 {
            let (temperature, humidity) = ticks(3, restart, number);
            let expected = [
                (ChannelId(0), Value::Float(celsius(temperature))),
                (ChannelId(1), Value::Float(relative_humidity(humidity))),
            ];
            assert_eq!(sensor.measure().as_deref(), Ok(expected.as_slice()), "measurement {number}");
        }
    }

    #[test]
    fn no_two_measurements_of_a_restart_are_alike() {
        let pairs: HashSet<_> = (0..100_000).map(|number| ticks(3, Restart(5), number)).collect();
        assert_eq!(pairs.len(), 100_000);
        assert_ne!(ticks(3, Restart(5), 0), ticks(3, Restart(6), 0));
        assert_ne!(ticks(3, Restart(5), 0), ticks(4, Restart(5), 0));
    }
}
