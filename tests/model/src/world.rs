//! A world: how much there is of everything, which faults may happen, and which rule is broken.

use crate::rules::Rule;
use crate::sequences::Set;

/// What a full queue does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Policy {
    Block,
    DropOldest,
    DropNewest,
}

/// What may go wrong, from the budget of faults.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fault {
    /// The connection breaks; the gateway may still read a batch of it.
    Disconnect,
    /// The agent is killed, or loses its power.
    Agent,
    /// The agent's disk is new.
    Wipe,
    /// A record of the agent's queue is damaged.
    QueueDamage,
    /// The gateway is killed, or loses its power.
    Gateway,
    /// A commit of the gateway fails.
    CommitFails,
    /// A committed record of the gateway is damaged.
    LogDamage,
    /// A checkpoint of the gateway is damaged.
    CheckpointDamage,
}

/// A world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) sequences: u8,
    pub(crate) ring: u8,
    pub(crate) queue: u8,
    pub(crate) window: usize,
    /// Readings are sent in the order of their sequences, and only once they are durable.
    pub(crate) in_order: bool,
    pub(crate) policy: Policy,
    /// Room for claims may run out.
    pub(crate) coarsen: bool,
    /// Readings that are never valid.
    pub(crate) poison: Set,
    pub(crate) redrives: u8,
    /// The device never describes its channels.
    pub(crate) mute: bool,
    /// The gateway keeps checkpoints; and how often retention may delete what they cover.
    pub(crate) checkpoints: bool,
    pub(crate) deletions: u8,
    pub(crate) faults: u8,
    pub(crate) kinds: &'static [Fault],
    pub(crate) broken: Option<Rule>,
}

impl World {
    /// Two readings, room for one of them in the ring and in the queue, and no faults.
    pub(crate) const SMALL: Self = Self {
        sequences: 2,
        ring: 1,
        queue: 1,
        window: 2,
        in_order: false,
        policy: Policy::Block,
        coarsen: false,
        poison: Set::EMPTY,
        redrives: 0,
        mute: false,
        checkpoints: false,
        deletions: 0,
        faults: 0,
        kinds: &[],
        broken: None,
    };

    pub(crate) fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.kinds.contains(&fault)
    }
}
