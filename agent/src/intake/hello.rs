//! Hello: who is on the line, which restarts it holds, and which ended without a trace.

use weir_protocol::batch::RestartEnd;
use weir_protocol::serial::Held;
use weir_protocol::serial::device_to_agent::{Hello, MAX_HELD, Ring};
use weir_protocol::{DeviceId, Restart, Sequence};

use super::{Intake, LinkId, Position};
use crate::counters::Event;
use crate::queue::{Key, Progress};

impl Intake {
    pub(super) fn hello(&mut self, link: LinkId, hello: &Hello<'_>) {
        let held: Result<Vec<Held>, _> = hello.held.into_iter().take(MAX_HELD + 1).collect();
        let possible = |held: &Held| held.base <= held.next && held.next <= Sequence::END;
        let held = match held {
            Ok(held) if held.len() <= MAX_HELD && held.iter().all(possible) => held,
            _ => return self.counters.warn(Event::Inconsistent, || format!("the Hello of {}", hello.device)),
        };
        let device = hello.device;
        let bound: Vec<Restart> = held.iter().map(|held| held.restart).filter(|r| *r != Restart::UNBOUND).collect();
        if let Some(known) = self.links.get_mut(&link) {
            known.device = Some(device);
            known.held.clear();
            bound.iter().for_each(|restart| known.hold(*restart));
        }
        if let Some(newest) = bound.last().copied()
            && !self.own.contains(&(device, newest))
            && self.clones.note(device, newest)
        {
            let what = || format!("{device}: restart {newest} is back; two devices have this name, rename one");
            self.counters.warn(Event::CloneAlarm, what);
        }
        if held.len() < MAX_HELD {
            self.end_missing(link, device, &bound, hello.ring);
        }
        for held in &held {
            if held.restart == Restart::UNBOUND {
                self.assign(link);
            } else {
                let key = (device, held.restart);
                self.catch_up(link, key, held.base, held.next);
                self.answer(link, key);
            }
            self.want_description(link, device, held.schema);
        }
        self.want_description(link, device, hello.schema);
    }

    /// A volatile ring holds only what it lists: every other restart of the device ended, and how far it had
    /// sampled nobody knows. A durable ring was acknowledged for all of what it does not list: how far that was nobody knows
    /// of a restart in doubt.
    fn end_missing(&mut self, link: LinkId, device: DeviceId, held: &[Restart], ring: Ring) {
        let is_over = |progress: &Progress| ring == Ring::Volatile || progress.doubtful;
        let known: Vec<Restart> = {
            let state = self.state.lock();
            state.restarts.of(device).filter(|(_, progress)| is_over(progress)).map(|(restart, _)| restart).collect()
        };
        let ahead = self.ahead.keys().filter(|key| key.0 == device && ring == Ring::Volatile).map(|key| key.1);
        let mut all: Vec<Restart> = known.into_iter().chain(ahead).filter(|restart| !held.contains(restart)).collect();
        // Summaries, and what the agent keeps by itself, go on under theirs.
        all.retain(|restart| !self.processor.is_own(device, *restart) && !self.own.contains(&(device, *restart)));
        all.sort();
        all.dedup();
        all.into_iter().for_each(|restart| self.end(link, (device, restart)));
    }

    /// Stages that a restart ended where it is now, if it did not before.
    pub(super) fn end(&mut self, link: LinkId, key: Key) {
        let Some(position) = self.position(&key).filter(|position| !position.ended) else { return };
        let end = RestartEnd { device: key.0, restart: key.1, from: position.accepted };
        let mark = self.mark(link, key, Position { ended: true, ..position });
        if self.takes_claims() && !self.stage.is_beside(&key) {
            self.stage.end(end);
            self.stage.mark(mark);
        } else {
            self.stage.end_beside(&end, mark);
        }
    }
}
