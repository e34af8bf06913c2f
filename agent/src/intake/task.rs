//! Moves bytes between lines, [`Intake`] and the queue.
//!
//! One commit is under way at a time, of everything that was staged when the last one returned. When every
//! [`Intake`] handle is gone, what is staged is committed and acknowledged, and the task ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use weir_protocol::serial::Down;
use weir_storage::Batch;

use super::{Covered, Intake, LinkId};
use crate::counters::{Counters, Event};
use crate::queue::{ClassId, Committed, DropError, Dropped, Key, Queue};

/// Messages of all lines that wait.
const MAILBOX: usize = 256;
/// Answers to one line that wait; one more is dropped, and the device asks again.
const REPLIES: usize = 64;
/// Messages taken between two looks at the commit.
const TAKEN_AT_ONCE: usize = 64;
/// Pauses after a commit that failed: the first, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// How long a segment that must go, and may be in flight, waits for its acknowledgement.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// What lines say to the task.
enum Message {
    Attach { link: LinkId, replies: mpsc::Sender<Down> },
    Frame { link: LinkId, message: Vec<u8> },
    Detach { link: LinkId },
    Finish { key: Key },
    Pulse { answer: oneshot::Sender<()> },
}

/// The way in for lines.
#[derive(Clone)]
pub struct Handle {
    mailbox: mpsc::Sender<Message>,
    next_link: Arc<AtomicU64>,
}

/// Whether the task works; it does not keep the task open.
#[derive(Clone)]
pub struct Pulse {
    mailbox: mpsc::WeakSender<Message>,
}

impl Pulse {
    /// Returns when the task has taken a message that was sent now, or has ended.
    pub async fn beats(&self) {
        let Some(mailbox) = self.mailbox.upgrade() else { return };
        let (answer, answered) = oneshot::channel();
        let _ = mailbox.send(Message::Pulse { answer }).await;
        drop(mailbox);
        let _ = answered.await;
    }
}

/// The way in for one line, which closes when this goes.
pub struct LinkHandle {
    link: LinkId,
    mailbox: mpsc::Sender<Message>,
}

impl Handle {
    /// Opens a line; the answers to it come out of the receiver.
    pub async fn attach(&self) -> (LinkHandle, mpsc::Receiver<Down>) {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let (replies, receiver) = mpsc::channel(REPLIES);
        // A task that ended drops `replies`, which the line sees.
        let _ = self.mailbox.send(Message::Attach { link, replies }).await;
        (LinkHandle { link, mailbox: self.mailbox.clone() }, receiver)
    }

    /// Shows whether the task works.
    pub fn pulse(&self) -> Pulse {
        Pulse { mailbox: self.mailbox.downgrade() }
    }
}

impl LinkHandle {
    /// Hands in a message; waits while too many wait.
    pub async fn send(&self, message: Vec<u8>) {
        let _ = self.mailbox.send(Message::Frame { link: self.link, message }).await;
    }

    /// Says that a restart of a local source ended with nothing left to send.
    pub async fn finish(&self, key: Key) {
        let _ = self.mailbox.send(Message::Finish { key }).await;
    }

    /// Closes the line.
    pub async fn close(self) {
        let _ = self.mailbox.send(Message::Detach { link: self.link }).await;
    }
}

/// Moves the bytes.
pub struct Task {
    intake: Intake,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    mailbox: mpsc::Receiver<Message>,
    links: BTreeMap<LinkId, mpsc::Sender<Down>>,
    started: Instant,
    under_way: Option<UnderWay>,
    spare: Vec<Batch>,
    /// Descriptions up to this revision are durable.
    described: u64,
    retry_at: Option<Instant>,
    failures: u32,
    /// When the queue may drop something.
    drop_at: Option<Instant>,
    making_room: Option<JoinHandle<Result<Dropped, DropError>>>,
    committed: watch::Sender<u64>,
    room: Arc<Notify>,
    #[cfg(feature = "plant")]
    plant: Option<crate::plant::Plant>,
}

/// The commit that was submitted.
struct UnderWay {
    /// Closed without an answer if the committer died.
    completion: oneshot::Receiver<Committed>,
    covered: Covered,
    /// Of each class that it touches.
    bytes: Vec<(ClassId, u64)>,
}

/// The committer died: nothing can be made durable any more.
struct CommitterGone;

