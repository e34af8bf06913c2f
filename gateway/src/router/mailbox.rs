//! What waits for one subscriber: parts of turns, not messages.
//!
//! What it guarantees: parts come out in the order in which they went in; at most [`MOST`] of them wait, and one more
//! pushes the oldest out; whoever takes learns of a gap in front of what comes behind it. A part that waits holds no
//! message: what it is about can go at any time ([`super::turn`]), so a subscriber that takes nothing costs some
//! kilobytes, whatever is published.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::turn::Turn;

/// The most parts that wait for one subscriber.
pub(super) const MOST: usize = 128;

/// The messages of one turn that are for one subscriber.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) turn: Weak<Turn>,
    /// Where their list begins in [`Turn::lists`].
    pub(super) from: u32,
    pub(super) count: u32,
}

/// What is taken out of a mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    Part(Part),
    /// Something is missing here.
    Gap,
}

/// The mailbox of one subscriber.
#[derive(Debug)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    /// Something came.
    pub(super) came: Notify,
}

/// The mailboxes of those who want the same.
pub(super) type Mailboxes = Arc<[Arc<Mailbox>]>;

#[derive(Debug)]
struct Waiting {
    /// Something is missing in front of the parts.
    gap: bool,
    parts: VecDeque<Part>,
}

impl Mailbox {
    /// One that begins with a gap: what was committed before it is for those who read the log.
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::new(Waiting { gap: true, parts: VecDeque::new() }), came: Notify::new() }
    }

    /// Puts a part in. How many messages were lost for it.
    pub(super) fn push(&self, part: Part) -> u64 {
        let mut waiting = self.lock();
        let mut lost = 0;
        if waiting.parts.len() == MOST {
            lost = waiting.parts.pop_front().map_or(0, |oldest| u64::from(oldest.count));
            waiting.gap = true;
        }
        waiting.parts.push_back(part);
        drop(waiting);
        self.came.notify_one();
        lost
    }

    /// Says that something is missing behind what is in it: that goes too, as whoever learns of a gap looks at the
    /// log anyway. How many messages went.
    pub(super) fn push_gap(&self) -> u64 {
        let mut waiting = self.lock();
        let lost = waiting.parts.drain(..).map(|part| u64::from(part.count)).sum();
        waiting.gap = true;
        drop(waiting);
        self.came.notify_one();
        lost
    }

    /// Takes the oldest out.
    pub(super) fn take(&self) -> Option<Mail> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.gap) {
            return Some(Mail::Gap);
        }
        waiting.parts.pop_front().map(Mail::Part)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.lock();
        !waiting.gap && waiting.parts.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(count: u32) -> Part {
        Part { turn: Weak::new(), from: 0, count }
    }

    fn taken(mailbox: &Mailbox) -> Vec<Option<u32>> {
        std::iter::from_fn(|| mailbox.take())
            .map(|mail| match mail {
                Mail::Part(part) => Some(part.count),
                Mail::Gap => None,
            })
            .collect()
    }

    #[test]
    fn it_begins_with_a_gap_and_keeps_the_order() {
        let mailbox = Mailbox::new();
        assert!(!mailbox.is_empty());
        (1..4).for_each(|count| assert_eq!(mailbox.push(part(count)), 0));
        assert_eq!(taken(&mailbox), [None, Some(1), Some(2), Some(3)]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn a_full_one_loses_its_oldest_parts_and_says_so_in_front_of_the_rest() {
        let mailbox = Mailbox::new();
        taken(&mailbox);
        let most = MOST as u32;
        let lost: u64 = (0..most + 3).map(|count| mailbox.push(part(count))).sum();
        assert_eq!(lost, 1 + 2, "the messages of the first three parts: none, one, two");
        let expected: Vec<_> = [None].into_iter().chain((3..most + 3).map(Some)).collect();
        assert_eq!(taken(&mailbox), expected);
    }

    #[test]
    fn a_gap_takes_what_is_in_front_of_it_along() {
        let mailbox = Mailbox::new();
        taken(&mailbox);
        mailbox.push(part(5));
        mailbox.push(part(6));
        assert_eq!(mailbox.push_gap(), 11);
        mailbox.push(part(7));
        assert_eq!(taken(&mailbox), [None, Some(7)]);
    }
}
