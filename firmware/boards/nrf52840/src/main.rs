//! Weir on a Nordic nRF52840 (pins as on the nRF52840 DK): bytes, time, flash and I2C for the core.
//!
//! Wiring: UARTE0 on P0.08 (RX) and P0.06 (TX), which the kit's debugger shows as a USB serial port; TWIM0 on
//! P0.26 (SDA) and P0.27 (SCL) with an SHT4x at 0x44; LED 1 on P0.13, which blinks when the agent says
//! "identify". The watchdog resets the chip when a turn of the main loop takes too long.
//!
//! Built and linted by the test command, never run on silicon by it: see `firmware/README.md`.
#![no_std]
#![no_main]

mod hardware;

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use embassy_executor::Spawner;
use embassy_nrf::gpio::Output;
use embassy_nrf::wdt::WatchdogHandle;
use embassy_time::Delay;
use weir_firmware::sensor::SHT4X_CHANNELS;
use weir_firmware::{AnyRing, Config, Device, FlashRing, Pump, RamRing, Sht4x, device, identity, restart};
use weir_shell::{Board, INTERVAL, uptime};

use crate::hardware::{Hardware, RING};

/// The ring for a chip whose flash failed, in bytes: some 2,000 readings.
const RAM_RING: usize = 32 * 1024;

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Hardware { receive, transmit, i2c, flash, mut random, led, watchdog } = Hardware::take();
    let chip = hardware::chip_id();
    let schema = device::schema_of(&SHT4X_CHANNELS);
    let nonce = restart::nonce(random.blocking_next_u32(), &chip);
    let ring = match FlashRing::open(flash, RING, nonce, schema) {
        Ok(ring) => AnyRing::Flash(ring),
        Err(_) => AnyRing::<_, RAM_RING>::Ram(RamRing::new(schema)),
    };
    let config = Config { device: identity::device_id("nrf", &chip), interval: INTERVAL };
    let mut pump = Pump::new(Device::new(uptime(), config, ring, Sht4x::new(i2c, Delay)));
    weir_shell::run(&mut pump, receive, transmit, Kit { watchdog, led }).await
}

/// What the main loop does not know.
struct Kit {
    watchdog: Option<WatchdogHandle>,
    led: Output<'static>,
}

impl Board for Kit {
    fn feed_watchdog(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.pet();
        }
    }

    fn set_light(&mut self, other_than_at_rest: bool) {
        // Lit when low.
        self.led.set_level((!other_than_at_rest).into());
    }

    fn reset(&mut self) -> ! {
        SCB::sys_reset()
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    SCB::sys_reset()
}
