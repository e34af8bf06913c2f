//! `/tap?device=&channel=&count=`: readings as they pass the rules, one JSON document a line, as they come.
//!
//! Nothing waits for who listens: whoever reads too slowly misses some, and a line `{"missed": n}` says how many. Device
//! and channel are patterns; what they do not fit is not counted. While nobody listens nothing of this costs anything.
//!
//! Whoever went away loses the place, also where nothing ever fits: after [`QUIET`] without a line `{"missed": 0}` is sent,
//! which nobody takes who is gone. That the other side was closed cannot be seen behind bytes that were sent after the
//! request, which are not read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::glob;
use crate::http::{Answer, Request};
use crate::processing::{Tap, Tapped};

/// The most listeners at a time; one more is answered 503.
pub(super) const MOST: usize = 4;
/// So long nothing is said to a listener at most.
const QUIET: Duration = Duration::from_secs(30);
/// Lines that wait for one of them, beside those that wait for all.
const LINES: usize = 16;

/// Where to listen.
#[derive(Clone)]
pub(super) struct Listening {
    tap: Tap,
    places: Arc<Semaphore>,
    quiet: Duration,
    stop: watch::Receiver<()>,
}

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
struct Wanted {
    device: Option<String>,
    channel: Option<String>,
    /// So many, and no more.
    count: Option<u64>,
}

impl Listening {
    pub(super) fn new(tap: Tap, stop: watch::Receiver<()>) -> Self {
        Self { tap, places: Arc::new(Semaphore::new(MOST)), quiet: QUIET, stop }
    }

    /// Answers with a stream that ends with the count, the client or the agent.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let count = match request.query("count").map(|text| text.parse::<u64>()) {
            Some(Err(_)) => return Answer::error(StatusCode::BAD_REQUEST, "count: expected a number"),
            count => count.and_then(Result::ok),
        };
        let wanted = Wanted { device: request.query("device"), channel: request.query("channel"), count };
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Answer::stream("application/x-ndjson", self.stream(wanted, place)),
            Err(_) => {
                let why = format!("{MOST} listen already, which is as many as can");
                Answer::error(StatusCode::SERVICE_UNAVAILABLE, why).header("retry-after", "1")
            }
        }
    }

    fn stream(&self, wanted: Wanted, place: OwnedSemaphorePermit) -> mpsc::Receiver<Bytes> {
        let (lines, body) = mpsc::channel(LINES);
        // Before the answer goes out, so that what comes after it is seen.
        let mut passing = self.tap.listen();
        let mut stop = self.stop.clone();
        let quiet = self.quiet;
        tokio::spawn(async move {
            let listening = async {
                let mut left = wanted.count;
                let mut said_at = Instant::now();
                while left != Some(0) {
                    let line = match timeout_at(said_at + quiet, passing.recv()).await {
                        Ok(Ok(tapped)) if !wanted.fits(&tapped) => continue,
                        Ok(Ok(tapped)) => {
                            left = left.map(|left| left - 1);
                            line(&*tapped)
                        }
                        Ok(Err(RecvError::Lagged(missed))) => line(&json!({ "missed": missed })),
                        Ok(Err(RecvError::Closed)) => return,
                        Err(_) => line(&json!({ "missed": 0 })),
                    };
                    if lines.send(line).await.is_err() {
                        return;
                    }
                    said_at = Instant::now();
                }
            };
            tokio::select! {
                () = listening => {}
                () = lines.closed() => {}
                _ = stop.changed() => {}
            }
            drop(place);
        });
        body
    }
}

impl Wanted {
    fn fits(&self, tapped: &Tapped) -> bool {
        let fits =
            |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|pattern| glob::fits(pattern, text));
        fits(&self.device, &tapped.device) && fits(&self.channel, &tapped.channel)
    }
}

