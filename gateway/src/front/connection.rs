//! One connection: bytes between a transport and a [`Session`].
//!
//! What it guarantees: who does not say CONNECT in time is closed, and so is who waits for longest without one when
//! others need the place ([`crate::lobby`]); who says it when there are as many sessions as there may be is answered;
//! the last answers and the DISCONNECT reach a client before its connection closes; a client that vanishes leaves its
//! will as its status. A socket counts as waiting or as a session for as long as it is open.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{SemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::{self, Admitted, Peer};
use super::buffer::ReadBuffer;
use super::exchange::{End, Exchange};
use super::greeting::{self, Agreed};
use super::memory::Held;
use super::outbound::{self, Outbound, Resumed};
use super::refusal::{Refusal, Refused};
use super::session::{self, Session};
use super::wire::{Signals, Wire};
use super::{Front, Intake};
use crate::access::Identity;
use crate::ingest::Sender;
use crate::lobby::Ticket;
use crate::mqtt::packet::{Connect, Publish, Version};
use crate::mqtt::read::read_connect;
use crate::mqtt::write::Writer;
use crate::sessions::{self, Attached};

/// How long a closing connection may take to hand over its last answers.
const CLOSE: Duration = Duration::from_secs(1);

/// Serves one client, which waits with `ticket`, until it is gone or refused.
pub(super) async fn serve<S, I>(
    stream: S,
    peer: Peer,
    mut ticket: Ticket,
    front: &Front<I>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let (reader, writer) = tokio::io::split(stream);
    let input = ReadBuffer::new(front.room.clone());
    let held = Held::new(front.counters.clone());
    let mut wire = Wire { reader, writer, input, output: BytesMut::new(), held };
    let by = Instant::now() + front.options.connect_timeout;
    let opened = tokio::select! {
        opened = timeout_at(by, open(&mut wire, front, &peer)) => {
            opened.unwrap_or(Opened::Refused(Version::V4, Refusal::ConnectTimeout.into()))
        }
        () = ticket.sent_away() => {
            // Whoever floods us is not waited for.
            front.refused(Refusal::Crowded);
            return;
        }
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let (version, refused) = match opened {
        Opened::Gone => return,
        Opened::Refused(version, refused) => (version, refused),
        Opened::Known(version, connect, identity) => match admission::admit(front, identity, version, &connect).await {
            Ok(admitted) => {
                drop(ticket);
                let seat = session(&mut wire, front, stop, (version, connect), admitted).await;
                close(wire).await;
                drop(seat);
                return;
            }
            Err(refusal) => (version, refusal.into()),
        },
    };
    front.refused(refused.refusal);
    refuse(&mut wire.output, version, refused);
    close(wire).await;
    drop(ticket);
}

/// How a connection began.
enum Opened {
    Known(Version, Box<Connect>, Identity),
    Refused(Version, Refused),
    Gone,
}

async fn open<S, I>(wire: &mut Wire<S>, front: &Front<I>, peer: &Peer) -> Opened
where
    S: AsyncRead + AsyncWrite,
    I: Intake,
{
    loop {
        match read_connect(&mut wire.input.bytes) {
            Ok(Some((version, connect))) => {
                return match admission::identify(front, peer, &connect).await {
                    Ok(identity) => Opened::Known(version, connect, identity),
                    Err(refusal) => Opened::Refused(version, refusal.into()),
                };
            }
            Err((version, malformed)) => return Opened::Refused(version, malformed.into()),
            Ok(None) => (),
        }
        wire.input.prepare();
        match wire.reader.read_buf(&mut wire.input.bytes).await {
            Ok(0) | Err(_) => return Opened::Gone,
            Ok(length) => wire.input.learn(length),
        }
    }
}

/// CONNACK for who is not let in. Silence and garbage get no answer: whoever sent them does not wait for one.
fn refuse(out: &mut BytesMut, version: Version, Refused { refusal, text }: Refused) {
    if !matches!(refusal, Refusal::ConnectTimeout | Refusal::Malformed | Refusal::Protocol) {
        let writer = Writer { version, reasons: true, max_packet: u32::MAX };
        writer.refused(out, refusal.connack_code(version), text);
    }
}

/// The life of a session from CONNACK to its end; its place is free when the connection is closed.
async fn session<'f, S, I>(
    wire: &mut Wire<S>,
    front: &Front<I>,
    stop: watch::Receiver<bool>,
    (version, connect): (Version, Box<Connect>),
    Admitted { identity, destinations, attached, seat }: Admitted<'f>,
) -> SemaphorePermit<'f>
where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let writer = Writer { version, reasons: connect.request_problem_information, max_packet: connect.max_packet };
    let limits = front.options.limits;
    let Attached { session: mut kept, present, taken } = attached;
    let agreed = Agreed { identity: &identity, session_present: present, session_expiry: kept.expiry() };
    if let Err(refusal) = greeting::greet(writer, &connect, limits, &agreed, &mut wire.output) {
        front.refused(refusal);
        writer.refused(&mut wire.output, refusal.connack_code(version), refusal.text());
        kept.detach(sessions::End::default());
        return seat;
    }
    let (told, events) = mpsc::unbounded_channel();
    let signals = Signals::new(events, taken, stop, Box::pin(front.access.revoked(&identity)));
    let mut link = front.intake.connect(Sender { tenant: identity.tenant, client: identity.client.clone() }, told);
    let outbound = outbound::Setup {
        writer,
        identity: identity.clone(),
        access: front.access.clone(),
        receive_maximum: connect.receive_maximum,
        resumed: kept.is_durable().then(|| resume(&mut kept.state)),
    };
    let outbound = Outbound::new(front.supply.clone(), outbound);
    let session = Session::new(session::Setup {
        writer,
        limits,
        destinations,
        kept,
        is_resumed: present,
        outbound,
        counters: front.counters.clone(),
    });
    front.counters.opened();
    // Section 3.1.2.10.
    let silence = Duration::from_millis(1500 * u64::from(greeting::keep_alive(connect.keep_alive)));
    let rates = front.limits.publisher(&identity, std::time::Instant::now());
    let retain = |publish: &Publish| front.retain(&identity, publish);
    let mut exchange = Exchange::new(wire, session, signals, (rates, silence), retain);
    let end = exchange.run(&mut link).await;
    drop(link);
    exchange.finish(&end);
    front.counters.closed();
    if let End::Refused(refused) | End::Answered(refused) = end {
        let Refused { refusal, text } = refused;
        if matches!(end, End::Refused(_)) {
            front.counters.refused(refusal);
        }
        if let Some(left_out) = front.log.pass(Instant::now().into_std()) {
            tracing::info!(client = %identity.client, reason = refusal.as_str(), left_out, "connection closed: {text}");
        }
        writer.disconnect(&mut wire.output, refusal.code(), text);
    }
    seat
}

/// What a session goes on with.
fn resume(state: &mut sessions::State) -> Resumed {
    Resumed {
        subscriptions: state.subscriptions.iter().cloned().collect(),
        positions: state.positions.clone(),
        unfinished: std::mem::take(&mut state.outbound),
    }
}

/// Hands over the last answers and closes.
///
/// Closing a socket that holds unread bytes makes the kernel throw away what was sent last, so what still
/// comes is read for a moment and dropped.
async fn close<S: AsyncRead + AsyncWrite>(mut wire: Wire<S>) {
    let hand_over = async {
        wire.writer.write_all_buf(&mut wire.output).await?;
        wire.writer.shutdown().await?;
        // On the heap: what lives across an await is part of every connection, and most never get here.
        let mut rest = vec![0; 4096];
        while wire.reader.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Either way the connection is over.
    let _ = timeout(CLOSE, hand_over).await;
}
