//! The front as a plain function over bytes, for fuzzers and for tests with random input.
//!
//! [`mqtt`] returns or panics: a panic is a finding. It reads no clock and no socket, and its memory stays within the
//! bounds of one connection, which it checks. Not part of the interface of this package.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use futures_util::FutureExt;
use weir_protocol::batch::command::AgentCommand;
use weir_protocol::time::SystemClock;
use weir_protocol::{DeviceId, SchemaHash, Tenant};
use weir_storage::{FaultyFs, Fs};

use super::counters::Counters;
use super::destination::{Destinations, TopicLimits};
use super::outbound::{self, Outbound, Supply};
use super::session::{self, Limits, Session, Step, ToRetain};
use crate::access::{Access, ClientId, Identity, Proof};
use crate::ingest::{Event, Failure, Outcome, Reason, Verdict};
use crate::mqtt::packet::{Connect, Version};
use crate::mqtt::read::{MAX_PACKET, read, read_connect};
use crate::mqtt::write::Writer;
use crate::sessions::{self, Sessions};
use crate::topics::stores::Stores;

/// Counts the clients.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Sessions on a disk in memory.
fn sessions() -> &'static Sessions {
    static SESSIONS: OnceLock<Sessions> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let opened = sessions::Opened::open(&fs, Path::new("/fuzz"));
        let random = || NEXT.fetch_add(1, Ordering::Relaxed);
        match opened {
            Ok(opened) => Sessions::new(opened, sessions::Options::default(), &SystemClock, Box::new(random)),
            Err(error) => panic!("a disk in memory: {error}"),
        }
    })
}

const LIMITS: Limits = Limits { receive_maximum: 5, budget: 64 << 10 };
const TOPICS: TopicLimits = TopicLimits { levels: 8, bytes: 256, property_bytes: 256 };

/// Takes any bytes as what a client sends: from its CONNECT on, and as what follows a CONNECT of each version. Verdicts
/// of every kind come as soon as a message is handed over, and a question in between.
pub fn mqtt(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    if let Ok(Some((version, connect))) = read_connect(&mut stream) {
        drive(stream, version, *connect);
    }
    for version in [Version::V4, Version::V5] {
        drive(BytesMut::from(bytes), version, modest());
    }
}

/// A client that takes little.
fn modest() -> Connect {
    Connect {
        client_id: String::new(),
        clean_start: true,
        keep_alive: 0,
        session_expiry: 0,
        receive_maximum: 2,
        max_packet: 64,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        username: None,
        password: None,
        will: None,
    }
}

/// A session that gets these bytes, until it ends or has no room.
fn drive(mut stream: BytesMut, version: Version, connect: Connect) {
    // A name of its own: nobody waits for anybody.
    let Ok(client) = ClientId::new(&format!("fuzz-{}", NEXT.fetch_add(1, Ordering::Relaxed))) else { return };
    let identity = Identity { tenant: Tenant::DEFAULT, client, proof: Proof::Nothing };
    let connect = Connect { session_expiry: 0, ..connect };
    // It ends with its connection, so nothing is written and nothing is waited for.
    let Some(Ok(attached)) = sessions().attach(&identity, version, &connect).now_or_never() else { return };
    let (kept, max_packet, receive_maximum) = (attached.session, connect.max_packet, connect.receive_maximum);
    let counters = Arc::new(Counters::new());
    let writer = Writer { version, reasons: true, max_packet };
    let mut out = BytesMut::new();
    let supply = Supply::none(Arc::new(SystemClock), counters.clone());
    let subscriptions = supply.limits.most;
    let mut session = Session::new(session::Setup {
        writer,
        limits: LIMITS,
        destinations: Destinations::new(identity.clone(), TOPICS, Access::open(), Stores::default()),
        kept,
        is_resumed: attached.present,
        outbound: Outbound::new(
            Arc::new(supply),
            outbound::Setup { writer, identity, access: Access::open(), receive_maximum, resumed: None },
        ),
        counters,
    });
    'exchange: while session.ended().is_none() && session.has_room(out.len()) {
        let before = stream.len();
        let Ok(Some(packet)) = read(&mut stream, version, MAX_PACKET) else { break };
        assert!(stream.len() < before, "a packet takes bytes off the stream");
        let Ok(step) = session.handle(packet, before - stream.len(), &mut out) else { break };
        session.committed(&mut out);
        match step {
            Step::Nothing => (),
            Step::Retain(ToRetain { ticket, .. }) => session.retained(ticket, Ok(()), &mut out),
            Step::Goodbye(_) => break,
        }
        for message in session.take_messages() {
            let outcome = Outcome { ticket: message.ticket, verdict: verdict(message.ticket) };
            let told = [question(message.ticket), Event::Outcomes(vec![outcome])];
            for event in told {
                let Ok(to_retain) = session.settle(event, &mut out) else { break 'exchange };
                to_retain.into_iter().for_each(|one| session.retained(one.ticket, Ok(()), &mut out));
            }
        }
        assert!(out.len() <= session::MOST_ANSWERS, "answers stay within their bound");
        assert!(session.held() <= super::memory::most(LIMITS, subscriptions), "a session stays within its bound");
    }
    // Nobody publishes wills here: one that is left would wait for ever.
    session.detach(sessions::End { will: false, expiry: None });
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
