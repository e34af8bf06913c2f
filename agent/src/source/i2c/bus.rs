//! Measuring on a bus, which is opened when it is needed and again after a fault.

use std::time::Duration;

use embedded_hal::i2c::I2c;
use linux_embedded_hal::{Delay, I2cdev};

use super::I2cConfig;
use super::sensor::{Fault, Measured};

/// How often a measurement is tried before it is given up.
const TRIES: u32 = 3;
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(10);
/// A bus that measurements are made on.
pub(super) trait Bus: I2c + Sized {
    /// Opens it.
    fn open(settings: &I2cConfig) -> Result<Self, String>;

    /// What an error of it says.
    fn said(error: &Self::Error) -> String;
}

impl Bus for I2cdev {
    fn open(settings: &I2cConfig) -> Result<Self, String> {
        Self::new(settings.bus.get_ref()).map_err(|error| error.to_string())
    }

    fn said(error: &Self::Error) -> String {
        error.inner().to_string()
    }
}

/// A measurement, or why there is none, for a person.
pub(in crate::source) type Answer = Result<Vec<Measured>, String>;

/// Measures, on a bus that is opened if it is not, and closed after a fault.
pub(super) fn measure<B: Bus>(settings: &I2cConfig, open: &mut Option<B>) -> Answer {
    let path = settings.bus.get_ref().display();
    let address = settings.address();
    let mut tries = 0;
    loop {
        tries += 1;
        let bus = match open {
            Some(bus) => bus,
            None => {
                let opened = B::open(settings);
                open.insert(opened.map_err(|error| format!("cannot open {path}: {error}; {}", about_bus(settings)))?)
            }
        };
        let fault = match settings.sensor.measure(address, bus, &mut Delay) {
            Ok(measured) => return Ok(measured),
            Err(fault) => fault,
        };
        *open = None;
        if tries == TRIES {
            return Err(match fault {
                Fault::Bus(error) => {
                    let said = B::said(&error);
                    format!(
                        "0x{address:02x} on {path} does not answer: {said}; check address and wiring: {}",
                        detect(settings)
                    )
                }
                Fault::Damaged => {
                    format!("0x{address:02x} on {path} answers with a wrong checksum; check cable and clock")
                }
            });
        }
        std::thread::sleep(AGAIN);
    }
}

fn about_bus(settings: &I2cConfig) -> String {
    format!("sudo modprobe i2c-dev; ls -l {}", settings.bus.get_ref().display())
}

fn detect(settings: &I2cConfig) -> String {
    let path = settings.bus.get_ref().display().to_string();
    format!("i2cdetect -y {}", path.strip_prefix("/dev/i2c-").unwrap_or(&path))
}

#[cfg(test)]
mod tests;
