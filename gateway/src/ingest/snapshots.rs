//! Taking what a log says at one moment out of state that goes on changing.
//!
//! Guarantees: a snapshot says exactly what was committed when it began; each [`Snapshots::step`] encodes a bounded
//! number of devices, so commits do not wait for it. A device that changes before its turn is encoded first.

use hashbrown::HashSet;
use weir_protocol::RangeSet;

use super::checkpoint::Body;
use super::clients;
use super::devices::{Device, DeviceIndex, Devices};
use super::ledger::End;
use crate::topics::routes::Routes;
use crate::topics::{Role, TopicId};

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
    /// In a log of readings: for partitions of the losses, the offset behind the last record.
    pub(crate) losses: Vec<(u32, u64)>,
    /// The ends of all logs when the last of it was encoded, if something of it is coarse or left out.
    pub(crate) ends: Option<Vec<u64>>,
    /// Whether something of it is said in pages.
    pub(crate) has_pages: bool,
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

impl Snapshot {
    /// Of what a log says below `offset`; nothing is encoded yet.
    pub(crate) fn of(log: usize, offset: u64, losses: Vec<(u32, u64)>, asked: Option<u64>) -> Self {
        Self { log, offset, losses, ends: None, has_pages: false, asked, body: Vec::new() }
    }
}

impl Snapshots {
    /// Begins one of the state as it is.
    pub(crate) fn begin(&mut self, mut snapshot: Snapshot, devices: &Devices, routes: &Routes) {
        let is_running = |running: &Running| {
            running.snapshot.log == snapshot.log && running.snapshot.asked.is_none() == snapshot.asked.is_none()
        };
        if self.running.iter().any(is_running) {
            return;
        }
        if routes.role(snapshot.log) == Role::DeadLetter {
            let partition = routes.place(snapshot.log).1;
            // Few, and kept apart for each log.
            let body = devices.graves.get(partition).map(Body::of).unwrap_or_default();
            snapshot.has_pages = body.has_pages();
            snapshot.body = body.finish();
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
    pub(crate) fn before_change(&mut self, log: usize, place: DeviceIndex, devices: &Devices, routes: &Routes) {
        for running in self.running.iter_mut().filter(|running| running.snapshot.log == log) {
            let at = place.0 as usize;
            if (running.next..running.end).contains(&at)
                && running.early.insert(place.0)
                && let Some(device) = devices.get(place)
            {
                encode(&mut running.body, (log, routes), device);
            }
        }
    }

    /// Goes on with each; `ends` are those of all logs.
    pub(crate) fn step(&mut self, devices: &Devices, routes: &Routes, ends: &[u64]) {
        for running in &mut self.running {
            let log = running.snapshot.log;
            let (topic, partition) = routes.place(log);
            let end = (running.next + DEVICES_PER_STEP).min(running.end);
            for (at, device) in devices.all().iter().enumerate().take(end).skip(running.next) {
                if device.partition(routes, topic) == partition && !running.early.contains(&(at as u32)) {
                    encode(&mut running.body, (log, routes), device);
                }
            }
            running.next = end;
        }
        let done = self.running.extract_if(.., |running| running.next == running.end);
        self.done.extend(done.map(|Running { snapshot, body, .. }| {
            let ends = body.names_ends().then(|| ends.to_vec());
            Snapshot { ends, has_pages: body.has_pages(), body: body.finish(), ..snapshot }
        }));
    }

    /// Those that are finished.
    pub(crate) fn take_done(&mut self) -> Vec<Snapshot> {
        std::mem::take(&mut self.done)
    }
}

fn encode(body: &mut Body, (log, routes): (usize, &Routes), device: &Device) {
    let identity = (device.tenant, device.id);
    match routes.role(log) {
        // A client's messages are in no topic of readings, nor the other way round.
        role @ (Role::Readings | Role::Messages) if clients::is_one(device.id) != (role == Role::Messages) => {}
        Role::Readings | Role::Messages => {
            let topic = routes.place(log).0;
            for (restart, ledger) in &device.restarts {
                let floor = ledger.floor;
                match ledger.shares.of(topic, &ledger.stored) {
                    Some(share) => body.restart_of(*restart, &share.ranges, false, (floor, share.is_coarse)),
                    None => body.restart_of(*restart, const { &RangeSet::new() }, false, (floor, false)),
                }
            }
            body.end_device(identity);
        }
        Role::Loss => {
            for (restart, ledger) in &device.restarts {
                body.restart_of(*restart, &ledger.lost, ledger.end == End::Recorded, (0, false));
                if let Some(share) = ledger.shares.of(TopicId::LOSS, &ledger.stored) {
                    body.settled(*restart, &share.ranges, (ledger.reduced, share.is_coarse));
                }
            }
            body.end_device(identity);
        }
        Role::Describe => {
            body.schemas_of(identity, device.known_schemas().collect());
            body.owner(identity, device.owner);
        }
        // Kept for each log: see `begin`.
        Role::DeadLetter | Role::Internal => {}
    }
}
