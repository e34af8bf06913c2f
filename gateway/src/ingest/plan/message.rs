//! A message of an MQTT client: stored as it came; exactly once if its sender gave it an identity.
//!
//! Where nobody knows what was stored, because the checkpoints were lost, a message that is sent again is stored again: its
//! sender may never have been told that it was stored.

use weir_protocol::{Restart, Sequence};

use super::super::clients;
use super::super::devices::{DeviceIndex, OverLimit};
use super::super::moves::Effect;
use super::{Plan, Planner, Stop};
use crate::access::ClientId;
use crate::ingest::Published;
use crate::record::Message;
use crate::topics::{TopicId, murmur2};

impl Planner<'_> {
    /// Decides a message of `client` that goes to `topic`.
    pub(crate) fn message(mut self, client: &ClientId, topic: TopicId, published: &Published, payload: &[u8]) -> Plan {
        let ledger = match published.identity.map(|identity| self.enter_message(client, identity)) {
            None => None,
            Some(Ok(Entered::Fresh(place, heals))) => Some((place, heals)),
            Some(Ok(Entered::Pending)) => return Plan::Park,
            Some(Ok(Entered::Stored)) => {
                self.counters.repeats.add(1);
                return self.finish(Ok(()));
            }
            Some(Err((over, device))) => return Plan::OverLimit(over, device),
        };
        let partition = self.routes.partition(topic, murmur2::hash(client.as_str().as_bytes()));
        let log = self.routes.at(topic, partition);
        // It was found by its name, which is UTF-8.
        let name = std::str::from_utf8(&published.topic).unwrap_or_default();
        let message = Message {
            tenant: self.tenant,
            client: client.as_str(),
            topic: name,
            qos: published.qos,
            retain: published.retain,
            expiry: published.properties.expiry,
            forwarded: &published.properties.forwarded,
            identity: published.identity,
            heals: ledger.is_some_and(|(_, heals)| heals),
            payload,
        };
        let at = self.arrival.as_millis();
        let staged = message.encode(|key, value, headers| self.group.append_message(log, at, (key, value), headers));
        if staged.is_ok() {
            self.touch(log);
            if let (Some((device, heals)), Some((restart, Sequence(sequence)))) = (ledger, published.identity) {
                if let Some(ledger) = self.devices.ledger_mut(device, restart) {
                    ledger.pending.insert(sequence..sequence + 1);
                }
                self.note(log, device, Effect::Kept { restart, topic, sequence, heals });
            }
        }
        self.finish(staged.map_err(Stop::from))
    }

    /// What is known about a message with this identity.
    fn enter_message(
        &mut self,
        client: &ClientId,
        (restart, Sequence(sequence)): (Restart, Sequence),
    ) -> Result<Entered, (OverLimit, Option<weir_protocol::DeviceId>)> {
        let device = clients::device(client.as_str());
        let named = |over| (over, Some(device));
        if sequence >= Sequence::END.0 {
            return Err(named(OverLimit::Ranges));
        }
        let place = self.devices.enter(self.tenant, device).map_err(named)?;
        let ledger = self.devices.ledger(place, restart, sequence..sequence + 1).map_err(named)?;
        Ok(if ledger.pending.contains(sequence) {
            Entered::Pending
        } else if ledger.stored.contains(sequence) {
            Entered::Stored
        } else {
            Entered::Fresh(place, ledger.heals(sequence))
        })
    }
}

/// What is known about a message.
enum Entered {
    /// Nothing, or that it was lost.
    Fresh(DeviceIndex, bool),
    Pending,
    Stored,
}
