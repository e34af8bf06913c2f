//! Whether the agent gets on with its work. Health is progress, not a connection.

use super::View;
use crate::counters::Event;
use crate::health::SourceState;
use crate::queue::Policy;

/// Why readings are not taken now.
pub fn not_ready(view: &View) -> Vec<String> {
    let mut reasons: Vec<_> =
        view.queue.failing().map(|why| format!("the disk takes nothing: {why}")).into_iter().collect();
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
    reasons.extend(silence(view));
    let damaged = view.counters.get(Event::QueueDamaged);
    if damaged > 0 {
        reasons.push(format!("{damaged} records of the queue cannot be read: weir-agent queue verify"));
    }
    reasons
}

/// Nothing is acknowledged although something waits: with a connection or without one, that is no progress. What waits
/// on purpose, for its hours or for the next day's bytes, does not count.
fn silence(view: &View) -> Option<String> {
    let now = view.clock.now().as_millis();
    let uplink = view.health.uplink.view();
    let limit = view.progress_timeout.as_millis() as i64;
    let up = view.started.elapsed().as_millis() as i64;
    let waits = view.queue.facts(now).oldest_unshipped_ms?;
    let silent = uplink.last_acked.as_ref().map_or(up, |last| now.saturating_sub(last.at_ms).min(up)).min(waits);
    let is_stuck = silent >= limit && !uplink.held_back;
    is_stuck.then(|| format!("nothing acknowledged for {} s: {}", silent / 1000, uplink.sentence()))
}
