//! Sessions of MQTT clients: who is connected, who is away, what they asked for; deleting one.
//!
//! ```json
//! {"tenant": "default", "client": "pump-7", "connected": false, "mqtt": null, "since_ms": 1795230000000, "durable": true,
//!  "expiry_s": 3600, "subscriptions": 2, "open_ids": 0, "will": true}
//! ```
//!
//! `/sessions?after=TENANT/CLIENT&limit=` lists them in the order of tenants and clients; `/sessions/{tenant}/{client}` has the
//! subscriptions themselves, and no `expiry_s` (null) where a session never ends. `DELETE` disconnects the client and forgets
//! what it had, but for the numbers of its messages at QoS 2; it takes `content-type: application/json` and no foreign
//! origin ([`posted`]).

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_protocol::Tenant;

use super::routes::Refused;
use super::{App, posted};
use crate::access::{Caller, ClientId};
use crate::delivery::Subscription;
use crate::mqtt::packet::Version;
use crate::sessions::{self, Key, View};

/// The most sessions of one page.
pub const MAX_SESSIONS: usize = 1000;
/// How many there are if nobody says.
const DEFAULT_LIMIT: usize = 100;

pub(super) fn router() -> Router<App> {
    Router::new().route("/sessions", get(list)).route("/sessions/{tenant}/{client}", get(show).delete(delete))
}

/// Which sessions a page shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
}

async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use after= and limit=")))?;
    let limit = query.limit.as_deref().map_or(Some(DEFAULT_LIMIT), |limit| limit.parse().ok());
    let limit = limit
        .filter(|limit| (1..=MAX_SESSIONS).contains(limit))
        .ok_or_else(|| Refused::bad(format!("limit: expected 1 to {MAX_SESSIONS}")))?;
    let after = query.after.map(|after| match after.split_once('/') {
        Some((tenant, client)) => key(tenant, client),
        None => {
            Err(Refused::bad(format!("after={after}: expected a tenant and a client, such as after=default/pump-7")))
        }
    });
    let sessions = app.sessions.list(caller.tenant, after.transpose()?.as_ref(), limit);
    Ok(Json(sessions.iter().map(line).collect()))
}

async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, client)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    let key = key_of(&caller, &tenant, &client)?;
    let view = app.sessions.view(&key).ok_or_else(|| unknown(&key))?;
    let mut shown = line(&view);
    shown["subscriptions"] = view.subscriptions.iter().map(subscription).collect();
    Ok(Json(shown))
}

async fn delete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, client)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    posted::own(&headers)?;
    let key = key_of(&caller, &tenant, &client)?;
    let deleted = app.sessions.delete(&key).await.map_err(|error| {
        let status = match error {
            sessions::Refused::Busy => StatusCode::CONFLICT,
            sessions::Refused::Full | sessions::Refused::NotWritten => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, format!("{key}: {error}; try again"))
    })?;
    if !deleted {
        return Err(unknown(&key));
    }
    Ok(Json(json!({"tenant": tenant, "client": client, "deleted": true})))
}

fn key(tenant: &str, client: &str) -> Result<Key, Refused> {
    let tenant = Tenant::new(tenant).map_err(|error| Refused::bad(format!("tenant {tenant:?}: {error}")))?;
    let client = ClientId::new(client).map_err(|error| Refused::bad(format!("client {client:?}: {error}")))?;
    Ok(Key { tenant, client })
}

/// A session that the caller may see: of other tenants there is none.
fn key_of(caller: &Caller, tenant: &str, client: &str) -> Result<Key, Refused> {
    let key = key(tenant, client)?;
    if caller.tenant.is_none_or(|own| own == key.tenant) { Ok(key) } else { Err(unknown(&key)) }
}

fn unknown(key: &Key) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("no session of {key}; /sessions lists those there are"))
}

/// A session in one line.
fn line(view: &View) -> Value {
    json!({
        "tenant": view.key.tenant.as_str(),
        "client": view.key.client.as_str(),
        "connected": view.connected.is_some(),
        "mqtt": view.connected.map(version),
        "since_ms": view.since_ms,
        "durable": view.is_durable,
        "expiry_s": (view.expiry != u32::MAX).then_some(view.expiry),
        "subscriptions": view.subscriptions.len(),
        "open_ids": view.open_ids,
        "will": view.has_will,
    })
}

fn subscription(known: &Subscription) -> Value {
    json!({
        "filter": known.filter.filter,
        "qos": known.filter.qos as u8,
        "no_local": known.filter.no_local,
        "retain_as_published": known.filter.retain_as_published,
        "identifier": known.identifier,
    })
}

/// What people call a version.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::V4 => "3.1.1",
        Version::V5 => "5",
    }
}
