//! The paths and their answers.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_protocol::{DeviceId, Tenant};
use weir_storage::ReadError;
use weir_storage::keyed::KeyedError;

use super::page::{self, MAX_RECORDS, Start};
use super::tail::{self, Position};
use super::{App, authority, credentials, dead_letters, groups, guard, metrics, owners, registry, sessions, websocket};
use crate::access::Caller;
use crate::model::{MAX_DEVICES, Model};
use crate::moment;
use crate::topics::{Partition, Topic};

/// Records on a page if nobody says how many.
const DEFAULT_LIMIT: usize = 100;

/// A refused request: status, what is wrong, what to type.
#[derive(Debug)]
pub(super) struct Refused(StatusCode, String);

impl Refused {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0
    }

    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(status, message.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// All paths.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/topics", get(topics))
        .route("/topics/{topic}", get(topic))
        .route("/topics/{topic}/partitions/{partition}/records", get(records))
        .route("/topics/{topic}/tail", get(tail))
        .route("/devices", get(devices))
        .route("/devices/{device}", get(device))
        .route("/mqtt", get(websocket::upgrade))
        .route("/status", get(status))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(async |State(app): State<App>| Json(app.gateway.version())))
        .merge(registry::router())
        .merge(dead_letters::router())
        .merge(groups::router())
        .merge(owners::router())
        .merge(sessions::router())
        .merge(credentials::router())
        .merge(authority::router())
        .fallback(async || {
            let paths = "/topics, /devices, /deadletters, /groups, /sessions, /subjects, /schemas, /access, /ca, /status, /mqtt, /healthz, /readyz, /metrics and /version";
            Refused(StatusCode::NOT_FOUND, format!("no such path; there are {paths}"))
        })
        .layer(middleware::from_fn_with_state(app.access.clone(), guard::guard))
        .with_state(app)
}

/// What is answered while the logs are being read: the process lives, and serves nothing yet.
pub fn starting() -> Router {
    const WHY: &str = "starting: the logs are being read";
    const WAIT: [(&str, &str); 1] = [("retry-after", "1")];
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || (StatusCode::SERVICE_UNAVAILABLE, WAIT, format!("{WHY}\n"))))
        .fallback(async || (WAIT, Refused(StatusCode::SERVICE_UNAVAILABLE, WHY.to_owned())))
}

async fn status(State(app): State<App>, Extension(caller): Extension<Caller>) -> Json<Value> {
    Json(app.gateway.status(caller.tenant))
}

async fn topics(State(app): State<App>) -> Json<Value> {
    Json(Value::Array(app.topics.all().iter().map(|topic| page::describe(topic)).collect()))
}

async fn topic(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(page::describe(named(&app, &caller, &name)?)))
}

/// Where a page starts and how long it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsQuery {
    offset: Option<String>,
    time: Option<String>,
    limit: Option<String>,
}

impl RecordsQuery {
    /// How many records.
    pub(super) fn limit(&self) -> Result<usize, Refused> {
        let Some(text) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_RECORDS).contains(limit));
        limit.ok_or_else(|| Refused::bad(format!("limit={text}: expected 1 to {MAX_RECORDS}")))
    }

    /// From where on.
    pub(super) fn start(&self) -> Result<Start, Refused> {
        start(self.offset.as_deref(), self.time.as_deref())
    }
}

async fn records(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((name, number)): Path<(String, String)>,
    query: Result<Query<RecordsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use offset= or time=, and limit=")))?;
    let (limit, start) = (query.limit()?, query.start()?);
    let read = move || {
        let topic = named(&app, &caller, &name)?;
        let (number, partition) = numbered(topic, &number)?;
        let from = start.offset(partition).map_err(unread)?;
        let mut page = page::read(partition, number, from, limit).map_err(unread)?;
        page.keep(caller.tenant);
        Ok(Json(page::to_json(topic, partition, number, page)))
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(internal("the read was cancelled")))
}

/// Where a query says to begin.
pub(super) fn start(offset: Option<&str>, time: Option<&str>) -> Result<Start, Refused> {
    match (offset, time) {
        (Some(_), Some(_)) => Err(Refused::bad("offset= and time= exclude each other: give one of them")),
        (None, None) | (Some("earliest"), None) => Ok(Start::Earliest),
        (Some("latest"), None) => Ok(Start::Latest),
        (Some(text), None) => text.parse().map(Start::Offset).map_err(|_| {
            Refused::bad(format!("offset={text}: expected a number, such as offset=0, or earliest or latest"))
        }),
        (None, Some(text)) => moment::parse(text)
            .map(Start::Time)
            .ok_or_else(|| Refused::bad(format!("time={text}: expected {}", moment::EXPECTED))),
    }
}

