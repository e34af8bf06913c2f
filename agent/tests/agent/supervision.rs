//! Sources that fail, and those beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::source::feed::Sample;
use weir_agent::source::{Context, LifeError, supervise};
use weir_protocol::Value;

use crate::support::device;
use crate::support::sources::Bench;

fn gives(context: &Context) {
    let feed = context.feed(device("box")).expect("a feed");
    let sample = Sample { name: "n", unit: "1", resolution: 1.0, value: Value::Integer(1), at: context.now() };
    feed.put(&sample).expect("it is taken");
}

/// Lives that do what `life` says of the number of each.
fn starts<F>(bench: &Bench, name: &str, life: F) -> tokio::task::JoinHandle<()>
where
    F: Fn(u32, &Context) -> Result<(), LifeError> + Send + Sync + 'static,
{
    let (life, lives) = (Arc::new(life), AtomicU32::new(0));
    let live = move |context: Context| {
        let (life, number) = (Arc::clone(&life), lives.fetch_add(1, Ordering::Relaxed));
        async move {
            life(number, &context)?;
            context.stopped().await;
            Ok(())
        }
    };
    tokio::spawn(supervise(bench.context("exec", name), StdRng::seed_from_u64(1), live))
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_or_panics_is_started_again_and_takes_nothing_else_down() {
    let bench = Bench::unlinked();
    let task = starts(&bench, "wild", |number, context| match number {
        0 => Err("no such sensor".into()),
        1 => panic!("of all things"),
        _ => {
            gives(context);
            Ok(())
        }
    });
    let steady = starts(&bench, "steady", |_, context| {
        gives(context);
        Ok(())
    });
    let failed = bench.looks(|health| health.failures == 1).await;
    assert_eq!((failed.state, failed.last_error.as_deref()), (SourceState::Waiting, Some("no such sensor")));
    let panicked = bench.looks(|health| health.failures == 2).await;
    let reason = panicked.last_error.unwrap_or_default();
    assert!(reason.contains("of all things"), "{reason}");
    let running = bench.looks(|health| health.state == SourceState::Running).await;
    assert_eq!((running.id.as_str(), running.failures, running.readings), ("exec.wild", 2, 1));
    assert_eq!(bench.counters.get(Event::SourcesFailed), 2);
    let other = &bench.health.sources()[1];
    assert_eq!((other.state, other.failures), (SourceState::Running, 0));
    bench.stops();
    for task in [task, steady] {
        task.await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_minute_and_begin_anew_after_a_reading() {
    let bench = Bench::unlinked();
    let begun = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&begun);
    let task = starts(&bench, "wild", move |number, context| {
        seen.lock().expect("a lock").push(Instant::now());
        if number == 10 {
            gives(context);
        }
        Err("again".into())
    });
    bench.looks(|health| health.failures == 12).await;
    bench.stops();
    task.await.expect("a good end");
    let begun = begun.lock().expect("a lock").clone();
    let pauses: Vec<Duration> = begun.windows(2).map(|two| two[1] - two[0]).collect();
    let within = |at: usize, least: f64, most: f64| {
        let pause = pauses[at].as_secs_f64();
        assert!((least..=most + 0.01).contains(&pause), "pause {at} of {pauses:?}");
    };
    within(0, 0.5, 1.0);
    within(1, 1.0, 2.0);
    within(9, 30.0, 60.0);
    within(10, 0.5, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_to_be_started_again_stops_at_once() {
    let bench = Bench::unlinked();
    let task = starts(&bench, "wild", |_, _| Err("no".into()));
    bench.looks(|health| health.failures == 7).await;
    let asked = Instant::now();
    bench.stops();
    task.await.expect("a good end");
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
