//! What may be sent and when: window, credit, going back when asked, and breaking a silence.
//!
//! Only readings of the oldest restart are sent. `sent` runs from `base` up to `next`, never past the credit
//! (an absolute limit that the agent gives per restart) and never more than [`WINDOW`] past `base`. A frame
//! waits while others are in flight and it is not full, so under load frames fill up by themselves and at a
//! slow rate nothing is delayed.
//!
//! Nothing is sent again before the agent asks for it: it may commit seconds apart, and then has what it does not
//! acknowledge yet. When nothing was acknowledged for a while although something waits, the device says Hello and how
//! far it has sent, and the agent asks for what it misses of that; each time the device waits twice as long, up to
//! [`LONGEST_SILENCE`].

use weir_protocol::serial::Held;
use weir_protocol::{Restart, Sequence};

use crate::uptime::Uptime;

/// The most readings in flight.
pub const WINDOW: u64 = 256;
/// This many readings fill a frame well enough to send it while others are in flight.
const FULL: u64 = 24;
/// A silence is broken after this long at first, in microseconds.
pub const SHORTEST_SILENCE: u64 = 1_000_000;
/// And never later than this, in microseconds.
pub const LONGEST_SILENCE: u64 = 8_000_000;
/// A change of `base` or `next` is reported at most this often without readings, in microseconds.
const REPORT_INTERVAL: u64 = 1_000_000;
/// A lost frame makes the agent ask for the same again and again; within this it is asked once, in microseconds.
const RESEND_PAUSE: u64 = 200_000;

/// What to put into the next frame of readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Readings `[from, upto)`, or as many of them as fit.
    Readings(Sequence, Sequence),
    /// No readings: `base`, `next`, and this sequence, which is the first one that was not sent.
    Report(Sequence),
}

/// Where sending stands, for the oldest restart.
#[derive(Debug)]
pub struct Sender {
    restart: Restart,
    sent: Sequence,
    /// The first sequence that may not be sent.
    credit: Sequence,
    reported: Option<(Sequence, Sequence)>,
    reported_at: Uptime,
    went_back: Option<(Sequence, Uptime)>,
    /// Since when nothing was acknowledged although something waits.
    silent_since: Uptime,
    patience: u64,
}

impl Sender {
    /// Nothing sent, no credit.
    pub const fn new(now: Uptime) -> Self {
        Self {
            restart: Restart::UNBOUND,
            sent: Sequence(0),
            credit: Sequence(0),
            reported: None,
            reported_at: Uptime(0),
            went_back: None,
            silent_since: now,
            patience: SHORTEST_SILENCE,
        }
    }

    /// Follows the ring: another oldest restart starts from its `base` without credit.
    pub fn follow(&mut self, now: Uptime, oldest: Held, ended: bool) {
        if oldest.restart != self.restart {
            *self = Self { restart: oldest.restart, sent: oldest.base, ..Self::new(now) };
        }
        self.sent = self.sent.clamp(oldest.base, oldest.next);
        if !waits(oldest, ended) {
            self.progress(now);
        }
    }

    /// Something was acknowledged, or nothing waits.
    pub fn progress(&mut self, now: Uptime) {
        self.silent_since = now;
        self.patience = SHORTEST_SILENCE;
    }

    /// The agent gives a new limit.
    pub fn credit(&mut self, now: Uptime, restart: Restart, upto: Sequence) {
        if restart == self.restart {
            // What waited for credit was not met with silence.
            if upto > self.credit {
                self.progress(now);
            }
            self.credit = upto;
        }
    }

    /// The agent starts over: what an earlier one allowed does not bind it.
    pub fn forget_credit(&mut self) {
        self.credit = Sequence(0);
        self.reported = None;
    }

    /// The agent wants readings again from `from`. Returns whether it gets them.
    pub fn resend(&mut self, now: Uptime, oldest: Held, restart: Restart, from: Sequence) -> bool {
        let repeated = self.went_back.is_some_and(|(at, when)| at == from && now.since(when) < RESEND_PAUSE);
        let held = restart == self.restart && oldest.base <= from && from < self.sent;
        if held && !repeated {
            self.went_back = Some((from, now));
            self.sent = from;
        }
        held
    }

    /// When a silence must be broken, if anything waits.
    pub fn silence_due(&self, oldest: Held, ended: bool) -> Option<Uptime> {
        waits(oldest, ended).then(|| self.silent_since.plus(self.patience))
    }

    /// The silence is being broken: what was reported and asked for went astray, or never was.
    pub fn break_silence(&mut self, now: Uptime) {
        self.silent_since = now;
        self.patience = (self.patience * 2).min(LONGEST_SILENCE);
        self.went_back = None;
        self.reported = None;
    }

    /// What to send now, if anything.
    pub fn next(&self, now: Uptime, oldest: Held, ended: bool) -> Option<Next> {
        if self.restart == Restart::UNBOUND {
            return None;
        }
        let upto = oldest.next.min(self.credit).min(Sequence(oldest.base.0.saturating_add(WINDOW)));
        let ready = upto.0.saturating_sub(self.sent.0);
        let in_flight = self.sent > oldest.base;
        if ready >= FULL || ready > 0 && !in_flight {
            return Some(Next::Readings(self.sent, upto));
        }
        let changed = self.reported != Some((oldest.base, oldest.next));
        // An ended restart without readings can only be accepted when the agent hears of its end.
        let due = ended && oldest.base == oldest.next || now.since(self.reported_at) >= REPORT_INTERVAL;
        (changed && due && (in_flight || waits(oldest, ended))).then_some(Next::Report(self.sent))
    }

    /// When [`Self::next`] may have a report that it has not now.
    pub fn report_due(&self, oldest: Held) -> Option<Uptime> {
        let changed = self.reported != Some((oldest.base, oldest.next));
        let numbered = self.restart != Restart::UNBOUND;
        (numbered && changed && oldest.base < oldest.next).then(|| self.reported_at.plus(REPORT_INTERVAL))
    }

    /// There were no readings to send after all.
    pub fn found_nothing(&mut self, now: Uptime) {
        self.reported_at = now;
    }

    /// A frame left that said `oldest` and held readings up to `end`.
    pub fn sent(&mut self, now: Uptime, oldest: Held, end: Sequence) {
        self.sent = self.sent.max(end);
        self.reported = Some((oldest.base, oldest.next));
        self.reported_at = now;
    }
}

/// Whether anything waits for an acknowledgement.
fn waits(oldest: Held, ended: bool) -> bool {
    ended || oldest.base < oldest.next
}
