//! A full scan of the log, as any consumer could do it, and the conservation rules that it must satisfy.

use std::collections::BTreeMap;

use weir_protocol::{AgentId, DeviceId, Restart};

use crate::ingest::{NOT_BOUND, clients};
use crate::record::Value;
use crate::record::dead_letter::Format;
use crate::topics::Topics;

/// An identity; there is one tenant here.
pub(super) type Identity = (DeviceId, Restart, u64);

/// Everything in the log, by identity.
#[derive(Debug, Default)]
pub(super) struct LogContent {
    /// Value as JSON, and whether it heals.
    pub(super) readings: BTreeMap<Identity, (String, bool)>,
    /// Reason, and whether it heals.
    pub(super) dead: BTreeMap<Identity, (String, bool)>,
    /// Kind.
    pub(super) lost: BTreeMap<Identity, String>,
    /// First sequence never accepted, by restart.
    pub(super) ends: BTreeMap<(DeviceId, Restart), u64>,
    /// Dead letters as records: reason, position, original bytes.
    pub(super) letters: Vec<(String, Option<u64>, Vec<u8>)>,
    /// The same: who sent them, and what their original bytes are.
    pub(super) origins: Vec<(AgentId, Format, Vec<u8>)>,
    /// Messages as records: client, topic, payload, and whether it has an identity. Those that have are readings, too.
    pub(super) messages: Vec<(String, String, Vec<u8>, bool)>,
    /// Descriptions as records.
    pub(super) descriptions: usize,
    /// What must never be: identities that are twice in one topic, and the like.
    pub(super) violations: Vec<String>,
}

impl LogContent {
    pub(super) fn read(topics: &Topics) -> Self {
        let mut content = Self::default();
        for partition in topics.all().iter().flat_map(|topic| topic.partitions()) {
            let reader = partition.reader();
            let mut at = reader.start_offset();
            while at < reader.end_offset() {
                let chunk = reader.read(at, 1 << 20).unwrap();
                for record in chunk.records() {
                    let record = record.unwrap();
                    let value = Value::of_record(&record).unwrap();
                    content.note(value, record.key);
                }
                at = chunk.next_offset;
            }
        }
        content
    }

    pub(super) fn note(&mut self, value: Value<'_>, key: Option<&[u8]>) {
        let keyed = |device: &DeviceId| key == Some(device.as_str().as_bytes());
        match value {
            Value::Reading(reading) => {
                let channel = format!("{}/{}", reading.device, reading.channel);
                assert!(keyed(&reading.device) || key == Some(channel.as_bytes()), "the key is the device");
                let value = serde_json::to_value(&reading).unwrap()["value"].to_string();
                let identity = (reading.device, reading.restart, reading.sequence.0);
                if self.readings.insert(identity, (value, reading.heals)).is_some() {
                    self.violations.push(format!("two readings of {identity:?}"));
                }
            }
            Value::DeadLetter(letter) => {
                self.origins.push((letter.agent, letter.format, letter.original.to_vec()));
                self.letters.push((letter.reason.to_owned(), letter.position, letter.original.to_vec()));
                // What another agent sent is no verdict on the sequences.
                let is_verdict = letter.reason != NOT_BOUND;
                for span in letter.spans.into_iter().filter(|_| is_verdict) {
                    for sequence in span.start.0..span.end.0 {
                        let identity = (span.device, span.restart, sequence);
                        if self.dead.insert(identity, (letter.reason.to_owned(), span.heals)).is_some() {
                            self.violations.push(format!("two dead letters of {identity:?}"));
                        }
                    }
                }
            }
            Value::Loss(loss) => {
                assert!(keyed(&loss.device), "the key is the device");
                if let Some(from) = loss.from
                    && self.ends.insert((loss.device, loss.restart), from.0).is_some()
                {
                    self.violations.push(format!("restart {} of {} ended twice", loss.restart, loss.device));
                }
                for sequence in loss.ranges.into_iter().flatten() {
                    let identity = (loss.device, loss.restart, sequence);
                    if self.lost.insert(identity, loss.kind.to_owned()).is_some() {
                        self.violations.push(format!("two losses of {identity:?}"));
                    }
                }
            }
            Value::Message(message) => {
                let (client, topic) = (message.client.to_owned(), message.topic.to_owned());
                self.messages.push((client, topic, message.payload.to_vec(), message.identity.is_some()));
                if let Some((restart, sequence)) = message.identity {
                    let identity = (clients::device(message.client), restart, sequence.0);
                    let payload = String::from_utf8_lossy(message.payload).into_owned();
                    if self.readings.insert(identity, (payload, message.heals)).is_some() {
                        self.violations.push(format!("two messages {identity:?}"));
                    }
                }
            }
            Value::Description(_) => self.descriptions += 1,
        }
    }

    /// At most one reading, one dead letter and one loss per sequence; `heals` exactly where an earlier
    /// verdict exists. A dead letter or a loss never comes after a reading, nor a loss after a dead letter, so
    /// whatever else is in the log was earlier.
    pub(super) fn assert_conserved(&self) {
        let mut violations = self.violations.clone();
        for (identity, (_, heals)) in &self.readings {
            if *heals != (self.dead.contains_key(identity) || self.lost.contains_key(identity)) {
                violations.push(format!("reading {identity:?} says heals = {heals}"));
            }
        }
        for (identity, (_, heals)) in &self.dead {
            if *heals != self.lost.contains_key(identity) {
                violations.push(format!("dead letter {identity:?} says heals = {heals}"));
            }
        }
        assert_eq!(violations, Vec::<String>::new());
    }

    /// Readings + dead letters + losses - heals of one sequence: one, whatever happened to it.
    pub(super) fn count(&self, identity: &Identity) -> i32 {
        let reading = self.readings.get(identity).map_or(0, |(_, heals)| 1 - i32::from(*heals));
        let dead = self.dead.get(identity).map_or(0, |(_, heals)| 1 - i32::from(*heals));
        reading + dead + i32::from(self.lost.contains_key(identity))
    }

    /// The sequences of one restart among `all`.
    pub(super) fn sequences<T>(all: &BTreeMap<Identity, T>, device: DeviceId, restart: u64) -> Vec<u64> {
        let own = |(identity, _): (&Identity, &T)| {
            ((identity.0, identity.1) == (device, Restart(restart))).then_some(identity.2)
        };
        all.iter().filter_map(own).collect()
    }
}
