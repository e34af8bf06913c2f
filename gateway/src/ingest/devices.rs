//! Every device that the log knows, its restarts and its schemas: bounded, and nothing is ever forgotten.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use hashbrown::HashMap;
use weir_protocol::{AgentId, DeviceId, RangeSet, Restart, SchemaHash, Tenant};

use super::channels::Channels;
use super::clients;
use super::ledger::{End, Ledger};
use super::log_state::LogState;
use super::moves::Origin;
use super::options::{Binding, Limits};
use super::schemas::Schemas;
use crate::schemas::evolution::{Compatibility, Register};
use crate::topics::routes::Routes;
use crate::topics::{Role, TopicId, murmur2};

/// The place of a device in [`Devices`]; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceIndex(pub(crate) u32);

/// A bound of [`Limits`] is reached, or one of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    Devices,
    Restarts,
    Ranges,
    /// A record is larger than a batch of the storage can hold.
    Record,
    /// Of all devices together.
    AllRestarts,
}

impl OverLimit {
    /// The name in metrics.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Devices, "devices"),
        (Self::Restarts, "restarts"),
        (Self::Ranges, "ranges"),
        (Self::Record, "record"),
        (Self::AllRestarts, "all-restarts"),
    ];

    /// What an operator does about it.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Devices => "a new device is refused: set limits.devices higher and restart the gateway",
            Self::Restarts => {
                "a new restart of this device is refused: set limits.restarts_per_device higher and restart the gateway, \
                 and see why the device restarts so often"
            }
            Self::Ranges => {
                "sequences of this device lie in too many pieces and are refused: set limits.ranges_per_restart higher \
                 and restart the gateway"
            }
            Self::Record => "a batch asks for a record that is too large",
            Self::AllRestarts => {
                "a new restart is refused, all devices together have as many as there may be: set limits.restarts higher \
                 and restart the gateway"
            }
        }
    }
}

/// The most broken channels that are told in one turn.
const MAX_BROKEN: usize = 16;
/// Beyond so many times the bound on ranges, a device that goes on in order is refused as well.
const IN_ORDER: usize = 4;

#[derive(Debug)]
pub(crate) struct Devices {
    limits: Limits,
    places: HashMap<(Tenant, DeviceId), DeviceIndex>,
    devices: Vec<Device>,
    /// Of all devices.
    restarts: usize,
    /// What each dead-letter log says: a letter may name devices whose own letters are in another log.
    pub(crate) graves: Vec<LogState>,
    compatibility: Compatibility,
    pub(crate) binding: Binding,
    /// What is lost gets no record: see [`super::plant`].
    #[cfg(feature = "plant")]
    pub(crate) loses_loss_records: bool,
    /// Channels that broke a rule, to be logged: at most [`MAX_BROKEN`].
    broken: Vec<(DeviceId, SchemaHash, String)>,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) tenant: Tenant,
    pub(crate) id: DeviceId,
    /// What the partition of its records follows from.
    pub(crate) key_hash: u32,
    /// Of a client: what the partition of its messages follows from.
    message_hash: u32,
    pub(crate) restarts: BTreeMap<Restart, Ledger>,
    pub(crate) schemas: Schemas<SchemaState>,
    /// The agent that described it last, or that it was moved to.
    pub(crate) owner: Option<AgentId>,
    /// A record that names another owner is appended, not committed yet.
    pub(crate) is_changing_owner: bool,
}

impl Device {
    /// The partition of a topic that its records are in.
    pub(crate) fn partition(&self, routes: &Routes, topic: TopicId) -> usize {
        let is_messages = routes.definition(topic).role == Role::Messages;
        routes.partition(topic, if is_messages { self.message_hash } else { self.key_hash })
    }

    /// The schemas whose description is committed.
    pub(crate) fn known_schemas(&self) -> impl Iterator<Item = (SchemaHash, &Channels)> {
        self.schemas.iter().filter_map(|(hash, state)| match state {
            SchemaState::Known(channels) => Some((hash, &**channels)),
            SchemaState::Pending => None,
        })
    }
}

/// A schema that was described.
#[derive(Debug)]
pub(crate) enum SchemaState {
    /// Appended, not committed yet.
    Pending,
    Known(Arc<Channels>),
}

impl Devices {
    pub(crate) fn new(limits: Limits, compatibility: Compatibility, dead_letter_logs: u32) -> Self {
        let graves = (0..dead_letter_logs).map(|_| LogState::default()).collect();
        Self {
            limits,
            places: HashMap::new(),
            devices: Vec::new(),
            restarts: 0,
            graves,
            compatibility,
            binding: Binding::None,
            #[cfg(feature = "plant")]
            loses_loss_records: false,
            broken: Vec::new(),
        }
    }

    /// How many devices there are.
    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    /// What is known about a schema.
    pub(crate) fn schema(&self, tenant: Tenant, device: DeviceId, schema: SchemaHash) -> Option<&SchemaState> {
        let place = self.places.get(&(tenant, device))?;
        self.get(*place)?.schemas.get(schema)
    }

