//! Which clock samples of this agent's own sources are read from: the wall clock while the kernel says that somebody
//! disciplines it (NTP, PTP), else the time since power-on, which is at least true.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use weir_protocol::time::WallClock;
use weir_protocol::{Clock, Timestamp};

/// What `adjtimex` says of a clock that nobody disciplines, as its result and in its status (adjtimex(2)).
const TIME_ERROR: i32 = libc::TIME_ERROR;
const UNSYNCHRONISED: i32 = libc::STA_UNSYNC;

/// What samples are timed by.
#[derive(Clone)]
pub struct Clocks {
    /// The wall clock.
    pub wall: Arc<dyn WallClock>,
    /// Whether to believe it.
    pub is_synchronised: fn() -> bool,
}

/// When something was sampled, and by which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleTime {
    /// Microseconds, by `clock`.
    pub time: Timestamp,
    /// How far to trust it.
    pub clock: Clock,
}

impl Clocks {
    /// The time of a sample that is taken now.
    pub fn now(&self) -> SampleTime {
        sample_time(&*self.wall, (self.is_synchronised)())
    }
}

/// The time of a sample, by a wall clock that is to be believed or not.
pub fn sample_time(wall: &dyn WallClock, is_synchronised: bool) -> SampleTime {
    let (time, clock) =
        if is_synchronised { (wall.now(), Clock::Synchronised) } else { (since_power_on(), Clock::Uptime) };
    SampleTime { time, clock }
}

/// Whether the kernel's clock is disciplined. False if the kernel does not say.
#[allow(unsafe_code)] // no safe crate asks this
pub fn is_synchronised() -> bool {
    // SAFETY: `timex` is a C struct of integers alone, for which all zeros are valid; `modes` 0 asks and changes nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` that lives until the call returns, and nobody else has.
    let state = unsafe { libc::adjtimex(&mut timex) };
    state >= 0 && state != TIME_ERROR && timex.status & UNSYNCHRONISED == 0
}

fn since_power_on() -> Timestamp {
    let time = clock_gettime(ClockId::Boottime);
    Timestamp(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000))
}
