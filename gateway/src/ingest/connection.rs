//! What one connection waits for: its messages in order, and the descriptions it was asked for.

use std::collections::VecDeque;
use std::time::Duration;

use weir_protocol::batch::command::AgentCommand;
use weir_protocol::{AgentId, DeviceId, SchemaHash, Timestamp};

use super::budget::Budget;
use super::damage::GATEWAY;
use super::decode::Work;
use super::group::LogSet;
use super::stats::Counters;
use super::{Event, Events, Failure, Outcome, Sender, Verdict};

/// The most descriptions that one connection waits for; a batch that needs yet another does not wait.
const MAX_ASKED: usize = 64;

/// A message on its way from submit to verdict.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: u64,
    /// What it took of the budget.
    pub(crate) cost: usize,
    pub(crate) arrival: Timestamp,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum State {
    /// Nothing was decided.
    Waiting(Work),
    /// The verdict holds once that group has committed in these logs.
    Staged { group: u64, logs: LogSet, verdict: Verdict },
    /// Decided.
    Done(Verdict),
}

impl Entry {
    /// Whether it is a description about which nothing was decided.
    pub(crate) fn is_waiting_description(&self) -> bool {
        matches!(self.state, State::Waiting(Work::Describe(_)))
    }
}

/// One connection, as the engine knows it.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    /// What its batches say of it. A client whose name is no agent's sends none.
    pub(crate) agent: AgentId,
    pub(crate) events: Events,
    pub(crate) budget: Budget,
    /// Messages without an outcome, in the order they came.
    pub(crate) queue: VecDeque<Entry>,
    /// Every entry before this is decided or staged.
    pub(crate) next: usize,
    /// Descriptions among the entries that wait: they do not wait for their turn.
    pub(crate) waiting_descriptions: usize,
    /// Its messages are dead letters that are tried again: nobody is asked for a description, and none is buried twice.
    pub(crate) is_retry: bool,
    /// A message was refused: those behind it are refused too.
    pub(crate) refused: bool,
    /// A refusal has been told: whatever follows is told as refused, even if it was staged.
    told_refusal: bool,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    device: DeviceId,
    schema: SchemaHash,
    deadline: Duration,
}

/// How long a batch is to wait for a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until then, on the monotonic clock; `true` if it was asked for just now.
    Until(Duration, bool),
    /// No longer.
    Over,
}

impl Connection {
    pub(crate) fn new(sender: Sender, events: Events, budget: Budget) -> Self {
        Self {
            agent: sender.agent().unwrap_or(GATEWAY),
            sender,
            events,
            budget,
            queue: VecDeque::new(),
            next: 0,
            waiting_descriptions: 0,
            is_retry: false,
            refused: false,
            told_refusal: false,
            asked: Vec::new(),
        }
    }

    /// One on which dead letters are tried again.
    pub(crate) fn retry(sender: Sender, events: Events, budget: Budget) -> Self {
        Self { is_retry: true, ..Self::new(sender, events, budget) }
    }

    /// Waits for a description, asking for it the first time.
    pub(crate) fn wait_for(&mut self, device: DeviceId, schema: SchemaHash, now: Duration, wait: Duration) -> Wait {
        if self.is_retry {
            // The agent may be gone for years.
            return Wait::Over;
        }
        let asked = self.asked.iter().find(|asked| (asked.device, asked.schema) == (device, schema));
        match asked {
            Some(asked) if asked.deadline <= now => Wait::Over,
            Some(asked) => Wait::Until(asked.deadline, false),
            None if self.asked.len() == MAX_ASKED => Wait::Over,
            None => {
                let deadline = now + wait;
                self.asked.push(Asked { device, schema, deadline });
                self.tell(Event::Ask(AgentCommand::Describe { device, schema }));
                Wait::Until(deadline, true)
            }
        }
    }

    /// The descriptions that it asked for and did not get, each with the end of the wait.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (DeviceId, SchemaHash, Duration)> {
        self.asked.iter().map(|asked| (asked.device, asked.schema, asked.deadline))
    }

    /// A description came: if its schema is ever unknown again, that is worth a question.
    pub(crate) fn got(&mut self, device: DeviceId, schema: SchemaHash) {
        self.asked.retain(|asked| (asked.device, asked.schema) != (device, schema));
    }

    /// Tells the outcomes that are due: those in front, up to the first that still waits. Groups up to
    /// `resolved` are committed.
    pub(crate) fn answer(&mut self, resolved: u64, counters: &Counters) {
        let mut outcomes = Vec::new();
        let mut cost = 0;
        while let Some(entry) = self.queue.front() {
            let due = match &entry.state {
                State::Waiting(_) => false,
                State::Staged { group, .. } => *group <= resolved,
                State::Done(_) => true,
            };
            if !due {
                break;
            }
            let Some(entry) = self.queue.pop_front() else { break };
            self.next = self.next.saturating_sub(1);
            cost += entry.cost;
            let verdict = match entry.state {
                _ if self.told_refusal => Verdict::Failed(Failure::AfterRefusal),
                State::Staged { verdict, .. } | State::Done(verdict) => verdict,
                State::Waiting(_) => break,
            };
            self.told_refusal |= verdict.is_refusal();
            if let Verdict::Failed(failure) = verdict {
                counters.failed[failure as usize].add(1);
            }
            outcomes.push(Outcome { ticket: entry.ticket, verdict });
        }
        if !outcomes.is_empty() {
            self.budget.give_back(cost);
            self.tell(Event::Outcomes(outcomes));
        }
    }

    /// Refuses what was not staged; what is in front of it is still told as it ends.
    pub(crate) fn refuse_waiting(&mut self, failure: Failure) {
        self.refused = true;
        self.waiting_descriptions = 0;
        for entry in &mut self.queue {
            if matches!(entry.state, State::Waiting(_)) {
                entry.state = State::Done(Verdict::Failed(failure));
            }
        }
        self.next = self.queue.len();
    }

    /// Fails what was staged in that group, all of it or only what touches `failed` logs.
    pub(crate) fn fail_group(&mut self, number: u64, failed: Option<&LogSet>) {
        let mut any = false;
        for entry in &mut self.queue {
            if let State::Staged { group, logs, .. } = &entry.state
                && *group == number
                && failed.is_none_or(|failed| logs.intersects(failed))
            {
                entry.state = State::Done(Verdict::Failed(Failure::Commit));
                any = true;
            }
        }
        if any {
            self.refuse_waiting(Failure::AfterRefusal);
        }
    }

    /// A connection that has gone does not listen; that is its business.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
