//! Keeps the queue small: checkpoints the state, and removes what the gateway has and what is too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use weir_protocol::time::WallClock;

use super::{ClassState, Now, Queue};
use crate::counters::{Counters, Event};

/// The least time between two removals while the queue is half full and every segment counts.
const HURRY: Duration = Duration::from_millis(250);
/// Seconds after which the state is saved although nothing but the age of readings changed.
const AGES: u64 = 3600;

/// Checkpoints every `checkpoint`, sooner when a segment begins or room is short, and once more when `stop` is dropped.
/// `shipped` says that the gateway took something; `room` is told when segments went.
pub async fn keep(
    queue: Arc<Queue>,
    checkpoint: Duration,
    clock: Arc<dyn WallClock>,
    shipped: Arc<Notify>,
    room: Arc<Notify>,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<()>,
) {
    let opened = Instant::now();
    let mut last = None;
    let mut due_at = Instant::now() + checkpoint;
    loop {
        let stopped = tokio::select! {
            _ = stop.changed() => true,
            () = sleep_until(due_at) => false,
            // What opening reads on top of the state stays small.
            () = queue.rolled().notified() => false,
            () = shipped.notified() => {
                if !queue.is_half_full() {
                    continue;
                }
                sleep(HURRY).await;
                false
            }
        };
        due_at = Instant::now() + checkpoint;
        queue.age(Now { elapsed: opened.elapsed(), wall_ms: clock.now().as_millis() });
        if queue.keeps_ages() {
            expire(&queue, &counters).await;
        }
        let now = {
            let state = queue.state();
            let state = state.lock();
            let seen = |class: &ClassState| (class.covered, class.shipped.iter().next().map(|range| range.end));
            let classes: Vec<_> = state.classes.iter().map(seen).collect();
            (classes, state.descriptions.revision(), state.claims.sequences(), opened.elapsed().as_secs() / AGES)
        };
        if last.as_ref() != Some(&now) || stopped {
            let working = Arc::clone(&queue);
            match tokio::task::spawn_blocking(move || working.trim()).await {
                Ok(Ok(())) => last = Some(now),
                Ok(Err(error)) => counters.warn(Event::TrimFailed, || error.to_string()),
                Err(_) => {}
            }
            room.notify_one();
        }
        if stopped {
            return;
        }
    }
}

/// Lets go what is older than its class keeps it.
async fn expire(queue: &Arc<Queue>, counters: &Counters) {
    let working = Arc::clone(queue);
    match tokio::task::spawn_blocking(move || working.expire()).await {
        Ok(Ok(dropped)) => {
            counters.add(Event::SegmentsExpired, dropped.segments);
            counters.add(Event::ReadingsExpired, dropped.readings);
            counters.add(Event::ClaimsCoarsened, dropped.coarser.into());
        }
        Ok(Err(error)) => counters.warn(Event::DropFailed, || error.to_string()),
        Err(_) => {}
    }
}
