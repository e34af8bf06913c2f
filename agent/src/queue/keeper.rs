//! Keeps the queue small: checkpoints the state and removes what the gateway has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{ClassState, Queue};
use crate::counters::{Counters, Event};

/// The least time between two removals while the queue is half full and every segment counts.
const HURRY: Duration = Duration::from_millis(250);

/// Checkpoints every `checkpoint`, sooner when a segment begins or room is short, and once more when `stop` is dropped.
/// `shipped` says that the gateway took something; `room` is told when segments went.
pub async fn keep(
    queue: Arc<Queue>,
    checkpoint: Duration,
    shipped: Arc<Notify>,
    room: Arc<Notify>,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<()>,
) {
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
        let now = {
            let state = queue.state();
            let state = state.lock();
            let seen = |class: &ClassState| (class.covered, class.shipped.iter().next().map(|range| range.end));
            let classes: Vec<_> = state.classes.iter().map(seen).collect();
            (classes, state.descriptions.revision(), state.claims.sequences())
        };
        if last.as_ref() != Some(&now) {
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
