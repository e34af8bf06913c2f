//! What a TMP105 was set to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;

/// Steps of half a degree that it was set to: at most as many as the sensor has.
#[derive(Clone, Debug, Default)]
pub struct Temperatures(Arc<Mutex<Set>>);

#[derive(Debug, Default)]
struct Set {
    count: u64,
    half_degrees: BTreeSet<i64>,
}

impl Temperatures {
    /// `{"event":"temperature","millidegrees":23500}`
    pub(super) fn take(&self, event: &Json) {
        let (Some("temperature"), Some(millidegrees)) = (event["event"].as_str(), event["millidegrees"].as_i64())
        else {
            return;
        };
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.count += 1;
        set.half_degrees.insert(millidegrees.div_euclid(500));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// What a reading must be, if it is of a temperature that was set.
    pub(super) fn nearest(&self, value: Option<f32>) -> Option<(&'static str, f32)> {
        let half_degrees = (value? * 2.0).round() as i64;
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.half_degrees.contains(&half_degrees).then_some(("temperature", half_degrees as f32 / 2.0))
    }
}
