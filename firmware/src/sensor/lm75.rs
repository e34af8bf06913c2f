//! The LM75 and what is compatible with it (TMP105, TMP75, ...): temperature over I2C, through the public
//! `lm75` driver, in the nine bits that all of them have: steps of half a degree.

use embedded_hal::i2c::I2c;
use heapless::Vec;
use weir_protocol::{Channel, ChannelId, Value, ValueKind};

use super::{Sensor, SensorError, Values};

const TEMPERATURE: ChannelId = ChannelId(0);

/// The one channel.
pub const CHANNELS: [Channel<'static>; 1] =
    [Channel { id: TEMPERATURE, name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 0.5 }];

/// An LM75 at address 0x48, all its address pins low.
pub struct Lm75<I> {
    driver: lm75::Lm75<I, lm75::ic::Lm75>,
}

impl<I: I2c> Lm75<I> {
    /// Takes the bus that it is on; does not talk to it yet.
    pub fn new(i2c: I) -> Self {
        Self { driver: lm75::Lm75::new(i2c, lm75::Address::default()) }
    }
}

impl<I: I2c> Sensor for Lm75<I> {
    fn channels(&self) -> &[Channel<'static>] {
        &CHANNELS
    }

    fn measure(&mut self) -> Result<Values, SensorError> {
        // There is no checksum: whatever goes wrong looks like a sensor that is not there.
        let celsius = self.driver.read_temperature().map_err(|_| SensorError::Missing)?;
        Ok(Vec::from_iter([(TEMPERATURE, Value::Float(celsius))]))
    }
}
