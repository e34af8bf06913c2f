//! Redrive: dead letters are tried again after what was wrong with them has been put right.
//!
//! What it guarantees:
//! - a letter is judged by the rules of today, as if its agent had sent the original bytes again: what is valid now is
//!   stored under its own identity and heals, what is stored already is dropped, what is still poison stays as it is
//!   and is not buried a second time; so to do it twice, or again after a kill in the middle, is harmless;
//! - a letter without an identity, which is a description, is remembered by its partition and offset once it was
//!   stored ([`memory`]);
//! - it takes its turn and its room like any connection, reads one group of the log at a time, and waits where the
//!   disk is full; one runs at a time.
//!
//! Descriptions go first, because readings may wait for them. Letters that come while it runs are left for the next.

mod attempt;
mod choice;
pub mod letter;
mod memory;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_storage::{Fs, IoError, ReadError};

pub use choice::{Choice, MAX_PLACES, NothingChosen};
pub use letter::Place;

use crate::ingest::Ingest;
use crate::record::dead_letter::Format;
use crate::topics::{Partition, TopicId, Topics};
use attempt::Attempt;
use letter::Letter;
use memory::Memory;

/// Bytes of log that are read at a time; a larger group comes whole.
const CHUNK_BYTES: usize = 256 << 10;
/// Letters that are under way together, so that they share commits.
const WINDOW: usize = 64;

/// Tries dead letters again; cheap to clone.
#[derive(Clone)]
pub struct Redrive {
    ingest: Ingest,
    topics: Topics,
    memory: Arc<Memory>,
    turn: Arc<Semaphore>,
}

/// The right to redrive: one at a time.
pub struct Turn(#[expect(dead_code, reason = "held, not used")] OwnedSemaphorePermit);

/// What became of one letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Where it lies.
    pub place: Place,
    /// How it ended.
    pub result: Ending,
    /// Its sequences that this stored.
    pub stored: u64,
    /// Its sequences that are not stored.
    pub left: u64,
    /// Why not, or what it was buried for.
    pub reason: String,
}

/// How trying a letter again ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All of it is in the log as readings now.
    Stored,
    /// It was before.
    AlreadyStored,
    /// Some of it is still refused, for the reason beside it.
    Refused,
    /// Nothing was tried: this is a dry run.
    Due,
    /// There is no letter at that place.
    Missing,
}

/// Why a redrive ended early. What it told of until then holds.
#[derive(Debug, Error)]
pub enum RedriveError {
    /// A commit failed; the log of the gateway says why.
    #[error("a commit failed, so nothing is promised about the letters behind; try again")]
    Commit,
    /// The gateway is stopping.
    #[error("the gateway is stopping; try again")]
    Stopping,
    /// The dead letters cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was redriven cannot be remembered.
    #[error(transparent)]
    Io(#[from] IoError),
    /// As many descriptions are remembered as may be.
    #[error(
        "{0} redriven descriptions are remembered, and no more can be until retention removes some of their letters"
    )]
    MemoryFull(usize),
}

impl Redrive {
    /// Over the dead letters of `topics`, which are below `data`.
    ///
    /// # Errors
    /// [`IoError`] when what was redriven before cannot be read.
    pub fn open(fs: Arc<dyn Fs>, data: &Path, ingest: Ingest, topics: Topics) -> Result<Self, IoError> {
        let memory = Arc::new(Memory::open(fs, data)?);
        Ok(Self { ingest, topics, memory, turn: Arc::new(Semaphore::new(1)) })
    }

    /// The right to redrive; `None` while somebody else has it.
    pub fn turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_acquire_owned().ok().map(Turn)
    }

    /// Tries every letter of the choice again, and tells what became of each. Ends early when nobody listens.
    ///
    /// # Errors
    /// [`RedriveError`]; to begin again is harmless.
    pub async fn run(
        &self,
        _turn: &Turn,
        choice: &Choice,
        is_dry: bool,
        tell: &mpsc::Sender<Tried>,
    ) -> Result<(), RedriveError> {
        let partitions = self.partitions();
        let ends: Vec<_> = partitions.iter().map(|partition| partition.reader().end_offset()).collect();
        for descriptions in [true, false] {
            for (number, end) in (0..).zip(&ends) {
                let mut at = 0;
                while at < *end {
                    let (letters, next) = self.read(number, at, choice.clone()).await?;
                    at = next;
                    let mut letters = letters;
                    letters.retain(|letter| {
                        (letter.format == Format::Description) == descriptions && letter.place.offset < *end
                    });
                    while !letters.is_empty() {
                        let window = letters.drain(..letters.len().min(WINDOW)).collect();
                        for tried in self.attempt(window, is_dry).await? {
                            if tell.send(tried).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        }
        for place in self.missing(choice).await? {
            let reason = "no dead letter is at that place".to_owned();
            let tried = Tried { place, result: Ending::Missing, stored: 0, left: 0, reason };
            if tell.send(tried).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// How many sequences of a letter are stored, and of how many; a description counts as one.
    pub async fn standing(&self, letter: &Letter) -> Option<(u64, u64)> {
        if letter.format == Format::Description {
            return Some((u64::from(self.memory.knows(letter.place)), 1));
        }
        let stored = self.ingest.stored(letter.tenant, letter.spans.clone()).await?;
        Some((stored, letter.sequences()))
    }

    /// The letters of one page of one partition, and where to go on.
    async fn read(&self, number: u32, from: u64, choice: Choice) -> Result<(Vec<Letter>, u64), RedriveError> {
        let topics = self.topics.clone();
        let read = move || {
            let partition = &topics.get(TopicId::DEAD_LETTER).partitions()[number as usize];
            let mut from = from.max(partition.reader().start_offset());
            // What was not chosen need not be read.
            from = choice.next_at_or_after(Place { partition: number, offset: from }).unwrap_or(u64::MAX);
            if from >= partition.reader().end_offset() {
                return Ok((Vec::new(), u64::MAX));
            }
            let chunk = match partition.reader().read(from, CHUNK_BYTES) {
                Ok(chunk) => chunk,
                // Retention was quicker; the next look begins behind it.
                Err(ReadError::OutOfRange { start, .. }) if from < start => return Ok((Vec::new(), start)),
                Err(error) => return Err(RedriveError::Read(error)),
            };
            if !chunk.gaps.is_empty() {
                partition.suspect();
            }
            let letters = letter::of_chunk(number, &chunk).filter(|letter| choice.takes(letter)).collect();
            // A reader that finds nothing more has come to damage that reaches to the end.
            Ok((letters, if chunk.next_offset > from { chunk.next_offset } else { u64::MAX }))
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(RedriveError::Stopping))
    }

    /// Chosen places at which there is no letter.
    async fn missing(&self, choice: &Choice) -> Result<Vec<Place>, RedriveError> {
        let mut missing = Vec::new();
        for place in choice.places() {
            let only = Choice::only(place);
            let is_there = match self.partitions().get(place.partition as usize) {
                Some(_) => !self.read(place.partition, place.offset, only).await?.0.is_empty(),
                None => false,
            };
            if !is_there {
                missing.push(place);
            }
        }
        Ok(missing)
    }

    async fn attempt(&self, letters: Vec<Letter>, is_dry: bool) -> Result<Vec<Tried>, RedriveError> {
        let attempt = Attempt::begin(self, letters).await?;
        if is_dry { Ok(attempt.dry()) } else { attempt.run().await }
    }

    fn partitions(&self) -> &[Partition] {
        self.topics.get(TopicId::DEAD_LETTER).partitions()
    }
}
