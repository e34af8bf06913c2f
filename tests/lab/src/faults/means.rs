//! What can be broken here: some faults need root, a tool, or a deployment that lends itself to them.

use std::process::{Command, Stdio};

use super::{Fault, image, strace, wall_clock};

/// What is possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// The lab runs the processes; else only the network is in its hands.
    pub processes: bool,
    /// Boards on serial cables.
    pub boards: bool,
    /// Calls can be made to fail.
    pub strace: bool,
    /// Disks are images, whose power can be cut.
    pub images: bool,
    /// The wall clocks of the processes can be set.
    pub clock: bool,
    /// The agent ships over TLS.
    pub tls: bool,
    /// What is on disk may be damaged.
    pub damage: bool,
}

impl Means {
    /// The network alone: of a deployment that somebody else runs.
    pub fn network() -> Self {
        Self::default()
    }

    /// All that this machine has of what `wanted` holds, and of the rest why not, with what to type.
    pub fn here(mut wanted: Self) -> (Self, Vec<String>) {
        let mut missing = Vec::new();
        let mut without = |flag: &mut bool, why: Option<String>| {
            if let Some(why) = why.filter(|_| *flag) {
                *flag = false;
                missing.push(why);
            }
        };
        without(&mut wanted.strace, strace::unavailable().or_else(strace::forbidden));
        without(&mut wanted.images, image::unavailable("prove"));
        without(&mut wanted.clock, wall_clock::unavailable());
        (wanted, missing)
    }

    /// Whether the fault is among what is possible.
    pub fn allow(&self, fault: &Fault) -> bool {
        use crate::deployment::Target;
        match fault {
            Fault::Kill(Target::Board, ..) | Fault::Unplug => self.processes && self.boards,
            Fault::Kill(..) | Fault::Restart(_) | Fault::Freeze(_) | Fault::Reload(_) => self.processes,
            Fault::PowerCut(_) => self.processes && self.images,
            Fault::SyncError(_) | Fault::SlowSync(..) | Fault::DiskFull(_) | Fault::ReadOnly(_) => {
                self.processes && self.strace
            }
            Fault::FlippedBits(_) => self.processes && self.damage,
            // In the wrong year no certificate is valid.
            Fault::Clock(_) => self.processes && self.clock && !self.tls,
            Fault::Certificates => self.processes && self.tls,
            Fault::Cut
            | Fault::BlackHole
            | Fault::LostAnswers
            | Fault::HalfOpen
            | Fault::Delay(_)
            | Fault::Throttle(_) => true,
        }
    }
}

/// Whether a program can be started.
pub(super) fn is_there(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
