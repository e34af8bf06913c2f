//! Refused access, coalesced: the first of a kind is told at once, those after it are counted and told once an interval.
//! So what a crowd can write is bounded, whatever it does.

use std::collections::HashMap;

/// The most kinds that are told apart in one interval; the rest is counted together.
const MOST_KINDS: usize = 1024;

macro_rules! wanted {
    ($($(#[$doc:meta])* $wanted:ident = $name:literal),* $(,)?) => {
        /// What somebody wanted, and did not get.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Wanted { $($(#[$doc])* $wanted),* }

        impl Wanted {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$wanted),*];

            /// The name in the audit and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$wanted => $name),* }
            }
        }
    };
}

wanted! {
    /// A session.
    Connect = "mqtt-connect",
    /// To publish on a topic.
    Publish = "mqtt-publish",
    /// To get what is on topics.
    Subscribe = "mqtt-subscribe",
    /// An answer over HTTP.
    Http = "http",
    /// A connection or an answer over Kafka.
    Kafka = "kafka",
    /// A certificate.
    Enrol = "enrol",
    /// Another certificate for the one that it has.
    Renew = "renew",
}

/// What makes two refusals the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// What was refused.
    pub(super) refused: Wanted,
    /// To whom, as it said.
    pub(super) who: String,
    /// Where it comes from.
    pub(super) from: String,
    /// Why.
    pub(super) why: &'static str,
}

/// The refusals of an interval.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: HashMap<Kind, u64>,
    /// Those that there was no room for.
    others: HashMap<Wanted, u64>,
}

impl Refusals {
    /// Counts a refusal; whether it is to be told at once.
    pub(super) fn count(&mut self, kind: Kind) -> bool {
        if let Some(count) = self.counts.get_mut(&kind) {
            *count += 1;
            return false;
        }
        if self.counts.len() < MOST_KINDS {
            self.counts.insert(kind, 0);
            return true;
        }
        *self.others.entry(kind.refused).or_default() += 1;
        false
    }

    /// What was counted and not told, and a new interval. A kind that went on stays known, so that it is told once an
    /// interval and not twice.
    pub(super) fn take(&mut self) -> Vec<(Kind, u64)> {
        let told = std::mem::take(&mut self.counts);
        let mut all: Vec<_> = told.into_iter().filter(|(_, count)| *count > 0).collect();
        self.counts = all.iter().map(|(kind, _)| (kind.clone(), 0)).collect();
        all.extend(self.others.drain().map(|(refused, count)| {
            let many = || "many".to_owned();
            (Kind { refused, who: many(), from: many(), why: "more kinds than are told apart" }, count)
        }));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(who: &str) -> Kind {
        Kind { refused: Wanted::Publish, who: who.to_owned(), from: "10.0.0.1".to_owned(), why: "no rule" }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_are_counted() {
        let mut refusals = Refusals::default();
        assert!(refusals.count(kind("a")) && refusals.count(kind("b")));
        assert!((0..100).all(|_| !refusals.count(kind("a"))));
        assert_eq!(refusals.take(), [(kind("a"), 100)]);
        assert!(!refusals.count(kind("a")), "it goes on: it is told with the next interval");
        assert!(refusals.count(kind("b")), "it had ended");
        assert_eq!(refusals.take(), [(kind("a"), 1)]);
        assert_eq!(refusals.take(), []);
    }

    #[test]
    fn a_storm_of_kinds_is_bounded() {
        let mut refusals = Refusals::default();
        let told = (0..100_000).filter(|number| refusals.count(kind(&number.to_string()))).count();
        assert_eq!(told, MOST_KINDS);
        let counted = refusals.take();
        assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 100_000 - MOST_KINDS as u64);
        assert_eq!(counted.len(), 1);
    }
}
