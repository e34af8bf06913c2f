//! Attackers: many members that come, do something, and come again, all on one thread of their own, so that they take no
//! more than one processor from the others and what they take is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::bench::side::cpu_of;

/// How long one visit may take; a gateway that lets them wait for longer has shaken them off.
const VISIT: Duration = Duration::from_secs(60);

/// What members did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: AtomicU64,
    cut: AtomicU64,
    breach: Mutex<Option<String>>,
    cause: Mutex<Option<String>>,
}

impl Tally {
    /// So much was done: packets sent, connections made, whatever the attack is about.
    pub(super) fn did(&self, much: u64) {
        self.done.fetch_add(much, Relaxed);
    }

    /// The gateway let something pass that it must not.
    pub(super) fn breach(&self, what: String) {
        self.breach.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    /// Notes a breach unless `holds`.
    pub(super) fn expect(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.breach(otherwise());
        }
    }
}

/// Attackers at work.
pub(super) struct Horde {
    tally: Arc<Tally>,
    begun: Instant,
    /// Dropped, it ends them.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<f64>>,
}

/// What came of an attack.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// What was done, as [`Tally::did`] counts.
    pub(super) done: u64,
    /// Visits that the gateway ended, or that took too long, and why the first of them did.
    pub(super) cut: (u64, String),
    /// Seconds of the processor that the attackers took.
    pub(super) cpu: f64,
}

impl Horde {
    /// `count` members; each visits, by its number and what all share, waits for `pause`, and visits again. A visit that the
    /// gateway ends is an error, which is counted.
    pub(super) fn gather<F, V>(count: usize, pause: Duration, visit: F) -> Self
    where
        F: Fn(usize, Arc<Tally>) -> V + Send + Sync + 'static,
        V: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let tally = Arc::new(Tally::default());
        let (shared, visit) = (Arc::clone(&tally), Arc::new(visit));
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().context("no runtime for attackers")?;
            runtime.block_on(async {
                let mut members = JoinSet::new();
                for number in 0..count {
                    let (tally, visit) = (Arc::clone(&shared), Arc::clone(&visit));
                    members.spawn(async move {
                        loop {
                            let visited = timeout(VISIT, visit(number, Arc::clone(&tally))).await;
                            if let Err(error) = visited.context("it took too long").and_then(|visited| visited) {
                                tally.cut.fetch_add(1, Relaxed);
                                let mut cause = tally.cause.lock().unwrap_or_else(PoisonError::into_inner);
                                cause.get_or_insert_with(|| format!("{error:#}"));
                            }
                            sleep(pause).await;
                        }
                    });
                }
                // Its other end only ever goes away.
                let _ = stopped.await;
                members.shutdown().await;
            });
            Ok(cpu_of("/proc/thread-self/stat"))
        });
        Self { tally, begun: Instant::now(), stop, thread }
    }

    /// When they came.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Sends them away; a breach is an error.
    pub(super) async fn disperse(self) -> Result<Done> {
        let Self { tally, stop, thread, .. } = self;
        drop(stop);
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        let Ok(cpu) = ended else { bail!("the attackers panicked") };
        if let Some(breach) = tally.breach.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bail!("the gateway let it pass: {breach}");
        }
        let cause = tally.cause.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        Ok(Done { done: tally.done.load(Relaxed), cut: (tally.cut.load(Relaxed), cause), cpu: cpu? })
    }
}
