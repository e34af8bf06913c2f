//! Groups: who is in them, how far they are behind, setting them to another place.
//!
//! ```json
//! {"group": "lake", "state": "Stable", "protocol_type": "consumer", "protocol": "range", "generation": 3,
//!  "members": [{"member": "c-9f..", "instance": null, "client": "c", "host": "127.0.0.1", "leads": true,
//!               "partitions": [{"topic": "readings", "partitions": [0, 1]}]}],
//!  "offsets": [{"topic": "readings", "partition": 0, "committed": 40, "start": 0, "end": 42, "lag": 2, "metadata": "",
//!               "committed_ms": 1795230000000, "member": "c-9f.."}]}
//! ```
//!
//! `POST /groups/{group}/reset` takes `offset` (a number, `earliest`, `latest`) or `time`, and perhaps `topic`, `partition`,
//! `dry_run`; `POST /groups/{group}/commit` takes a `topic` and `offsets` by partition. Both, and `DELETE`, are refused
//! with 409 while the group has members, and take `content-type: application/json` and no foreign origin ([`posted`]).

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::Start;
use super::routes::{Refused, start, unread};
use super::{App, posted};
use crate::groups::reset::{self, Filter, Move, ResetError};
use crate::groups::{Commit, Each, Error, GroupId, GroupView, Lag, Speaker, assigned_partitions};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/groups", get(list))
        .route("/groups/{group}", get(show).delete(delete))
        .route("/groups/{group}/reset", post(reset))
        .route("/groups/{group}/commit", post(commit))
}

async fn list(State(app): State<App>) -> Json<Value> {
    let groups = app.groups.list().into_iter().map(|group| {
        let lags = app.groups.lags(group.id.as_str());
        line(group.id.as_str(), group.state.as_str(), group.members, &lags)
    });
    Json(groups.collect())
}

async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Refused> {
    let view = app.groups.view(&name).ok_or_else(|| unknown(&name))?;
    Ok(Json(describe(&name, Some(&view), &app.groups.lags(&name))))
}

async fn delete(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Result<Json<Value>, Refused> {
    posted::own(&headers)?;
    let group = GroupId::new(&name).ok_or_else(|| unknown(&name))?;
    app.groups.delete(&group).await.map_err(|error| refused(&name, &error))?;
    Ok(Json(json!({"group": name, "deleted": true})))
}

/// Where a group is to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    offset: Option<Value>,
    time: Option<Value>,
    topic: Option<String>,
    partition: Option<u32>,
    #[serde(default)]
    dry_run: bool,
}

impl Reset {
    fn to(&self) -> Result<Start, Refused> {
        let text = |value: &Option<Value>| {
            value.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        match (text(&self.offset), text(&self.time)) {
            (None, None) => Err(Refused::bad("expected offset (a number, earliest or latest) or time")),
            (offset, time) => start(offset.as_deref(), time.as_deref()),
        }
    }
}

async fn reset(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let asked: Reset = posted::json(&headers, body).await?;
    let group = GroupId::new(&name).ok_or_else(|| unknown(&name))?;
    let (to, dry_run) = (asked.to()?, asked.dry_run);
    if app.groups.view(&name).is_some_and(|view| !view.members.is_empty()) {
        return Err(refused(&name, &Error::NotEmpty));
    }
    let (topics, offsets) = (app.topics.clone(), app.groups.offsets(&name));
    let filter = Filter { topic: asked.topic, partition: asked.partition };
    let planned = move || reset::plan(&topics, &offsets, &filter, |partition| to.offset(partition));
    let planned = tokio::task::spawn_blocking(planned).await.map_err(|_| Refused::bad("stopping"))?;
    let moves = planned.map_err(|error| match error {
        ResetError::Read(error) => unread(error),
        other => Refused::bad(other.to_string()),
    })?;
    let each = match dry_run {
        true => vec![Ok(()); moves.len()],
        false => {
            let commits = moves.iter().map(Move::commit).collect();
            app.groups.set(&group, commits).await.map_err(|error| refused(&name, &error))?
        }
    };
    Ok(Json(moved(&name, dry_run, &moves, &each)))
}

/// Offsets of a consumer that assigns its partitions by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offsets {
    topic: String,
    offsets: BTreeMap<u32, u64>,
}

