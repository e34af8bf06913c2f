//! Dead letters: pages that say what became of them, and redriving them ([`crate::redrive`]).
//!
//! `GET /deadletters/{partition}?offset=&limit=` is a [`page`] of the dead-letter topic; each record has
//! `"redriven": {"stored": 3, "of": 5}`: how many of its sequences are stored as readings by now.
//!
//! `POST /deadletters/redrive` with `content-type: application/json` takes
//! `{"places": ["2:17"], "reason": "unknown-schema", "device": "pump-1", "all": false, "dry_run": false}`, of which one
//! of the first four must be given, and answers one JSON value a line as it goes on: for each letter
//! `{"place": "2:17", "result": "stored | already-stored | refused | due | missing", "stored": 3, "left": 0,
//! "reason": "..."}`, empty lines while it waits, and last `{"done": {"tried": 1, "stored": 3, "refused": 0}}` or
//! `{"error": "..."}`.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use weir_protocol::DeviceId;

use super::routes::{RecordsQuery, Refused, numbered, unread};
use super::{App, page, posted};
use crate::access::Caller;
use crate::redrive::letter;
use crate::redrive::{Choice, Ending, Place, RedriveError, Tried};
use crate::topics::TopicId;

/// How long the answer may be silent: an empty line shows the client, and proxies, that it goes on.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Letters that wait for a client that reads slowly; then the redrive waits.
const WAITING: usize = 64;

pub(super) fn router() -> Router<App> {
    Router::new().route("/deadletters/{partition}", get(letters)).route("/deadletters/redrive", post(redrive))
}

async fn letters(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<String>,
    query: Result<Query<RecordsQuery>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use offset= or time=, and limit=")))?;
    let (limit, start, topics) = (query.limit()?, query.start()?, app.topics.clone());
    let read = move || {
        let topic = topics.get(TopicId::DEAD_LETTER);
        let (number, partition) = numbered(topic, &number)?;
        let from = start.offset(partition).map_err(unread)?;
        let mut page = page::read(partition, number, from, limit).map_err(unread)?;
        page.keep(caller.tenant);
        Ok(page::to_json(topic, partition, number, page))
    };
    let mut page = tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(Refused::bad("stopping")))?;
    for record in page["records"].as_array_mut().into_iter().flatten() {
        if let Some(letter) = letter::of_json(record)
            && let Some((stored, of)) = app.redrive.standing(&letter).await
        {
            record["redriven"] = json!({"stored": stored, "of": of});
        }
    }
    Ok(Json(page))
}

/// What is to be redriven.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    places: Vec<String>,
    reason: Option<String>,
    device: Option<String>,
    all: bool,
    dry_run: bool,
}

impl Asked {
    fn choice(self) -> Result<Choice, Refused> {
        let places: Result<Vec<Place>, _> = self.places.iter().map(|place| place.parse()).collect();
        let device: Option<DeviceId> = self
            .device
            .map(|device| device.parse().map_err(|error| Refused::bad(format!("device {device:?}: {error}"))))
            .transpose()?;
        let places = places.map_err(|error| Refused::bad(error.to_string()))?;
        Choice::new(places, self.reason, device, self.all).map_err(|error| Refused::bad(error.to_string()))
    }
}

async fn redrive(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let asked: Asked = posted::json(&headers, body).await?;
    let (is_dry, choice) = (asked.dry_run, asked.choice()?);
    let turn = app.redrive.turn();
    let turn = turn.ok_or_else(|| Refused::new(StatusCode::CONFLICT, "a redrive is under way; wait until it ends"))?;
    let (tell, told) = mpsc::channel(WAITING);
    let running = tokio::spawn(async move { app.redrive.run(&turn, &choice, is_dry, &tell).await });
    let answer = Answer { told, running: Some(running), tried: 0, stored: 0, refused: 0 };
    let lines = stream::unfold(answer, async |mut answer| {
        let line = answer.next().await?;
        Some((Ok::<_, Infallible>(line), answer))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The lines of the answer. A client that goes away drops it, and the redrive ends with the letters under way.
struct Answer {
    told: mpsc::Receiver<Tried>,
    running: Option<tokio::task::JoinHandle<Result<(), RedriveError>>>,
    tried: u64,
    stored: u64,
    refused: u64,
}

impl Answer {
    async fn next(&mut self) -> Option<Bytes> {
        match timeout(KEEP_ALIVE, self.told.recv()).await {
            Err(_) => Some(Bytes::from_static(b"\n")),
            Ok(Some(tried)) => {
                self.tried += u64::from(tried.result != Ending::Missing);
                self.stored += tried.stored;
                self.refused += u64::from(matches!(tried.result, Ending::Refused | Ending::Missing));
                Some(line(&json!(tried)))
            }
            Ok(None) => {
                let ended = self.running.take()?.await;
                Some(line(&match ended.unwrap_or(Err(RedriveError::Stopping)) {
                    Ok(()) => json!({"done": {"tried": self.tried, "stored": self.stored, "refused": self.refused}}),
                    Err(error) => json!({"error": error.to_string()}),
                }))
            }
        }
    }
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}
