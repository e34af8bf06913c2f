//! One client of the front without a socket and without a task: its bytes in, messages for ingest, bytes out.
//!
//! What it guarantees: packets are read, answered and refused by the [`Session`] that serves real clients. Left out is what a
//! connection has around it: buffers that are shared, rates, silence that is held against a client, subscriptions of others'
//! messages, wills, and the memory of retained messages, which count as kept at once.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;
use weir_storage::{FaultyFs, Fs};

use super::counters::Counters;
use super::destination::{Destinations, TopicLimits};
use super::greeting::{self, Agreed};
use super::outbound::{self, Outbound, Supply};
use super::refusal::{Refusal, Refused};
use super::session::{self, Limits, Session, Step, ToRetain};
use crate::access::{Access, ClientId, Identity, Proof};
use crate::ingest::{Event, Message, Sender};
use crate::mqtt::packet::{Connect, Version};
use crate::mqtt::read::{MAX_PACKET, read, read_connect};
use crate::mqtt::write::Writer;
use crate::sessions::{self, Sessions};
use crate::topics::stores::Stores;

const TOPICS: TopicLimits = TopicLimits { levels: 8, bytes: 256, property_bytes: 256 };

/// What all clients share.
pub(crate) struct House {
    sessions: Sessions,
    counters: Arc<Counters>,
    supply: Arc<Supply>,
    limits: Limits,
}

impl House {
    /// A house without guests; `limits` hold for each of them.
    ///
    /// # Errors
    /// There is no thread for the sessions.
    pub(crate) fn new(limits: Limits) -> Result<Self, String> {
        // Nobody here has a session that outlives its connection, so nothing is ever written to it.
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let opened = sessions::Opened::open(&fs, Path::new("/sessions")).map_err(|error| error.to_string())?;
        let sessions = Sessions::new(opened, sessions::Options::default(), &SystemClock, Box::new(|| 1));
        let counters = Arc::new(Counters::new());
        let supply = Arc::new(Supply::none(Arc::new(SystemClock), Arc::clone(&counters)));
        Ok(Self { sessions, counters, supply, limits })
    }
}

/// One client.
pub(crate) struct Conversation {
    input: BytesMut,
    output: BytesMut,
    guest: Option<Guest>,
    over: bool,
}

/// A client that is let in.
struct Guest {
    writer: Writer,
    session: Session,
}

/// A client that said CONNECT.
pub(crate) struct Caller {
    version: Version,
    connect: Box<Connect>,
    identity: Identity,
}

impl Caller {
    /// Who it is for ingest, and the name under which there is one connection at a time.
    pub(crate) fn sender(&self) -> Sender {
        Sender { tenant: self.identity.tenant, client: self.identity.client.clone() }
    }
}

impl Conversation {
    /// A client that connected and said nothing.
    pub(crate) fn new() -> Self {
        Self { input: BytesMut::new(), output: BytesMut::new(), guest: None, over: false }
    }

    /// Bytes came.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Bytes for the client.
    pub(crate) fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// Whether the connection is to be closed once its output has left.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether it said CONNECT and was let in.
    pub(crate) fn is_let_in(&self) -> bool {
        self.guest.is_some()
    }

    /// Who says CONNECT, once that is there.
    pub(crate) fn caller(&mut self) -> Option<Caller> {
        if self.over || self.guest.is_some() {
            return None;
        }
        match read_connect(&mut self.input) {
            Ok(None) => None,
            Ok(Some((version, connect))) => match ClientId::new(&connect.client_id) {
                Ok(client) => {
                    let identity = Identity { tenant: Tenant::DEFAULT, client, proof: Proof::Nothing };
                    Some(Caller { version, connect, identity })
                }
                Err(_) => {
                    self.over = true;
                    None
                }
            },
            Err(_) => {
                self.over = true;
                None
            }
        }
    }

