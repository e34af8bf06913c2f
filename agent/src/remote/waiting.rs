//! Commands that wait for their turn.
//!
//! Guarantees: what was signed earlier goes first, whatever the order of their delivery; of the same second, by their ids.
//! Those that were there before this agent listened come in no order, so the first of them is not begun before nothing
//! came for [`SETTLE`]. At most [`MAX_WAITING`] wait.

use std::time::Duration;

use tokio::time::Instant;
use weir_protocol::name::Name;

use super::document::SignedCommand;

/// The most that wait.
pub(super) const MAX_WAITING: usize = 64;
/// How long nothing must come.
const SETTLE: Duration = Duration::from_millis(500);

/// A command that an operator gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) signed: SignedCommand,
    /// The SHA-256 of its document.
    pub(super) digest: String,
    /// The id in its topic, if it has one of its own.
    pub(super) topic: Option<Name>,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The next is the last.
    commands: Vec<Given>,
    settled_at: Option<Instant>,
}

impl Waiting {
    /// Adds a command, unless it waits; `retained` if it was there before this agent listened.
    pub(super) fn add(&mut self, given: Given, retained: bool) -> Result<(), Full> {
        if retained {
            self.settled_at = Some(Instant::now() + SETTLE);
        }
        if self.commands.iter().any(|waiting| waiting.digest == given.digest) {
            return Ok(());
        }
        if self.commands.len() >= MAX_WAITING {
            return Err(Full);
        }
        self.commands.push(given);
        self.commands.sort_by_key(|given| std::cmp::Reverse(turn(given)));
        Ok(())
    }

    /// When the next may begin; none if none waits.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let settled_at = self.settled_at.unwrap_or_else(Instant::now);
        (!self.commands.is_empty()).then_some(settled_at)
    }

    /// The next.
    pub(super) fn pop(&mut self) -> Option<Given> {
        self.commands.pop()
    }
}

fn turn(given: &Given) -> (i64, Name) {
    (given.signed.header.issued, given.signed.id)
}

#[cfg(test)]
mod tests {
    use super::super::document::Header;
    use super::*;

    fn given(id: &str, issued: i64) -> Given {
        let header = Header { agent: "edge-1".to_owned(), issued, expires: 200 };
        let id = Name::new(id).unwrap();
        let signed = SignedCommand { header, id, name: "ping".to_owned(), args: Vec::new() };
        Given { signed, digest: id.to_string(), topic: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_signed_earlier_goes_first_once_everything_is_there() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.due_at(), None);
        waiting.add(given("live", 7), false).unwrap();
        assert_eq!(waiting.due_at(), Some(Instant::now()));
        for (id, issued) in [("c", 3), ("a", 2), ("b", 3), ("a", 2), ("d", 1)] {
            waiting.add(given(id, issued), true).unwrap();
        }
        assert_eq!(waiting.due_at(), Some(Instant::now() + SETTLE));
        let order: Vec<String> = std::iter::from_fn(|| waiting.pop()).map(|given| given.digest).collect();
        assert_eq!(order, ["d", "a", "b", "c", "live"]);
        for number in 0..MAX_WAITING {
            waiting.add(given(&format!("c{number}"), 1), false).unwrap();
        }
        assert_eq!(waiting.add(given("one-more", 1), false), Err(Full));
        assert_eq!(waiting.add(given("c1", 1), false), Ok(()), "it waits");
    }
}
