//! How the queue is kept.

use std::time::Duration;

use super::{ClassOptions, DEFAULT_CLASS, Policy};

/// How the queue is kept.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// The most bytes that `default` takes on disk, claims included.
    pub cap: u64,
    /// What to do when `default` is full.
    pub policy: Policy,
    /// How long `default` keeps what the gateway does not take; `None` is for ever.
    pub max_age: Option<Duration>,
    /// The least time between two commits, for flash that wears.
    pub commit_interval: Duration,
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
            classes: Vec::new(),
        }
    }
}

impl QueueOptions {
    /// As settings say.
    pub fn of(config: &crate::config::Config) -> Self {
        let queue = &config.queue;
        let classes = queue.class.iter().map(|class| ClassOptions {
            name: *class.name.get_ref(),
            cap: class.cap.get_ref().0,
            policy: class.policy,
            max_age: class.max_age.as_ref().map(|age| age.get_ref().0),
        });
        Self {
            cap: queue.cap.get_ref().0,
            policy: queue.policy,
            max_age: queue.max_age.as_ref().map(|age| age.get_ref().0),
            commit_interval: queue.commit_interval.0,
            classes: classes.collect(),
        }
    }

    /// How `default` is kept.
    pub(super) fn default_class(&self) -> ClassOptions {
        ClassOptions { name: DEFAULT_CLASS, cap: self.cap, policy: self.policy, max_age: self.max_age }
    }
}
