//! The SHT4x through its public driver, on a bus that behaves as the datasheet says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use weir_firmware::sensor::{SensorError, celsius, relative_humidity};
use weir_firmware::{Sensor, Sht4x};
use weir_protocol::{ChannelId, Value};

/// Answers to measurements, in order; `None` is a sensor that is not there.
#[derive(Clone, Default)]
struct Bus(Rc<RefCell<VecDeque<Option<[u8; 6]>>>>);

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        assert_eq!(address, 0x44);
        for operation in operations {
            let mut answers = self.0.borrow_mut();
            let Some(Some(answer)) = answers.front() else {
                answers.pop_front();
                return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
            };
            match operation {
                Operation::Write(command) => assert_eq!(*command, [0xfd], "measure with high precision"),
                Operation::Read(buffer) => {
                    buffer.copy_from_slice(answer);
                    answers.pop_front();
                }
            }
        }
        Ok(())
    }
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

#[test]
fn ticks_become_exactly_the_documented_values_and_failures_are_told_apart() {
    // 0xBEEF with CRC 0x92 is the example of the datasheet.
    let good = Some([0xbe, 0xef, 0x92, 0xbe, 0xef, 0x92]);
    let bad = Some([0xbe, 0xef, 0x92, 0xbe, 0xef, 0x93]);
    let bus = Bus::default();
    bus.0.borrow_mut().extend([good, None, bad, good]);
    let mut sensor = Sht4x::new(bus, NoDelay);
    let expected = [
        (ChannelId(0), Value::Float(-45.0 + 175.0 * 48879.0 / 65535.0)),
        (ChannelId(1), Value::Float(-6.0 + 125.0 * 48879.0 / 65535.0)),
    ];
    assert_eq!(sensor.measure().as_deref(), Ok(expected.as_slice()));
    assert_eq!(sensor.measure(), Err(SensorError::Missing));
    assert_eq!(sensor.measure(), Err(SensorError::Damaged));
    assert_eq!(sensor.measure().as_deref(), Ok(expected.as_slice()));
}

#[test]
fn different_ticks_are_different_values() {
    for ticks in 1..=u16::MAX {
        assert!(celsius(ticks) > celsius(ticks - 1) && relative_humidity(ticks) > relative_humidity(ticks - 1));
    }
    assert_eq!((celsius(0), celsius(u16::MAX)), (-45.0, 130.0));
    assert_eq!((relative_humidity(0), relative_humidity(u16::MAX)), (-6.0, 119.0));
}
