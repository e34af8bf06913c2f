//! Sensors: what is measured, as channels, and one measurement of all of them at a time.

mod lm75;
mod sht4x;

pub use lm75::{CHANNELS as LM75_CHANNELS, Lm75};
pub use sht4x::{CHANNELS as SHT4X_CHANNELS, Sht4x, celsius, relative_humidity};

use heapless::Vec;
use weir_protocol::{Channel, ChannelId, Value};

/// The most values that one sample may hold: each becomes a reading with a sequence of its own.
pub const MAX_VALUES: usize = 8;

/// The values of one sample, in the order of their sequences.
pub type Values = Vec<(ChannelId, Value<'static>), MAX_VALUES>;

/// Why there is no measurement. All of them are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorError {
    /// It did not answer, or the bus failed.
    Missing,
    /// It answered with a wrong checksum.
    Damaged,
}

/// Something that measures.
pub trait Sensor {
    /// What it measures. Must describe every channel that [`Self::measure`] uses.
    fn channels(&self) -> &[Channel<'static>];

    /// Measures all channels now. May take some 10 ms; never waits for a sensor that is not there.
    fn measure(&mut self) -> Result<Values, SensorError>;
}
