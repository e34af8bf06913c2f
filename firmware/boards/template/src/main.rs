//! Where a board of your own begins: copy this directory, add it to `members` of `boards/Cargo.toml`, and make
//! `hardware.rs` that of your chip; `firmware/README.md` walks through it.
//!
//! As it is, it builds for every target of the other boards and measures nothing, because nothing is connected. It is
//! also the smallest shell that the whole core fits in, so its image is what the budget of the core is measured on.
#![no_std]
#![no_main]

mod hardware;

use core::panic::PanicInfo;

use weir_firmware::sensor::SHT4X_CHANNELS;
use weir_firmware::{AnyRing, Config, Device, FlashRing, Pump, RamRing, Sht4x, device, identity, restart};

use crate::hardware::{Delay, Flash, Hardware, I2c, RING};

/// Time between samples, in microseconds, until the agent configures another.
const INTERVAL: u64 = 1_000_000;
/// The ring for a chip whose flash or entropy failed, in bytes: a reading takes some 14.
const RAM_RING: usize = 1024;

type State = Pump<AnyRing<Flash, RAM_RING>, Sht4x<I2c, Delay>>;

/// RAM that the core may take for ever, the bytes of the RAM ring not counted.
const RAM_BUDGET: usize = 1536;
const _: () = assert!(size_of::<State>() <= RAM_BUDGET + RAM_RING, "the core is over its budget of RAM");

/// With a runtime crate (`cortex-m-rt`, `riscv-rt`) this becomes its `#[entry]`.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the linker starts at this name; nothing else in the image has it")]
extern "C" fn _start() -> ! {
    let Hardware { mut uart, i2c, flash, mut clock, mut watchdog } = Hardware::take();
    let chip = hardware::chip_id();
    let schema = device::schema_of(&SHT4X_CHANNELS);
    // Flash and entropy: readings and their numbers survive a loss of power. Without one of them they do not, and
    // the agent numbers each run; a board with an EEPROM beside it uses `restart::eeprom`.
    let nonce = hardware::entropy().map(|entropy| restart::nonce(entropy, &chip));
    let ring = match nonce.map(|nonce| FlashRing::open(flash, RING, nonce, schema)) {
        Some(Ok(ring)) => AnyRing::Flash(ring),
        _ => AnyRing::<_, RAM_RING>::Ram(RamRing::new(schema)),
    };
    let config = Config { device: identity::device_id("template", &chip), interval: INTERVAL };
    let mut pump: State = Pump::new(Device::new(clock.now(), config, ring, Sht4x::new(i2c, Delay)));

    let mut input = [0; 64];
    loop {
        watchdog.feed();
        let now = clock.now();
        let arrived = uart.read(&mut input);
        let wake = pump.turn(now, &input[..arrived]);
        let sent = uart.write(pump.unsent());
        pump.sent(sent);
        hardware::light(pump.is_lit(now));
        if pump.must_restart() && uart.is_idle() {
            hardware::reset();
        }
        if arrived == 0 && pump.unsent().is_empty() {
            clock.sleep_until(wake);
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    hardware::reset()
}
