//! The clock: samples are filed by it, and certificates are believed by it.

use super::{Check, Ground};

/// The start of 2025: no clock of a machine with this version says less.
const EARLIEST: i64 = 1_735_689_600;
const FIX: &str = "sudo timedatectl set-ntp true; timedatectl timesync-status";

pub(super) fn check(ground: &Ground<'_>) -> Vec<Check> {
    let subject = "clock";
    vec![if ground.now < EARLIEST {
        let found = "the date of this machine is before 2025: certificates have not begun for it, and TLS fails";
        Check::problem(subject, found, FIX)
    } else if ground.is_synchronised {
        Check::ok(subject, "synchronised, as the kernel says")
    } else {
        let found = "not synchronised: readings of this machine are filed under the time they arrive at the gateway";
        Check::warning(subject, found, FIX)
    }]
}
