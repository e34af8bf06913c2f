//! The light on PF0: blinks for five seconds to be found.

use weir_firmware::Uptime;

use crate::registers::{gpio, system};

/// How long to blink, and how long each half of a blink takes; in microseconds.
const BLINKING: u64 = 5_000_000;
const HALF_PERIOD: u64 = 125_000;

/// The light.
pub(crate) struct Light {
    until: Uptime,
}

impl Light {
    /// Dark.
    pub(crate) fn start() -> Self {
        system::RCGC2.set(1 << 5);
        cortex_m::asm::delay(16);
        gpio::F_DIR.set(1);
        gpio::F_DEN.set(1);
        gpio::F_PIN0.write(0);
        Self { until: Uptime(0) }
    }

    /// Blinks from `now` on.
    pub(crate) fn identify(&mut self, now: Uptime) {
        self.until = now.plus(BLINKING);
    }

    /// Is as it should be at `now`.
    pub(crate) fn show(&self, now: Uptime) {
        let lit = now < self.until && (now.0 / HALF_PERIOD).is_multiple_of(2);
        gpio::F_PIN0.write(u32::from(lit));
    }
}
