//! A thread of a source's own: a driver of the kernel may hold whoever asks it for seconds or for ever, and the threads
//! of the runtime are few and belong to the queue.
//!
//! One thread a source, whatever happens: while it is held nothing more is asked of it, and no second one is started,
//! not even by the next life. It ends when nobody can ask any more and the driver lets go of it.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long one answer may take. The kernel's own patience with a bus is a second on most adapters.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the thread needs, which is little.
const STACK: usize = 256 << 10;

/// The worker of a source, for all its lives.
pub type Thread<T> = Arc<OnceLock<Worker<T>>>;

/// The way to the thread.
#[derive(Debug)]
pub struct Worker<T> {
    requests: SyncSender<oneshot::Sender<T>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// It takes too long, or still works on what was asked before.
    #[error("no answer in {} s: a driver or a bus is stuck; dmesg may say which", PATIENCE.as_secs())]
    Stuck,
    /// It panicked.
    #[error("its thread ended; restart the agent, and report this with the log")]
    Ended,
}

impl<T: Send + 'static> Worker<T> {
    /// The worker of a source, which is started if it is not there.
    pub(super) fn of(thread: &Thread<T>, work: impl FnMut() -> T + Send + 'static) -> io::Result<&Self> {
        if thread.get().is_none() {
            // A source has one life at a time, so nobody else starts it now.
            let _ = thread.set(Self::start(work)?);
        }
        thread.get().ok_or_else(|| io::Error::other("no thread"))
    }

    fn start(mut work: impl FnMut() -> T + Send + 'static) -> io::Result<Self> {
        let (requests, asked) = sync_channel::<oneshot::Sender<T>>(1);
        let thread = std::thread::Builder::new().name("source".to_owned()).stack_size(STACK);
        thread.spawn(move || {
            while let Ok(answer) = asked.recv() {
                // Whoever asked may have lost patience.
                let _ = answer.send(work());
            }
        })?;
        Ok(Self { requests })
    }

    /// Has it work once.
    pub(super) async fn ask(&self) -> Result<T, WorkerError> {
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(answer) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(WorkerError::Stuck),
            Err(TrySendError::Disconnected(_)) => return Err(WorkerError::Ended),
        }
        match timeout(PATIENCE, answered).await {
            Ok(answer) => answer.map_err(|_| WorkerError::Ended),
            Err(_) => Err(WorkerError::Stuck),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_is_stuck_holds_one_thread_and_nobody_who_asks() {
        let (let_go, held) = mpsc::channel::<()>();
        let thread = Thread::default();
        let stuck = Worker::of(&thread, move || held.recv().is_err()).expect("a thread");
        // The first is with the thread, the second waits for it, the third finds no place.
        for _ in 0..3 {
            assert_eq!(stuck.ask().await, Err(WorkerError::Stuck));
        }
        let again = Worker::of(&thread, || true).expect("a thread");
        assert!(std::ptr::eq(stuck, again), "the next life has the same one");
        drop(let_go);
        tokio::time::resume();
        while stuck.ask().await != Ok(true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_told_and_not_waited_for() {
        let thread: Thread<()> = Thread::default();
        let worker = Worker::of(&thread, || panic!("of all things")).expect("a thread");
        assert_eq!(worker.ask().await, Err(WorkerError::Ended));
        while worker.ask().await != Err(WorkerError::Ended) {}
    }
}
