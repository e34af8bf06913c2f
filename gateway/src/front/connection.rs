//! One connection: bytes between a transport and a [`Session`].
//!
//! What it guarantees: who does not say CONNECT in time is closed; the last answers and the DISCONNECT reach
//! a client before its connection closes; a client that vanishes leaves its will as its status.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use weir_protocol::{AgentId, Tenant};

use super::answer::Answer;
use super::buffer::ReadBuffer;
use super::exchange::{End, Signals, Wire, exchange};
use super::refusal::Refusal;
use super::session::{Session, admit};
use super::wire::{self, Connect, Packet, Version};
use super::{Front, Intake};
use crate::ingest::Sender;

/// How long a client that allows itself any silence may be silent: its peer may be gone without a word.
const MAX_SILENCE: Duration = Duration::from_secs(3600);
/// How long a closing connection may take to hand over its last answers.
const CLOSE: Duration = Duration::from_secs(1);

/// Serves one client until it is gone or refused.
pub(super) async fn serve<S, I>(stream: S, front: &Front<I>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut wire = Wire { reader, writer, input: ReadBuffer::new(), output: BytesMut::new() };
    let by = Instant::now() + front.options.connect_timeout;
    let opened = tokio::select! {
        opened = timeout_at(by, open(&mut wire)) => opened,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let refused = |version, refusal| Some((Answer { version, reasons: true }, refusal));
    let refused = match opened {
        Err(_) => refused(Version::V4, Refusal::ConnectTimeout),
        Ok(Opened::Gone) => return,
        Ok(Opened::Refused(version, refusal)) => refused(version, refusal),
        Ok(Opened::Connect(version, connect)) => match admit(&connect) {
            Err(refusal) => refused(version, refusal),
            Ok((agent, will)) => {
                session(&mut wire, front, stop, version, &connect, agent, will).await;
                None
            }
        },
    };
    if let Some((answer, refusal)) = refused {
        front.counters.refused(refusal);
        if let Some(left_out) = front.log.pass(Instant::now().into_std()) {
            tracing::info!(reason = refusal.as_str(), left_out, "connection refused: {}", refusal.text());
        }
        // Silence and garbage get no answer: whoever sent them does not wait for a CONNACK.
        if !matches!(refusal, Refusal::ConnectTimeout | Refusal::Malformed | Refusal::Protocol) {
            answer.refused(&mut wire.output, refusal);
        }
    }
    close(wire).await;
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

/// The life of a session from CONNACK to its end.
async fn session<S, I>(
    wire: &mut Wire<S>,
    front: &Front<I>,
    stop: watch::Receiver<bool>,
    version: Version,
    connect: &Connect,
    agent: AgentId,
    will: Option<Bytes>,
) where
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
    let mut link = front.intake.connect(Sender { tenant: Tenant::DEFAULT, agent }, told);
    let mut session = Session::new(answer, agent, connect, limits, front.counters.clone());
    front.counters.opened();
    let silence = match connect.keep_alive {
        0 => MAX_SILENCE,
        // MQTT section 3.1.2.10.
        seconds => Duration::from_millis(1500 * u64::from(seconds)),
    };
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
}

/// Hands over the last answers and closes.
///
/// Closing a socket that holds unread bytes makes the kernel throw away what was sent last, so what still
/// comes is read for a moment and dropped.
async fn close<S: AsyncRead + AsyncWrite>(mut wire: Wire<S>) {
    let hand_over = async {
        wire.writer.write_all_buf(&mut wire.output).await?;
        wire.writer.shutdown().await?;
        let mut rest = [0; 4096];
        while wire.reader.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Either way the connection is over.
    let _ = timeout(CLOSE, hand_over).await;
}
