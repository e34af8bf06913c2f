//! The feeds of the agent: one a device, whoever puts into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{RngCore, rngs::StdRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use weir_protocol::{DeviceId, Reading, Restart, Value};

use super::device::Device;
use super::{Shared, task};
use crate::intake::task::Handle;

/// The most devices that all sources together feed.
pub const MAX_FEEDS: usize = 256;
/// Readings that a feed holds in memory unless its source says otherwise.
pub const RING: usize = 4096;

/// A source names one device more than there may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {0}: sources of this agent feed {MAX_FEEDS} devices already")]
pub struct TooManyDevices(DeviceId);

/// Opens feeds and ends them.
#[derive(Clone)]
pub struct Feeds {
    registry: Arc<Mutex<Registry>>,
}

struct Registry {
    /// None: what is put stays where it is, to be looked at.
    intake: Option<Handle>,
    random: StdRng,
    feeds: BTreeMap<DeviceId, Arc<Shared>>,
    tasks: JoinSet<()>,
    /// Dropped to end the feeds.
    finish: Option<watch::Sender<()>>,
}

/// A reading that a feed holds, with what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The device.
    pub device: DeviceId,
    /// The channel.
    pub channel: String,
    /// Its unit.
    pub unit: String,
    /// When it was sampled, by which clock.
    pub at: super::SampleTime,
    /// What was measured; text is in `text`.
    pub value: Value<'static>,
    /// The value, if it is text.
    pub text: Option<String>,
}

impl Feeds {
    /// Feeds of an intake.
    pub fn new(intake: Handle, random: StdRng) -> Self {
        Self::with(Some(intake), random)
    }

    /// Feeds that keep what is put into them, for [`Self::held`].
    pub fn unlinked(random: StdRng) -> Self {
        Self::with(None, random)
    }

    fn with(intake: Option<Handle>, random: StdRng) -> Self {
        let (finish, _) = watch::channel(());
        let (feeds, tasks) = (BTreeMap::new(), JoinSet::new());
        let registry = Registry { intake, random, feeds, tasks, finish: Some(finish) };
        Self { registry: Arc::new(Mutex::new(registry)) }
    }

    /// The feed of a device, with room for at least `ring` readings. Must be called within the runtime.
    pub(super) fn open(&self, device: DeviceId, ring: usize) -> Result<Arc<Shared>, TooManyDevices> {
        let mut registry = self.registry();
        if let Some(shared) = registry.feeds.get(&device) {
            shared.device().ring.grow(ring);
            return Ok(Arc::clone(shared));
        }
        if registry.feeds.len() == MAX_FEEDS {
            return Err(TooManyDevices(device));
        }
        let restart = Restart::from_agent(registry.random.next_u64());
        let (progress, _) = watch::channel(Default::default());
        let device_end = Mutex::new(Device::new(device, restart, ring));
        let shared = Arc::new(Shared { device: device_end, filled: Notify::new(), progress });
        registry.feeds.insert(device, Arc::clone(&shared));
        let linked = registry.intake.clone().zip(registry.finish.as_ref().map(watch::Sender::subscribe));
        if let Some((intake, finish)) = linked {
            registry.tasks.spawn(task::run(Arc::clone(&shared), intake, finish));
        }
        Ok(shared)
    }

    /// The way to the intake, unless this agent stops or somebody only takes a look.
    pub(crate) fn intake(&self) -> Option<Handle> {
        self.registry().intake.clone()
    }

    /// Whether what is put goes anywhere; else somebody takes a look, and nothing is ever on disk.
    pub fn are_linked(&self) -> bool {
        self.registry().intake.is_some()
    }

    /// Ends every feed: what is put from now on is refused, and what was put is acknowledged, or given up after a
    /// while.
    pub async fn finish(&self) {
        let mut tasks = self.let_go();
        while tasks.join_next().await.is_some() {}
    }

    /// Cuts off the feeds that have not ended.
    pub async fn shutdown(&self) {
        let mut tasks = self.let_go();
        tasks.shutdown().await;
    }

    /// Lets go of the intake, which ends when nobody can reach it, and tells the feeds to finish.
    fn let_go(&self) -> JoinSet<()> {
        let mut registry = self.registry();
        (registry.intake, registry.finish) = (None, None);
        std::mem::take(&mut registry.tasks)
    }

    /// The newest reading of each channel that is held, in order.
    pub fn held(&self) -> Vec<Held> {
        let mut newest = BTreeMap::new();
        for (device, shared) in &self.registry().feeds {
            shared.device().each_held(|meaning, channel, reading| {
                newest.insert((*device, channel), held(*device, meaning, reading));
            });
        }
        newest.into_values().collect()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held(device: DeviceId, meaning: &super::channels::Meaning, reading: &Reading<'_>) -> Held {
    let (value, text) = match reading.value {
        Value::Text(text) => (Value::Text(""), Some(text.to_owned())),
        Value::Float(value) => (Value::Float(value), None),
        Value::Double(value) => (Value::Double(value), None),
        Value::Integer(value) => (Value::Integer(value), None),
        Value::Boolean(value) => (Value::Boolean(value), None),
    };
    let at = super::SampleTime { time: reading.time, clock: reading.clock };
    Held { device, channel: meaning.name.clone(), unit: meaning.unit.clone(), at, value, text }
}
