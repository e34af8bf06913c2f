//! `/tap?device=&channel=&count=`: readings as they pass the rules, one JSON document a line, as they come.
//!
//! Nothing waits for who listens: whoever reads too slowly misses some, and a line `{"missed": n}` says how many. Device
//! and channel are patterns; what they do not fit is not counted. While nobody listens nothing of this costs anything.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::glob;
use crate::http::{Answer, Request};
use crate::processing::{Tap, Tapped};

/// The most listeners at a time; one more is answered 503.
pub(super) const MOST: usize = 4;
/// Lines that wait for one of them, beside those that wait for all.
const LINES: usize = 16;

/// Where to listen.
#[derive(Clone)]
pub(super) struct Listening {
    tap: Tap,
    places: Arc<Semaphore>,
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
        Self { tap, places: Arc::new(Semaphore::new(MOST)), stop }
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
        tokio::spawn(async move {
            let listening = async {
                let mut left = wanted.count;
                while left != Some(0) {
                    let line = match passing.recv().await {
                        Ok(tapped) if !wanted.fits(&tapped) => continue,
                        Ok(tapped) => {
                            left = left.map(|left| left - 1);
                            line(&*tapped)
                        }
                        Err(RecvError::Lagged(missed)) => line(&json!({ "missed": missed })),
                        Err(RecvError::Closed) => return,
                    };
                    if lines.send(line).await.is_err() {
                        return;
                    }
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
    use super::*;
    use crate::processing::Then;
    use serde_json::Value;

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
