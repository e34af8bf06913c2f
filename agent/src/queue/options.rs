//! How the queue is kept.

use std::sync::Arc;
use std::time::Duration;

use super::{ClassOptions, DEFAULT_CLASS, Policy, QueueError, Vault};

/// How the queue is kept.
#[derive(Clone)]
pub struct QueueOptions {
    /// The most bytes that `default` takes on disk, claims included.
    pub cap: u64,
    /// What to do when `default` is full.
    pub policy: Policy,
    /// How long `default` keeps what the gateway does not take; `None` is for ever.
    pub max_age: Option<Duration>,
    /// The least time between two commits, for flash that wears.
    pub commit_interval: Duration,
    /// Seals what is written and opens what is read.
    pub vault: Arc<Vault>,
    /// The classes before `default`, the most urgent first.
    pub classes: Vec<ClassOptions>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            cap: 256 << 20,
            policy: Policy::Block,
            max_age: None,
            commit_interval: Duration::ZERO,
            vault: Arc::default(),
            classes: Vec::new(),
        }
    }
}

impl QueueOptions {
    /// As settings say.
    ///
    /// # Errors
    /// [`QueueError::Key`] if the key cannot be had.
    pub fn of(config: &crate::config::Config) -> Result<Self, QueueError> {
        let queue = &config.queue;
        let classes = queue.class.iter().map(|class| ClassOptions {
            name: *class.name.get_ref(),
            cap: class.cap.get_ref().0,
            policy: class.policy,
            max_age: class.max_age.as_ref().map(|age| age.get_ref().0),
        });
        Ok(Self {
            cap: queue.cap.get_ref().0,
            policy: queue.policy,
            max_age: queue.max_age.as_ref().map(|age| age.get_ref().0),
            commit_interval: queue.commit_interval.0,
            vault: Arc::new(Vault::of(config)?),
            classes: classes.collect(),
        })
    }

    /// How `default` is kept.
    pub(super) fn default_class(&self) -> ClassOptions {
        ClassOptions { name: DEFAULT_CLASS, cap: self.cap, policy: self.policy, max_age: self.max_age }
    }
}

impl Vault {
    /// As settings say.
    ///
    /// # Errors
    /// [`QueueError::Key`] if the key cannot be had.
    pub fn of(config: &crate::config::Config) -> Result<Self, QueueError> {
        let Some(section) = &config.queue.encryption else { return Ok(Self::clear()) };
        let (key, previous) = section.get_ref().keys()?;
        Ok(Self::with_key(key, previous)?)
    }
}
