//! What a commit changes: sequences move from pending to settled, dead-lettered or lost.

use std::ops::Range;
use std::sync::Arc;

use weir_protocol::batch::LossKind;
use weir_protocol::{AgentId, RangeSet, Restart, SchemaHash};

use super::Reason;
use super::channels::Channels;
use super::devices::{DeviceIndex, Devices};
use super::ledger::End;
use super::stats::Counters;
use crate::topics::{Role, TopicId};

/// What the commit of some records in one log changes.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) log: usize,
    pub(crate) device: DeviceIndex,
    pub(crate) effect: Effect,
}

/// Where damaged records were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) log: usize,
    pub(crate) topic: TopicId,
    pub(crate) partition: usize,
    pub(crate) role: Role,
}

#[derive(Debug)]
pub(crate) enum Effect {
    Stored {
        restart: Restart,
        topic: TopicId,
        range: Range<u64>,
        heals: u64,
    },
    /// A message of a client is stored.
    Kept {
        restart: Restart,
        topic: TopicId,
        sequence: u64,
        heals: bool,
    },
    Dead {
        restart: Restart,
        range: Range<u64>,
        heals: bool,
        reason: Reason,
        /// Of the dead letters.
        partition: usize,
    },
    Lost {
        restart: Restart,
        range: Range<u64>,
    },
    /// The rules of an agent left these out.
    Settled {
        restart: Restart,
        ranges: RangeSet,
    },
    /// Records there cannot be read any more; if no earlier verdict is left, a loss of the kind `counted` says so.
    Damaged {
        restart: Restart,
        of: Origin,
        range: Range<u64>,
        counted: Option<LossKind>,
    },
    Ended {
        restart: Restart,
    },
    Described {
        schema: SchemaHash,
        channels: Arc<Channels>,
        agent: AgentId,
    },
    /// The device is bound to that agent from here on.
    Moved {
        agent: AgentId,
    },
}

impl Move {
    /// The restart that it is about; none for a description or an owner.
    pub(crate) fn restart(&self) -> Option<Restart> {
        match self.effect {
            Effect::Stored { restart, .. }
            | Effect::Kept { restart, .. }
            | Effect::Dead { restart, .. }
            | Effect::Lost { restart, .. }
            | Effect::Settled { restart, .. }
            | Effect::Damaged { restart, .. }
            | Effect::Ended { restart } => Some(restart),
            Effect::Described { .. } | Effect::Moved { .. } => None,
        }
    }

    /// The logs whose state it changes.
    pub(crate) fn changes(&self) -> impl Iterator<Item = usize> + use<> {
        let other = match self.effect {
            Effect::Damaged { of: Origin { log, .. }, .. } if log != self.log => Some(log),
            _ => None,
        };
        [self.log].into_iter().chain(other)
    }

    /// Whether it makes a schema known.
    pub(crate) fn is_description(&self) -> bool {
        matches!(self.effect, Effect::Described { .. })
    }

    /// The records are committed.
    pub(crate) fn apply(self, devices: &mut Devices, counters: &Counters) {
        match self.effect {
            Effect::Stored { restart, topic, range, heals } => {
                counters.readings.add(range.end - range.start);
                counters.healed.add(heals);
                devices.store(self.device, restart, topic, range);
            }
            Effect::Kept { restart, topic, sequence, heals } => {
                counters.healed.add(u64::from(heals));
                devices.store(self.device, restart, topic, sequence..sequence + 1);
            }
            Effect::Dead { restart, range, heals, reason, partition } => {
                let count = range.end - range.start;
                counters.dead_lettered[reason as usize].add(count);
                counters.healed.add(if heals { count } else { 0 });
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.bury(range.clone());
                }
                devices.bury(partition, self.device, restart, range);
            }
            Effect::Settled { restart, ranges } => {
                counters.reduced.add(ranges.len());
                devices.settle(self.device, restart, &ranges);
            }
            Effect::Lost { restart, range } => {
                counters.lost.add(range.end - range.start);
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.lose(range);
                }
            }
            Effect::Damaged { restart, of, range, counted } => {
                counters.damaged.add(range.end - range.start);
                devices.unearth(of, self.device, restart, &range);
                if let Some(ledger) = devices.ledger_mut(self.device, restart)
                    && let Some(kind) = counted
                {
                    match kind {
                        // What was left out is left out still.
                        LossKind::Reduced => ledger.pending.remove(range),
                        _ => ledger.lose(range),
                    }
                }
            }
            Effect::Ended { restart } => {
                counters.tails_unknown.add(1);
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.end = End::Recorded;
                }
            }
            Effect::Described { schema, channels, agent } => {
                counters.descriptions.add(1);
                devices.describe(self.device, schema, &channels);
                devices.set_owner(self.device, agent);
            }
            Effect::Moved { agent } => devices.set_owner(self.device, agent),
        }
    }

    /// The records are not in the log.
    pub(crate) fn undo(self, devices: &mut Devices) {
        match self.effect {
            Effect::Stored { restart, range, .. }
            | Effect::Dead { restart, range, .. }
            | Effect::Damaged { restart, range, .. }
            | Effect::Lost { restart, range, .. } => {
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.pending.remove(range);
                }
            }
            Effect::Settled { restart, ranges } => {
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ranges.iter().for_each(|range| ledger.pending.remove(range));
                }
            }
            Effect::Kept { restart, sequence, .. } => {
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.pending.remove(sequence..sequence + 1);
                }
            }
            Effect::Ended { restart } => {
                if let Some(ledger) = devices.ledger_mut(self.device, restart) {
                    ledger.end = End::Unknown;
                }
            }
            Effect::Described { schema, .. } => {
                if let Some(device) = devices.get_mut(self.device) {
                    device.schemas.remove(schema);
                    device.is_changing_owner = false;
                }
            }
            Effect::Moved { .. } => {
                if let Some(device) = devices.get_mut(self.device) {
                    device.is_changing_owner = false;
                }
            }
        }
    }
}
