//! The worlds that are explored: one for each part of the rules, and for each broken rule the smallest that shows it.

use crate::rules::Rule;
use crate::sequences::Set;
use crate::world::Fault::*;
use crate::world::{Policy, World};

/// A world with its name; `slow` ones are left out of the short run.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) slow: bool,
}

const fn quick(name: &'static str, world: World) -> Named {
    Named { name, world, slow: false }
}

const fn slow(name: &'static str, world: World) -> Named {
    Named { name, world, slow: true }
}

/// Worlds in which every rule is kept.
pub(crate) const KEPT: [Named; 16] = [
    quick("every fault of the spine", World { faults: 1, kinds: SPINE, ..World::SMALL }),
    quick("overlapping connections", World { faults: 2, kinds: &[Disconnect], ..World::SMALL }),
    quick(
        "drop-oldest",
        World { policy: Policy::DropOldest, faults: 1, kinds: &[Disconnect, Agent, Gateway], ..World::SMALL },
    ),
    quick("drop-newest", World { policy: Policy::DropNewest, faults: 1, kinds: SPINE, ..World::SMALL }),
    quick("coarse claims", World { window: 1, faults: 0, ..COARSE }),
    quick("in order", World { in_order: true, queue: 2, faults: 1, kinds: SPINE, ..World::SMALL }),
    quick("poison and redrive", World { poison: Set::of(1), redrives: 1, faults: 1, kinds: SPINE, ..World::SMALL }),
    quick("a device that never describes itself", World { mute: true, faults: 1, kinds: SPINE, ..World::SMALL }),
    quick("retention", World { deletions: 2, faults: 1, kinds: &[Disconnect, Gateway, CommitFails], ..KEEPING }),
    quick("a bad checkpoint", World { deletions: 1, faults: 2, kinds: &[Gateway, CheckpointDamage], ..KEEPING }),
    quick("damage in the log", World { faults: 2, kinds: &[Gateway, LogDamage], ..KEEPING }),
    quick("damage in the queue", World { faults: 2, kinds: &[QueueDamage, Wipe], ..World::SMALL }),
    quick(
        "both checkpoints bad",
        World { in_order: true, queue: 2, deletions: 1, faults: 3, kinds: &[Gateway, CheckpointDamage], ..KEEPING },
    ),
    slow("every fault, twice", World { faults: 2, kinds: SPINE, ..World::SMALL }),
    slow("three readings", World { in_order: true, window: 1, faults: 1, kinds: SPINE, ..THREE }),
    slow("three readings, no faults", THREE),
];

const SPINE: &[crate::world::Fault] = &[Disconnect, Agent, Wipe, QueueDamage, Gateway, CommitFails];
const THREE: World = World { sequences: 3, ring: 2, ..World::SMALL };
const COARSE: World = World { policy: Policy::DropNewest, coarsen: true, ..THREE };
const KEEPING: World = World { checkpoints: true, ..World::SMALL };

/// The world in which breaking a rule shows.
pub(crate) fn broken(rule: Rule) -> World {
    let small = World { broken: Some(rule), ..World::SMALL };
    let keeping = World { broken: Some(rule), ..KEEPING };
    match rule {
        Rule::AckBeforeSync => World { faults: 1, kinds: &[Agent], ..small },
        Rule::UnlinkBeforeClaim => World { policy: Policy::DropOldest, faults: 1, kinds: &[Agent], ..small },
        Rule::DropWithoutClaim => World { policy: Policy::DropNewest, ..small },
        Rule::CoarsenBeyondAccepted | Rule::LostStaysLost => World { broken: Some(rule), ..COARSE },
        Rule::JumpWithoutClaim | Rule::PubackBeforeCommit | Rule::PositionBeforeSync => small,
        Rule::ForgetInFlight
        | Rule::RepeatOfPending
        | Rule::ClaimAgainstPending
        | Rule::ClaimNotDeduplicated
        | Rule::PositionFromCursor => World { faults: 1, kinds: &[Disconnect], ..small },
        Rule::NoPositions => World { faults: 1, kinds: &[QueueDamage], ..small },
        Rule::ImpatientAgent => World { mute: true, ..small },
        Rule::NoHeals => World { broken: Some(rule), ..COARSE },
        Rule::KeepAfterFailedCommit => World { faults: 1, kinds: &[CommitFails], ..small },
        Rule::ServeBeforeSync => World { faults: 2, kinds: &[Gateway], ..small },
        Rule::SetsFromLogAlone | Rule::DeleteByNewest | Rule::DeleteUnverified => {
            World { deletions: 1, faults: 3, kinds: &[Disconnect, Gateway, CheckpointDamage], ..keeping }
        }
        Rule::CheckpointOfPending => World { faults: 2, kinds: &[Gateway], ..keeping },
        Rule::AppendUnknownHistory | Rule::ForgetUnknownHistory => {
            World { in_order: true, queue: 2, deletions: 1, faults: 4, kinds: &[Gateway, CheckpointDamage], ..keeping }
        }
        Rule::PositionFromReadings | Rule::DamageUncounted | Rule::DamageCountedAgain => {
            World { faults: 2, kinds: &[Gateway, LogDamage], ..keeping }
        }
    }
}
