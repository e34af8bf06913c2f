//! Devices that are bound to an agent: what others send of them, and moving them.
//!
//! Guarantees: nothing of another agent changes what is known about a bound device, so its owner loses nothing; readings of
//! another agent are kept, as dead letters that are no verdict on their sequences; the agent is told not to resend, so it does
//! not wedge.
//!
//! The owner is the agent in the last description of the device in `weir.describe`: while devices are bound only the owner's
//! are stored, and a move is one more, of a schema that is known already. So nothing but that topic, which keeps everything
//! and is committed with the rest, says whose a device is.

use weir_protocol::batch::Span;
use weir_protocol::{DeviceId, Sequence};

use super::super::Reason;
use super::super::buried::Remains;
use super::super::decode::Run;
use super::super::moves::Effect;
use super::{Plan, Planner, Stop, Verdict};
use crate::record::Description;
use crate::record::dead_letter::{DeadSpan, Format};
use crate::topics::{TopicId, murmur2};

impl Planner<'_> {
    /// Keeps a run of a device that is bound to another agent, once.
    pub(super) fn bury_foreign(&mut self, run: &Run) -> Result<(), Stop> {
        let span =
            Span { device: run.device, restart: run.restart, start: Sequence(run.first), end: Sequence(run.end) };
        let (position, format, original) = run.original(run.items_at);
        self.bury_foreign_spans(&[&span], position, format, original)
    }

    /// Keeps what was sent of sequences of others, once.
    pub(super) fn bury_foreign_spans(
        &mut self,
        spans: &[&Span],
        position: Option<u64>,
        format: Format,
        original: &[u8],
    ) -> Result<(), Stop> {
        let Some(first) = spans.first() else { return Ok(()) };
        self.ignore_foreign();
        let remains = Remains::of(self.tenant, self.agent, original);
        let partition = self.routes.partition(TopicId::DEAD_LETTER, murmur2::hash(first.device.as_bytes()));
        let log = self.routes.at(TopicId::DEAD_LETTER, partition);
        if self.is_retry || self.devices.grave(partition).is_some_and(|grave| grave.buried.contains(remains)) {
            return Ok(());
        }
        let dead = spans.iter().map(|Span { device, restart, start, end }| DeadSpan {
            device: *device,
            restart: *restart,
            start: *start,
            end: *end,
            heals: false,
        });
        let key = Some(first.device.as_bytes());
        self.append_letter(log, key, dead.collect(), Reason::NotBound.as_str(), position, format, original)?;
        let count = spans.iter().map(|span| span.end.0.saturating_sub(span.start.0)).sum();
        self.counters.dead_lettered[Reason::NotBound as usize].add(count);
        self.group.buried.push((log, partition, remains));
        Ok(())
    }

    /// Counts a part of a batch about a device of another agent, which is told.
    pub(super) fn ignore_foreign(&mut self) {
        self.counters.not_bound.add(1);
        self.poison.get_or_insert(Reason::NotBound);
    }

    /// Binds a device to the sender, whoever owns it.
    pub(crate) fn reassign(mut self, id: DeviceId) -> Plan {
        let refused = |why| Plan::Refuse(Verdict::Unreadable(why));
        let Some(place) = self.devices.place((self.tenant, id)) else { return refused("no such device") };
        let Some(device) = self.devices.get_mut(place) else { return refused("no such device") };
        if device.is_changing_owner {
            return Plan::Park;
        }
        if device.owner == Some(self.agent) {
            return self.finish(Ok(()));
        }
        let Some((schema, channels)) = device.known_schemas().last() else {
            return refused("the device was never described, so it is bound to nobody");
        };
        let channels = channels.iter().collect();
        Description { tenant: self.tenant, agent: self.agent, device: id, schema, channels }
            .encode(&mut self.scratch.value);
        let log = self.routes.log(TopicId::DESCRIBE, device.key_hash);
        let key = Some(id.as_bytes());
        let appended = self.group.append(log, self.arrival.as_millis(), key, &self.scratch.value);
        if appended.is_ok() {
            device.is_changing_owner = true;
            self.touch(log);
            self.note(log, place, Effect::Moved { agent: self.agent });
        }
        self.finish(appended.map_err(Stop::from))
    }
}
