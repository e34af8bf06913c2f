//! One connection: bytes between a transport and a [`Session`].
//!
//! What it guarantees: who does not say CONNECT in time is closed, and so is who waits for longest without one when
//! others need the place ([`crate::lobby`]); who says it when there are as many sessions as there may be is answered;
//! the last answers and the DISCONNECT reach a client before its connection closes; a client that vanishes leaves its
//! will as its status. A socket counts as waiting or as a session for as long as it is open.

use std::sync::Arc;
use std::time::Duration;

use crate::mqtt::{self, write::Writer};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{SemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use weir_protocol::{AgentId, Tenant};

use super::admission::admit;
use super::answer::Answer;
use super::buffer::ReadBuffer;
use super::exchange::{End, Signals, Wire, exchange};
use super::memory::Held;
use super::outbound::{Outbound, Setup};
use super::refusal::Refusal;
use super::session::Session;
use super::wire::{self, Connect, Packet, Version};
use super::{Front, Intake};
use crate::access::{Access, ClientId, Identity, Proof};
use crate::ingest::Sender;
use crate::lobby::Ticket;

/// How long a client that allows itself any silence may be silent: its peer may be gone without a word.
const MAX_SILENCE: Duration = Duration::from_secs(3600);
/// How long a closing connection may take to hand over its last answers.
const CLOSE: Duration = Duration::from_secs(1);

/// Serves one client, which waits with `ticket`, until it is gone or refused.
pub(super) async fn serve<S, I>(stream: S, mut ticket: Ticket, front: &Front<I>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let (reader, writer) = tokio::io::split(stream);
    let input = ReadBuffer::new(front.room.clone());
    let held = Held::new(front.counters.clone());
    let mut wire = Wire { reader, writer, input, output: BytesMut::new(), held };
    let by = Instant::now() + front.options.connect_timeout;
    let opened = tokio::select! {
        opened = timeout_at(by, open(&mut wire)) => opened.unwrap_or(Opened::Refused(Version::V4, Refusal::ConnectTimeout)),
        () = ticket.sent_away() => {
            // Whoever floods us is not waited for.
            front.refused(Refusal::Crowded);
            return;
        }
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let refused = match opened {
        Opened::Gone => return,
        Opened::Refused(version, refusal) => (version, refusal),
        Opened::Connect(version, connect) => match enter(front, &connect).await {
            Ok(entered) => {
                drop(ticket);
                let seat = session(&mut wire, front, stop, (version, connect), entered).await;
                close(wire).await;
                drop(seat);
                return;
            }
            Err(refusal) => (version, refusal),
        },
    };
    let (version, refusal) = refused;
    front.refused(refusal);
    // Silence and garbage get no answer: whoever sent them does not wait for a CONNACK.
    if !matches!(refusal, Refusal::ConnectTimeout | Refusal::Malformed | Refusal::Protocol) {
        Answer { version, reasons: true }.refused(&mut wire.output, refusal);
    }
    close(wire).await;
    drop(ticket);
}

/// How a connection began.
enum Opened {
    Connect(Version, Box<Connect>),
    Refused(Version, Refusal),
    Gone,
}

async fn open<S: AsyncRead + AsyncWrite>(wire: &mut Wire<S>) -> Opened {
    loop {
        match wire::read_connect(&mut wire.input.bytes) {
            Ok(Some((version, Packet::Connect(connect)))) => return Opened::Connect(version, connect),
            Ok(Some((version, _))) => return Opened::Refused(version, Refusal::Protocol),
            Err((version, refusal)) => return Opened::Refused(version, refusal),
            Ok(None) => (),
        }
        wire.input.prepare();
        match wire.reader.read_buf(&mut wire.input.bytes).await {
            Ok(0) | Err(_) => return Opened::Gone,
            Ok(length) => wire.input.learn(length),
        }
    }
}

/// A client that may have a session.
struct Entered<'f> {
    agent: AgentId,
    will: Option<Bytes>,
    seat: SemaphorePermit<'f>,
}

/// Checks a CONNECT and finds it a place among the sessions.
async fn enter<'f, I>(front: &'f Front<I>, connect: &Connect) -> Result<Entered<'f>, Refusal> {
    let (agent, will) = admit(connect)?;
    let seat = match front.seats.try_acquire() {
        Ok(seat) => Some(seat),
        // The place of its own old session, which may be dead and not know it, is its own.
        Err(_) if front.agents.take_over(agent) => {
            timeout(2 * CLOSE, front.seats.acquire()).await.ok().and_then(Result::ok)
        }
        Err(_) => None,
    };
    seat.map(|seat| Entered { agent, will, seat }).ok_or(Refusal::Busy)
}

/// The life of a session from CONNACK to its end; its place is free when the connection is closed.
async fn session<'f, S, I>(
    wire: &mut Wire<S>,
    front: &Front<I>,
    stop: watch::Receiver<bool>,
    (version, connect): (Version, Box<Connect>),
    Entered { agent, will, seat }: Entered<'f>,
) -> SemaphorePermit<'f>
where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let answer = Answer { version, reasons: connect.problem_information };
    let limits = front.options.limits;
    answer.accepted(&mut wire.output, limits.receive_maximum);
    let mut lease = front.agents.connect(agent, version, front.clock.now());
    let (told, events) = mpsc::unbounded_channel();
    // The sender in `lease` moves into the signals; the lease itself still says whose session this is.
    let taken = std::mem::replace(&mut lease.taken, oneshot::channel().1);
    let mut signals = Signals::new(events, taken, stop);
    let mut link = front.intake.connect(Sender::from((Tenant::DEFAULT, agent)), told);
    let outbound = Setup {
        writer: Writer {
            version: match version {
                Version::V4 => mqtt::packet::Version::V4,
                Version::V5 => mqtt::packet::Version::V5,
            },
            reasons: connect.problem_information,
            max_packet: connect.max_packet,
        },
        access: Access::open(),
        identity: Identity { tenant: Tenant::DEFAULT, client: ClientId::from(agent), proof: Proof::Nothing },
        receive_maximum: connect.receive_maximum,
        resumed: None,
    };
    let outbound = Outbound::new(Arc::clone(&front.supply), outbound);
    let mut session = Session::new(answer, agent, limits, outbound, front.counters.clone());
    front.counters.opened();
    let silence = match connect.keep_alive {
        0 => MAX_SILENCE,
        // MQTT section 3.1.2.10.
        seconds => Duration::from_millis(1500 * u64::from(seconds)),
    };
    drop(connect);
    let set_status = |status| front.agents.set_status(&lease, status);
    let end = exchange(wire, &mut session, &mut link, &mut signals, silence, set_status).await;
    drop(link);
    front.counters.closed();
    let will = will.filter(|_| !matches!(end, End::Goodbye { with_will: false }));
    front.agents.disconnect(&lease, will, front.clock.now());
    if let End::Refused(refusal) | End::Answered(refusal) = end {
        if matches!(end, End::Refused(_)) {
            front.counters.refused(refusal);
        }
        if let Some(left_out) = front.log.pass(Instant::now().into_std()) {
            tracing::info!(%agent, reason = refusal.as_str(), left_out, "connection closed: {}", refusal.text());
        }
        answer.disconnect(&mut wire.output, refusal);
    }
    seat
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
