//! The peripherals of this board, set up.

use core::ops::Range;

use embassy_nrf::buffered_uarte::{self, BufferedUarte, BufferedUarteRx, BufferedUarteTx};
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::nvmc::{FLASH_SIZE, Nvmc, PAGE_SIZE};
use embassy_nrf::peripherals::{TWISPI0, UARTE0};
use embassy_nrf::rng::Rng;
use embassy_nrf::twim::{self, Twim};
use embassy_nrf::uarte::{Baudrate, Config as LineConfig};
use embassy_nrf::wdt::{Config as WatchdogConfig, Watchdog, WatchdogHandle};
use embassy_nrf::{bind_interrupts, mode, pac};
use static_cell::StaticCell;

/// Where the ring and the boot counter are, from the start of the flash; `memory.x` keeps the program out.
pub(crate) const RING: Range<u32> = 0xc_0000..0x10_0000;
const _: () = assert!(RING.end as usize == FLASH_SIZE && (RING.start as usize).is_multiple_of(PAGE_SIZE));

/// 89 ms at 115200 baud: more than erasing a page takes (85 ms). The UART writes into it by itself meanwhile.
const RECEIVE_BUFFER: usize = 1024;
/// Little, so that the time in a frame is not old when the frame leaves.
const TRANSMIT_BUFFER: usize = 64;
/// The longest write to a sensor that is not in RAM.
const I2C_BUFFER: usize = 16;
/// Longest turn of the main loop: a sample, and a few pages of flash at 85 ms. In ticks of 32,768 Hz: 8 s.
const WATCHDOG_TICKS: u32 = 8 * 32_768;

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<UARTE0>;
    TWISPI0 => twim::InterruptHandler<TWISPI0>;
});

/// The internal flash.
pub(crate) type ChipFlash = Nvmc<'static>;

/// Everything that the main loop owns.
pub(crate) struct Hardware {
    pub(crate) receive: BufferedUarteRx<'static>,
    pub(crate) transmit: BufferedUarteTx<'static>,
    pub(crate) i2c: Twim<'static>,
    pub(crate) flash: ChipFlash,
    pub(crate) random: Rng<'static, mode::Blocking>,
    pub(crate) led: Output<'static>,
    /// None if a bootloader runs the watchdog in its own way: then it is not ours to feed.
    pub(crate) watchdog: Option<WatchdogHandle>,
}

impl Hardware {
    /// Takes the peripherals. Once per boot.
    pub(crate) fn take() -> Self {
        static RECEIVE: StaticCell<[u8; RECEIVE_BUFFER]> = StaticCell::new();
        static TRANSMIT: StaticCell<[u8; TRANSMIT_BUFFER]> = StaticCell::new();
        static I2C: StaticCell<[u8; I2C_BUFFER]> = StaticCell::new();

        let chip = embassy_nrf::init(Default::default());
        let mut config = WatchdogConfig::default();
        config.timeout_ticks = WATCHDOG_TICKS;
        let watchdog = Watchdog::try_new::<_, 1>(chip.WDT, config).ok().map(|(_, [handle])| handle);
        let mut line = LineConfig::default();
        line.baudrate = Baudrate::Baud115200;
        let uart = BufferedUarte::new(
            chip.UARTE0,
            chip.TIMER0,
            chip.PPI_CH0,
            chip.PPI_CH1,
            chip.PPI_GROUP0,
            chip.P0_08,
            chip.P0_06,
            Interrupts,
            line,
            RECEIVE.init([0; RECEIVE_BUFFER]),
            TRANSMIT.init([0; TRANSMIT_BUFFER]),
        );
        let (receive, transmit) = uart.split();
        let mut bus = twim::Config::default();
        bus.frequency = twim::Frequency::K100;
        Self {
            receive,
            transmit,
            i2c: Twim::new(chip.TWISPI0, Interrupts, chip.P0_26, chip.P0_27, bus, I2C.init([0; I2C_BUFFER])),
            flash: Nvmc::new(chip.NVMC),
            random: Rng::new_blocking(chip.RNG),
            // Lit when low.
            led: Output::new(chip.P0_13, Level::High, OutputDrive::Standard),
            watchdog,
        }
    }
}

/// The id that the factory wrote into the chip.
pub(crate) fn chip_id() -> [u8; 8] {
    let words = [pac::FICR.deviceid(0).read(), pac::FICR.deviceid(1).read()];
    let mut id = [0; 8];
    for (bytes, word) in id.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    id
}
