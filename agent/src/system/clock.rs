//! Which clock this machine's samples are read from: the wall clock while the kernel says that somebody disciplines
//! it (NTP, PTP), else the time since power-on, which is at least true.

use rustix::time::{ClockId, clock_gettime};
use weir_protocol::time::WallClock;
use weir_protocol::{Clock, Timestamp};

/// What `adjtimex` says of a clock that nobody disciplines, as its result and in its status (adjtimex(2)).
const TIME_ERROR: i32 = libc::TIME_ERROR;
const UNSYNCHRONISED: i32 = libc::STA_UNSYNC;

/// The time of a sample, and by which clock.
pub fn sample_time(wall: &dyn WallClock, is_synchronised: bool) -> (Timestamp, Clock) {
    if is_synchronised { (wall.now(), Clock::Synchronised) } else { (since_power_on(), Clock::Uptime) }
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
