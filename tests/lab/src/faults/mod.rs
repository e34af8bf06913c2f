//! Faults: what is done to a running deployment, and when.
//!
//! - [`Fault`] names what can be broken; each is over at once or has an end.
//! - [`Schedule`] says when: a pure function of its seed and of what is possible here, so a seed breaks the same things
//!   in the same order and at the same moments.
//! - [`Injector`] does it. It leaves nothing behind: when a schedule is over, every process runs, every wire is whole and
//!   every clock is right.
//!
//! None of them breaks a promise: whatever a schedule holds, nothing that was acknowledged may be missing. What damages
//! what is on disk does: it must be counted, to the last sequence ([`Fault::damages`]).

mod certificates;
pub(crate) mod files;
pub(crate) mod image;
mod injector;
mod means;
pub(crate) mod power;
mod schedule;
pub(crate) mod small_disk;
pub(crate) mod strace;
pub(crate) mod wall_clock;

use std::fmt;
use std::time::Duration;

use crate::deployment::{Aim, Target};

pub use injector::{Injector, Struck};
pub use means::Means;
pub use schedule::{Event, Schedule};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a start. The number chooses among the boards.
    Kill(Target, Aim, usize),
    /// SIGTERM, and a start.
    Restart(Target),
    /// SIGSTOP, then SIGCONT: the process is there and does nothing.
    Freeze(Target),
    /// The power of its disk fails: what was not synced is gone.
    PowerCut(Target),
    /// The first fdatasync of each of its threads fails with EIO.
    SyncError(Target),
    /// Each fdatasync takes longer by this time.
    SlowSync(Target, Duration),
    /// Every write fails with ENOSPC.
    DiskFull(Target),
    /// Every call that changes a file fails with EROFS.
    ReadOnly(Target),
    /// Bits flip in a file of its disk; what they cost is counted as lost.
    FlippedBits(Target),
    /// Every TCP connection to the gateway is closed.
    Cut,
    /// Sockets stay open, nothing passes.
    BlackHole,
    /// What is sent arrives, the answers do not.
    LostAnswers,
    /// The gateway's ends of all connections are closed; the other ends hear nothing of it.
    HalfOpen,
    /// Every chunk of bytes takes longer by this time.
    Delay(Duration),
    /// So many bytes a second pass, of each connection in each direction.
    Throttle(u64),
    /// All serial cables are pulled out.
    Unplug,
    /// The wall clocks of agent and gateway are wrong by so many seconds.
    Clock(i64),
    /// SIGHUP: the settings are read again.
    Reload(Target),
    /// The gateway gets a new certificate, and then the agent.
    Certificates,
}

impl Fault {
    /// Whether it takes what was acknowledged, so that loss which is counted is right.
    pub const fn damages(&self) -> bool {
        matches!(self, Self::FlippedBits(_))
    }

    /// Whether it has an end, or is over at once.
    pub const fn lasts(&self) -> bool {
        match self {
            Self::Freeze(_)
            | Self::SyncError(_)
            | Self::SlowSync(..)
            | Self::DiskFull(_)
            | Self::ReadOnly(_)
            | Self::BlackHole
            | Self::LostAnswers
            | Self::HalfOpen
            | Self::Delay(_)
            | Self::Throttle(_)
            | Self::Unplug
            | Self::Clock(_) => true,
            Self::Kill(..)
            | Self::Restart(_)
            | Self::PowerCut(_)
            | Self::FlippedBits(_)
            | Self::Cut
            | Self::Reload(_)
            | Self::Certificates => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |target: &Target| match target {
            Target::Board => "a board",
            Target::Agent => "the agent",
            Target::Gateway => "the gateway",
        };
        match self {
            Self::Kill(target, aim, _) => {
                let when = match aim {
                    Aim::Blind => "",
                    Aim::BehindPromise => ", right behind an acknowledgement",
                    Aim::BehindLostAnswer => ", right behind an acknowledgement that gets lost",
                };
                write!(f, "kill -9 of {}{when}", name(target))
            }
            Self::Restart(target) => write!(f, "restart of {}", name(target)),
            Self::Freeze(target) => write!(f, "{} stands still (SIGSTOP)", name(target)),
            Self::PowerCut(target) => write!(f, "power cut of {}", name(target)),
            Self::SyncError(target) => write!(f, "fdatasync of {} fails (EIO)", name(target)),
            Self::SlowSync(target, by) => write!(f, "fdatasync of {} takes {by:?} more", name(target)),
            Self::DiskFull(target) => write!(f, "the disk of {} is full (ENOSPC)", name(target)),
            Self::ReadOnly(target) => write!(f, "the disk of {} is read-only (EROFS)", name(target)),
            Self::FlippedBits(target) => write!(f, "bits flip on the disk of {}", name(target)),
            Self::Cut => write!(f, "connections are cut"),
            Self::BlackHole => write!(f, "black hole"),
            Self::LostAnswers => write!(f, "answers get lost"),
            Self::HalfOpen => write!(f, "connections are half open"),
            Self::Delay(by) => write!(f, "the network takes {by:?} more"),
            Self::Throttle(rate) => write!(f, "the network takes {rate} B/s"),
            Self::Unplug => write!(f, "serial cables are unplugged"),
            Self::Clock(by) => write!(f, "the wall clocks are wrong by {by} s"),
            Self::Reload(target) => write!(f, "reload of {} (SIGHUP)", name(target)),
            Self::Certificates => write!(f, "new certificates of gateway and agent"),
        }
    }
}
