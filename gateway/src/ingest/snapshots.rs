//! Taking what a log says at one moment out of state that goes on changing.
//!
//! Guarantees: a snapshot says exactly what was committed when it began; each [`Snapshots::step`] encodes a bounded
//! number of devices, so commits do not wait for it. A device that changes before its turn is encoded first.

use hashbrown::HashSet;

use super::checkpoint::Body;
use super::devices::{Device, DeviceIndex, Devices};
use super::ledger::End;
use crate::topics::TopicId;
use crate::topics::layout::Routes;

/// Devices encoded in one step.
const DEVICES_PER_STEP: usize = 4096;

/// The snapshots under way: at most two of a log, one because it rolled and one that somebody asked for.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    running: Vec<Running>,
    done: Vec<Snapshot>,
}

/// What all records of a log below an offset say.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) log: usize,
    pub(crate) offset: u64,
    /// The offset behind the last record of the loss log of the same partition.
    pub(crate) loss_offset: u64,
    /// Who asked for it; `None` if the log rolled.
    pub(crate) asked: Option<u64>,
    /// The entries of its checkpoint.
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    snapshot: Snapshot,
    body: Body,
    /// Devices before this are encoded.
    next: usize,
    /// Devices known when it began; the later ones have nothing in it.
    end: usize,
    /// Devices encoded before their turn.
    early: HashSet<u32>,
}

impl Snapshots {
    /// Begins one of the state as it is.
    pub(crate) fn begin(&mut self, mut snapshot: Snapshot, devices: &Devices, routes: Routes) {
        let is_running = |running: &Running| {
            running.snapshot.log == snapshot.log && running.snapshot.asked.is_none() == snapshot.asked.is_none()
        };
        if self.running.iter().any(is_running) {
            return;
        }
        let (topic, partition) = routes.place(snapshot.log);
        if topic == TopicId::DeadLetter {
            // Few, and kept apart for each log.
            snapshot.body = devices.graves.get(partition).map(|grave| Body::of(grave).finish()).unwrap_or_default();
            self.done.push(snapshot);
            return;
        }
        let (end, early) = (devices.len(), HashSet::new());
        self.running.push(Running { snapshot, body: Body::default(), next: 0, end, early });
    }

    /// Whether there is something to do in [`Snapshots::step`].
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// What a log says about a device is about to change.
    pub(crate) fn before_change(&mut self, log: usize, place: DeviceIndex, devices: &Devices, routes: Routes) {
        for running in self.running.iter_mut().filter(|running| running.snapshot.log == log) {
            let at = place.0 as usize;
            if (running.next..running.end).contains(&at)
                && running.early.insert(place.0)
                && let Some(device) = devices.get(place)
            {
                encode(&mut running.body, routes.place(log).0, device);
            }
        }
    }

    /// Goes on with each.
    pub(crate) fn step(&mut self, devices: &Devices, routes: Routes) {
        for running in &mut self.running {
            let (topic, partition) = routes.place(running.snapshot.log);
            let end = (running.next + DEVICES_PER_STEP).min(running.end);
            for (at, device) in devices.all().iter().enumerate().take(end).skip(running.next) {
                if routes.partition(device.key_hash) == partition && !running.early.contains(&(at as u32)) {
                    encode(&mut running.body, topic, device);
                }
            }
            running.next = end;
        }
        let done = self.running.extract_if(.., |running| running.next == running.end);
        self.done.extend(done.map(|Running { snapshot, body, .. }| Snapshot { body: body.finish(), ..snapshot }));
    }

    /// Those that are finished.
    pub(crate) fn take_done(&mut self) -> Vec<Snapshot> {
        std::mem::take(&mut self.done)
    }
}

fn encode(body: &mut Body, topic: TopicId, device: &Device) {
    let identity = (device.tenant, device.id);
    match topic {
        TopicId::Readings => {
            for (restart, ledger) in &device.restarts {
                body.restart(*restart, &ledger.stored, false, ledger.floor);
            }
            body.end_device(identity);
        }
        TopicId::Loss => {
            for (restart, ledger) in &device.restarts {
                body.restart(*restart, &ledger.lost, ledger.end == End::Recorded, 0);
            }
            body.end_device(identity);
        }
        TopicId::Describe => body.schemas_of(identity, device.known_schemas().collect()),
        // Kept for each log: see `begin`.
        TopicId::DeadLetter => {}
    }
}
