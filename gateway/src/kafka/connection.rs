//! One connection: requests in, responses out, one after the other.
//!
//! What it guarantees: a socket that has sent no request is in the lobby, one that has takes a place until it ends;
//! responses come in the order of their requests, and the next request is looked at when the response before it was
//! taken; a client that is gone takes its request with it, so that nobody waits for the records of a reader that is dead;
//! a stop lets the request under way be answered.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Kafka;
use super::dispatch::{self, Answer, Client, Closing};
use super::frames::{End, Requests, send};
use super::refusal::Refusal;
use crate::http::stall::Impatient;
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
    let (reader, mut writer) = tokio::io::split(Impatient::new(stream));
    let mut requests = Requests::new(reader, kafka.requests.clone(), kafka.options.request_timeout);
    let first = tokio::select! {
        first = requests.next(kafka.options.request_timeout) => first,
        () = ticket.sent_away() => Err(End::Refused(Refusal::Crowded)),
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Some(_place) = kafka.places.take(address) else {
        refuse(kafka, address, Refusal::Full, None);
        return;
    };
    drop(ticket);
    kafka.counters.connected();
    let mut client = Client::new(kafka, address);
    let mut request = first;
    loop {
        let frame = match request {
            Ok(frame) => frame,
            Err(End::Gone) => return,
            Err(End::Refused(refusal)) => return refuse(kafka, address, refusal, None),
        };
        let answered = tokio::select! {
            answered = answer(kafka, &mut client, &frame.bytes, &stop) => answered,
            () = requests.gone() => return,
        };
        drop(frame);
        let answer = match answered {
            Ok(answer) => answer,
            Err((refusal, why)) => return refuse(kafka, address, refusal, Some(&why)),
        };
        let Answer { pieces, lease, last } = answer;
        match send(&mut writer, pieces).await {
            Ok(bytes) => kafka.counters.sent(bytes),
            Err(End::Gone) => return,
            Err(End::Refused(refusal)) => return refuse(kafka, address, refusal, None),
        }
        drop(lease);
        if let Some((refusal, why)) = last {
            return refuse(kafka, address, refusal, Some(&why));
        }
        request = tokio::select! {
            request = requests.next(kafka.options.idle_timeout) => request,
            _ = stop.wait_for(|stop| *stop) => return,
        };
    }
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
pub(super) fn refuse(kafka: &Kafka, address: IpAddr, refusal: Refusal, why: Option<&str>) {
    kafka.counters.refused(refusal);
    // An idle client knows what it did, and a stop is everybody's.
    if matches!(refusal, Refusal::Idle | Refusal::Stopping) {
        return;
    }
    if let Some(left_out) = kafka.log.pass(Instant::now()) {
        let (reason, why) = (refusal.as_str(), why.unwrap_or_default());
        tracing::info!(reason, %address, why, left_out, "Kafka connection closed");
    }
}
