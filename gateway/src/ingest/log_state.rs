//! What the records of one log say, whichever of them are still there: what a checkpoint holds.
//!
//! A log of readings or of messages says S, a loss log L, what was left out, and which restarts ended, a dead-letter log D and which descriptions it holds,
//! a describe log the schemas and the owners. The state of the gateway is the union over all logs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use weir_protocol::batch::LossKind;
use weir_protocol::{AgentId, DeviceId, RangeSet, Restart, Tenant};
use weir_storage::Chunk;

use super::NOT_BOUND;
use super::buried::{Buried, Remains};
use super::channels::Channels;
use super::clients;
use super::schemas::Schemas;
use super::settled::Settled;
use super::shares;
use crate::record::Value;
use crate::record::dead_letter::Format;
use crate::record::loss::TAIL_UNKNOWN;
use crate::topics::Role;

/// A device, scoped by its tenant.
pub(crate) type Device = (Tenant, DeviceId);

/// What the records of one log say.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    pub(crate) devices: HashMap<Device, DeviceRecords>,
    pub(crate) buried: Buried,
    /// It came from a checkpoint that does not say in which order the schemas of a device were described.
    pub(crate) is_unordered: bool,
    /// It came from a checkpoint that does not say who described the devices.
    pub(crate) is_unowned: bool,
}

/// What they say about one device.
#[derive(Debug, Default)]
pub(crate) struct DeviceRecords {
    pub(crate) restarts: BTreeMap<Restart, Sequences>,
    pub(crate) schemas: Schemas<Arc<Channels>>,
    /// Who described it last.
    pub(crate) owner: Option<AgentId>,
}

/// What they say about one restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequences {
    /// Stored, lost or dead-lettered, as the log is.
    pub(crate) ranges: RangeSet,
    /// Whether the restart ended with an unknown tail.
    pub(crate) ended: bool,
    /// Below this nobody knows what was stored: both checkpoints were lost, and the records were removed.
    pub(crate) floor: u64,
    /// The ranges cover what the log holds, and some of them may be in other topics: see [`super::shares`].
    pub(crate) is_coarse: bool,
    /// Of a loss log: what the rules of agents left out. It is not among the ranges.
    pub(crate) settled: Settled,
}

/// Sequences by device and restart.
pub(crate) type Identities = BTreeMap<(Device, Restart), RangeSet>;

impl LogState {
    /// What is said about one restart, to add to.
    pub(crate) fn sequences(&mut self, device: Device, restart: Restart) -> &mut Sequences {
        self.devices.entry(device).or_default().restarts.entry(restart).or_default()
    }

    /// Adds the sequences of one restart.
    pub(crate) fn insert(&mut self, device: Device, restart: Restart, range: Range<u64>) {
        self.sequences(device, restart).ranges.insert(range);
    }

    /// Takes sequences out, such as those of damaged records.
    pub(crate) fn remove(&mut self, device: Device, restart: Restart, range: Range<u64>) {
        let known = self.devices.get_mut(&device).and_then(|records| records.restarts.get_mut(&restart));
        if let Some(sequences) = known {
            sequences.ranges.remove(range);
        }
    }

    /// Adds the records of a chunk below `upto` that are ours.
    pub(crate) fn note_below(&mut self, chunk: &Chunk, upto: u64) {
        for record in chunk.records().filter_map(Result::ok).filter(|record| record.offset < upto) {
            if let Ok(value) = Value::of_record(&record) {
                self.add(&value);
            }
        }
    }

