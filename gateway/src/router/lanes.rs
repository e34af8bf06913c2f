//! Lanes: the ways from the router to the subscribers' mailboxes.
//!
//! A link of rumqttd reserves some 100 kB, and what it keeps per filter never goes; so there are [`LANES`] links with
//! one filter each, and every subscriber belongs to one of them. The router carries numbers of turns; who gets which
//! message of a turn stands in the turn.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use bytes::{Buf, Bytes};
use rumqttd::Notification;
use rumqttd::local::LinkRx;
use tokio::sync::Notify;

use super::Shared;
use super::turn::Turn;

/// How many lanes there are.
pub(super) const LANES: usize = 4;

/// What went into each lane and what came out.
#[derive(Debug, Default)]
pub(super) struct Progress {
    lanes: [Lane; LANES],
    /// Something came out.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Lane {
    sent: AtomicU64,
    arrived: AtomicU64,
}

/// What the router carries through a lane: the number of this on its lane, and that of the turn; [`PROBE`] for none.
pub(super) fn token(sent: u64, turn: u64) -> Bytes {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&sent.to_be_bytes());
    token[8..].copy_from_slice(&turn.to_be_bytes());
    Bytes::copy_from_slice(&token)
}

/// The number of no turn: it only shows that the lane works.
pub(super) const PROBE: u64 = u64::MAX;

impl Progress {
    /// Counts one more that goes into a lane: its number there.
    pub(super) fn send(&self, lane: usize) -> u64 {
        self.lanes[lane].sent.fetch_add(1, AcqRel) + 1
    }

    /// Whether everything that went into a lane came out.
    pub(super) fn has_arrived(&self, lane: usize) -> bool {
        self.lanes[lane].arrived.load(Acquire) == self.lanes[lane].sent.load(Acquire)
    }

    /// Waits until everything came out of all lanes.
    pub(super) async fn all_arrived(&self) {
        while !(0..LANES).all(|lane| self.has_arrived(lane)) {
            self.moved.notified().await;
        }
    }

    /// Gives up what is still in a lane; whether there was anything.
    pub(super) fn give_up(&self, lane: usize) -> bool {
        let sent = self.lanes[lane].sent.load(Acquire);
        self.lanes[lane].arrived.swap(sent, AcqRel) != sent
    }

    /// Counts what came out; whether nothing in front of it is missing.
    fn arrive(&self, lane: usize, number: u64) -> bool {
        self.lanes[lane].arrived.swap(number, AcqRel) + 1 == number
    }
}

/// Hands out what comes through one lane, until the router is gone.
pub(super) async fn run(lane: usize, mut link: LinkRx, shared: Arc<Shared>) {
    loop {
        let mut token = match link.next().await {
            Ok(Some(Notification::Forward(forward))) => forward.publish.payload,
            Ok(Some(Notification::Unschedule)) => match link.wake().await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Ok(_) => continue,
            Err(_) => return,
        };
        let (Ok(number), Ok(turn)) = (token.try_get_u64(), token.try_get_u64()) else { continue };
        let turn = (turn != PROBE).then(|| shared.kept.get(turn));
        // Handed out first: who sees that it arrived may believe that it is in the mailboxes.
        match turn {
            None => (),
            Some(Some(turn)) => hand_out(lane, &turn, &shared),
            // It went before it came here.
            Some(None) => shared.gap(lane),
        }
        if !shared.progress.arrive(lane, number) {
            shared.gap(lane);
        }
        shared.progress.moved.notify_one();
    }
}

fn hand_out(lane: usize, turn: &Arc<Turn>, shared: &Shared) {
    let mut lost = 0;
    if let Some(everybody) = &turn.gap {
        lost += everybody[lane].iter().map(|mailbox| mailbox.push_gap()).sum::<u64>();
    }
    for delivery in &turn.deliveries[lane] {
        lost += delivery.to.iter().map(|mailbox| mailbox.push(delivery.part(turn))).sum::<u64>();
    }
    shared.counters.dropped.fetch_add(lost, Relaxed);
}
