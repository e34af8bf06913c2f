//! The on-board light: blinks to be found, and is lit after a panic.

use embassy_rp::gpio::Output;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;

/// How long to blink, in changes of [`HALF_PERIOD_MS`].
const CHANGES: u32 = 40;
const HALF_PERIOD_MS: u64 = 125;

static IDENTIFY: Signal<CriticalSectionRawMutex, ()> = Signal::new();

/// Blinks for five seconds.
pub(crate) fn identify() {
    IDENTIFY.signal(());
}

/// Owns the light for ever; `lit` is how it rests.
#[embassy_executor::task]
pub(crate) async fn run(mut led: Output<'static>, lit: bool) {
    loop {
        led.set_level(lit.into());
        IDENTIFY.wait().await;
        for _ in 0..CHANGES {
            led.toggle();
            Timer::after_millis(HALF_PERIOD_MS).await;
        }
    }
}
