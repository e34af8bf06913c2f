//! I2C 0 on PB2 (SCL) and PB3 (SDA), 100 kHz, as a blocking `embedded_hal` bus.
//!
//! A repeated START would be ignored by the emulator's model of this controller, which would then go on with
//! the transfer before; so here, and only here, each change of direction is a STOP and a START. Sensor and
//! EEPROM keep what a write told them over a STOP. A device that is not there shows as "no acknowledge" on the
//! chip and as "arbitration lost" in the model; both are `NoAcknowledge`.

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use crate::clock::HZ;
use crate::registers::{gpio, i2c, system};

const I2C_HZ: u32 = 100_000;

const RUN: u32 = 1 << 0;
const START: u32 = 1 << 1;
const STOP: u32 = 1 << 2;
const ACK: u32 = 1 << 3;

const BUSY: u32 = 1 << 0;
const ERROR: u32 = 1 << 1;
const ADDRESS_NOT_ACKNOWLEDGED: u32 = 1 << 2;
const DATA_NOT_ACKNOWLEDGED: u32 = 1 << 3;
const ARBITRATION_LOST: u32 = 1 << 4;

/// A byte takes 90 us; a bus that is held down by a device takes for ever. In looks at the status, each some
/// ten cycles: some 10 ms.
const LOOKS: u32 = 12_500;

/// The bus. Copies are the same bus: nothing here is interrupted, and each transaction is whole.
#[derive(Clone, Copy)]
pub(crate) struct Bus;

impl Bus {
    /// Sets pins and speed.
    pub(crate) fn start() -> Self {
        system::RCGC1.set(1 << 12);
        system::RCGC2.set(1 << 1);
        cortex_m::asm::delay(16);
        gpio::B_AFSEL.set(0b1100);
        gpio::B_ODR.set(0b1100);
        gpio::B_DEN.set(0b1100);
        i2c::MCR.write(1 << 4);
        i2c::MTPR.write(HZ / (20 * I2C_HZ) - 1);
        Self
    }

    fn run(control: u32) -> Result<(), ErrorKind> {
        i2c::MCS.write(control);
        // The status is not ready in the very next cycle.
        cortex_m::asm::delay(4);
        let mut status = i2c::MCS.read();
        for _ in 0..LOOKS {
            if status & BUSY == 0 {
                break;
            }
            status = i2c::MCS.read();
        }
        let error = match status {
            status if status & BUSY != 0 => ErrorKind::Bus,
            status if status & ERROR == 0 => return Ok(()),
            status if status & (ADDRESS_NOT_ACKNOWLEDGED | ARBITRATION_LOST) != 0 => {
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)
            }
            status if status & DATA_NOT_ACKNOWLEDGED != 0 => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data),
            _ => ErrorKind::Other,
        };
        if control & STOP == 0 {
            i2c::MCS.write(STOP);
        }
        Err(error)
    }

    /// One byte's control bits, the `at`-th of `length`.
    fn control(at: usize, length: usize) -> u32 {
        let first = if at == 0 { START } else { 0 };
        let last = if at + 1 == length { STOP } else { 0 };
        RUN | first | last
    }
}

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    i2c::MSA.write(u32::from(address) << 1);
                    for (at, byte) in bytes.iter().enumerate() {
                        i2c::MDR.write(u32::from(*byte));
                        Self::run(Self::control(at, bytes.len()))?;
                    }
                }
                Operation::Read(buffer) => {
                    i2c::MSA.write(u32::from(address) << 1 | 1);
                    let length = buffer.len();
                    for (at, byte) in buffer.iter_mut().enumerate() {
                        let control = Self::control(at, length);
                        // All but the last byte are acknowledged, or the device stops sending.
                        Self::run(if control & STOP == 0 { control | ACK } else { control })?;
                        *byte = i2c::MDR.read() as u8;
                    }
                }
            }
        }
        Ok(())
    }
}
