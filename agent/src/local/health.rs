//! Whether the agent gets on with its work. Health is progress, not a connection.

use super::View;
use crate::counters::Event;
use crate::queue::Policy;

/// Why readings are not taken now.
pub fn not_ready(view: &View) -> Vec<String> {
    let options = view.queue.options();
    let mut reasons = Vec::new();
    if options.policy == Policy::Block && view.queue.room() == 0 {
        reasons.push(format!("the queue is full ({} bytes): devices get no credit", options.cap));
    }
    reasons
}

/// What does not get on.
pub fn stuck(view: &View) -> Vec<String> {
    let mut reasons = not_ready(view);
    let damaged = view.counters.get(Event::QueueDamaged);
    if damaged > 0 {
        reasons.push(format!("{damaged} records of the queue cannot be read: weir-agent queue verify"));
    }
    reasons
}
