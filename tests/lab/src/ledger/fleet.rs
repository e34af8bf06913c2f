//! Devices that the lab drives by itself, by number: as many as there may be, noted without a look-up each.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_protocol::identity::{DeviceId, Restart};

use super::{Facts, RestartKey};

/// A shared handle of one restart of each of many devices.
#[derive(Clone, Debug)]
pub struct Fleet {
    pages: Arc<Pages>,
    promises: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Pages {
    restart: Restart,
    devices: Vec<DeviceId>,
    facts: Mutex<Vec<Facts>>,
}

impl Pages {
    fn lock(&self) -> MutexGuard<'_, Vec<Facts>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of everything known.
    pub(super) fn copy(&self) -> Vec<(RestartKey, Facts)> {
        let facts = self.lock();
        self.devices.iter().zip(facts.iter()).map(|(device, facts)| ((*device, self.restart), facts.clone())).collect()
    }

    /// How many devices it has.
    pub(super) fn len(&self) -> usize {
        self.devices.len()
    }
}

impl Fleet {
    pub(super) fn new(restart: Restart, devices: Vec<DeviceId>, promises: watch::Sender<u64>) -> (Self, Arc<Pages>) {
        let fresh = Facts { driven: true, ..Facts::default() };
        let facts = Mutex::new(vec![fresh; devices.len()]);
        let pages = Arc::new(Pages { restart, devices, facts });
        (Self { pages: Arc::clone(&pages), promises }, pages)
    }

    /// Who the device of this number is, and its restart.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn key(&self, device: u32) -> RestartKey {
        (self.pages.devices[device as usize], self.pages.restart)
    }

    /// Readings go out to the gateway, device by device.
    pub fn sent(&self, runs: impl Iterator<Item = (u32, Range<u64>)>) {
        let mut pages = self.pages.lock();
        for (device, run) in runs {
            if let Some(facts) = pages.get_mut(device as usize) {
                facts.published(run.clone());
                facts.sent.insert(run);
            }
        }
    }

    /// The gateway acknowledged readings, device by device.
    pub fn acknowledged(&self, runs: impl Iterator<Item = (u32, Range<u64>)>) {
        let mut pages = self.pages.lock();
        for (device, run) in runs {
            if let Some(facts) = pages.get_mut(device as usize) {
                facts.gateway_acked.insert(run);
            }
        }
        drop(pages);
        self.promises.send_modify(|n| *n += 1);
    }
}
