//! Readings: claim what is gone, ask for what is missing, clip what is here, stage the rest.

use weir_protocol::batch::{Claim, LossKind};
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Readings;
use weir_protocol::{Reading, Restart, Sequence};

use super::{Intake, LinkId, Position};
use crate::counters::Event;
use crate::queue::Key;

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
        if frame.first > position.accepted && !frame.readings.is_empty() {
            self.counters.add(Event::Resends, 1);
            self.reply(link, Down::Resend { restart: frame.restart, from: position.accepted });
        } else {
            self.stage_readings(link, key, frame, position);
        }
        self.answer(link, key);
    }

    /// Takes what the device says of its ring: what it evicted before it was accepted here is lost.
    pub(super) fn catch_up(&mut self, link: LinkId, key: Key, base: Sequence, next: Sequence) -> Position {
        let known = self.position(&key);
        let start = known.unwrap_or(Position { from: base, accepted: Sequence(0), ended: false });
        if next < start.accepted {
            let what = || format!("{} restart {}: at {next}, was acknowledged {}", key.0, key.1, start.accepted);
            self.counters.warn(Event::SequenceWentBack, what);
        }
        if base <= start.accepted {
            return start;
        }
        let kind = if known.is_none() { LossKind::UnknownHistory } else { LossKind::Ring };
        let position = Position { accepted: base, ended: false, ..start };
        self.claim(link, key, kind, start, position);
        position
    }

    /// Stages the readings that follow on, as far as there is room.
    fn stage_readings(&mut self, link: LinkId, key: Key, frame: &Readings<'_>, start: Position) {
        let mut position = Position { ended: false, ..start };
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
                    let after = Position { accepted: Sequence(sequence.0 + 1), ..position };
                    self.claim(link, key, LossKind::Rejected, position, after);
                    return;
                }
                Err(_) => break,
            };
            let bytes = before - readings.rest().len();
            if sequence < position.accepted {
                self.counters.add(Event::ReadingsRepeated, 1);
            } else if self.has_room(bytes) {
                self.stage.reading(key, frame.schema, sequence, &reading, bytes);
                position.accepted = Sequence(sequence.0 + 1);
            } else {
                self.counters.warn(Event::QueueFull, || "the queue is full; devices get no credit".to_owned());
                break;
            }
            sequence = Sequence(sequence.0 + 1);
        }
        if position.accepted > start.accepted {
            self.advance(link, key, position);
        }
    }

    fn claim(&mut self, link: LinkId, key: Key, kind: LossKind, from: Position, to: Position) {
        let (start, end) = (from.accepted, to.accepted);
        self.counters.add(Event::SequencesClaimed, end.0 - start.0);
        self.stage.claim(Claim { device: key.0, restart: key.1, kind, start, end });
        self.advance(link, key, to);
    }

    /// Answers what the device sent: at once if nothing of it waits for a commit, else the commit does.
    pub(super) fn answer(&mut self, link: LinkId, key: Key) {
        if !self.ahead.contains_key(&key) {
            self.acknowledge(link, key);
        }
    }
}
