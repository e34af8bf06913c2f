//! The two lanes of one class, and where one ends and the other begins.

use weir_storage::ReadError;

use super::lane::Lane;
use super::source::Source;
use super::{Part, Unreadable};
use crate::queue::{ClassId, ClassLog, ClassState, SharedState};

/// With so many records or fewer to catch up when a connection begins, there is no backlog: this is a moment's work. Of
/// more the last so many are live: what came just before the connection is as fresh as what comes just behind it.
const MOMENT: u64 = 256;
/// A live lane that is so many records behind is no longer live.
const MAX_BEHIND: u64 = 1024;

/// One class.
pub(super) struct Shelf {
    pub(super) class: ClassId,
    pub(super) source: Source,
    /// Records from here on are live.
    split: u64,
    live: Lane,
    backlog: Lane,
}

impl Shelf {
    pub(super) fn new(class: ClassId, log: ClassLog) -> Self {
        Self { class, source: Source::new(class, log), split: 0, live: Lane::new(), backlog: Lane::new() }
    }

    pub(super) fn lane(&mut self, backlog: bool) -> &mut Lane {
        if backlog { &mut self.backlog } else { &mut self.live }
    }

    pub(super) fn lane_ref(&self, backlog: bool) -> &Lane {
        if backlog { &self.backlog } else { &self.live }
    }

    /// Whether something waits that is not live.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.at() < self.split || self.backlog.is_forming()
    }

    pub(super) fn is_searching(&self) -> bool {
        self.live.is_searching() || self.backlog.is_searching()
    }

    /// Forgets what was sent and not acknowledged.
    pub(super) fn rewind(&mut self, state: &ClassState) {
        let (start, end) = (self.source.log.reader.start_offset(), self.source.log.reader.end_offset());
        self.source.rewind(start);
        let first = state.first_unshipped(start).min(end);
        let first_live = state.first_unshipped(start.max(self.split)).min(end);
        if end - first <= MOMENT {
            self.split = first;
            self.live.take_over(&mut self.backlog);
        } else if end - first_live > MOMENT && !self.live.is_searching() {
            self.split = end - MOMENT;
        }
        self.backlog.rewind(first);
        self.live.rewind(state.first_unshipped(start.max(self.split)).min(end));
    }

    /// See [`super::Spool::fill`].
    pub(super) fn fill(&mut self, backlog: bool, state: &SharedState, most: usize) -> Result<bool, ReadError> {
        if backlog {
            return self.backlog.fill(&mut self.source, state, self.split, most);
        }
        let end = self.source.log.reader.end_offset();
        if end.saturating_sub(self.live.at()) > MAX_BEHIND && self.live.is_between_batches() {
            // What is in flight of it is not sent again by the other lane.
            self.source.skip(self.split.max(self.backlog.at())..self.live.at());
            if self.backlog.at() >= self.split && !self.backlog.is_forming() {
                self.backlog.rewind(self.live.at());
            }
            self.split = end - MOMENT;
            self.live.rewind(self.split);
        }
        self.live.fill(&mut self.source, state, u64::MAX, most)
    }

    /// See [`super::Spool::shipped`].
    pub(super) fn shipped(&mut self, backlog: bool, parts: &[Part], state: &mut ClassState) {
        self.source.shipped(parts, state);
        self.lane(backlog).shipped(parts);
    }

    /// See [`super::Spool::unreadable`].
    pub(super) fn unreadable(&mut self, backlog: bool, parts: &[Part]) -> Unreadable {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Unreadable::Again };
        let units = super::lane::units(parts);
        self.lane(backlog).halve(units, last);
        let alone = (first.offset, first.units.start);
        if units > 1 {
            return Unreadable::Halved;
        }
        if self.source.reject(alone) {
            return if first.readings { Unreadable::Reading(alone.0, alone.1) } else { Unreadable::Again };
        }
        if first.readings {
            // Its claim was refused as well: it is not the reading. What a better gateway can read is not given up.
            return Unreadable::Again;
        }
        Unreadable::GivenUp(first.offset)
    }
}
