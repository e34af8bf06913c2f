//! A running queue in numbers, for whoever asks how it is.

use serde::{Deserialize, Serialize};

use super::{Class, ClassId, Queue};

/// The queue now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which life of the queue this is.
    pub incarnation: String,
    /// Records committed that the gateway is not known to have.
    pub unshipped: u64,
    /// Records ever committed.
    pub next_offset: u64,
    /// Bytes on disk.
    pub allocated: u64,
    /// The most bytes on disk.
    pub cap: u64,
    /// What happens when `default` is full.
    pub policy: String,
    /// Sequences in claims that wait beside the logs.
    pub claimed: u64,
    /// Age of the oldest record that the gateway is not known to have, in milliseconds.
    pub oldest_unshipped_ms: Option<i64>,
    /// Each class, `default` first; the numbers above are of all of them.
    #[serde(default)]
    pub classes: Vec<ClassFacts>,
}

/// One class now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassFacts {
    /// What it is called.
    pub name: String,
    /// Records committed that the gateway is not known to have.
    pub unshipped: u64,
    /// The offset that the next record takes.
    pub next_offset: u64,
    /// Bytes on disk.
    pub allocated: u64,
    /// The most bytes on disk.
    pub cap: u64,
    /// What happens when it is full.
    pub policy: String,
    /// Age of the oldest record that the gateway is not known to have, in milliseconds.
    pub oldest_unshipped_ms: Option<i64>,
}

impl Queue {
    /// The queue now; `now_ms` is in milliseconds since 1970. Reads one record of each class.
    pub fn facts(&self, now_ms: i64) -> Facts {
        let classes: Vec<ClassFacts> = self.ids().map(|class| self.facts_of(class, now_ms)).collect();
        let state = self.state.lock();
        Facts {
            incarnation: state.incarnation.to_string(),
            unshipped: classes.iter().map(|class| class.unshipped).sum(),
            next_offset: classes.iter().map(|class| class.next_offset).sum(),
            allocated: classes.iter().map(|class| class.allocated).sum(),
            cap: classes.iter().map(|class| class.cap).sum(),
            policy: self.options.policy.as_str().to_owned(),
            claimed: state.claims.sequences(),
            oldest_unshipped_ms: classes.iter().filter_map(|class| class.oldest_unshipped_ms).max(),
            classes,
        }
    }

    fn facts_of(&self, class: ClassId, now_ms: i64) -> ClassFacts {
        let Class { options, log } = &self.classes[class.index()];
        let reader = &log.reader;
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let (first, unshipped) = {
            let state = self.state.lock();
            let state = state.of(class);
            let first = state.first_unshipped(start).min(end);
            (first, state.shipped.gaps(first..end).map(|gap| gap.end - gap.start).sum())
        };
        let oldest = (first < end).then(|| reader.read(first, 1).ok()).flatten();
        let oldest_ms = oldest.and_then(|chunk| chunk.records().flatten().next().map(|record| record.timestamp_ms));
        ClassFacts {
            name: options.name.to_string(),
            unshipped,
            next_offset: end,
            allocated: reader.allocated(),
            cap: options.cap,
            policy: options.policy.as_str().to_owned(),
            oldest_unshipped_ms: oldest_ms.map(|at| now_ms.saturating_sub(at)),
        }
    }
}