    /// The device, made if it is new and there is room for it.
    pub(crate) fn enter(&mut self, tenant: Tenant, id: DeviceId) -> Result<DeviceIndex, OverLimit> {
        if let Some(place) = self.places.get(&(tenant, id)) {
            return Ok(*place);
        }
        if self.devices.len() >= self.limits.devices.min(u32::MAX as usize) {
            return Err(OverLimit::Devices);
        }
        Ok(self.add(tenant, id))
    }

    /// The device, for recovery: what the log holds is never over a limit.
    pub(crate) fn restore(&mut self, tenant: Tenant, id: DeviceId) -> &mut Device {
        let place = self.places.get(&(tenant, id)).copied().unwrap_or_else(|| self.add(tenant, id));
        &mut self.devices[place.0 as usize]
    }

    /// Takes in what one log says, for recovery.
    pub(crate) fn absorb(&mut self, routes: &Routes, log: usize, state: LogState) {
        let ((topic, partition), role, most) = (routes.place(log), routes.role(log), self.limits.ranges_per_share);
        let compatibility = self.compatibility;
        for ((tenant, id), records) in &state.devices {
            let device = self.restore(*tenant, *id);
            let before = device.restarts.len();
            let mut register = Register::default();
            for (hash, channels) in records.schemas.iter() {
                let judged = match compatibility {
                    Compatibility::Strict => channels.judged(&mut register).0,
                    Compatibility::None => Arc::clone(channels),
                };
                let routed = judged.routed(routes.rules(), (*tenant, *id));
                device.schemas.insert(hash, SchemaState::Known(routed));
            }
            device.owner = device.owner.or(records.owner);
            for (restart, sequences) in &records.restarts {
                let ledger = device.restarts.entry(*restart).or_default();
                let set = match role {
                    Role::Readings | Role::Messages => {
                        let said = (&sequences.ranges, sequences.is_coarse);
                        ledger.shares.restore(topic, said, &ledger.stored, most);
                        &mut ledger.stored
                    }
                    Role::Loss => {
                        let settled = &sequences.settled;
                        let said = (settled.ranges(), settled.is_coarse());
                        ledger.shares.restore(topic, said, &ledger.stored, most);
                        ledger.stored.union(settled.ranges());
                        ledger.reduced += settled.count();
                        &mut ledger.lost
                    }
                    Role::DeadLetter => &mut ledger.dead,
                    Role::Describe | Role::Internal => continue,
                };
                set.union(&sequences.ranges);
                ledger.floor = ledger.floor.max(sequences.floor);
                if sequences.ended {
                    ledger.end = End::Recorded;
                }
            }
            let new = device.restarts.len() - before;
            self.restarts += new;
        }
        if role == Role::DeadLetter
            && let Some(grave) = self.graves.get_mut(partition)
        {
            *grave = state;
        }
    }

    fn add(&mut self, tenant: Tenant, id: DeviceId) -> DeviceIndex {
        let place = DeviceIndex(self.devices.len() as u32);
        let key_hash = murmur2::hash(id.as_bytes());
        let message_hash = if clients::is_one(id) { clients::key_hash(id) } else { key_hash };
        self.devices.push(Device {
            tenant,
            id,
            key_hash,
            message_hash,
            restarts: BTreeMap::new(),
            schemas: Schemas::default(),
            owner: None,
            is_changing_owner: false,
        });
        self.places.insert((tenant, id), place);
        place
    }

