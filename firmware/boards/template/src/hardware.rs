//! The hardware of a board that has none. Replace each body; the comments say what the core relies on.
//!
//! `black_box` hides from the compiler that nothing is there: else it would leave out most of the core, and the size
//! of the image would say nothing. It goes with the bodies.

use core::hint::{black_box, spin_loop};
use core::ops::Range;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{self, ErrorKind, NoAcknowledgeSource, Operation};
use embedded_storage::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash};
use weir_firmware::Uptime;

/// Where the ring and the boot counter are, from the start of the flash; the linker script must keep the program out.
/// Whole pages, four at least; at a sample a second 256 KiB hold an hour.
pub(crate) const RING: Range<u32> = 0xc_0000..0x10_0000;

/// Everything that the main loop owns. The `I2c` of most HALs is an `embedded_hal::i2c::I2c` already.
pub(crate) struct Hardware {
    pub(crate) uart: Uart,
    pub(crate) i2c: I2c,
    pub(crate) flash: Flash,
    pub(crate) clock: Clock,
    pub(crate) watchdog: Watchdog,
}

impl Hardware {
    /// Sets clocks and pins, and starts the watchdog. Once per boot.
    pub(crate) fn take() -> Self {
        Self { uart: Uart, i2c: I2c, flash: Flash, clock: Clock(Uptime(0)), watchdog: Watchdog }
    }
}

/// What tells this chip from others of its kind.
pub(crate) fn chip_id() -> [u8; 8] {
    black_box([0; 8])
}

/// 32 random bits, fresh at each boot; none rather than bad ones.
pub(crate) fn entropy() -> Option<u32> {
    black_box(None)
}

/// The light that blinks on "identify".
pub(crate) fn light(_on: bool) {}

/// Resets the chip.
pub(crate) fn reset() -> ! {
    loop {
        spin_loop();
    }
}

/// The serial line: 115200 baud, 8N1. Bytes may be lost, damaged or repeated; the protocol mends it.
pub(crate) struct Uart;

impl Uart {
    /// Takes what has arrived; never waits.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        black_box(buffer);
        black_box(0)
    }

    /// Gives what fits to the line; never waits. Returns how many bytes it took.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        black_box(bytes).len()
    }

    /// Whether the last byte has left.
    pub(crate) fn is_idle(&self) -> bool {
        black_box(true)
    }
}

/// Time since power-on: never goes back, does not stop in sleep, is right to 100 ppm.
pub(crate) struct Clock(Uptime);

impl Clock {
    pub(crate) fn now(&mut self) -> Uptime {
        black_box(self.0)
    }

    /// Sleeps until then, or until a byte arrives; waking up earlier is always right.
    pub(crate) fn sleep_until(&mut self, wake: Uptime) {
        self.0 = wake;
    }
}

/// Resets the chip when the main loop does not come round for some 8 s; an erase of flash takes up to 0.4 s.
pub(crate) struct Watchdog;

impl Watchdog {
    pub(crate) fn feed(&mut self) {}
}

/// Waits at least as long as asked.
#[derive(Clone, Copy)]
pub(crate) struct Delay;

impl DelayNs for Delay {
    fn delay_ns(&mut self, _ns: u32) {}
}

/// The bus of the sensor. Nobody answers here.
pub(crate) struct I2c;

impl i2c::ErrorType for I2c {
    type Error = ErrorKind;
}

impl i2c::I2c for I2c {
    fn transaction(&mut self, _address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        black_box(operations);
        black_box(Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)))
    }
}

/// Flash that may be programmed a word at a time, and each word more than once (`MultiwriteNorFlash`), for the ring.
pub(crate) struct Flash;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        black_box(bytes);
        black_box(Err(NorFlashErrorKind::OutOfBounds))
    }

    fn capacity(&self) -> usize {
        black_box(0x10_0000)
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, _from: u32, _to: u32) -> Result<(), NorFlashErrorKind> {
        black_box(Err(NorFlashErrorKind::OutOfBounds))
    }

    fn write(&mut self, _offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        black_box(bytes);
        black_box(Err(NorFlashErrorKind::OutOfBounds))
    }
}

impl MultiwriteNorFlash for Flash {}
