//! What systemd is told (sd_notify(3)): that the agent is ready, reloads or stops, how it is, and that it lives.
//!
//! Guarantees: without `NOTIFY_SOCKET` nothing happens; the watchdog is answered only while the main loop and the intake
//! really make progress, because the answer is a message that went through both.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::intake::task::Pulse;

/// Says that the agent runs; `status` is what `systemctl status` shows.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that settings are being read again; [`ready`] follows, whatever comes of it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// Says that the agent drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("shipping what is queued")]);
}

/// Answers the watchdog at half of its time for as long as the intake answers; `pulse` is that of the intake that runs,
/// none between two of them. Returns at once if nobody watches.
pub(crate) async fn watchdog(pulse: watch::Receiver<Option<Pulse>>) {
    let Some(period) = sd_notify::watchdog_enabled().map(|period| period / 2).filter(|half| *half > Duration::ZERO)
    else {
        return;
    };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if is_alive(&pulse, period).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(?period, "the intake does not answer; the watchdog is not told that the agent lives");
        }
    }
}

/// Whether the intake answers within `patience`. One that is being drained has a deadline of its own.
pub(crate) async fn is_alive(pulse: &watch::Receiver<Option<Pulse>>, patience: Duration) -> bool {
    let pulse = pulse.borrow().clone();
    match pulse {
        Some(pulse) => timeout(patience, pulse.beats()).await.is_ok(),
        None => true,
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told how the agent is");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tokio::sync::Notify;
    use weir_protocol::time::SystemClock;
    use weir_storage::{FaultyFs, Fs};

    use super::*;
    use crate::counters::Counters;
    use crate::intake::Intake;
    use crate::intake::task::Task;
    use crate::queue::{Incarnation, Policy, Queue, QueueOptions};

    #[tokio::test(start_paused = true)]
    async fn an_intake_that_takes_nothing_is_not_alive_and_one_that_works_is() {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let options = QueueOptions { cap: 1 << 20, policy: Policy::Block, ..QueueOptions::default() };
        let (queue, _) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(7)).unwrap();
        let counters = Arc::new(Counters::default());
        let clock = Arc::new(SystemClock);
        let random = StdRng::seed_from_u64(1);
        let intake = Intake::new(queue.state(), queue.policies(), clock, random, Arc::clone(&counters));
        let (task, handle, _committed) = Task::new(intake, Arc::new(queue), counters, Arc::new(Notify::new()));
        let (_show, pulse) = watch::channel(Some(handle.pulse()));
        let patience = Duration::from_secs(30);
        assert!(!is_alive(&pulse, patience).await, "nobody runs it");
        let running = tokio::spawn(task.run());
        assert!(is_alive(&pulse, patience).await);
        drop(handle);
        running.await.unwrap();
        assert!(is_alive(&pulse, patience).await, "it ended as it should");
    }
}