async fn commit(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let asked: Offsets = posted::json(&headers, body).await?;
    let group = GroupId::new(&name).ok_or_else(|| unknown(&name))?;
    let commits = asked.offsets.iter().map(|(partition, offset)| Commit {
        topic: asked.topic.as_str().into(),
        partition: *partition,
        offset: *offset,
        leader_epoch: -1,
        metadata: "".into(),
    });
    let each = app.groups.commit(&group, &Speaker::ALONE, commits.collect()).await;
    let each = each.map_err(|error| match error {
        Error::UnknownMember => refused(&name, &Error::NotEmpty),
        other => refused(&name, &other),
    })?;
    if let Some(Err(error)) = each.into_iter().find(Result::is_err) {
        return Err(refused(&name, &error));
    }
    Ok(Json(json!({"group": name, "committed": asked.offsets.len()})))
}

/// A group in a list.
pub(crate) fn line(group: &str, state: &str, members: usize, lags: &[Lag]) -> Value {
    let lag: u64 = lags.iter().filter_map(Lag::records).sum();
    json!({"group": group, "state": state, "members": members, "offsets": lags.len(), "lag": lag})
}

/// A group; one without a view is known by its offsets alone.
pub(crate) fn describe(group: &str, view: Option<&GroupView>, lags: &[Lag]) -> Value {
    let mut holders = BTreeMap::new();
    let mut members = Vec::new();
    for member in view.iter().flat_map(|view| &view.members) {
        let partitions = assigned_partitions(&member.assignment).unwrap_or_default();
        for (topic, numbers) in &partitions {
            holders.extend(numbers.iter().map(|number| ((*topic, *number), member.id.as_str())));
        }
        let assigned = partitions.iter().map(|(topic, numbers)| json!({"topic": topic, "partitions": numbers}));
        members.push(json!({
            "member": member.id.as_str(),
            "instance": member.instance.as_ref().map(|instance| instance.as_str()),
            "client": &*member.client.id,
            "host": &*member.client.host,
            "leads": view.and_then(|view| view.leader.as_ref()) == Some(&member.id),
            "partitions": assigned.collect::<Vec<_>>(),
        }));
    }
    let offsets = lags.iter().map(|lag| {
        let holder = i32::try_from(lag.partition).ok().and_then(|number| holders.get(&(&*lag.topic, number)));
        json!({
            "topic": &*lag.topic,
            "partition": lag.partition,
            "committed": lag.committed.offset,
            "start": lag.held.as_ref().map(|held| held.start),
            "end": lag.held.as_ref().map(|held| held.end),
            "lag": lag.records(),
            "metadata": &*lag.committed.metadata,
            "committed_ms": lag.committed.at_ms,
            "member": holder,
        })
    });
    json!({
        "group": group,
        "state": view.map_or("Empty", |view| view.state.as_str()),
        "protocol_type": view.and_then(|view| view.protocol_type.as_deref()),
        "protocol": view.and_then(|view| view.protocol.as_deref()),
        "generation": view.map(|view| view.generation.0),
        "members": members,
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

/// What a reset did, or would do.
pub(crate) fn moved(group: &str, dry_run: bool, moves: &[Move], each: &Each) -> Value {
    let partitions = moves.iter().zip(each).map(|(moved, result)| {
        json!({
            "topic": &*moved.topic,
            "partition": moved.partition,
            "from": moved.from,
            "to": moved.to,
            "error": result.as_ref().err().map(ToString::to_string),
        })
    });
    json!({"group": group, "dry_run": dry_run, "partitions": partitions.collect::<Vec<_>>()})
}

fn unknown(name: &str) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("no group {name:?}; /groups lists those there are"))
}

fn refused(name: &str, error: &Error) -> Refused {
    let status = match error {
        Error::NotFound => return unknown(name),
        Error::NotEmpty => StatusCode::CONFLICT,
        Error::UnknownPartition | Error::TooManyOffsets => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refused::new(status, format!("group {name}: {error}"))
}
