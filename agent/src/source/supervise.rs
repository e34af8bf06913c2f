//! Keeps one source alive: a life that ends by itself is followed by another after a pause, and none of them takes
//! anything else down.
//!
//! A life is a task, so that a panic ends that task alone. The pauses double from [`SHORTEST`] to [`LONGEST`], with
//! jitter, until a life has given a reading.

use std::future::Future;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinSet};

use super::context::Context;
use crate::backoff::Backoff;
use crate::counters::Event;

/// The first pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a life ended.
pub type LifeError = Box<dyn std::error::Error + Send + Sync>;

/// Lives one life after the other until the source is told to stop.
pub async fn supervise<L, F>(context: Context, random: StdRng, mut live: L)
where
    L: FnMut(Context) -> F,
    F: Future<Output = Result<(), LifeError>> + Send + 'static,
{
    let mut backoff = Backoff::new(SHORTEST, LONGEST, random);
    loop {
        context.report.starting();
        let before = context.report.readings();
        // One task, which goes with this one.
        let mut life = JoinSet::new();
        life.spawn(live(context.clone()));
        let ended = tokio::select! {
            biased;
            ended = life.join_next() => ended,
            () = context.stopped() => {
                // What the lives are made of may be what somebody waits for.
                drop(live);
                let _ = life.join_next().await;
                return;
            }
        };
        if context.is_stopping() {
            return;
        }
        let reason = reason(ended);
        context.report.failed(&reason);
        if context.report.readings() > before {
            backoff.reset();
        }
        let pause = backoff.next();
        let id = context.report.id();
        context.counters.warn(Event::SourcesFailed, || format!("{id}: {reason}; next try in {pause:.1?}"));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.stopped() => return,
        }
    }
}

fn reason(ended: Option<Result<Result<(), LifeError>, JoinError>>) -> String {
    match ended {
        Some(Ok(Err(error))) => error.to_string(),
        Some(Ok(Ok(()))) => "it ended".to_owned(),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => format!("it panicked: {}; report this with the log", said(&*panic)),
            Err(_) => "it was cancelled".to_owned(),
        },
        None => "it never began".to_owned(),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no stated reason")
}
