//! Measuring on a bus in memory.

use std::sync::atomic::{AtomicU32, Ordering};

use embedded_hal::i2c::{ErrorKind, ErrorType, NoAcknowledgeSource, Operation};

use super::*;
use crate::config::Config;
use weir_protocol::settings::Source;

/// A bus on which two sensors answer: an LM75 at 0x48 and an SHT4x at 0x44. At 0x51 every
/// other transfer fails.
struct Board;

static TRANSFERS: AtomicU32 = AtomicU32::new(0);

impl ErrorType for Board {
    type Error = ErrorKind;
}

impl I2c for Board {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let nobody = Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        match address {
            0x51 if TRANSFERS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => return Err(ErrorKind::Bus),
            0x44 | 0x45 | 0x48 | 0x51 => {}
            _ => return nobody,
        }
        for operation in operations {
            if let Operation::Read(bytes) = operation {
                match address {
                    // 0x6666 and 0x8000 with their checksums (CRC-8, polynomial 0x31, start 0xff).
                    0x44 => bytes.copy_from_slice(&[0x66, 0x66, 0x93, 0x80, 0x00, 0xa2]),
                    0x45 => bytes.copy_from_slice(&[0x66, 0x66, 0x94, 0x80, 0x00, 0xa2]),
                    // -12.5 degrees, the last bits being those of a better sensor.
                    _ => bytes.copy_from_slice(&[0xf3, 0xbf]),
                }
            }
        }
        Ok(())
    }
}

impl Bus for Board {
    fn open(settings: &I2cConfig) -> Result<Self, String> {
        match settings.bus.get_ref().ends_with("i2c-9") {
            true => Err("Permission denied (os error 13)".to_owned()),
            false => Ok(Self),
        }
    }

    fn said(error: &ErrorKind) -> String {
        format!("{error:?}")
    }
}

fn settings(keys: &str) -> Result<I2cConfig, String> {
    let text = format!("[[i2c]]\ndevice = \"cabinet\"\n{keys}\n");
    let config = Config::of(&Source::new("agent.toml", text)).map_err(|error| error.to_string())?;
    Ok(config.i2c[0].clone())
}

fn measured(keys: &str) -> Answer {
    measure::<Board>(&settings(keys).expect("good settings"), &mut None)
}

fn said(measured: &[Measured]) -> Vec<(&str, &str, f32)> {
    measured.iter().map(|m| (m.quantity, m.unit, m.value)).collect()
}

#[test]
fn sensors_measure_what_the_firmware_measures_with_them() {
    let lm75 = measured("bus = \"/dev/i2c-1\"\nsensor = \"lm75\"").expect("a measurement");
    assert_eq!(said(&lm75), [("temperature", "Cel", -12.5)]);
    let finer = measured("bus = \"/dev/i2c-1\"\nsensor = \"pct2075\"").expect("a measurement");
    assert_eq!(said(&finer), [("temperature", "Cel", -12.5 + 0.125)], "three bits more");
    let sht4x = measured("bus = \"/dev/i2c-1\"\nsensor = \"sht4x\"").expect("a measurement");
    let (celsius, humidity) = (-45.0 + 175.0 * 26214.0 / 65535.0, -6.0 + 125.0 * 32768.0 / 65535.0);
    assert_eq!(said(&sht4x), [("temperature", "Cel", celsius), ("humidity", "%", humidity)]);
}

#[test]
fn a_transfer_that_fails_once_is_made_again() {
    for _ in 0..4 {
        let flaky = measured("bus = \"/dev/i2c-1\"\nsensor = \"lm75\"\naddress = 0x51").expect("a measurement");
        assert_eq!(said(&flaky), [("temperature", "Cel", -12.5)]);
    }
}

#[test]
fn what_is_wrong_is_said_with_what_to_type() {
    let missing = measured("bus = \"/dev/i2c-1\"\nsensor = \"lm75\"\naddress = 0x4f");
    let expected =
        "0x4f on /dev/i2c-1 does not answer: NoAcknowledge(Address); check address and wiring: i2cdetect -y 1";
    assert_eq!(missing, Err(expected.to_owned()));
    let closed = measured("bus = \"/dev/i2c-9\"\nsensor = \"lm75\"");
    let expected = "cannot open /dev/i2c-9: Permission denied (os error 13); sudo modprobe i2c-dev; ls -l /dev/i2c-9";
    assert_eq!(closed, Err(expected.to_owned()));
    let damaged = measured("bus = \"/dev/i2c-1\"\nsensor = \"sht4x\"\naddress = 0x45");
    assert_eq!(damaged, Err("0x45 on /dev/i2c-1 answers with a wrong checksum; check cable and clock".to_owned()));
}

#[test]
fn settings_of_a_sensor_that_cannot_be_are_refused_at_their_place() {
    let refused = |keys| settings(keys).err().unwrap_or_default();
    let cases = [
        ("bus = \"i2c-1\"\nsensor = \"lm75\"", ":3:7: got \"i2c-1\""),
        ("bus = \"/dev/i2c-1\"\nsensor = \"lm76\"", ":4:10: unknown variant `lm76`"),
        ("bus = \"/dev/i2c-1\"\nsensor = \"sht4x\"\naddress = 0x48", ":5:11: got 0x48, expected 0x44 to 0x46"),
        ("bus = \"/dev/i2c-1\"\nsensor = \"lm75\"\naddress = 3", ":5:11: got 0x03, expected 0x08 to 0x77"),
        (
            "bus = \"/dev/i2c-1\"\nsensor = \"lm75\"\n[[i2c]]\ndevice = \"cabinet\"\nbus = \"/dev/i2c-1\"\nsensor = \"sht4x\"",
            ":7:7: device cabinet has two sensors whose channels have the same names",
        ),
    ];
    for (keys, expected) in cases {
        let refused = refused(keys);
        assert!(refused.contains(expected), "{refused}");
    }
}
