//! One connection: requests in, responses out, one after the other.
//!
//! What it guarantees: a socket that has sent no request, or has to authenticate first, is in the lobby; then it takes a
//! place until it ends;
//! responses come in the order of their requests, and the next request is looked at when the response before it was
//! taken; a client that is gone takes its request with it, so that nobody waits for the records of a reader that is dead;
//! a stop lets the request under way be answered.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Kafka;
use super::dispatch::{self, Answer, Client, Closing};
use super::frames::{End, Frame, Requests, send};
use super::refusal::Refusal;
use crate::http::stall::{Impatient, impatient};
use crate::lobby::Ticket;

/// How long a request under way may take once the gateway stops.
const AT_A_STOP: Duration = Duration::from_secs(1);

/// Serves one client at `address`, which waits with `ticket`, until it is gone or refused.
pub(super) async fn serve<S>(
    stream: S,
    address: IpAddr,
    mut ticket: Ticket,
    kafka: &Kafka,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (reader, writer) = tokio::io::split(impatient(stream));
    let requests = Requests::new(reader, kafka.requests.clone(), kafka.options.request_timeout);
    let client = Client::new(kafka, address);
    let mut connection = Connection { kafka, client, requests, writer, stop: stop.clone() };
    let first = tokio::select! {
        first = connection.at_the_door() => first,
        () = ticket.sent_away() => Err(Some(closing(Refusal::Crowded))),
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let end = match first {
        Ok(first) => match kafka.places.take(address) {
            Some(_place) => {
                drop(ticket);
                kafka.counters.connected();
                let shut_out = connection.client.shut_out(kafka);
                tokio::select! {
                    end = connection.inside(first) => end,
                    () = shut_out => Some(closing(Refusal::Unauthenticated)),
                }
            }
            None => Some(closing(Refusal::Full)),
        },
        Err(end) => end,
    };
    if let Some((refusal, why)) = end {
        refuse(kafka, address, refusal, &why);
    }
}

/// A connection and what is known of its client.
struct Connection<'a, S> {
    kafka: &'a Kafka,
    client: Client,
    requests: Requests<ReadHalf<Impatient<S>>>,
    writer: WriteHalf<Impatient<S>>,
    stop: watch::Receiver<bool>,
}

/// Why a connection ends; None: the client is gone, or everybody has to go.
type Ended = Option<Closing>;

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<'_, S> {
    /// Waits for a first request, or lets the client authenticate if it has to, and then gives the place away.
    async fn at_the_door(&mut self) -> Result<Option<Frame>, Ended> {
        let within = self.kafka.options.request_timeout;
        loop {
            let frame = self.requests.next(within).await.map_err(ended)?;
            if self.client.may_ask() {
                return Ok(Some(frame));
            }
            self.exchange(frame).await?;
            if self.client.may_ask() {
                return Ok(None);
            }
        }
    }

    /// Answers requests until the connection ends.
    async fn inside(&mut self, mut first: Option<Frame>) -> Ended {
        loop {
            let frame = match first.take() {
                Some(frame) => frame,
                None => {
                    let next = tokio::select! {
                        next = self.requests.next(self.kafka.options.idle_timeout) => next,
                        _ = self.stop.wait_for(|stop| *stop) => return None,
                    };
                    match next {
                        Ok(frame) => frame,
                        Err(end) => return ended(end),
                    }
                }
            };
            if let Err(end) = self.exchange(frame).await {
                return end;
            }
        }
    }

    /// Answers a request.
    async fn exchange(&mut self, frame: Frame) -> Result<(), Ended> {
        let answered = tokio::select! {
            answered = answer(self.kafka, &mut self.client, &frame.bytes, &self.stop) => answered,
            () = self.requests.gone() => return Err(None),
        };
        drop(frame);
        let Answer { pieces, lease, last } = answered.map_err(Some)?;
        let sent = send(&mut self.writer, pieces).await.map_err(ended)?;
        self.kafka.counters.sent(sent);
        drop(lease);
        match last {
            Some(why) => Err(Some(why)),
            None => Ok(()),
        }
    }
}

fn ended(end: End) -> Ended {
    match end {
        End::Gone => None,
        End::Refused(refusal) => Some(closing(refusal)),
    }
}

fn closing(refusal: Refusal) -> Closing {
    (refusal, String::new())
}

/// Answers one request; at a stop it may take a little longer, and no more.
async fn answer(
    kafka: &Kafka,
    client: &mut Client,
    frame: &[u8],
    stop: &watch::Receiver<bool>,
) -> Result<Answer, Closing> {
    let mut answered = std::pin::pin!(dispatch::answer(kafka, client, frame, stop));
    let mut stopping = stop.clone();
    tokio::select! {
        answered = &mut answered => return answered,
        _ = stopping.wait_for(|stop| *stop) => (),
    }
    match timeout(AT_A_STOP, answered).await {
        Ok(answered) => answered,
        Err(_) => Err((Refusal::Stopping, String::new())),
    }
}

/// Counts and logs a connection that is closed.
pub(super) fn refuse(kafka: &Kafka, address: IpAddr, refusal: Refusal, why: &str) {
    kafka.counters.refused(refusal);
    // An idle client knows what it did, and a stop is everybody's.
    if matches!(refusal, Refusal::Idle | Refusal::Stopping) {
        return;
    }
    if let Some(left_out) = kafka.log.pass(Instant::now()) {
        let reason = refusal.as_str();
        tracing::info!(reason, %address, why, left_out, "Kafka connection closed");
    }
}
