//! Whether the agent gets on with its work. Health is progress, not a connection.

use std::time::Duration;

use super::View;
use crate::counters::Event;
use crate::health::SourceState;
use crate::queue::Policy;

/// Why readings are not taken now.
pub fn not_ready(view: &View) -> Vec<String> {
    let mut reasons = Vec::new();
    for (class, policy) in view.queue.ids().zip(view.queue.policies()) {
        if policy == Policy::Block && view.queue.room(class) == 0 {
            reasons.push(format!("class {} of the queue is full: devices get no credit", view.queue.name(class)));
        }
    }
    reasons
}

/// What does not get on.
pub fn stuck(view: &View) -> Vec<String> {
    let mut reasons = not_ready(view);
    for source in view.health.sources() {
        if let (SourceState::Waiting, Some(error)) = (source.state, source.last_error) {
            reasons.push(format!("source {} waits: {error}", source.id));
        }
    }
    let uplink = view.health.uplink.view();
    let silent = Duration::from_millis(uplink.silent_ms);
    if silent >= view.progress_timeout && !uplink.held_back {
        reasons.push(format!("nothing acknowledged for {} s: {}", silent.as_secs(), uplink.sentence()));
    }
    let damaged = view.counters.get(Event::QueueDamaged);
    if damaged > 0 {
        reasons.push(format!("{damaged} records of the queue cannot be read: weir-agent queue verify"));
    }
    reasons
}
