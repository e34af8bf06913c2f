//! Moves the messages of one feed to the intake and the answers back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use crate::intake::task::Handle;

/// How long a stopping feed waits for the last acknowledgement.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Silence after which it says where it stands; the agent then asks for what it does not have.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Speaks for the feed until `finish` is dropped, then says what is left and ends the restart.
pub(super) async fn run(shared: Arc<Shared>, intake: Handle, finish: watch::Receiver<()>) {
    work(&shared, intake, finish).await;
    let device = shared.device();
    shared.note(&device, true);
}

async fn work(shared: &Shared, intake: Handle, mut finish: watch::Receiver<()>) {
    let (link, mut answers) = intake.attach().await;
    drop(intake);
    let mut heard = Instant::now();
    let mut finishing: Option<Instant> = None;
    loop {
        // Bounded by the credit, and by what fits into a frame.
        while let Some(message) = next(shared) {
            link.send(message).await;
        }
        let (is_empty, key) = {
            let device = shared.device();
            if device.ring.is_empty() && finishing.is_some() {
                // From here on nothing more is taken, so that the restart ends at exactly this.
                shared.note(&device, true);
            }
            (device.ring.is_empty(), device.key())
        };
        if is_empty {
            // Silence counts from when there is something to answer.
            heard = Instant::now();
            if finishing.is_some() {
                link.finish(key).await;
                return;
            }
        }
        let give_up = finishing.unwrap_or(heard) + LAST_WORDS;
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Some(down) => {
                    heard = Instant::now();
                    let mut device = shared.device();
                    let base = device.ring.base();
                    device.take(&down);
                    if device.ring.base() != base {
                        shared.note(&device, false);
                    }
                }
                None => return,
            },
            _ = finish.changed(), if finishing.is_none() => finishing = Some(Instant::now()),
            () = tokio::time::sleep_until(give_up), if finishing.is_some() => return,
            () = tokio::time::sleep_until(heard + SILENCE), if !is_empty => {
                heard = Instant::now();
                shared.device().break_silence();
            }
            () = shared.filled.notified() => {}
        }
    }
}

fn next(shared: &Shared) -> Option<Vec<u8>> {
    shared.device().next_message()
}
