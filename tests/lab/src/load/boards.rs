//! A load of boards: the firmware behind ptys, for an agent that somebody runs.
//!
//! A board samples by its own clock, so it is an open loop by itself. What it sampled it says; what of it was acknowledged,
//! and how long after the sample, is seen on its cable. A reconnect storm pulls all plugs and puts them in again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use weir_firmware::sensor::SHT4X_CHANNELS;

use super::plan::{LoadPlan, Pattern};
use super::times::Times;
use super::{Counts, Outcome, Second, Seen};
use crate::binaries;
use crate::deployment::{Board, Scratch};
use crate::ledger::{Facts, Ledger, RestartKey};
use crate::truth::Truths;

/// Size of each board's flash, in KiB.
const FLASH_KIB: u32 = 256;
/// Seconds that are kept.
const SECONDS: usize = 100_000;

/// Boards at work.
pub(super) struct Boards {
    plan: LoadPlan,
    ledger: Ledger,
    boards: Arc<Mutex<Vec<Board>>>,
    book: Arc<Mutex<Book>>,
    began: Instant,
    storms: JoinSet<()>,
    scratch: Option<Scratch>,
}

/// What the cables told, and what was said of each second.
struct Book {
    latency: Times,
    late: u64,
    before: Sums,
    seconds: Vec<Second>,
    connects: u64,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    due: u64,
    sent: u64,
    acknowledged: u64,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Boards {
    /// Starts them.
    pub(super) fn start(plan: LoadPlan, ledger: Ledger, truths: &mut Truths) -> Result<Self> {
        let (seconds, connects) = (Vec::new(), plan.devices.into());
        let book = Book { latency: Times::new()?, late: 0, before: Sums::default(), seconds, connects };
        let book = Arc::new(Mutex::new(book));
        let (told, late) = (Arc::clone(&book), plan.late);
        let timed = ledger.timed(Arc::new(move |took: Duration| {
            let (mut book, micros) = (lock(&told), took.as_micros() as u64);
            book.latency.record(micros);
            book.late += u64::from(took > late);
        }));
        let (scratch, lab) = (Scratch::new()?, binaries::lab()?);
        let each = plan.rate / f64::from(plan.devices);
        let interval = (SHT4X_CHANNELS.len() as f64 * 1000.0 / each).round().max(1.0) as u64;
        let mut boards = Vec::new();
        for number in 0..plan.devices {
            let pace = ["--interval".into(), interval.to_string().into()];
            let seed = plan.seed.wrapping_add(number.into());
            let device = plan.device(number)?;
            let board = Board::of_host(device, pace, FLASH_KIB, seed, (&scratch, &lab), (&timed, truths))?;
            boards.push(board);
        }
        boards.iter_mut().try_for_each(Board::start)?;
        let boards = Arc::new(Mutex::new(boards));
        let (began, mut storms) = (Instant::now(), JoinSet::new());
        if let Pattern::Storm { every } = plan.pattern {
            let (boards, book) = (Arc::clone(&boards), Arc::clone(&book));
            storms.spawn(async move {
                for number in 1.. {
                    sleep_until(began + every * number).await;
                    cut(&boards, &book);
                }
            });
        }
        Ok(Self { plan, ledger, boards, book, began, storms, scratch: Some(scratch) })
    }

    pub(super) fn serial(&self) -> Vec<PathBuf> {
        lock(&self.boards).iter().map(|board| board.cable.agent.clone()).collect()
    }

    /// What is known of these boards.
    fn facts(&self) -> Vec<(RestartKey, Facts)> {
        let names = format!("{}-", self.plan.name);
        let all = self.ledger.pages().into_iter();
        all.filter(|((device, _), facts)| facts.on_cable && device.as_str().starts_with(&names)).collect()
    }

    fn sums(&self) -> Sums {
        self.facts().iter().fold(Sums::default(), |sums, (_, facts)| Sums {
            due: sums.due + facts.next,
            sent: sums.sent + facts.reached.min(facts.next),
            acknowledged: sums.acknowledged + facts.agent_accepted.min(facts.next),
        })
    }

    pub(super) fn seen(&self) -> Seen {
        let sums = self.sums();
        self.roll(sums);
        let book = lock(&self.book);
        let counts = Counts {
            sent: sums.sent,
            acknowledged: sums.acknowledged,
            late: book.late,
            connected: self.plan.devices.into(),
            connects: book.connects,
            ..Counts::default()
        };
        Seen { elapsed: self.began.elapsed(), due: sums.due, counts, latency: book.latency.all().clone() }
    }

    /// Ends the seconds that are over; what happened since the last look is in the first of them.
    fn roll(&self, sums: Sums) {
        let mut book = lock(&self.book);
        while (book.seconds.len() as u64) < self.began.elapsed().as_secs() && book.seconds.len() < SECONDS {
            let before = std::mem::replace(&mut book.before, sums);
            let took = book.latency.end_second();
            let second = Second {
                second: book.seconds.len() as u64,
                due: sums.due - before.due,
                sent: sums.sent - before.sent,
                acknowledged: sums.acknowledged - before.acknowledged,
                connected: self.plan.devices.into(),
                p50_us: took.p50,
                p99_us: took.p99,
                max_us: took.max,
                ..Second::default()
            };
            book.seconds.push(second);
        }
    }

    pub(super) fn seconds(&self, from: u64) -> Vec<Second> {
        self.roll(self.sums());
        lock(&self.book).seconds.iter().filter(|second| second.second >= from).cloned().collect()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn cut(&self) {
        cut(&self.boards, &self.book);
    }

    /// They sample no more, and end when their rings are empty.
    pub(super) fn stop(&mut self) {
        self.storms.abort_all();
        for board in lock(&self.boards).iter_mut() {
            if let Some(process) = board.process()
                && process.ended().is_ok_and(|ended| ended.is_none())
            {
                // One that is gone needs no telling.
                let _ = process.signal(Signal::TERM);
            }
        }
    }

    /// Whether all of them have said their last word.
    pub(super) fn have_ended(&mut self) -> bool {
        let has_ended = |board: &mut Board| {
            board.process().is_none_or(|process| process.ended().is_ok_and(|ended| ended.is_some()))
        };
        lock(&self.boards).iter_mut().all(has_ended)
    }

    pub(super) fn finish(mut self) -> Outcome {
        let seen = self.seen();
        let missing = self.facts().into_iter().map(|(key, facts)| (key, facts.agent_accepted..facts.next));
        let unacknowledged: Vec<_> = missing.filter(|(_, run)| !run.is_empty()).collect();
        lock(&self.boards).clear();
        if unacknowledged.is_empty()
            && let Some(scratch) = self.scratch.take()
        {
            // A directory that stays harms nobody.
            let _ = scratch.remove();
        }
        let seconds = lock(&self.book).seconds.clone();
        Outcome { seen, seconds, late: Vec::new(), unacknowledged, consumed: None }
    }
}

/// Pulls all plugs, and puts them in again.
fn cut(boards: &Mutex<Vec<Board>>, book: &Mutex<Book>) {
    let boards = lock(boards);
    // A cable that has ended is of a board that has.
    let all = |what: fn(&crate::relay::serial::SerialRelay) -> Result<()>| {
        boards.iter().filter(|board| what(&board.cable).is_ok()).count() as u64
    };
    all(crate::relay::serial::SerialRelay::unplug);
    let again = all(crate::relay::serial::SerialRelay::replug);
    lock(book).connects += again;
}
