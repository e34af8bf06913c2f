//! One sample of everything: values with their names and units, and the names of what could not be read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use weir_protocol::{Value, ValueKind};

use super::{disks, network, proc, sensors};
use crate::source::clock::SampleTime;
use crate::source::feed::Sample;

/// One value, or a channel that has none yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// A short name, unique on this machine.
    pub name: String,
    /// A UCUM code.
    pub unit: &'static str,
    /// The kind of its values.
    pub kind: ValueKind,
    /// The smallest step, 0 if unknown.
    pub resolution: f32,
    /// Never text.
    pub value: Option<Value<'static>>,
}

impl Measurement {
    /// As a feed takes it, if it has a value.
    pub(super) fn sample(&self, at: SampleTime) -> Option<Sample<'_>> {
        let Self { name, unit, resolution, value, .. } = self;
        Some(Sample { name, unit, resolution: *resolution, value: (*value)?, at })
    }
}

/// Everything that could be measured, and what could not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// The values.
    pub measured: Vec<Measurement>,
    /// What could not be read, by channel or file, and why.
    pub failed: BTreeMap<String, String>,
}

/// Samples this machine.
pub struct Sampler {
    root: PathBuf,
    disks: Vec<PathBuf>,
    /// Processor time at the last sample.
    busy: Option<proc::CpuTime>,
}

/// Where the parts put what they measure.
pub(super) struct Sink<'a> {
    sampled: &'a mut Sampled,
}

impl Sampler {
    /// Samples what is below `root`, and the filesystems in `disks`.
    pub fn new(root: PathBuf, disks: Vec<PathBuf>) -> Self {
        Self { root, disks, busy: None }
    }

    /// Everything that can be measured now.
    pub fn sample(&mut self) -> Sampled {
        let mut sampled = Sampled::default();
        let mut sink = Sink { sampled: &mut sampled };
        proc::sample(&self.root, &mut self.busy, &mut sink);
        disks::sample(&self.root, &self.disks, &mut sink);
        network::sample(&self.root, &mut sink);
        sensors::sample(&self.root, &mut sink);
        sampled
    }
}

impl Sink<'_> {
    /// A number that something counts.
    pub(super) fn integer(&mut self, name: &str, unit: &'static str, value: Option<i64>) {
        self.put(name, unit, ValueKind::Integer, 1.0, value.map(Value::Integer));
    }

    /// A measured quantity.
    pub(super) fn double(&mut self, name: &str, unit: &'static str, resolution: f32, value: Option<f64>) {
        self.put(name, unit, ValueKind::Double, resolution, value.map(Value::Double));
    }

    /// Notes that something exists and could not be read.
    pub(super) fn failed(&mut self, name: &str, reason: impl Display) {
        self.sampled.failed.insert(name.to_owned(), reason.to_string());
    }

    /// Names a channel that has no value yet.
    pub(super) fn channel(&mut self, name: &str, unit: &'static str, kind: ValueKind, resolution: f32) {
        self.sampled.measured.push(Measurement { name: name.to_owned(), unit, kind, resolution, value: None });
    }

    fn put(&mut self, name: &str, unit: &'static str, kind: ValueKind, resolution: f32, value: Option<Value<'static>>) {
        if value.is_none() {
            return self.failed(name, "no number where the kernel documents one");
        }
        self.sampled.measured.push(Measurement { name: name.to_owned(), unit, kind, resolution, value });
    }
}
