//! From a subscriber's link to its connection, counting what the router dropped in between.
//!
//! A connection that takes nothing holds its pump up, and that the router, which goes on without the link and lets
//! the oldest messages of a filter go. The router numbers the messages of a filter one after the other, so a gap in
//! the numbers is exactly what was lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rumqttd::local::LinkRx;
use rumqttd::{Forward, Notification};
use tokio::sync::mpsc;

use super::registry::Slot;
use super::{Message, Shared};

/// Moves messages until the router or the connection is gone.
pub(super) async fn run(mut link: LinkRx, queue: mpsc::Sender<Message>, shared: Arc<Shared>) {
    let mut seen = HashMap::new();
    loop {
        let forward = match link.next().await {
            Ok(Some(Notification::Forward(forward))) => forward,
            Ok(Some(Notification::Unschedule)) => match link.wake().await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Ok(_) => continue,
            Err(_) => return,
        };
        let Some(slot) = slot(&forward) else { continue };
        shared.counters.dropped.fetch_add(missing(&mut seen, slot, forward.cursor), Relaxed);
        if queue.send(Message { slot, bytes: forward.publish.payload }).await.is_err() {
            return;
        }
        shared.counters.delivered.fetch_add(1, Relaxed);
    }
}

fn slot(forward: &Forward) -> Option<Slot> {
    std::str::from_utf8(&forward.publish.topic).ok()?.parse().ok()
}

/// How many messages of a slot lie between this one and the last one seen.
fn missing(seen: &mut HashMap<Slot, u64>, slot: Slot, cursor: Option<(u64, u64)>) -> u64 {
    let Some((_segment, number)) = cursor else { return 0 };
    let before = seen.insert(slot, number);
    before.map_or(0, |before| number.saturating_sub(before + 1))
}
