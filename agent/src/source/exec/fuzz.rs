//! What a program prints as a plain function over bytes, for fuzzers. Not part of the interface of this package.

use weir_protocol::{Clock, Timestamp};

use super::line::{Lines, MAX_LINE, parse, shown};
use crate::source::clock::SampleTime;

/// Takes any bytes as what a program prints, in reads of several lengths; every cut finds the same lines.
pub fn printed(bytes: &[u8]) {
    let mut all = Vec::new();
    for size in [bytes.len().max(1), 7] {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for part in bytes.chunks(size) {
            lines.feed(part, |line| found.push(line.map(<[u8]>::to_vec).map_err(<[u8]>::to_vec)));
        }
        lines.finish(|line| found.push(Ok(line.to_vec())));
        all.push(found);
    }
    assert_eq!(all.first(), all.last(), "lines are the same wherever the reads end");
    let now = SampleTime { time: Timestamp(1_795_262_400_000_000), clock: Clock::Synchronised };
    for line in all.pop().into_iter().flatten() {
        match line.as_deref().map(parse) {
            Ok(Ok(Some(line))) => drop(line.sample(now)),
            Ok(Ok(None)) => {}
            Ok(Err(why)) => assert!(!why.is_empty(), "a refusal says why"),
            Err(long) => assert!(long.len() > MAX_LINE && !shown(long).is_empty()),
        }
    }
}
