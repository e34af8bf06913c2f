//! One window of letters through ingest: what was stored of each before, what is after, and why not the rest.

use std::collections::HashMap;

use tokio::sync::mpsc::unbounded_channel;
use weir_protocol::{AgentId, Tenant};

use super::letter::Letter;
use super::{Ending, Place, Redrive, RedriveError, Tried};
use crate::ingest::{Event, Failure, Letter as Retried, Sender, Verdict};
use crate::record::dead_letter::Format;

/// Letters on their way, each with what of it was stored when they set out.
pub(super) struct Attempt<'a> {
    redrive: &'a Redrive,
    letters: Vec<(Letter, u64)>,
}

impl<'a> Attempt<'a> {
    pub(super) async fn begin(redrive: &'a Redrive, letters: Vec<Letter>) -> Result<Self, RedriveError> {
        let mut standing = Vec::new();
        for letter in letters {
            let (stored, _) = redrive.standing(&letter).await.ok_or(RedriveError::Stopping)?;
            standing.push((letter, stored));
        }
        Ok(Self { redrive, letters: standing })
    }

    /// What would be tried.
    pub(super) fn dry(self) -> Vec<Tried> {
        self.letters.iter().map(|(letter, before)| told(letter, *before, *before, None)).collect()
    }

    /// Tries them.
    pub(super) async fn run(self) -> Result<Vec<Tried>, RedriveError> {
        let due = |(letter, before): &&(Letter, u64)| !is_whole(letter, *before);
        let mut due: Vec<&Letter> = self.letters.iter().filter(due).map(|(letter, _)| letter).collect();
        let mut verdicts = HashMap::new();
        while let Some(first) = due.first() {
            let sender = (first.tenant, first.agent);
            let (mut own, others): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|letter| (letter.tenant, letter.agent) == sender);
            while !own.is_empty() {
                self.send(sender, &own, &mut verdicts).await?;
                // What was behind a refusal is tried again on another connection; each has one verdict more at least.
                own.retain(|letter| !verdicts.contains_key(&letter.place));
            }
            due = others;
        }
        self.remember(&verdicts).await?;
        let mut tried = Vec::new();
        for (letter, before) in &self.letters {
            let (after, _) = self.redrive.standing(letter).await.ok_or(RedriveError::Stopping)?;
            tried.push(told(letter, *before, after, verdicts.get(&letter.place)));
        }
        Ok(tried)
    }

    /// Hands letters of one sender in, and waits for their verdicts up to the first refusal.
    async fn send(
        &self,
        (tenant, agent): (Tenant, AgentId),
        letters: &[&Letter],
        verdicts: &mut HashMap<Place, Verdict>,
    ) -> Result<(), RedriveError> {
        let (events, mut told) = unbounded_channel();
        let connection = self.redrive.ingest.connect_retry(Sender::from((tenant, agent)), events);
        let retried = |(ticket, letter): (u64, &&Letter)| Retried {
            ticket,
            format: letter.format,
            original: letter.original.clone(),
        };
        connection.retry((0..).zip(letters).map(retried).collect()).await;
        let mut left = letters.len();
        while left > 0 {
            let Some(event) = told.recv().await else { return Err(RedriveError::Stopping) };
            let Event::Outcomes(outcomes) = event else { continue };
            left = left.saturating_sub(outcomes.len());
            for outcome in outcomes {
                match outcome.verdict {
                    Verdict::Failed(Failure::Commit) => return Err(RedriveError::Commit),
                    Verdict::Failed(Failure::Stopping) => return Err(RedriveError::Stopping),
                    Verdict::Failed(Failure::AfterRefusal) => {}
                    verdict => {
                        verdicts.insert(letters[outcome.ticket as usize].place, verdict);
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes durable which descriptions were stored.
    async fn remember(&self, verdicts: &HashMap<Place, Verdict>) -> Result<(), RedriveError> {
        let is_new = |(letter, _): &&(Letter, u64)| {
            letter.format == Format::Description && verdicts.get(&letter.place) == Some(&Verdict::Stored)
        };
        let new: Vec<_> = self.letters.iter().filter(is_new).map(|(letter, _)| letter.place).collect();
        if new.is_empty() {
            return Ok(());
        }
        let starts: Vec<_> = self.redrive.partitions().iter().map(|found| found.reader().start_offset()).collect();
        let memory = self.redrive.memory.clone();
        let remembered = tokio::task::spawn_blocking(move || memory.remember(&new, &starts)).await;
        remembered.unwrap_or(Err(RedriveError::Stopping))
    }
}

/// How many parts of a letter can be stored: its sequences, or the one description that it is.
fn parts(letter: &Letter) -> u64 {
    if letter.format == Format::Description { 1 } else { letter.sequences() }
}

fn is_whole(letter: &Letter, stored: u64) -> bool {
    stored >= parts(letter)
}

/// What to say of a letter of which `before` parts were stored and `after` are; without a verdict nothing was tried.
fn told(letter: &Letter, before: u64, after: u64, verdict: Option<&Verdict>) -> Tried {
    let why = match verdict {
        Some(Verdict::DeadLettered(reason)) => Some(reason.as_str().to_owned()),
        Some(Verdict::Unreadable(why)) => Some((*why).to_owned()),
        Some(Verdict::Failed(Failure::Quota)) => {
            Some("over a bound of limits; the log of the gateway names it".to_owned())
        }
        // It is read now, and some of it is not readings but what was claimed to be lost.
        Some(_) if !is_whole(letter, after) => Some("not all of it is readings".to_owned()),
        _ => None,
    };
    let result = match verdict {
        None if is_whole(letter, before) => Ending::AlreadyStored,
        None => Ending::Due,
        Some(_) if is_whole(letter, after) => Ending::Stored,
        Some(_) => Ending::Refused,
    };
    Tried {
        place: letter.place,
        result,
        stored: after.saturating_sub(before),
        left: parts(letter).saturating_sub(after),
        reason: why.unwrap_or_else(|| letter.reason.clone()),
    }
}
