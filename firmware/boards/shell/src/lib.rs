//! The main loop of the boards that have an embassy executor: calls the core when bytes arrived, when the line has
//! room, and when something is due; sleeps otherwise.
#![no_std]

use embassy_futures::select::{Either3, select3};
use embassy_time::{Instant, Timer};
use embedded_io_async::{Read, Write};
use weir_firmware::{Pump, Ring, Sensor, Uptime};

/// Time between samples, in microseconds, until the agent configures another.
pub const INTERVAL: u64 = 1_000_000;
/// What a UART may still hold when the driver's buffer is empty leaves within this, at 115200 baud.
const LAST_BYTES: embassy_time::Duration = embassy_time::Duration::from_millis(5);

/// What else the loop needs of a board.
pub trait Board {
    /// Called in each turn: the loop is alive.
    fn feed_watchdog(&mut self);

    /// The light as it rests, or the other way.
    fn set_light(&mut self, other_than_at_rest: bool);

    /// Resets the chip.
    fn reset(&mut self) -> !;
}

/// Time since power-on.
pub fn uptime() -> Uptime {
    Uptime(Instant::now().as_micros())
}

/// Runs a device for ever.
pub async fn run<R: Ring, S: Sensor>(
    pump: &mut Pump<R, S>,
    mut receive: impl Read,
    mut transmit: impl Write,
    mut board: impl Board,
) -> ! {
    let mut input = [0; 64];
    let mut arrived = 0;
    loop {
        board.feed_watchdog();
        let now = uptime();
        let wake = pump.turn(now, &input[..arrived]);
        board.set_light(pump.is_lit(now));
        if pump.must_restart() {
            let _flushed = transmit.flush().await;
            Timer::after(LAST_BYTES).await;
            board.reset();
        }
        let (read, write, sleep) = (receive.read(&mut input), send(&mut transmit, pump.unsent()), sleep(pump, wake));
        arrived = match select3(read, write, sleep).await {
            // A line error has lost bytes: the frame's checksum shows it, and what was lost is said again.
            Either3::First(read) => read.unwrap_or(0),
            Either3::Second(sent) => {
                pump.sent(sent);
                0
            }
            Either3::Third(()) => 0,
        };
    }
}

/// Moves bytes of the frame into the UART's buffer as there is room; for ever if there are none.
async fn send(transmit: &mut impl Write, unsent: &[u8]) -> usize {
    match unsent {
        [] => core::future::pending().await,
        bytes => transmit.write(bytes).await.unwrap_or(bytes.len()),
    }
}

/// Until then. While a frame leaves, the event of its next bytes comes first and often enough.
async fn sleep<R: Ring, S: Sensor>(pump: &Pump<R, S>, wake: Uptime) {
    if pump.unsent().is_empty() { Timer::at(Instant::from_micros(wake.0)).await } else { core::future::pending().await }
}