    /// Lets a client in whose earlier connection, if it had one, has ended.
    pub(crate) fn let_in(&mut self, caller: Caller, house: &House) {
        let Caller { version, connect, identity } = caller;
        let writer = Writer { version, reasons: connect.request_problem_information, max_packet: connect.max_packet };
        // It ends with its connection, so nothing is written and nothing is waited for.
        let connect = Connect { session_expiry: 0, ..*connect };
        let attached = match house.sessions.attach(&identity, version, &connect).now_or_never() {
            Some(Ok(attached)) => attached,
            Some(Err(_)) | None => {
                writer.refused(&mut self.output, Refusal::TryAgain.connack_code(version), Refusal::TryAgain.text());
                self.over = true;
                return;
            }
        };
        let agreed = Agreed { identity: &identity, session_present: false, session_expiry: 0 };
        if greeting::greet(writer, &connect, house.limits, &agreed, &mut self.output).is_err() {
            attached.session.detach(sessions::End::default());
            self.over = true;
            return;
        }
        let setup = outbound::Setup {
            writer,
            identity: identity.clone(),
            access: Access::open(),
            receive_maximum: connect.receive_maximum,
            resumed: None,
        };
        let session = Session::new(session::Setup {
            writer,
            limits: house.limits,
            destinations: Destinations::new(identity, TOPICS, Access::open(), Stores::default()),
            kept: attached.session,
            is_resumed: attached.present,
            outbound: Outbound::new(Arc::clone(&house.supply), setup),
            counters: Arc::clone(&house.counters),
        });
        self.guest = Some(Guest { writer, session });
    }

    /// Reads packets, as far as there is room; what ingest is to do, in order.
    pub(crate) fn read(&mut self) -> Vec<Message> {
        let Some(guest) = &mut self.guest else { return Vec::new() };
        let mut ended = None;
        while ended.is_none() && guest.session.has_room(self.output.len()) {
            let before = self.input.len();
            match read(&mut self.input, guest.writer.version, MAX_PACKET) {
                Ok(None) => break,
                Err(malformed) => ended = Some(Some(Refused::from(malformed))),
                Ok(Some(packet)) => match guest.session.handle(packet, before - self.input.len(), &mut self.output) {
                    Ok(Step::Nothing) => {}
                    Ok(Step::Retain(ToRetain { ticket, .. })) => {
                        guest.session.retained(ticket, Ok(()), &mut self.output);
                    }
                    Ok(Step::Goodbye(_)) => ended = Some(None),
                    Err(refused) => ended = Some(Some(refused)),
                },
            }
        }
        guest.session.committed(&mut self.output);
        let messages = guest.session.take_messages();
        match ended {
            None => {}
            Some(None) => self.end(),
            Some(Some(refused)) => self.refuse(refused),
        }
        messages
    }

    /// Ingest says something.
    pub(crate) fn told(&mut self, event: Event) {
        let Some(guest) = &mut self.guest else { return };
        match guest.session.settle(event, &mut self.output) {
            Ok(to_retain) => {
                for ToRetain { ticket, .. } in to_retain {
                    guest.session.retained(ticket, Ok(()), &mut self.output);
                }
                guest.session.committed(&mut self.output);
                if let Some(refusal) = guest.session.ended() {
                    self.refuse(refusal.into());
                }
            }
            Err(refusal) => self.refuse(refusal.into()),
        }
    }

    /// Its client is connected anew.
    pub(crate) fn taken_over(&mut self) {
        self.refuse(Refusal::TakenOver.into());
    }

    /// Its transport is gone.
    pub(crate) fn hung_up(&mut self) {
        self.end();
    }

    fn refuse(&mut self, Refused { refusal, text }: Refused) {
        if let Some(guest) = &self.guest {
            guest.writer.disconnect(&mut self.output, refusal.code(), text);
        }
        self.end();
    }

    fn end(&mut self) {
        self.over = true;
        if let Some(Guest { session, .. }) = self.guest.take() {
            // Nobody publishes wills here: one that is left would wait for ever.
            session.detach(sessions::End { will: false, expiry: None });
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.end();
    }
}
