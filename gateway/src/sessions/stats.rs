//! What is counted.

use std::sync::atomic::Ordering::Relaxed;

use super::Sessions;

/// What there is, and what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that outlive their connection.
    pub durable: u64,
    /// Clients that are connected.
    pub attached: u64,
    /// Bytes that durable sessions take.
    pub bytes: u64,
    /// Wills that wait, for their delay or to be published.
    pub wills_waiting: u64,
    /// Connections that got a session.
    pub attaches: u64,
    /// Those of them that got one that was there.
    pub resumed: u64,
    /// Connections that another one of the same client ended.
    pub taken_over: u64,
    /// Sessions that ended because nobody came for them.
    pub expired: u64,
    /// Sessions, subscriptions and packet ids refused at a bound.
    pub refused: u64,
    /// Wills published.
    pub wills_published: u64,
    /// Wills that nothing stores.
    pub wills_refused: u64,
    /// Wills dropped because too many waited, or the disk failed for too long.
    pub wills_dropped: u64,
    /// Writes of sessions.
    pub commits: u64,
    /// Those of them that failed.
    pub commits_failed: u64,
}

impl Sessions {
    /// What is counted.
    pub fn stats(&self) -> Stats {
        let table = self.shared.table();
        let counters = table.counters;
        Stats {
            durable: table.durable as u64,
            attached: table.attached as u64,
            bytes: self.shared.bytes.load(Relaxed) as u64,
            wills_waiting: table.waiting_wills() as u64,
            attaches: counters.attached,
            resumed: counters.resumed,
            taken_over: counters.taken_over,
            expired: counters.expired,
            refused: counters.refused,
            wills_published: counters.wills_published,
            wills_refused: counters.wills_refused,
            wills_dropped: counters.wills_dropped,
            commits: self.shared.commits.load(Relaxed),
            commits_failed: self.shared.commits_failed.load(Relaxed),
        }
    }
}
