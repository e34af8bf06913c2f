//! Sensors on an I2C bus, through the same public drivers as the firmware, with the same channels and values.

use std::ops::RangeInclusive;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use serde::Deserialize;
use sht4x::{Address, Error, Precision, Sht4x};

/// What a sensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// LM75 and what is compatible with it (TMP105, TMP75, TMP102, ...): temperature in the nine bits that all of them
    /// have, steps of half a degree.
    Lm75,
    /// PCT2075 and LM75B: eleven bits, steps of an eighth of a degree.
    Pct2075,
    /// Sensirion SHT40, SHT41, SHT45: temperature and relative humidity.
    Sht4x,
}

/// One measured quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::source) struct Measured {
    pub(super) quantity: &'static str,
    pub(super) unit: &'static str,
    pub(super) resolution: f32,
    pub(super) value: f32,
}

/// Why there is no measurement.
#[derive(Debug, PartialEq)]
pub(super) enum Fault<E> {
    /// The bus failed, or nobody answers.
    Bus(E),
    /// It answered with a wrong checksum.
    Damaged,
}

impl Kind {
    /// The address of most of them.
    pub(super) fn address(self) -> u8 {
        match self {
            Self::Lm75 | Self::Pct2075 => 0x48,
            Self::Sht4x => 0x44,
        }
    }

    /// The addresses that it may have, if they are few.
    pub(super) fn addresses(self) -> Option<RangeInclusive<u8>> {
        match self {
            Self::Lm75 | Self::Pct2075 => None,
            Self::Sht4x => Some(0x44..=0x46),
        }
    }

    /// Measures everything now.
    pub(super) fn measure<B: I2c>(
        self,
        address: u8,
        bus: &mut B,
        delay: &mut impl DelayNs,
    ) -> Result<Vec<Measured>, Fault<B::Error>> {
        match self {
            Self::Lm75 => of_lm75(lm75::Lm75::new(bus, address).read_temperature(), 0.5),
            Self::Pct2075 => of_lm75(lm75::Lm75::new_pct2075(bus, address).read_temperature(), 0.125),
            Self::Sht4x => {
                let ticks = Sht4x::new_with_address(bus, sht4x_address(address)).measure_raw(Precision::High, delay);
                let ticks = ticks.map_err(|error| match error {
                    Error::I2c(error) => Fault::Bus(error),
                    // A wrong checksum; there is nothing else.
                    _ => Fault::Damaged,
                })?;
                // The datasheet's formulas (section 4.6) in single precision, as the firmware computes them.
                let celsius = -45.0 + 175.0 * f32::from(ticks.temperature) / 65535.0;
                let humidity = -6.0 + 125.0 * f32::from(ticks.humidity) / 65535.0;
                let [of_celsius, of_humidity] = [175.0 / 65535.0, 125.0 / 65535.0];
                Ok(vec![
                    Measured { quantity: "temperature", unit: "Cel", resolution: of_celsius, value: celsius },
                    Measured { quantity: "humidity", unit: "%", resolution: of_humidity, value: humidity },
                ])
            }
        }
    }
}

fn of_lm75<E>(celsius: Result<f32, lm75::Error<E>>, resolution: f32) -> Result<Vec<Measured>, Fault<E>> {
    match celsius {
        Ok(value) => Ok(vec![Measured { quantity: "temperature", unit: "Cel", resolution, value }]),
        Err(lm75::Error::I2C(error)) => Err(Fault::Bus(error)),
        // Nothing is put into it.
        Err(lm75::Error::InvalidInputData) => Err(Fault::Damaged),
    }
}

/// The settings allow no other.
fn sht4x_address(address: u8) -> Address {
    match address {
        0x45 => Address::Address0x45,
        0x46 => Address::Address0x46,
        _ => Address::Address0x44,
    }
}