impl Task {
    /// A task, the way in, and how many records were committed. `room` says that the queue
    /// got smaller.
    pub fn new(
        intake: Intake,
        queue: Arc<Queue>,
        counters: Arc<Counters>,
        room: Arc<Notify>,
    ) -> (Self, Handle, watch::Receiver<u64>) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let (committed, committed_seen) = watch::channel(queue.committed());
        let described = queue.state().lock().descriptions.revision();
        let task = Self {
            intake,
            queue,
            counters,
            mailbox,
            links: BTreeMap::new(),
            started: Instant::now(),
            under_way: None,
            spare: Vec::new(),
            described,
            retry_at: None,
            failures: 0,
            drop_at: None,
            making_room: None,
            committed,
            room,
            #[cfg(feature = "plant")]
            plant: None,
        };
        (task, Handle { mailbox: sender, next_link: Arc::default() }, committed_seen)
    }

    /// Plants a fault; see [`crate::plant`].
    #[cfg(feature = "plant")]
    pub fn with_plant(mut self, plant: Option<crate::plant::Plant>) -> Self {
        self.plant = plant;
        self
    }

    /// Runs until every handle is gone and all of it is committed, or until nothing can be committed any more.
    pub async fn run(mut self) {
        if let Err(CommitterGone) = self.work().await {
            tracing::error!("the commit thread died; what was acknowledged is on disk");
        }
    }

    async fn work(&mut self) -> Result<(), CommitterGone> {
        let mut open = true;
        self.look_at_room();
        let mut due = self.tick(open);
        while open || self.under_way.is_some() || self.intake.has_staged() {
            self.submit().await?;
            self.deliver();
            let tick_at = due.map_or_else(Instant::now, |due| self.started + due);
            let room = Arc::clone(&self.room);
            let retry_at = self.retry_at.unwrap_or_else(Instant::now);
            let drop_at = self.drop_at.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                completion = completed(&mut self.under_way) => self.complete(completion?),
                message = self.mailbox.recv(), if open => match message {
                    Some(message) => self.take(message),
                    None => open = false,
                },
                () = room.notified() => (self.retry_at, self.failures) = (None, 0),
                () = tokio::time::sleep_until(retry_at), if self.retry_at.is_some() => self.retry_at = None,
                () = tokio::time::sleep_until(drop_at), if self.drop_at.is_some() => self.make_room(),
                made = ended(&mut self.making_room) => self.made_room(made),
                () = tokio::time::sleep_until(tick_at), if due.is_some() => {}
            }
            self.look_at_room();
            due = self.tick(open);
        }
        self.deliver();
        Ok(())
    }

    /// Closes windows that are due, or all of them once nothing more comes; when the next one is.
    fn tick(&mut self, open: bool) -> Option<Duration> {
        let due = self.intake.tick(self.started.elapsed());
        if open {
            return due;
        }
        self.intake.close_windows();
        None
    }

    fn take(&mut self, first: Message) {
        self.handle(first);
        for _ in 1..TAKEN_AT_ONCE {
            let Ok(message) = self.mailbox.try_recv() else { break };
            self.handle(message);
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Attach { link, replies } => {
                self.links.insert(link, replies);
                self.intake.attach(link);
            }
            Message::Frame { link, message } => self.intake.receive(link, &message),
            Message::Detach { link } => {
                self.links.remove(&link);
                self.intake.detach(link);
            }
            Message::Finish { key } => self.intake.finish(key),
            Message::Pulse { answer } => {
                let _ = answer.send(());
            }
        }
    }

    fn look_at_room(&mut self) {
        let mut rooms = self.queue.rooms();
        for (class, bytes) in self.under_way.iter().flat_map(|under_way| &under_way.bytes) {
            rooms[class.index()] = rooms[class.index()].saturating_sub(*bytes);
        }
        self.intake.set_rooms(rooms);
        if self.making_room.is_none() && self.queue.wants_room() && self.drop_at.is_none() {
            // What is in flight may be acknowledged in a moment, which costs nothing.
            let patience = if self.queue.front_is_in_flight() { IN_FLIGHT } else { Duration::ZERO };
            self.drop_at = Some(Instant::now() + patience);
        }
    }

    /// Lets the queue drop what its policy says, on another thread.
    fn make_room(&mut self) {
        self.drop_at = None;
        if self.queue.wants_room() {
            let queue = Arc::clone(&self.queue);
            self.making_room = Some(tokio::task::spawn_blocking(move || queue.make_room()));
        }
    }

    fn made_room(&mut self, made: Result<Result<Dropped, DropError>, JoinError>) {
        self.making_room = None;
        match made {
            Ok(Ok(dropped)) if dropped.segments > 0 => {
                self.counters.add(Event::SegmentsDropped, dropped.segments);
                self.counters.add(Event::ReadingsDroppedOldest, dropped.readings);
                self.coarser(dropped.coarser);
                return;
            }
            // Nothing can go: the segment that is written is the only one, or the state has to catch up.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.counters.warn(Event::DropFailed, || error.to_string()),
            Err(_) => {}
        }
        self.drop_at = Some(Instant::now() + RETRY[0]);
    }

    fn coarser(&self, coarser: bool) {
        if coarser {
            self.counters.add(Event::ClaimsCoarsened, 1);
        }
    }

    /// Submits what is staged, if nothing is under way.
    async fn submit(&mut self) -> Result<(), CommitterGone> {
        if self.under_way.is_some() || self.retry_at.is_some() || !self.intake.has_staged() {
            return Ok(());
        }
        if !self.save_descriptions().await {
            return Ok(());
        }
        let Some(staged) = self.intake.take_stage(core::mem::take(&mut self.spare)) else { return Ok(()) };
        #[cfg(feature = "plant")]
        crate::plant::acknowledge_before_sync(self.plant, &mut self.intake, &staged.covered.marks);
        let batches = staged.entries.batches.iter();
        let bytes = batches.map(|(class, batch)| (*class, batch.byte_len() as u64)).collect();
        let (answer, completion) = oneshot::channel();
        self.under_way = Some(UnderWay { completion, covered: staged.covered, bytes });
        let submitted = self.queue.submit(staged.entries, move |committed| {
            // A task that ended does not listen.
            let _ = answer.send(committed);
        });
        submitted.map_err(|_| CommitterGone)
    }

    /// A reading in the queue without its description could never be told what it measures, should the
    /// device not come back: the description is durable first.
    async fn save_descriptions(&mut self) -> bool {
        let revision = self.queue.state().lock().descriptions.revision();
        if revision == self.described {
            return true;
        }
        let queue = Arc::clone(&self.queue);
        match tokio::task::spawn_blocking(move || queue.save()).await {
            Ok(Ok(())) => {
                self.described = revision;
                true
            }
            Ok(Err(error)) => {
                self.fail(&error.to_string());
                false
            }
            Err(_) => false,
        }
    }

    fn complete(&mut self, committed: Committed) {
        let Some(under_way) = self.under_way.take() else { return };
        match self.intake.committed(&under_way.covered, &committed) {
            Ok(()) => {
                self.failures = 0;
                self.queue.set_failing(None);
                self.coarser(matches!(committed.claims, Ok(true)));
            }
            Err(error) => self.fail(&error),
        }
        self.committed.send_replace(self.queue.committed());
        self.spare = committed.parts.into_iter().map(|part| part.spare).collect();
    }

    /// Acknowledges nothing, and tries again with what devices send again after a pause.
    fn fail(&mut self, error: &str) {
        self.counters.warn(Event::CommitsFailed, || error.to_owned());
        self.queue.set_failing(Some(error.to_owned()));
        self.intake.failed();
        let pause = RETRY[0].saturating_mul(1 << self.failures.min(16)).min(RETRY[1]);
        self.failures += 1;
        self.retry_at = Some(Instant::now() + pause);
    }

    fn deliver(&mut self) {
        for (link, down) in self.intake.take_replies() {
            let Some(replies) = self.links.get(&link) else { continue };
            if let Err(mpsc::error::TrySendError::Full(_)) = replies.try_send(down) {
                self.counters.add(Event::RepliesDropped, 1);
            }
        }
    }
}

/// Waits for the end of the commit that is under way; for ever if none is.
async fn completed(under_way: &mut Option<UnderWay>) -> Result<Committed, CommitterGone> {
    match under_way {
        Some(under_way) => (&mut under_way.completion).await.map_err(|_| CommitterGone),
        None => std::future::pending().await,
    }
}

/// Waits for work on another thread; for ever if there is none.
async fn ended<T>(work: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
