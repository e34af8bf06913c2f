//! The front as a plain function over bytes, for fuzzers and for tests with random input.
//!
//! [`mqtt`] returns or panics: a panic is a finding. It reads no clock and no socket, and its memory stays within the
//! bounds of one connection, which it checks. Not part of the interface of this package.

use std::sync::Arc;

use bytes::BytesMut;

use super::admission;
use super::answer::Answer;
use super::counters::Counters;
use super::outbound::{Outbound, Setup, Supply};
use super::session::{self, Limits, Session, Step};
use super::wire::{self, Connect, MAX_PACKET, Packet, Version};
use crate::access::{Access, ClientId, Identity, Proof};
use crate::ingest::{Event, Failure, Outcome, Reason, Verdict};
use crate::mqtt::{self, write::Writer};
use weir_protocol::batch::command::AgentCommand;
use weir_protocol::time::SystemClock;
use weir_protocol::{AgentId, DeviceId, SchemaHash};

const LIMITS: Limits = Limits { receive_maximum: 5, budget: 64 << 10 };

/// Takes any bytes as what a client sends: from its CONNECT on, and as what follows a CONNECT of each version. Verdicts
/// of every kind come as soon as a message is handed over, and a question in between.
pub fn mqtt(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    if let Ok(Some((version, Packet::Connect(connect)))) = wire::read_connect(&mut stream)
        && let Ok((agent, _)) = admission::admit(&connect)
    {
        drive(stream, version, &connect, agent);
    }
    for version in [Version::V4, Version::V5] {
        let connect = Connect {
            client_id: "fuzz".to_owned(),
            keep_alive: 0,
            will: None,
            receive_maximum: 2,
            max_packet: 64,
            problem_information: true,
            enhanced_authentication: false,
        };
        if let Ok((agent, _)) = admission::admit(&connect) {
            drive(BytesMut::from(bytes), version, &connect, agent);
        }
    }
}

/// A session that gets these bytes, until it ends or has no room.
fn drive(mut stream: BytesMut, version: Version, connect: &Connect, agent: AgentId) {
    let answer = Answer { version, reasons: connect.problem_information };
    let mut out = BytesMut::new();
    let counters = Arc::new(Counters::new());
    let setup = Setup {
        writer: Writer {
            version: match version {
                Version::V4 => mqtt::packet::Version::V4,
                Version::V5 => mqtt::packet::Version::V5,
            },
            reasons: connect.problem_information,
            max_packet: connect.max_packet,
        },
        access: Access::open(),
        identity: Identity {
            tenant: weir_protocol::Tenant::DEFAULT,
            client: ClientId::from(agent),
            proof: Proof::Nothing,
        },
        receive_maximum: connect.receive_maximum,
        resumed: None,
    };
    let supply = Supply::none(Arc::new(SystemClock), Arc::clone(&counters));
    let subscriptions = supply.limits.most;
    let mut session = Session::new(answer, agent, LIMITS, Outbound::new(Arc::new(supply), setup), counters);
    while session.ended().is_none() && session.has_room(out.len()) {
        let before = stream.len();
        let Ok(Some(packet)) = wire::read(&mut stream, version, MAX_PACKET) else { break };
        assert!(stream.len() < before, "a packet takes bytes off the stream");
        let Ok(step) = session.handle(packet, before - stream.len(), &mut out) else { break };
        match step {
            Step::Submit(message) => {
                let verdict = verdict(message.ticket);
                let outcome = Event::Outcomes(vec![Outcome { ticket: message.ticket, verdict }]);
                if session.settle(question(message.ticket), &mut out).is_err()
                    || session.settle(outcome, &mut out).is_err()
                {
                    break;
                }
            }
            Step::Goodbye { .. } => break,
            Step::Nothing | Step::Status(_) => (),
        }
        assert!(out.len() <= session::MOST_ANSWERS, "answers stay within their bound");
        assert!(session.held() <= super::memory::most(LIMITS, subscriptions), "a session stays within its bound");
    }
}

fn verdict(ticket: u64) -> Verdict {
    match ticket % 8 {
        5 => Verdict::Unreadable("not a batch"),
        6 => Verdict::Failed(Failure::Quota),
        7 => Verdict::DeadLettered(Reason::UnknownChannel),
        _ => Verdict::Stored,
    }
}

fn question(ticket: u64) -> Event {
    let device = DeviceId(weir_protocol::Tenant::DEFAULT.0);
    Event::Ask(AgentCommand::Describe { device, schema: SchemaHash(ticket as u32) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_of_every_first_byte_and_length_do_no_harm() {
        for first in 0..=u8::MAX {
            for length in [0_u8, 1, 2, 7, 127] {
                let mut bytes = vec![first, length];
                bytes.extend((0..length).map(|at| at.wrapping_mul(first)));
                bytes.extend([0xc0, 0, 0xe0, 0]);
                super::mqtt(&bytes);
            }
        }
    }
}
