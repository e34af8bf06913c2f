//! Readings: claim what is gone, ask for what is missing, clip what is here, stage the rest.

use weir_protocol::batch::{Claim, LossKind};
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Readings;
use weir_protocol::{Reading, Restart, Sequence};

use super::processed::class_of;
use super::{Intake, LinkId, Position};
use crate::counters::Event;
use crate::processing::Plan;
use crate::queue::{ClassId, Key, Policy};

impl Intake {
    pub(super) fn readings(&mut self, link: LinkId, frame: &Readings<'_>) {
        let Some(device) = self.device_on(link) else { return };
        if frame.restart == Restart::UNBOUND {
            return self.assign(link);
        }
        if frame.base > frame.first || frame.first > frame.next || frame.next > Sequence::END {
            let what = || format!("{device}: base {}, first {}, next {}", frame.base, frame.first, frame.next);
            return self.counters.warn(Event::Inconsistent, what);
        }
        if let Some(known) = self.links.get_mut(&link) {
            known.hold(frame.restart);
        }
        let key = (device, frame.restart);
        self.want_description(link, device, frame.schema);
        let position = self.catch_up(link, key, frame.base, frame.next);
        if frame.first > position.accepted {
            self.ask_again(link, frame, position.accepted);
        } else if let Ok(plan) = self.plan(link, key, frame) {
            if let Some(known) = self.links.get_mut(&link) {
                known.follows();
            }
            self.stage_readings(link, key, (frame, plan.as_deref()), position);
        }
        self.answer(link, key);
    }

    fn ask_again(&mut self, link: LinkId, frame: &Readings<'_>, from: Sequence) {
        let is_report = frame.readings.is_empty();
        if self.links.get_mut(&link).is_some_and(|known| known.asks(frame.restart, from, frame.first, is_report)) {
            self.counters.add(Event::Resends, 1);
            self.reply(link, Down::Resend { restart: frame.restart, from });
        }
    }

    /// Takes what the device says of its ring: what it evicted before it was accepted here is lost.
    pub(super) fn catch_up(&mut self, link: LinkId, key: Key, base: Sequence, next: Sequence) -> Position {
        let known = self.position(&key);
        let mut start = known.unwrap_or(Position {
            from: base,
            accepted: Sequence(0),
            ended: false,
            forgotten: Sequence(0),
            doubtful: false,
        });
        if next < start.accepted {
            let what = || format!("{} restart {}: at {next}, was acknowledged {}", key.0, key.1, start.accepted);
            self.counters.warn(Event::SequenceWentBack, what);
        }
        let in_doubt = std::mem::take(&mut start.doubtful);
        if base <= start.accepted {
            if in_doubt {
                self.state.lock().restarts.trust(&key);
            }
            return start;
        }
        if known.is_none() {
            return self.claim(link, key, LossKind::UnknownHistory, start, base);
        }
        // What it evicted and what was lost here cannot be told apart then.
        let lost_here = if in_doubt { base } else { start.forgotten.min(base) };
        let start = match start.accepted < lost_here {
            true => self.claim(link, key, LossKind::Unaccounted, start, lost_here),
            false => start,
        };
        match start.accepted < base {
            true => self.claim(link, key, LossKind::Ring, start, base),
            false => start,
        }
    }

    /// Stages the readings that follow on, as far as there is room in their classes; what finds none is dropped or left
    /// to the device, as the policy of its class says.
    fn stage_readings(
        &mut self,
        link: LinkId,
        key: Key,
        (frame, plan): (&Readings<'_>, Option<&Plan>),
        start: Position,
    ) {
        let mut position = Position { ended: false, ..start };
        // Where the readings begin that were dropped last.
        let mut dropping: Option<Position> = None;
        let mut undecodable = false;
        let mut sequence = frame.first;
        let mut readings = frame.readings.iter();
        loop {
            let before = readings.rest().len();
            let Some(reading) = readings.next() else { break };
            if sequence >= frame.next {
                let what = || format!("{}: more readings than its next, {}, allows", key.0, frame.next);
                self.counters.warn(Event::Inconsistent, what);
                break;
            }
            let reading: Reading<'_> = match reading {
                Ok(reading) => reading,
                Err(_) if sequence == position.accepted => {
                    // It would come again for ever. What is behind it comes again once and is fine or not.
                    let what = || format!("{} restart {} sequence {sequence}", key.0, key.1);
                    self.counters.warn(Event::ReadingUndecodable, what);
                    undecodable = true;
                    break;
                }
                Err(_) => break,
            };
            let bytes = before - readings.rest().len();
            let next = Sequence(sequence.0 + 1);
            if sequence < position.accepted {
                self.counters.add(Event::ReadingsRepeated, 1);
                sequence = next;
                continue;
            }
            let verdict = self.decide(plan, key, sequence, &reading);
            let class = class_of(&verdict);
            if self.has_room(class, bytes) {
                if let Some(from) = dropping.take() {
                    position = self.drop_newest(link, key, from, position);
                }
                self.stage_verdict((plan, frame.schema), key, sequence, (&reading, bytes), &verdict);
                position.accepted = next;
            } else if self.policy(class) == Policy::DropNewest {
                if dropping.is_none() && position.accepted > start.accepted {
                    // What is in front of it is acknowledged with the records, what is behind it with the claim.
                    self.advance(link, key, position);
                }
                dropping.get_or_insert(position);
                position.accepted = next;
            } else {
                self.stop(link, class);
                break;
            }
            sequence = next;
        }
        if let Some(from) = dropping {
            self.drop_newest(link, key, from, position);
        } else if position.accepted > start.accepted {
            self.advance(link, key, position);
        }
        if undecodable {
            self.claim(link, key, LossKind::Rejected, position, Sequence(position.accepted.0 + 1));
        }
    }

    /// Claims what was dropped as it came.
    fn drop_newest(&mut self, link: LinkId, key: Key, from: Position, to: Position) -> Position {
        self.counters.add(Event::ReadingsDroppedNewest, to.accepted.0 - from.accepted.0);
        self.claim_beside(link, key, LossKind::Queue, from, to.accepted)
    }

    /// Claims `[from.accepted, end)`: in the log while it takes readings, else beside it. Where the restart is then.
    fn claim(&mut self, link: LinkId, key: Key, kind: LossKind, from: Position, end: Sequence) -> Position {
        if self.takes_claims() && !self.stage.is_beside(&key) {
            let position = Position { accepted: end, ended: false, ..from };
            self.counters.add(Event::SequencesClaimed, end.0 - from.accepted.0);
            self.stage
                .claim(ClassId::DEFAULT, Claim { device: key.0, restart: key.1, kind, start: from.accepted, end });
            self.advance(link, key, position);
            return position;
        }
        self.claim_beside(link, key, kind, from, end)
    }

    fn claim_beside(&mut self, link: LinkId, key: Key, kind: LossKind, from: Position, end: Sequence) -> Position {
        let position = Position { accepted: end, ended: false, ..from };
        self.counters.add(Event::SequencesClaimed, end.0 - from.accepted.0);
        let claim = Claim { device: key.0, restart: key.1, kind, start: from.accepted, end };
        self.advance_beside(link, &claim, position);
        position
    }

    /// Answers what the device sent: at once if nothing of it waits for a commit, else the commit does.
    pub(super) fn answer(&mut self, link: LinkId, key: Key) {
        if !self.ahead.contains_key(&key) {
            self.acknowledge(link, key);
        }
    }
}
