//! Topic aliases of one client (section 3.3.2.3.4): a number that stands for a topic, on this connection.
//!
//! What it guarantees: at most [`MAX_ALIASES`] of them, each for a topic that was let through before it is kept; so memory
//! is bounded by that number times the longest topic. Nothing is allocated for a client that has none.

use bytes::Bytes;

use crate::front::destination::MAX_TOPIC;
use crate::front::refusal::Refusal;

/// The highest alias, which CONNACK tells.
pub(in crate::front) const MAX_ALIASES: u16 = 16;

/// The most that they take, in bytes; the settings allow no topic longer than [`super::super::destination::MAX_TOPIC`].
pub(in crate::front) const MOST: usize = MAX_ALIASES as usize * (MAX_TOPIC + size_of::<Option<Box<[u8]>>>());

/// The aliases of one client.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The topic of alias 1 first.
    topics: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

impl Aliases {
    /// Bytes that they hold.
    pub(super) fn held(&self) -> usize {
        self.bytes + self.topics.capacity() * size_of::<Option<Box<[u8]>>>()
    }

    /// The topic that a message means: its own, which the alias stands for from here on, or that of the alias.
    ///
    /// # Errors
    /// [`Refusal::TopicAlias`] for one beyond [`MAX_ALIASES`] ([MQTT-3.3.2-9]), [`Refusal::UnknownAlias`] for one that
    /// stands for nothing.
    pub(super) fn resolve(&mut self, alias: Option<u16>, topic: Bytes) -> Result<Bytes, Refusal> {
        let Some(alias) = alias else { return Ok(topic) };
        if alias == 0 || alias > MAX_ALIASES {
            return Err(Refusal::TopicAlias);
        }
        let at = usize::from(alias) - 1;
        if topic.is_empty() {
            let known = self.topics.get(at).and_then(Option::as_ref);
            return known.map(|topic| Bytes::copy_from_slice(topic)).ok_or(Refusal::UnknownAlias);
        }
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        // A copy: a slice would keep a whole block of the read buffer alive.
        let before = self.topics[at].replace(topic[..].into());
        self.bytes += topic.len();
        self.bytes -= before.map_or(0, |before| before.len());
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"a");
    const LONG: Bytes = Bytes::from_static(b"a/long/one");

    #[test]
    fn an_alias_stands_for_the_last_topic_that_it_was_given() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.held(), 0);
        assert_eq!(aliases.resolve(Some(3), Bytes::new()), Err(Refusal::UnknownAlias));
        assert_eq!(aliases.resolve(Some(3), LONG), Ok(LONG));
        assert_eq!(aliases.resolve(Some(3), Bytes::new()), Ok(LONG));
        assert_eq!(aliases.resolve(Some(2), Bytes::new()), Err(Refusal::UnknownAlias));
        assert_eq!(aliases.resolve(Some(3), A), Ok(A));
        assert_eq!(aliases.resolve(Some(3), Bytes::new()), Ok(A));
        assert_eq!(aliases.bytes, 1);
        assert_eq!(aliases.resolve(None, A), Ok(A));
    }

    #[test]
    fn aliases_are_few() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.resolve(Some(0), A), Err(Refusal::TopicAlias));
        assert_eq!(aliases.resolve(Some(MAX_ALIASES + 1), A), Err(Refusal::TopicAlias));
        assert_eq!(aliases.resolve(Some(MAX_ALIASES), A), Ok(A));
    }
}
