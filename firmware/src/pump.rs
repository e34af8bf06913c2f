//! What every main loop needs around a [`Device`]: the frame that leaves piece by piece, the light that blinks, the
//! restart that waits until the line is empty. A board adds the hardware and decides how to sleep.
//!
//! ```text
//! loop { wake = pump.turn(now, bytes); pump.sent(uart.write(pump.unsent())); light(pump.is_lit(now)); ... sleep }
//! ```

use core::ops::Range;

use crate::device::{Device, FRAME, Request};
use crate::light::Blink;
use crate::ring::Ring;
use crate::sensor::Sensor;
use crate::uptime::Uptime;

/// A device and the frame that it is sending.
pub struct Pump<R, S> {
    device: Device<R, S>,
    frame: [u8; FRAME],
    unsent: Range<usize>,
    blink: Blink,
    reboot: bool,
}

impl<R: Ring, S: Sensor> Pump<R, S> {
    /// Nothing sent yet.
    pub fn new(device: Device<R, S>) -> Self {
        Self { device, frame: [0; FRAME], unsent: 0..0, blink: Blink::default(), reboot: false }
    }

    /// The device.
    pub fn device(&self) -> &Device<R, S> {
        &self.device
    }

    /// One turn at `now` with what arrived since the last one. Returns when the next one is due at the latest;
    /// one before that, as when bytes arrive or the line has room, is always right.
    pub fn turn(&mut self, now: Uptime, arrived: &[u8]) -> Uptime {
        // While a frame leaves, the core gets no room for another, and goes on with everything else.
        let room = if self.unsent.is_empty() { &mut self.frame[..] } else { &mut [] };
        let turn = self.device.poll(now, arrived, room);
        if self.unsent.is_empty() {
            self.unsent = 0..turn.send;
        }
        match turn.request {
            Some(Request::Identify) => self.blink.start(now),
            Some(Request::Reboot) => self.reboot = true,
            None => {}
        }
        self.blink.changes(now).map_or(turn.wake, |change| change.min(turn.wake))
    }

    /// What waits to be sent.
    pub fn unsent(&self) -> &[u8] {
        self.frame.get(self.unsent.clone()).unwrap_or_default()
    }

    /// The line took so many bytes of [`Self::unsent`].
    pub fn sent(&mut self, bytes: usize) {
        self.unsent.start = self.unsent.end.min(self.unsent.start + bytes);
    }

    /// Whether the light is to be other than at rest.
    pub fn is_lit(&self, now: Uptime) -> bool {
        self.blink.is_on(now)
    }

    /// Whether to restart the chip, once the last bytes have left the UART.
    pub fn must_restart(&self) -> bool {
        self.reboot && self.unsent.is_empty()
    }
}