fn line(document: &impl Serialize) -> Bytes {
    // Documents of ours have text as keys; nothing else fails.
    let mut text = serde_json::to_vec(document).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::{self, Address, Router};
    use crate::processing::Then;

    fn tapped(channel: &str, sequence: u64) -> Tapped {
        Tapped {
            device: "board-1".to_owned(),
            restart: "7".to_owned(),
            sequence,
            channel: channel.to_owned(),
            unit: Some("Cel".to_owned()),
            time_us: 0,
            synchronised: false,
            value: 21.5.into(),
            rule: None,
            then: Then::Dropped,
        }
    }

    fn parsed(line: &Bytes) -> Value {
        serde_json::from_slice(line).unwrap()
    }

    /// What a listener that stopped reading missed, and what it saw, is all that passed.
    #[tokio::test]
    async fn who_reads_too_slowly_is_told_how_much_was_missed() {
        const ALL: u64 = 10_000;
        let (tap, (_stop, stopped)) = (Tap::default(), watch::channel(()));
        let listening = Listening::new(tap.clone(), stopped);
        let place = Arc::clone(&listening.places).try_acquire_owned().unwrap();
        let mut body = listening.stream(Wanted::default(), place);
        for sequence in 0..ALL {
            tap.show(tapped("temp", sequence));
            if sequence % 100 == 0 {
                // The stream is written as far as nobody has to read it.
                tokio::task::yield_now().await;
            }
        }
        drop((tap, listening));
        let (mut seen, mut missed, mut last) = (0, 0, None);
        while let Some(line) = body.recv().await {
            let line = parsed(&line);
            missed += line["missed"].as_u64().unwrap_or(0);
            if let Some(sequence) = line["sequence"].as_u64() {
                seen += 1;
                last = Some(sequence);
            }
        }
        assert!(missed > 0, "it was slow");
        assert_eq!((seen + missed, last), (ALL, Some(ALL - 1)));
    }

    #[tokio::test]
    async fn only_what_is_wanted_is_shown_and_counted() {
        let (tap, (_stop, stopped)) = (Tap::default(), watch::channel(()));
        let listening = Listening::new(tap.clone(), stopped);
        let place = Arc::clone(&listening.places).try_acquire_owned().unwrap();
        let wanted = Wanted { channel: Some("temp*".to_owned()), count: Some(2), device: Some("board-?".to_owned()) };
        let mut body = listening.stream(wanted, place);
        for (sequence, channel) in ["hum", "temp", "hum", "temp2", "temp3"].into_iter().enumerate() {
            tap.show(tapped(channel, sequence as u64));
        }
        let mut seen = Vec::new();
        while let Some(line) = body.recv().await {
            seen.push(parsed(&line)["sequence"].as_u64().unwrap());
        }
        assert_eq!(seen, [1, 3]);
    }

    /// Regression: what a client had sent behind its request hid that it was gone, and where nothing fitted what it asked for
    /// its place was taken for good.
    #[tokio::test]
    async fn who_went_away_loses_the_place_though_nothing_fits_what_was_asked_for() {
        let (_stop, stopped) = watch::channel(());
        let quiet = Duration::from_millis(20);
        let tap = Listening { quiet, ..Listening::new(Tap::default(), stopped.clone()) };
        let places = Arc::clone(&tap.places);
        let port = http::Listening::open(&Address::parse("127.0.0.1:0").unwrap(), 0).unwrap();
        let address = port.address().to_string();
        let router = Router::default().get("/tap", move |request| ready(tap.answer(&request)));
        tokio::spawn(http::serve(port, router, http::Limits::default(), Arc::default(), stopped));
        let ask = async |behind: &str| {
            let mut client = TcpStream::connect(&address).await.unwrap();
            let request = format!("GET /tap?device=nothing HTTP/1.1\r\nhost: a\r\n\r\n{behind}");
            client.write_all(request.as_bytes()).await.unwrap();
            client.read_exact(&mut [0; 12]).await.unwrap();
            client
        };
        let mut halved = ask("").await;
        halved.shutdown().await.unwrap();
        while halved.read(&mut [0; 1000]).await.is_ok_and(|length| length > 0) {}
        for _ in 0..MOST {
            drop(ask("GET /tap HTTP/1.1\r\n\r\n").await);
        }
        while places.available_permits() < MOST {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Whoever stays is told that nothing was missed, and stays.
        let mut stays = ask("").await;
        let mut told = String::new();
        while told.matches(r#"{"missed":0}"#).count() < 3 {
            let mut piece = [0; 1000];
            let length = stays.read(&mut piece).await.unwrap();
            told.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        assert_eq!(places.available_permits(), MOST - 1);
    }

    #[tokio::test]
    async fn one_listener_too_many_is_refused_and_a_stop_ends_all() {
        let (tap, (stop, stopped)) = (Tap::default(), watch::channel(()));
        let listening = Listening::new(tap, stopped);
        let (head, ()) = hyper::Request::get("/tap").body(()).unwrap().into_parts();
        let request = Request { head, body: Bytes::new() };
        let mut answers: Vec<Answer> = (0..MOST).map(|_| listening.answer(&request)).collect();
        assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(listening.answer(&request).status(), StatusCode::SERVICE_UNAVAILABLE);
        answers.pop();
        drop(stop);
        while listening.places.available_permits() < MOST {
            tokio::task::yield_now().await;
        }
    }
}
