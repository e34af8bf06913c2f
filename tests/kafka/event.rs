//! What a client says, line by line; `tests/kafka/README.md` lists the lines.

use std::collections::{BTreeMap, BTreeSet};

/// The offset to go on with, by partition.
pub(crate) type Positions = BTreeMap<u32, u64>;

/// A record as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its partition.
    pub(crate) partition: u32,
    /// Its offset there.
    pub(crate) offset: u64,
    /// Its key.
    pub(crate) key: String,
    /// Its value: bytes in hexadecimal, or JSON if a registry's client decoded it.
    pub(crate) value: String,
}

/// Where records stand.
pub(crate) fn places(taken: &[Taken]) -> BTreeSet<(u32, u64)> {
    taken.iter().map(|record| (record.partition, record.offset)).collect()
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The group gave it partitions.
    Assigned(BTreeSet<u32>),
    /// The group took partitions from it.
    Revoked(BTreeSet<u32>),
    /// It took a record.
    Record(Taken),
    /// The gateway has acknowledged its commit.
    Committed(Positions),
    /// It waits to be killed.
    Holding,
    /// It has taken all that it was asked to.
    Done,
    /// It gave up; the client's own message.
    Error(String),
}

impl Event {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "assigned" => Self::Assigned(partitions(rest)),
            "revoked" => Self::Revoked(partitions(rest)),
            "record" => Self::Record(record(rest)),
            "committed" => Self::Committed(positions(rest)),
            "holding" => Self::Holding,
            "done" => Self::Done,
            "error" => Self::Error(rest.to_owned()),
            _ => panic!("got the line {line:?}, expected one of tests/kafka/README.md"),
        }
    }
}

fn partitions(list: &str) -> BTreeSet<u32> {
    list.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().unwrap()).collect()
}

fn positions(list: &str) -> Positions {
    let position = |pair: &str| {
        let (partition, offset) = pair.split_once(':').unwrap();
        (partition.parse().unwrap(), offset.parse().unwrap())
    };
    list.split(',').filter(|pair| !pair.is_empty()).map(position).collect()
}

fn record(rest: &str) -> Taken {
    let mut words = rest.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("got the record {rest:?}, expected four words"));
    let (partition, offset) = (word().parse().unwrap(), word().parse().unwrap());
    Taken { partition, offset, key: word().to_owned(), value: word().to_owned() }
}
