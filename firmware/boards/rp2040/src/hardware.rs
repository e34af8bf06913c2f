//! The peripherals of this board, set up.

use core::ops::Range;

use embassy_rp::bind_interrupts;
use embassy_rp::clocks::ClockConfig;
use embassy_rp::config::Config;
use embassy_rp::flash::{Blocking, ERASE_SIZE, Flash};
use embassy_rp::gpio::{Level, Output};
use embassy_rp::i2c::{self, I2c};
use embassy_rp::peripherals::{FLASH, I2C0, UART0};
use embassy_rp::uart::{self, BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx};
use embassy_rp::watchdog::Watchdog;
use static_cell::StaticCell;

/// Flash of a Pico, in bytes.
const FLASH_SIZE: usize = 2 * 1024 * 1024;
/// Where the ring and the boot counter are, from the start of the flash; `memory.x` keeps the program out.
pub(crate) const RING: Range<u32> = 0x1c_0000..0x20_0000;
const _: () = assert!(RING.end as usize == FLASH_SIZE && (RING.start as usize).is_multiple_of(ERASE_SIZE));

/// A second of a sample needs little; a slow core saves power, and 48 MHz is still 400 cycles a byte.
const CORE_HZ: u32 = 48_000_000;
const BAUD: u32 = 115_200;
const I2C_HZ: u32 = 100_000;
/// 89 ms at 115200 baud: more than erasing a sector takes. (Beyond the 32 bytes of the UART, what arrives
/// while it erases is lost all the same, because interrupts wait: the agent says it again.)
const RECEIVE_BUFFER: usize = 1024;
/// Little, so that the time in a frame is not old when the frame leaves.
const TRANSMIT_BUFFER: usize = 64;

bind_interrupts!(struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

/// The internal flash.
pub(crate) type ChipFlash = Flash<'static, FLASH, Blocking, FLASH_SIZE>;

/// Everything that the main loop owns.
pub(crate) struct Hardware {
    pub(crate) receive: BufferedUartRx,
    pub(crate) transmit: BufferedUartTx,
    pub(crate) i2c: I2c<'static, I2C0, i2c::Blocking>,
    pub(crate) flash: ChipFlash,
    pub(crate) watchdog: Watchdog,
    pub(crate) led: Output<'static>,
}

impl Hardware {
    /// Sets the clocks and takes the peripherals. Once per boot.
    pub(crate) fn take() -> Self {
        static RECEIVE: StaticCell<[u8; RECEIVE_BUFFER]> = StaticCell::new();
        static TRANSMIT: StaticCell<[u8; TRANSMIT_BUFFER]> = StaticCell::new();

        let clocks = ClockConfig::system_freq(CORE_HZ).unwrap_or_default();
        let chip = embassy_rp::init(Config::new(clocks));
        let mut line = uart::Config::default();
        line.baudrate = BAUD;
        let mut bus = i2c::Config::default();
        bus.frequency = I2C_HZ;
        let uart = BufferedUart::new(
            chip.UART0,
            chip.PIN_0,
            chip.PIN_1,
            Interrupts,
            TRANSMIT.init([0; TRANSMIT_BUFFER]),
            RECEIVE.init([0; RECEIVE_BUFFER]),
            line,
        );
        let (transmit, receive) = uart.split();
        Self {
            receive,
            transmit,
            i2c: I2c::new_blocking(chip.I2C0, chip.PIN_5, chip.PIN_4, bus),
            flash: Flash::new_blocking(chip.FLASH),
            watchdog: Watchdog::new(chip.WATCHDOG),
            led: Output::new(chip.PIN_25, Level::Low),
        }
    }
}
