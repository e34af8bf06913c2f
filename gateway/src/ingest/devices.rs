//! Every device that the log knows, its restarts and its schemas: bounded, and nothing is ever forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use weir_protocol::{DeviceId, Restart, SchemaHash, Tenant};

use super::buried::Buried;
use super::channels::Channels;
use super::ledger::Ledger;
use super::options::Limits;
use crate::topics::murmur2;

/// The place of a device in [`Devices`]; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceIndex(u32);

/// A bound of [`Limits`] is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverLimit;

#[derive(Debug)]
pub(crate) struct Devices {
    limits: Limits,
    places: HashMap<(Tenant, DeviceId), DeviceIndex>,
    devices: Vec<Device>,
    /// Descriptions that belong to no device.
    pub(crate) buried: Buried,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// What the partition of its records follows from.
    pub(crate) key_hash: u32,
    pub(crate) restarts: BTreeMap<Restart, Ledger>,
    pub(crate) schemas: BTreeMap<SchemaHash, SchemaState>,
}

/// A schema that was described.
#[derive(Debug)]
pub(crate) enum SchemaState {
    /// Appended, not committed yet.
    Pending,
    Known(Arc<Channels>),
}

impl Devices {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, places: HashMap::new(), devices: Vec::new(), buried: Buried::default() }
    }

    /// How many devices there are.
    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    /// What is known about a schema.
    pub(crate) fn schema(&self, tenant: Tenant, device: DeviceId, schema: SchemaHash) -> Option<&SchemaState> {
        let place = self.places.get(&(tenant, device))?;
        self.get(*place)?.schemas.get(&schema)
    }

    /// The device, made if it is new and there is room for it.
    pub(crate) fn enter(&mut self, tenant: Tenant, id: DeviceId) -> Result<DeviceIndex, OverLimit> {
        if let Some(place) = self.places.get(&(tenant, id)) {
            return Ok(*place);
        }
        if self.devices.len() >= self.limits.devices.min(u32::MAX as usize) {
            return Err(OverLimit);
        }
        Ok(self.add(tenant, id))
    }

    /// The device, for recovery: what the log holds is never over a limit.
    pub(crate) fn restore(&mut self, tenant: Tenant, id: DeviceId) -> &mut Device {
        let place = self.places.get(&(tenant, id)).copied().unwrap_or_else(|| self.add(tenant, id));
        &mut self.devices[place.0 as usize]
    }

    /// The ledger, for recovery.
    pub(crate) fn restore_ledger(&mut self, tenant: Tenant, id: DeviceId, restart: Restart) -> &mut Ledger {
        self.restore(tenant, id).restarts.entry(restart).or_default()
    }

    fn add(&mut self, tenant: Tenant, id: DeviceId) -> DeviceIndex {
        let place = DeviceIndex(self.devices.len() as u32);
        let key_hash = murmur2::hash(id.as_str().as_bytes());
        self.devices.push(Device { id, key_hash, restarts: BTreeMap::new(), schemas: BTreeMap::new() });
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
        let device = self.devices.get_mut(place.0 as usize).ok_or(OverLimit)?;
        if device.restarts.len() >= limits.restarts_per_device && !device.restarts.contains_key(&restart) {
            return Err(OverLimit);
        }
        let ledger = device.restarts.entry(restart).or_default();
        // A batch that closes a gap is always let in, or a full ledger could never shrink.
        if ledger.range_count() >= limits.ranges_per_restart && !ledger.extends(range) {
            return Err(OverLimit);
        }
        Ok(ledger)
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

    /// Every device.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.devices.iter_mut()
    }
}
