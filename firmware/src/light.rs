//! Blinking, to be found by a person who said "identify".

use crate::uptime::Uptime;

/// How long a light blinks, and how long each half of a blink takes; in microseconds.
const BLINKING: u64 = 5_000_000;
const HALF_PERIOD: u64 = 125_000;

/// The state of a light, as a function of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blink {
    until: Uptime,
}

impl Blink {
    /// Blinks from `now` on.
    pub fn start(&mut self, now: Uptime) {
        self.until = now.plus(BLINKING);
    }

    /// Whether the light is to be other than at rest.
    pub fn is_on(&self, now: Uptime) -> bool {
        now < self.until && (now.0 / HALF_PERIOD).is_multiple_of(2)
    }

    /// When that changes next, if it blinks.
    pub fn changes(&self, now: Uptime) -> Option<Uptime> {
        (now < self.until).then(|| now.plus(HALF_PERIOD - now.0 % HALF_PERIOD))
    }
}
