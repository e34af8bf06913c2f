//! Threads that sync segments, for as long as the committer lives.
//!
//! Guarantees: whoever asks for a sync that a group waits for takes part in it, so it ends even when the system gave
//! no thread; syncs in the background take at most half of the threads, so that groups find one free, and give the disk a piece
//! at a time until somebody waits for them. Without a thread everything happens on the caller's, in the order given. What waits is
//! bounded by the segments of the logs.

use crate::segment::Segment;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The threads; dropping them ends them once they are idle.
pub(crate) struct Syncs {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Syncs that go on in the background.
pub(crate) struct Background {
    ended: Receiver<(usize, io::Result<()>)>,
    hurry: Arc<AtomicBool>,
}

struct Shared {
    jobs: Mutex<Jobs>,
    came: Condvar,
    max_background: usize,
    /// Held by who writes a piece out.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    background: VecDeque<Job>,
    background_running: usize,
    closed: bool,
}

/// One sync; its result goes to `ended` with its place in the list asked for.
struct Job {
    segment: Arc<Segment>,
    place: usize,
    ended: Sender<(usize, io::Result<()>)>,
    /// Set once somebody waits for it.
    hurry: Arc<AtomicBool>,
}

impl Syncs {
    /// Starts up to `threads` threads.
    pub(crate) fn new(threads: usize) -> Syncs {
        let max_background = (threads / 2).max(1);
        let shared =
            Arc::new(Shared { jobs: Mutex::default(), came: Condvar::new(), max_background, turn: Mutex::default() });
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            // With fewer threads the same is done, more slowly.
            thread::Builder::new().name("sync".into()).spawn(move || shared.work()).ok()
        };
        let threads = (0..threads).filter_map(spawn).collect();
        Syncs { shared, threads }
    }

    /// Syncs all of them and waits; how each went, in their order.
    pub(crate) fn sync_all(&self, segments: impl ExactSizeIterator<Item = Arc<Segment>>) -> Vec<io::Result<()>> {
        let mut results: Vec<io::Result<()>> = (0..segments.len()).map(|_| Ok(())).collect();
        let (ended, endings) = channel();
        {
            let mut jobs = self.shared.lock();
            jobs.urgent.extend(numbered(segments, &ended, &Arc::new(AtomicBool::new(true))));
            let others = jobs.urgent.len().saturating_sub(1).min(self.threads.len());
            (0..others).for_each(|_| self.shared.came.notify_one());
        }
        drop(ended);
        while let Some(job) = self.shared.take_urgent() {
            job.run();
        }
        for (place, result) in endings {
            results[place] = result;
        }
        results
    }

    /// Begins to sync all of them; a failure shows at the segment.
    pub(crate) fn begin(&self, segments: impl Iterator<Item = Arc<Segment>>) -> Background {
        let (ended, endings) = channel();
        let hurry = Arc::new(AtomicBool::new(false));
        if self.threads.is_empty() {
            numbered(segments, &ended, &hurry).for_each(Job::run);
        } else {
            self.shared.lock().background.extend(numbered(segments, &ended, &hurry));
            self.shared.came.notify_all();
        }
        Background { ended: endings, hurry }
    }
}

impl Background {
    /// Waits until all have ended.
    pub(crate) fn wait(self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.ended.iter().for_each(drop);
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.came.notify_all();
        for thread in self.threads.drain(..) {
            // A sync does not panic.
            let _ = thread.join();
        }
    }
}

fn numbered(
    segments: impl Iterator<Item = Arc<Segment>>,
    ended: &Sender<(usize, io::Result<()>)>,
    hurry: &Arc<AtomicBool>,
) -> impl Iterator<Item = Job> {
    segments.enumerate().map(|(place, segment)| Job { segment, place, ended: ended.clone(), hurry: Arc::clone(hurry) })
}

impl Job {
    fn run(self) {
        let result = self.segment.sync();
        // Who does not wait any more looks at the segment.
        let _ = self.ended.send((self.place, result));
    }
}

impl Shared {
    fn work(&self) {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.urgent.pop_front() {
                drop(jobs);
                job.run();
                jobs = self.lock();
            } else if jobs.background_running < self.max_background
                && let Some(job) = jobs.background.pop_front()
            {
                jobs.background_running += 1;
                drop(jobs);
                job.segment.write_out(&self.turn, &job.hurry);
                job.run();
                jobs = self.lock();
                jobs.background_running -= 1;
                self.came.notify_one();
            } else if jobs.closed {
                return;
            } else {
                jobs = self.came.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn take_urgent(&self) -> Option<Job> {
        self.lock().urgent.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
