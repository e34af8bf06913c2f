//! Parts of a source that cannot be read, named when that begins.

use std::collections::BTreeMap;

use super::Context;
use crate::counters::Event;

/// What cannot be read now, by channel or file, and why.
#[derive(Debug, Default)]
pub(super) struct Failures {
    now: BTreeMap<String, String>,
}

impl Failures {
    /// Counts what failed this time, and names in health and in the log what did not fail last time.
    pub(super) fn note(&mut self, context: &Context, failed: BTreeMap<String, String>) {
        context.counters.add(Event::SourceFailed, failed.len() as u64);
        let id = context.report.id();
        for (channel, reason) in failed.iter().filter(|(channel, _)| !self.now.contains_key(*channel)) {
            tracing::warn!(source = id, channel, reason, "cannot be read");
            context.report.error(format!("{channel}: {reason}"));
        }
        for channel in self.now.keys().filter(|channel| !failed.contains_key(*channel)) {
            tracing::info!(source = id, channel, "can be read again, or is gone");
        }
        self.now = failed;
    }
}