    /// Adds one record.
    pub(crate) fn add(&mut self, value: &Value<'_>) {
        match value {
            Value::Reading(reading) => {
                let range = reading.sequence.0..reading.sequence.0.saturating_add(1);
                self.insert((reading.tenant, reading.device), reading.restart, range);
            }
            Value::Message(message) => {
                if let Some((restart, sequence)) = message.identity {
                    let device = (message.tenant, clients::device(message.client));
                    self.insert(device, restart, sequence.0..sequence.0.saturating_add(1));
                }
            }
            Value::Loss(loss) => {
                let sequences = self.sequences((loss.tenant, loss.device), loss.restart);
                sequences.ended |= loss.kind == TAIL_UNKNOWN;
                let is_settled = loss.kind == LossKind::Reduced.as_str();
                for range in loss.ranges.iter().cloned() {
                    match is_settled {
                        true => sequences.settled.insert(range),
                        false => sequences.ranges.insert(range),
                    }
                }
            }
            Value::DeadLetter(letter) => {
                let is_foreign = letter.reason == NOT_BOUND;
                if letter.format == Format::Description || is_foreign {
                    self.buried.insert(Remains::of(letter.tenant, letter.agent, letter.original));
                }
                // What another agent sent is no verdict on the sequences.
                for span in letter.spans.iter().filter(|_| !is_foreign) {
                    self.insert((letter.tenant, span.device), span.restart, span.start.0..span.end.0);
                }
            }
            Value::Description(description) => {
                let channels = Channels::new(&description.channels).into();
                let records = self.devices.entry((description.tenant, description.device)).or_default();
                records.schemas.insert(description.schema, channels);
                records.owner = Some(description.agent);
            }
        }
    }

    /// Adds schemas that are not here in front of those that are.
    pub(crate) fn insert_older_schemas(&mut self, older: Self) {
        for (device, records) in older.devices {
            self.devices.entry(device).or_default().schemas.insert_in_front(records.schemas);
        }
    }

    /// Makes what of S takes more than `most` ranges of a restart coarse: a superset, of which only what `said` says
    /// counts. Whether anything is coarse then.
    pub(crate) fn coarsen(&mut self, role: Role, said: &Self, most: usize) -> bool {
        let mut any = false;
        for (device, records) in &mut self.devices {
            for (restart, sequences) in &mut records.restarts {
                sequences.settled.coarsen(said.settled(*device, *restart), most);
                if role.is_stored() && sequences.ranges.range_count() > most {
                    sequences.is_coarse = true;
                    let wider = shares::coarse(&sequences.ranges, most / 2);
                    sequences.ranges =
                        said.of(*device, *restart).map_or(RangeSet::new(), |said| wider.intersection(&said.ranges));
                }
                any |= sequences.has_coarse();
            }
        }
        any
    }

    /// The sequences that are here and neither in `gone` nor in `readable`, of restarts that are known exactly.
    pub(crate) fn without(&self, gone: &Self, readable: &Self) -> Identities {
        let mut left = Identities::new();
        for (device, records) in &self.devices {
            for (restart, sequences) in &records.restarts {
                let others = [gone, readable].map(|other| other.of(*device, *restart));
                let mut rest = RangeSet::new();
                if !sequences.is_coarse && others.iter().flatten().all(|other| !other.is_coarse) {
                    rest = minus(&sequences.ranges, others.map(|other| other.map(|other| &other.ranges)));
                }
                let settled = others.map(|other| other.map(|other| &other.settled));
                if !sequences.settled.is_coarse() && settled.iter().flatten().all(|other| !other.is_coarse()) {
                    let others = settled.map(|other| other.map(Settled::ranges));
                    rest.union(&minus(sequences.settled.ranges(), others));
                }
                if !rest.is_empty() {
                    left.insert((*device, *restart), rest);
                }
            }
        }
        left
    }

    /// Whether anything is known only roughly.
    pub(crate) fn has_coarse(&self) -> bool {
        let restarts = self.devices.values().flat_map(|records| records.restarts.values());
        restarts.into_iter().any(Sequences::has_coarse)
    }

    /// What is said about one restart, if anything is.
    pub(crate) fn of(&self, device: Device, restart: Restart) -> Option<&Sequences> {
        self.devices.get(&device)?.restarts.get(&restart)
    }

    fn settled(&self, device: Device, restart: Restart) -> Option<&Settled> {
        Some(&self.of(device, restart)?.settled)
    }
}

impl Sequences {
    fn has_coarse(&self) -> bool {
        self.is_coarse || self.settled.is_coarse()
    }
}

/// What is in none of the others.
fn minus(all: &RangeSet, others: [Option<&RangeSet>; 2]) -> RangeSet {
    let [one, other] = others.map(|other| other.unwrap_or(const { &RangeSet::new() }));
    all.iter().flat_map(|range| one.gaps(range)).flat_map(|range| other.gaps(range)).collect()
}
