//! How long something took: of the whole load and of its last second, as HDR histograms of microseconds.

use anyhow::Result;
use hdrhistogram::Histogram;

/// Significant digits: of the whole load, and of one second.
const DIGITS: u8 = 3;
const DIGITS_OF_A_SECOND: u8 = 2;
/// The longest time that is told apart, in microseconds: a day. Longer ones count as that.
const LONGEST: u64 = 86_400_000_000;

/// Some 250 KiB at the most.
pub(super) struct Times {
    all: Histogram<u64>,
    of_second: Histogram<u64>,
}

/// What a second took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfSecond {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Times {
    pub(super) fn new() -> Result<Self> {
        let histogram = |digits| Histogram::new_with_max(LONGEST, digits);
        Ok(Self { all: histogram(DIGITS)?, of_second: histogram(DIGITS_OF_A_SECOND)? })
    }

    /// Something took so many microseconds.
    pub(super) fn record(&mut self, micros: u64) {
        self.all.saturating_record(micros);
        self.of_second.saturating_record(micros);
    }

    /// All of them.
    pub(super) fn all(&self) -> &Histogram<u64> {
        &self.all
    }

    /// What the second took that ends now.
    pub(super) fn end_second(&mut self) -> OfSecond {
        let of = &self.of_second;
        let (p50, p99) = (of.value_at_quantile(0.5), of.value_at_quantile(0.99));
        let ended = OfSecond { count: of.len(), p50, p99, max: of.max() };
        self.of_second.reset();
        ended
    }
}