/// Where a tail starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailQuery {
    offset: Option<String>,
    partition: Option<String>,
}

async fn tail(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Result<Query<TailQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use offset= and partition=")))?;
    let topic = named(&app, &caller, &name)?;
    let only = query.partition.as_deref().map(|number| numbered(topic, number)).transpose()?;
    // A client that comes back says where it was, and that is newer than what its address says.
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let from = resumed.or(query.offset).unwrap_or_else(|| "latest".to_owned());
    let position = Position::parse(topic, only.map(|(number, _)| number), &from).map_err(Refused::bad)?;
    Ok(tail::response(app.topics.clone(), topic.name().to_owned(), position, caller.tenant, app.stop.clone()))
}

/// Which devices a page shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DevicesQuery {
    after: Option<String>,
    limit: Option<String>,
}

async fn devices(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<DevicesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use after= and limit=")))?;
    let limit = query.limit.as_deref().map_or(Some(DEFAULT_LIMIT), |limit| limit.parse().ok());
    let limit = limit
        .filter(|limit| (1..=MAX_DEVICES).contains(limit))
        .ok_or_else(|| Refused::bad(format!("limit: expected 1 to {MAX_DEVICES}")))?;
    let tenant = caller.tenant.unwrap_or(Tenant::DEFAULT);
    let found = of_model(&app, move |model| model.devices(tenant, query.after.as_deref(), limit)).await?;
    Ok(Json(Value::Array(found)))
}

async fn device(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let tenant = caller.tenant.unwrap_or(Tenant::DEFAULT);
    let known: Result<DeviceId, _> = name.parse();
    let device = known.map_err(|error| Refused::bad(format!("device {name:?}: {error}")))?;
    let found = of_model(&app, move |model| model.device(tenant, device.as_str())).await?;
    let unknown = || Refused(StatusCode::NOT_FOUND, format!("no device {name:?}; /devices lists those there are"));
    found.map(Json).ok_or_else(unknown)
}

/// Reads the model, which reads files.
async fn of_model<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&Model) -> Result<T, KeyedError> + Send + 'static,
) -> Result<T, Refused> {
    let unavailable = |why: &str| Refused(StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    let model = app.gateway.model().ok_or_else(|| {
        unavailable("the read model cannot be opened; the log of the gateway says why, and everything else goes on")
    })?;
    let read = tokio::task::spawn_blocking(move || read(&model)).await.map_err(|_| unavailable("stopping"))?;
    read.map_err(|error| unavailable(&error.to_string()))
}

async fn readyz(State(app): State<App>) -> Response {
    match app.gateway.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let mut text = metrics::Text::default();
    app.gateway.metrics(&mut text);
    metrics::topics(&mut text, &app.topics);
    metrics::groups(&mut text, &app.groups);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text.finish()).into_response()
}

/// A topic that the caller may read.
fn named<'a>(app: &'a App, caller: &Caller, name: &str) -> Result<&'a Topic, Refused> {
    if !guard::may_read(&app.access, caller, name) {
        let why =
            format!("{name} is read in the role admin; `weir-gateway token create --role admin` makes a token for it");
        return Err(Refused(StatusCode::FORBIDDEN, why));
    }
    app.topics.named(name).ok_or_else(|| {
        let known: Vec<_> = app.topics.all().iter().map(|topic| topic.name()).collect();
        Refused(StatusCode::NOT_FOUND, format!("no topic {name:?}; there are {}", known.join(", ")))
    })
}

pub(super) fn numbered<'t>(topic: &'t Topic, number: &str) -> Result<(usize, &'t Partition), Refused> {
    let index = number.parse().ok();
    index.and_then(|index: usize| Some((index, topic.partitions().get(index)?))).ok_or_else(|| {
        let last = topic.partitions().len().saturating_sub(1);
        Refused(StatusCode::NOT_FOUND, format!("no partition {number:?} of {}; there are 0 to {last}", topic.name()))
    })
}

pub(super) fn unread(error: ReadError) -> Refused {
    match error {
        ReadError::OutOfRange { got, start, .. } if got < start => Refused(
            StatusCode::GONE,
            format!("offset={got}: removed by retention; the first offset is {start}: use offset={start}"),
        ),
        ReadError::OutOfRange { got, start, end } => Refused::bad(format!(
            "offset={got}: the partition holds {start} to {end}; use offset={start} for the first"
        )),
        ReadError::Io(error) => internal(&error.to_string()),
    }
}

fn internal(message: &str) -> Refused {
    tracing::error!(error = message, "a read failed");
    Refused(StatusCode::INTERNAL_SERVER_ERROR, message.to_owned())
}
