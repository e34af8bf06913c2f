//! Fetch: record batches from an offset on, at once or as soon as there are some.
//!
//! What it guarantees:
//! - batches are whole and as they lie in the log, each checksum verified, none decoded; the first one of a response comes
//!   even if it is larger than what was asked for, so that every client gets on;
//! - a fetch without enough to answer sleeps until one of its partitions grows, and costs a timer meanwhile;
//! - partitions are read in an order that turns, so that a busy one starves none of the others;
//! - sessions are declined (session 0), as a broker may; there are no transactions, so what is committed is stable and both
//!   isolation levels read the same.
//!
//! Memory is bounded in [`reads`], blocks are kept in [`pool`].

mod pool;
mod reads;
mod wanted;

use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Kafka;
use super::memory::Lease;
use super::messages::ErrorCode;
use super::messages::fetch::{Request, Response};
use wanted::Wanted;

pub(super) use reads::Reads;

/// The longest that a fetch waits, whatever it asks for.
const MOST_WAIT: Duration = Duration::from_secs(60);
/// How long a fetch that found something, but too little, looks away at least.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The session epochs of a fetch that names all its partitions: of one that wants a session, and of one that wants none.
const FULL: [i32; 2] = [0, -1];

/// Answers a fetch, with the room that its records take.
pub(super) async fn answer(kafka: &Kafka, request: Request, stop: &watch::Receiver<bool>) -> (Response, Option<Lease>) {
    if !FULL.contains(&request.session_epoch) {
        let error = kafka.counters.failed(ErrorCode::FetchSessionIdNotFound);
        return (Response { error, ..Response::default() }, None);
    }
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.max(0) as u64).min(MOST_WAIT);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
    // More than one response holds is never waited for.
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes).min(reads::MOST);
    let mut wanted = Wanted::new(kafka.topics.clone(), request.topics, max_bytes, kafka.reads.turn());
    let mut stop = stop.clone();
    let mut waited = false;
    loop {
        // Before the look, so that what is committed after it wakes us.
        let mut exposed = wanted.exposed();
        let mut lease = None;
        if wanted.is_behind() {
            let Some((mut held, bytes)) = kafka.reads.lease(max_bytes, || kafka.counters.fetch_throttled()).await
            else {
                break (wanted.into_response(kafka), None);
            };
            let pool = kafka.reads.pool();
            let Some(read) = kafka.reads.run(move || wanted.read(bytes, &pool)).await else {
                break (Response { error: ErrorCode::UnknownServerError, ..Response::default() }, None);
            };
            wanted = read;
            held.shrink(wanted.bytes());
            lease = Some(held);
        }
        let now = Instant::now();
        let is_enough = wanted.bytes() >= min_bytes || wanted.has_failed() || wanted.is_full() || exposed.is_empty();
        if is_enough || now >= deadline || *stop.borrow() {
            break (wanted.into_response(kafka), lease);
        }
        // What was found is read again with what comes: it is little, and holding it would hold room.
        let look_again = if wanted.bytes() > 0 { now + LOOK_AGAIN } else { now };
        wanted.forget();
        drop(lease);
        if !waited {
            kafka.counters.fetch_waited();
            waited = true;
        }
        let grown = async {
            // A partition that is gone wakes us too, and is then not found.
            let _ = select_all(exposed.iter_mut().map(|exposed| Box::pin(exposed.changed()))).await;
            sleep_until(look_again).await;
        };
        tokio::select! {
            () = grown => (),
            () = sleep_until(deadline) => (),
            _ = stop.wait_for(|stop| *stop) => (),
        }
    }
}
