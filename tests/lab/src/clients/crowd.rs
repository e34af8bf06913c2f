//! Sockets that say as little as they are told to, and come back when they are sent away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connect;

/// How long one that was sent away stays away.
const AWAY: Duration = Duration::from_secs(10);
/// Sockets opened at a time, so that the kernel's backlog holds them.
const AT_A_TIME: usize = 100;
const BETWEEN: Duration = Duration::from_millis(20);

/// A crowd; dropping it ends it.
pub(crate) struct Crowd {
    counts: Arc<Counts>,
    members: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    /// Sockets that were opened and said their piece, again and again.
    opened: AtomicUsize,
    open: AtomicUsize,
    failed: AtomicUsize,
}

impl Crowd {
    /// Opens `count` sockets to `to`, number by number; each says what `says` gives for its number and is then silent.
    pub(crate) async fn gather(count: usize, to: SocketAddr, says: fn(usize) -> Vec<u8>) -> Self {
        let (counts, mut members) = (Arc::new(Counts::default()), JoinSet::new());
        for number in 0..count {
            let counts = Arc::clone(&counts);
            members.spawn(async move {
                loop {
                    if stay(number, to, &says(number), &counts).await.is_err() {
                        counts.failed.fetch_add(1, Relaxed);
                    }
                    sleep(AWAY).await;
                }
            });
            if number % AT_A_TIME == AT_A_TIME - 1 {
                sleep(BETWEEN).await;
            }
        }
        Self { counts, members }
    }

    /// Waits until `count` sockets were opened, whether or not they were sent away since.
    pub(crate) async fn opened(&self, count: usize, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.counts.opened.load(Relaxed) < count {
            if begun.elapsed() > patience {
                let (opened, failed) = (self.counts.opened.load(Relaxed), self.counts.failed.load(Relaxed));
                bail!("{opened} of {count} sockets could be opened, {failed} attempts failed");
            }
            sleep(BETWEEN).await;
        }
        Ok(())
    }

    /// How many are open now, and how many were opened in all.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.counts.open.load(Relaxed), self.counts.opened.load(Relaxed))
    }

    /// Goes away.
    pub(crate) async fn disperse(mut self) {
        self.members.shutdown().await;
    }
}

/// Opens a socket, says something and waits until it is closed.
async fn stay(number: usize, to: SocketAddr, says: &[u8], counts: &Counts) -> Result<()> {
    let mut socket = connect(number, to).await?;
    socket.write_all(says).await?;
    counts.opened.fetch_add(1, Relaxed);
    counts.open.fetch_add(1, Relaxed);
    let mut answer = Vec::new();
    // Either way it is over; answers are few bytes.
    let _ = socket.read_to_end(&mut answer).await;
    counts.open.fetch_sub(1, Relaxed);
    Ok(())
}
