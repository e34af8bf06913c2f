//! One sample of everything, and the channels that it names.
//!
//! A channel keeps its id for as long as the agent runs; one that shows up later (a plugged network adapter)
//! is added at the end, which makes a new description. At most [`MAX_CHANNELS`] are kept.

use std::path::PathBuf;

use weir_protocol::channel::MAX_CHANNELS;
use weir_protocol::{Channel, ChannelId, Value, ValueKind, items};

use super::{disks, network, proc, sensors};
use crate::counters::{Counters, Event};

/// What a channel is called and measured in.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// A short name, unique on this machine.
    pub name: String,
    /// A UCUM code.
    pub unit: &'static str,
    /// The kind of its values.
    pub kind: ValueKind,
    /// The smallest step, 0 if unknown.
    pub resolution: f32,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Of which channel.
    pub channel: ChannelId,
    /// Never text.
    pub value: Value<'static>,
}

/// Samples this machine.
pub struct Sampler {
    root: PathBuf,
    disks: Vec<PathBuf>,
    meanings: Vec<Meaning>,
    /// Processor time at the last sample.
    busy: Option<proc::CpuTime>,
}

/// Where sources put what they measure.
pub(super) struct Sink<'a> {
    meanings: &'a mut Vec<Meaning>,
    measured: Vec<Measurement>,
    failed: u64,
}

impl Sampler {
    /// Samples what is below `root`, and the filesystems in `disks`.
    pub fn new(root: PathBuf, disks: Vec<PathBuf>) -> Self {
        Self { root, disks, meanings: Vec::new(), busy: None }
    }

    /// Everything that can be measured now; what cannot is counted.
    pub fn sample(&mut self, counters: &Counters) -> Vec<Measurement> {
        let mut sink = Sink { meanings: &mut self.meanings, measured: Vec::new(), failed: 0 };
        proc::sample(&self.root, &mut self.busy, &mut sink);
        disks::sample(&self.root, &self.disks, &mut sink);
        network::sample(&self.root, &mut sink);
        sensors::sample(&self.root, &mut sink);
        let failed = sink.failed;
        if failed > 0 {
            counters.warn(Event::SourceFailed, || format!("{failed} values of this machine could not be read"));
        }
        sink.measured
    }

    /// What a channel means.
    pub fn meaning(&self, channel: ChannelId) -> Option<&Meaning> {
        self.meanings.get(usize::from(channel.0))
    }

    /// The encoded description.
    pub fn channels(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (id, meaning) in (0..).map(ChannelId).zip(&self.meanings) {
            let Meaning { name, unit, kind, resolution } = meaning;
            items::push(&mut encoded, &Channel { id, name, unit, kind: *kind, resolution: *resolution });
        }
        encoded
    }
}

impl Sink<'_> {
    /// A number that something counts.
    pub(super) fn integer(&mut self, name: &str, unit: &'static str, value: Option<i64>) {
        self.put(name, unit, 1.0, value.map(Value::Integer));
    }

    /// A measured quantity.
    pub(super) fn double(&mut self, name: &str, unit: &'static str, resolution: f32, value: Option<f64>) {
        self.put(name, unit, resolution, value.map(Value::Double));
    }

    /// Notes that a source exists and could not be read.
    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    /// Names a channel that has no value yet; none if there are too many.
    pub(super) fn channel(
        &mut self,
        name: &str,
        unit: &'static str,
        kind: ValueKind,
        resolution: f32,
    ) -> Option<ChannelId> {
        let name = clean(name);
        let at = match self.meanings.iter().position(|meaning| meaning.name == name) {
            Some(at) => at,
            None if self.meanings.len() == MAX_CHANNELS => return None,
            None => {
                self.meanings.push(Meaning { name, unit, kind, resolution });
                self.meanings.len() - 1
            }
        };
        Some(ChannelId(at as u16))
    }

    fn put(&mut self, name: &str, unit: &'static str, resolution: f32, value: Option<Value<'static>>) {
        let Some(value) = value else { return self.failed() };
        match self.channel(name, unit, value.kind(), resolution) {
            Some(channel) => self.measured.push(Measurement { channel, value }),
            None => self.failed(),
        }
    }
}

/// Channel names are at most 64 bytes; what is no letter, digit, dot, dash or underscore becomes `_`.
fn clean(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}
