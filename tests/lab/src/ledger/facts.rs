//! What is known of one restart.

use std::ops::Range;

use weir_protocol::RangeSet;

/// What was seen and promised of one restart of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The sequence that the next sample takes, as far as the device ever said.
    pub next: u64,
    /// The oldest sequence that the device still held when it last said so.
    pub base: u64,
    /// The device's ring survives a loss of power, so `next` is exact once everything has drained.
    pub durable: bool,
    /// The device said Hello and no longer holds it: its ring is volatile, and was lost.
    pub gone: bool,
    /// The device was seen on a serial cable; else it is a source inside the agent.
    pub on_cable: bool,
    /// The lab is the device: it sends what is valid, in the order of the sequences, and gives nothing up.
    pub driven: bool,
    /// These left the ring before the agent had acknowledged them: the only ones that may be counted lost.
    pub evicted: RangeSet,
    /// The device sent every sequence below along its cable, as far as it ever came.
    pub reached: u64,
    /// What the agent had below this may have waited while something fresher went: it was there when a connection to the
    /// gateway began, or when much was.
    pub waited: u64,
    /// The agent acknowledged every sequence below.
    pub agent_accepted: u64,
    /// The agent published these to the gateway.
    pub published: RangeSet,
    /// Of those, the agent published these as readings; the others as claims.
    pub sent: RangeSet,
    /// How many sequences were published again after they had been published before.
    pub published_again: u64,
    /// Which these are.
    pub resent: RangeSet,
    /// The gateway acknowledged these.
    pub gateway_acked: RangeSet,
}

impl Facts {
    /// The device says that its next sample takes `next`.
    pub fn sampled(&mut self, next: u64) {
        self.on_cable = true;
        self.next = self.next.max(next);
    }

    /// The device says that it holds `[base, next)`.
    pub fn held(&mut self, base: u64, next: u64) {
        self.sampled(next);
        self.evicted.insert(self.base.max(self.agent_accepted).min(base)..base);
        self.base = self.base.max(base);
    }

    /// The device sends what ends before `end`.
    pub fn sends(&mut self, end: u64) {
        self.reached = self.reached.max(end);
    }

    /// How much the agent has at most that it did not send yet.
    pub fn unsent(&self) -> u64 {
        self.published.gaps(0..self.reached).map(|gap| gap.end - gap.start).sum()
    }

    /// The agent acknowledged everything below `accepted`.
    pub fn agent_acked(&mut self, accepted: u64) {
        self.agent_accepted = self.agent_accepted.max(accepted);
    }

    /// A batch with these sequences went to the gateway.
    pub fn published(&mut self, span: Range<u64>) {
        for again in self.published.overlaps(span.clone()) {
            self.published_again += again.end - again.start;
            self.resent.insert(again);
        }
        self.published.insert(span);
    }

    /// Adds what was learned elsewhere about the same restart.
    pub fn merge(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
        self.base = self.base.max(other.base);
        self.durable |= other.durable;
        self.gone |= other.gone;
        self.evicted.union(&other.evicted);
        self.on_cable |= other.on_cable;
        self.driven |= other.driven;
        self.reached = self.reached.max(other.reached);
        self.waited = self.waited.max(other.waited);
        self.agent_acked(other.agent_accepted);
        self.published_again += other.published_again;
        self.resent.union(&other.resent);
        self.published.union(&other.published);
        self.sent.union(&other.sent);
        self.gateway_acked.union(&other.gateway_acked);
    }

    /// Every sequence that somebody promised to keep: the device's own word for what the agent accepted, and
    /// the gateway's for the rest.
    pub fn promised(&self) -> RangeSet {
        let mut promised = self.gateway_acked.clone();
        promised.insert(0..self.agent_accepted);
        promised
    }

    /// What the agent took and never sent: it dropped, lost or exported it, if it has nothing left to send.
    pub fn withheld(&self) -> RangeSet {
        self.sent.gaps(0..self.agent_accepted).flat_map(|gap| self.evicted.gaps(gap).collect::<Vec<_>>()).collect()
    }

    /// The end of the sequences that are known to exist. A source inside the agent is seen only in batches.
    pub fn known_end(&self) -> u64 {
        let published = self.published.end().unwrap_or(0);
        self.next.max(self.agent_accepted).max(published)
    }
}
