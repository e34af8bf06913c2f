//! Weir on a Raspberry Pi Pico: bytes, time, flash and I2C for the core, and nothing else.
//!
//! Wiring as in `firmware/README.md`: UART0 on GP0 and GP1, I2C0 on GP4 and GP5, the on-board light on GP25,
//! which blinks when the agent says "identify" and stays lit after a restart that a panic caused.
//! The watchdog resets the chip when a turn of the main loop takes longer than [`WATCHDOG`].
#![no_std]
#![no_main]

mod entropy;
mod hardware;
mod panic;

use embassy_executor::Spawner;
use embassy_rp::gpio::Output;
use embassy_rp::watchdog::Watchdog;
use embassy_time::{Delay, Duration};
use weir_firmware::sensor::SHT4X_CHANNELS;
use weir_firmware::{AnyRing, Config, Device, FlashRing, Pump, RamRing, Sht4x, device, identity, restart};
use weir_shell::{Board, INTERVAL, uptime};

use crate::hardware::{ChipFlash, Hardware, RING};

/// Longest turn of the main loop: a sample, and a few sectors of flash at 45 ms (typical) to 400 ms (worst).
const WATCHDOG: Duration = Duration::from_secs(8);
/// The ring for a chip whose flash or entropy failed, in bytes: some 2,000 readings.
const RAM_RING: usize = 32 * 1024;

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Hardware { receive, transmit, i2c, mut flash, mut watchdog, led } = Hardware::take();
    watchdog.start(WATCHDOG);
    let mut chip = [0; 8];
    let id = flash.blocking_unique_id(&mut chip).map(|()| chip).ok();
    let ring = open_ring(flash, id);
    let config = Config { device: identity::device_id("pico", &chip), interval: INTERVAL };
    let mut pump = Pump::new(Device::new(uptime(), config, ring, Sht4x::new(i2c, Delay)));
    let pico = Pico { watchdog, led, lit: panic::is_marked() };
    weir_shell::run(&mut pump, receive, transmit, pico).await
}

/// The ring in flash, or the one in RAM for a chip that cannot number its restarts: its flash failed, or it
/// has no id or no entropy.
fn open_ring(flash: ChipFlash, id: Option<[u8; 8]>) -> AnyRing<ChipFlash, RAM_RING> {
    let schema = device::schema_of(&SHT4X_CHANNELS);
    let nonce = id.zip(entropy::entropy()).map(|(id, entropy)| restart::nonce(entropy, &id));
    match nonce.map(|nonce| FlashRing::open(flash, RING, nonce, schema)) {
        Some(Ok(ring)) => AnyRing::Flash(ring),
        _ => AnyRing::Ram(RamRing::new(schema)),
    }
}

/// What the main loop does not know.
struct Pico {
    watchdog: Watchdog,
    led: Output<'static>,
    /// How the light rests.
    lit: bool,
}

impl Board for Pico {
    fn feed_watchdog(&mut self) {
        self.watchdog.feed(WATCHDOG);
    }

    fn set_light(&mut self, other_than_at_rest: bool) {
        self.led.set_level((self.lit ^ other_than_at_rest).into());
    }

    fn reset(&mut self) -> ! {
        self.watchdog.trigger_reset();
        loop {
            cortex_m::asm::nop();
        }
    }
}
