//! The Sensirion SHT4x: temperature and relative humidity over I2C, through the public `sht4x` driver.
//!
//! A measurement (command 0xFD, high precision) is two 16-bit tick counts, each with a CRC-8. They become
//! values by the formulas of the datasheet (section 4.6), computed in IEEE 754 single precision from left to
//! right, so that every target gets the same bits: [`celsius`] and [`relative_humidity`]. Different ticks
//! give different values. The humidity is not cropped to 0..100 %: what was measured is what is sent.

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use heapless::Vec;
use sht4x::{Error, Precision};
use weir_protocol::{Channel, ChannelId, Value, ValueKind};

use super::{Sensor, SensorError, Values};

const TEMPERATURE: ChannelId = ChannelId(0);
const HUMIDITY: ChannelId = ChannelId(1);

/// The two channels, in the order of their sequences. The resolution is that of one tick.
pub const CHANNELS: [Channel<'static>; 2] = [
    Channel { id: TEMPERATURE, name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 175.0 / 65535.0 },
    Channel { id: HUMIDITY, name: "humidity", unit: "%", kind: ValueKind::Float, resolution: 125.0 / 65535.0 },
];

/// Degrees Celsius: `-45 + 175 * ticks / 65535`.
pub fn celsius(ticks: u16) -> f32 {
    -45.0 + 175.0 * f32::from(ticks) / 65535.0
}

/// Percent of relative humidity: `-6 + 125 * ticks / 65535`.
pub fn relative_humidity(ticks: u16) -> f32 {
    -6.0 + 125.0 * f32::from(ticks) / 65535.0
}

/// An SHT4x at address 0x44.
pub struct Sht4x<I, D> {
    driver: sht4x::Sht4x<I, D>,
    delay: D,
}

impl<I: I2c, D: DelayNs> Sht4x<I, D> {
    /// Takes the bus that it is on; does not talk to it yet.
    pub fn new(i2c: I, delay: D) -> Self {
        Self { driver: sht4x::Sht4x::new(i2c), delay }
    }
}

impl<I: I2c, D: DelayNs> Sensor for Sht4x<I, D> {
    fn channels(&self) -> &[Channel<'static>] {
        &CHANNELS
    }

    fn measure(&mut self) -> Result<Values, SensorError> {
        let ticks = self.driver.measure_raw(Precision::High, &mut self.delay).map_err(|error| match error {
            Error::Crc => SensorError::Damaged,
            _ => SensorError::Missing,
        })?;
        Ok(Vec::from_iter([
            (TEMPERATURE, Value::Float(celsius(ticks.temperature))),
            (HUMIDITY, Value::Float(relative_humidity(ticks.humidity))),
        ]))
    }
}
