//! The tail of a topic as server-sent events (HTML standard, section 9.2).
//!
//! ```text
//! id: 17,0,3,8                      the offset to go on with, of each partition
//! event: record                     or gap: damage that was passed, or error: the end
//! data: {"partition": 0, "offset": 16, ...}
//! ```
//!
//! What it guarantees: from its position on, every committed record of each partition, in order; records of
//! different partitions come in any order. A client that comes back with `Last-Event-ID` (browsers do) goes on
//! where it was. The reader pulls: a slow one costs one page of memory, delays nobody, and is dropped when it
//! takes nothing for a while ([`super::stall`]).

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::select_all;
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use weir_protocol::Tenant;

use super::page;
use crate::topics::{Topic, Topics};

/// Records that one look at a partition takes; others get their turn in between.
const RECORDS_PER_TURN: usize = 500;
/// How long the stream may be silent: a comment shows the client, and proxies, that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The next offset of each partition; `None` for a partition that is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(Vec<Option<u64>>);

impl Position {
    /// Reads `earliest`, `latest`, one offset if it is about one partition, or an event's id. `only` limits it
    /// to one partition.
    ///
    /// # Errors
    /// A sentence that says what to type.
    pub fn parse(topic: &Topic, only: Option<usize>, text: &str) -> Result<Self, String> {
        let readers = || topic.partitions().iter().map(|partition| partition.reader());
        let count = topic.partitions().len();
        let mut offsets: Vec<Option<u64>> = match text {
            "earliest" => readers().map(|reader| Some(reader.start_offset())).collect(),
            "latest" => readers().map(|reader| Some(reader.end_offset())).collect(),
            list if list.contains(',') || (count == 1 && only.is_none()) => {
                let parsed: Result<Vec<_>, _> = list.split(',').map(one_offset).collect();
                parsed.ok().filter(|offsets| offsets.len() == count).ok_or_else(|| {
                    format!("offset={list}: expected {count} offsets between commas, as in the id of an event")
                })?
            }
            one => {
                let only = only.ok_or_else(|| {
                    format!("offset={one}: {} has {count} partitions; add partition=, or use earliest", topic.name())
                })?;
                let offset = one.parse().map_err(|_| format!("offset={one}: expected a number, earliest or latest"))?;
                let mut offsets = vec![None; count];
                offsets[only] = Some(offset);
                offsets
            }
        };
        for (number, (offset, reader)) in offsets.iter_mut().zip(readers()).enumerate() {
            let (start, end) = (reader.start_offset(), reader.end_offset());
            if only.is_some_and(|only| only != number) {
                *offset = None;
            }
            if let Some(got) = offset.filter(|offset| *offset < start) {
                return Err(format!(
                    "offset={got}: removed by retention; the first offset of partition {number} is {start}"
                ));
            }
            if let Some(got) = offset.filter(|offset| !(start..=end).contains(offset)) {
                return Err(format!("offset={got}: partition {number} holds {start} to {end}"));
            }
        }
        Ok(Self(offsets))
    }

    fn id(&self) -> String {
        let text = |offset: &Option<u64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        self.0.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

fn one_offset(text: &str) -> Result<Option<u64>, std::num::ParseIntError> {
    if text == "-" { Ok(None) } else { text.parse().map(Some) }
}

/// The answer: events from `position` on, those of `tenant` alone if there is one, until the client is gone or `stop` turns
/// true.
pub(super) fn response(
    topics: Topics,
    topic: String,
    position: Position,
    tenant: Option<Tenant>,
    stop: watch::Receiver<bool>,
) -> Response {
    let tail = Tail { topics, topic, position, tenant, stop, ready: VecDeque::new() };
    let events = stream::unfold(tail, async |mut tail| {
        let bytes = tail.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), tail))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

struct Tail {
    topics: Topics,
    topic: String,
    position: Position,
    tenant: Option<Tenant>,
    stop: watch::Receiver<bool>,
    /// Events of one turn, not sent yet.
    ready: VecDeque<Bytes>,
}

impl Tail {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            // Subscribed before the look, so that what is committed after it wakes us.
            let mut exposed: Vec<_> = {
                let topic = self.topics.named(&self.topic)?;
                topic.partitions().iter().map(|partition| partition.exposed()).collect()
            };
            self.look().await?;
            if !self.ready.is_empty() {
                continue;
            }
            let grown = select_all(exposed.iter_mut().map(|exposed| Box::pin(exposed.changed())));
            tokio::select! {
                _ = grown => (),
                _ = self.stop.wait_for(|stop| *stop) => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": alive\n\n")),
            }
        }
    }

    /// One turn: what is new in every partition.
    async fn look(&mut self) -> Option<()> {
        let (topics, name, mut position) = (self.topics.clone(), self.topic.clone(), self.position.clone());
        let tenant = self.tenant;
        let read = move || {
            let mut ready = VecDeque::new();
            for (number, partition) in topics.named(&name)?.partitions().iter().enumerate() {
                let Some(from) = position.0[number] else { continue };
                if from >= partition.reader().end_offset() {
                    continue;
                }
                let mut page = match page::read(partition, number, from, RECORDS_PER_TURN) {
                    Ok(page) => page,
                    Err(error) => {
                        ready.push_back(event(&position, "error", &json!({"error": error.to_string()})));
                        position.0.fill(None);
                        break;
                    }
                };
                page.keep(tenant);
                for damage in &page.gaps {
                    let mut gap = page::gap(damage);
                    gap["partition"] = number.into();
                    ready.push_back(event(&position, "gap", &gap));
                }
                for record in &page.records {
                    position.0[number] = record["offset"].as_u64().map(|offset| offset + 1);
                    ready.push_back(event(&position, "record", record));
                }
                position.0[number] = Some(page.next);
            }
            Some((ready, position))
        };
        (self.ready, self.position) = tokio::task::spawn_blocking(read).await.ok()??;
        Some(())
    }
}

fn event(position: &Position, kind: &str, data: &serde_json::Value) -> Bytes {
    let mut text = String::new();
    // Writing to a String cannot fail, and JSON holds no bare newline.
    let _ = write!(text, "id: {}\nevent: {kind}\ndata: {data}\n\n", position.id());
    text.into()
}
