//! Weir on a Raspberry Pi Pico: bytes, time, flash and I2C for the core, and nothing else.
//!
//! Wiring as in `firmware/README.md`: UART0 on GP0 and GP1, I2C0 on GP4 and GP5, the on-board light on GP25,
//! which blinks when the agent says "identify" and stays lit after a restart that a panic caused.
//! The watchdog resets the chip when a turn of the main loop takes longer than [`WATCHDOG`].
#![no_std]
#![no_main]

mod hardware;
mod identity;
mod light;
mod panic;

use core::ops::Range;

use embassy_executor::Spawner;
use embassy_futures::select::{Either3, select3};
use embassy_rp::uart::BufferedUartTx;
use embassy_rp::watchdog::Watchdog;
use embassy_time::{Delay, Duration, Instant, Timer};
use embedded_io_async::{Read, Write};
use weir_firmware::{
    AnyRing, Config, Device, FRAME, FlashRing, RamRing, Request, Sht4x, Uptime, device, restart, sensor::SHT4X_CHANNELS,
};

use crate::hardware::{ChipFlash, Hardware, RING};

/// Longest turn of the main loop: a sample, and a few sectors of flash at 45 ms (typical) to 400 ms (worst).
const WATCHDOG: Duration = Duration::from_secs(8);
/// Time between samples, in microseconds, until the agent configures another.
const INTERVAL: u64 = 1_000_000;
/// The ring for a chip whose flash or entropy failed, in bytes: some 2,000 readings.
const RAM_RING: usize = 32 * 1024;

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let Hardware { mut receive, mut transmit, i2c, mut flash, mut watchdog, led } = Hardware::take();
    watchdog.start(WATCHDOG);
    if let Ok(light) = light::run(led, panic::is_marked()) {
        spawner.spawn(light);
    }

    let mut chip = [0; 8];
    let id = flash.blocking_unique_id(&mut chip).map(|()| chip).ok();
    let ring = open_ring(flash, id);
    let config = Config { device: identity::device_id(&chip), interval: INTERVAL };
    let mut device = Device::new(uptime(), config, ring, Sht4x::new(i2c, Delay));

    let mut input = [0; 64];
    let mut arrived = 0;
    let mut frame = [0; FRAME];
    let mut unsent = 0..0;
    let mut reboot = false;
    loop {
        watchdog.feed(WATCHDOG);
        // While a frame leaves, the core gets no room for another, and goes on with everything else.
        let room = if unsent.is_empty() { &mut frame[..] } else { &mut [] };
        let turn = device.poll(uptime(), &input[..arrived], room);
        if unsent.is_empty() {
            unsent = 0..turn.send;
        }
        match turn.request {
            Some(Request::Identify) => light::identify(),
            Some(Request::Reboot) => reboot = true,
            None => {}
        }
        if reboot && unsent.is_empty() {
            restart_chip(&mut watchdog, &mut transmit).await;
        }
        let sending = !unsent.is_empty();
        let (read, write) = (receive.read(&mut input), send(&mut transmit, &frame, &unsent));
        arrived = match select3(read, write, sleep(turn.wake, sending)).await {
            // A line error has lost bytes: the frame's checksum shows it, and what was lost is said again.
            Either3::First(read) => read.unwrap_or(0),
            Either3::Second(sent) => {
                unsent.start += sent;
                0
            }
            Either3::Third(()) => 0,
        };
    }
}

fn uptime() -> Uptime {
    Uptime(Instant::now().as_micros())
}

/// The ring in flash, or the one in RAM for a chip that cannot number its restarts: its flash failed, or it
/// has no id or no entropy.
fn open_ring(flash: ChipFlash, id: Option<[u8; 8]>) -> AnyRing<ChipFlash, RAM_RING> {
    let schema = device::schema_of(&SHT4X_CHANNELS);
    let nonce = id.zip(identity::entropy()).map(|(id, entropy)| restart::nonce(entropy, &id));
    match nonce.map(|nonce| FlashRing::open(flash, RING, nonce, schema)) {
        Some(Ok(ring)) => AnyRing::Flash(ring),
        _ => AnyRing::Ram(RamRing::new(schema)),
    }
}

/// Moves bytes of the frame into the UART's buffer as there is room; for ever if there are none.
async fn send(transmit: &mut BufferedUartTx, frame: &[u8], unsent: &Range<usize>) -> usize {
    match frame.get(unsent.clone()) {
        Some(bytes) if !bytes.is_empty() => transmit.write(bytes).await.unwrap_or(bytes.len()),
        _ => core::future::pending().await,
    }
}

/// Until the core wants to be called; while a frame leaves, that event comes first and often enough.
async fn sleep(wake: Uptime, sending: bool) {
    if sending { core::future::pending().await } else { Timer::at(Instant::from_micros(wake.0)).await }
}

/// Lets the last bytes leave, then resets.
async fn restart_chip(watchdog: &mut Watchdog, transmit: &mut BufferedUartTx) {
    // The flush empties our buffer; the 32 bytes in the UART take another 3 ms.
    let _flushed = transmit.flush().await;
    Timer::after_millis(5).await;
    watchdog.trigger_reset();
}
