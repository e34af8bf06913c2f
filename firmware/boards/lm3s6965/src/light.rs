//! The light on PF0.

use crate::registers::{gpio, system};

/// The light.
pub(crate) struct Light;

impl Light {
    /// Dark.
    pub(crate) fn start() -> Self {
        system::RCGC2.set(1 << 5);
        cortex_m::asm::delay(16);
        gpio::F_DIR.set(1);
        gpio::F_DEN.set(1);
        gpio::F_PIN0.write(0);
        Self
    }

    /// On or off.
    pub(crate) fn set(&mut self, on: bool) {
        gpio::F_PIN0.write(u32::from(on));
    }
}