    /// The ledger of a restart, made if it is new and there is room for it and for one more range.
    pub(crate) fn ledger(
        &mut self,
        place: DeviceIndex,
        restart: Restart,
        range: std::ops::Range<u64>,
    ) -> Result<&mut Ledger, OverLimit> {
        let limits = self.limits;
        let device = self.devices.get_mut(place.0 as usize).ok_or(OverLimit::Devices)?;
        let own = device.restarts.len();
        let ledger = match device.restarts.entry(restart) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if own >= limits.restarts_per_device => return Err(OverLimit::Restarts),
            Entry::Vacant(_) if self.restarts >= limits.restarts => return Err(OverLimit::AllRestarts),
            Entry::Vacant(new) => {
                self.restarts += 1;
                new.insert(Ledger::default())
            }
        };
        // What is known, or closes a gap, is always let in, or a full ledger could never shrink.
        let (cost, most) = (ledger.cost(), limits.ranges_per_restart);
        if cost >= most && !ledger.extends(range.clone()) || cost >= most * IN_ORDER && !ledger.closes(range) {
            return Err(OverLimit::Ranges);
        }
        Ok(ledger)
    }

    /// Sequences of a restart are committed in a topic.
    pub(crate) fn store(&mut self, place: DeviceIndex, restart: Restart, topic: TopicId, range: std::ops::Range<u64>) {
        let most = self.limits.ranges_per_share;
        if let Some(ledger) = self.ledger_mut(place, restart) {
            ledger.store(topic, range, most);
        }
    }

    /// It is committed that the rules of an agent left sequences of a restart out.
    pub(crate) fn settle(&mut self, place: DeviceIndex, restart: Restart, ranges: &RangeSet) {
        let most = self.limits.ranges_per_share;
        if let Some(ledger) = self.ledger_mut(place, restart) {
            ledger.settle(ranges, most);
        }
    }

    /// Whether a device is not that agent's to write. The ledgers of clients are no agent's.
    pub(crate) fn is_foreign(&self, agent: AgentId, tenant: Tenant, device: DeviceId) -> bool {
        let owner = || self.get(self.place((tenant, device))?)?.owner;
        clients::is_one(device) || self.binding == Binding::FirstWriter && owner().is_some_and(|owner| owner != agent)
    }

    /// A record that names the owner of a device is committed.
    pub(crate) fn set_owner(&mut self, place: DeviceIndex, owner: AgentId) {
        if let Some(device) = self.get_mut(place) {
            (device.owner, device.is_changing_owner) = (Some(owner), false);
        }
    }

    /// The description of a schema is committed behind all that were committed before.
    pub(crate) fn describe(&mut self, place: DeviceIndex, schema: SchemaHash, channels: &Arc<Channels>) {
        let compatibility = self.compatibility;
        let Some(device) = self.devices.get_mut(place.0 as usize) else { return };
        let mut register = Register::default();
        device.known_schemas().for_each(|(_, known)| known.register(&mut register));
        let judged = match compatibility {
            Compatibility::Strict => {
                let (judged, broken) = channels.judged(&mut register);
                let told = broken.iter().map(|broken| (device.id, schema, broken.to_string()));
                self.broken.extend(told.take(MAX_BROKEN.saturating_sub(self.broken.len())));
                judged
            }
            Compatibility::None => Arc::clone(channels),
        };
        device.schemas.insert(schema, SchemaState::Known(judged));
    }

    /// Channels that broke a rule since this was asked, for the log; not all of a flood.
    pub(crate) fn take_broken(&mut self) -> Vec<(DeviceId, SchemaHash, String)> {
        std::mem::take(&mut self.broken)
    }

    /// Notes what a letter in that partition accounts for.
    pub(crate) fn bury(&mut self, partition: usize, place: DeviceIndex, restart: Restart, range: std::ops::Range<u64>) {
        let Some(device) = self.get(place).map(|device| (device.tenant, device.id)) else { return };
        if let Some(grave) = self.grave(partition) {
            grave.insert(device, restart, range);
        }
    }

    /// Takes sequences out whose records there cannot be read any more.
    pub(crate) fn unearth(&mut self, of: Origin, place: DeviceIndex, restart: Restart, range: &std::ops::Range<u64>) {
        let Some(device) = self.get(place).map(|device| (device.tenant, device.id)) else { return };
        if of.role == Role::DeadLetter
            && let Some(grave) = self.grave(of.partition)
        {
            grave.remove(device, restart, range.clone());
        }
        let Some(ledger) = self.ledger_mut(place, restart) else { return };
        match of.role {
            Role::Readings | Role::Messages => {
                ledger.forget_stored(range.clone());
                ledger.shares.remove(of.topic, range);
            }
            Role::DeadLetter => ledger.forget_dead(range.clone()),
            // What is lost or left out stays so: it is said once more.
            Role::Loss | Role::Describe | Role::Internal => {}
        }
    }

    /// The place of a device, if it is known.
    pub(crate) fn place(&self, device: (Tenant, DeviceId)) -> Option<DeviceIndex> {
        self.places.get(&device).copied()
    }

    /// How many sequences of a range are settled: stored, or left out by the agent's rules.
    pub(crate) fn stored(&self, device: (Tenant, DeviceId), restart: Restart, range: std::ops::Range<u64>) -> u64 {
        let ledger = self.place(device).and_then(|place| self.get(place)?.restarts.get(&restart));
        ledger.map_or(0, |ledger| ledger.stored.overlaps(range).map(|part| part.end - part.start).sum())
    }

    /// What this partition of the dead letters says.
    pub(crate) fn grave(&mut self, partition: usize) -> Option<&mut LogState> {
        self.graves.get_mut(partition)
    }

    /// Whether one more schema of the device has room.
    pub(crate) fn has_room_for_schema(&self, place: DeviceIndex) -> bool {
        self.get(place).is_some_and(|device| device.schemas.len() < self.limits.schemas_per_device)
    }

    pub(crate) fn get(&self, place: DeviceIndex) -> Option<&Device> {
        self.devices.get(place.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, place: DeviceIndex) -> Option<&mut Device> {
        self.devices.get_mut(place.0 as usize)
    }

    /// The ledger of a restart that was entered before.
    pub(crate) fn ledger_mut(&mut self, place: DeviceIndex, restart: Restart) -> Option<&mut Ledger> {
        self.get_mut(place)?.restarts.get_mut(&restart)
    }

    /// Every device, in the order of their places.
    pub(crate) fn all(&self) -> &[Device] {
        &self.devices
    }

    /// Every device.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.devices.iter_mut()
    }
}
