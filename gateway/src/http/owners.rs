//! `POST /devices/{device}/owner` with `content-type: application/json` takes `{"agent": "edge-2", "tenant": "default"}`, of
//! which the tenant may be left out, and binds the device to that agent; the same comes back once it is durable and in effect.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_protocol::{AgentId, DeviceId, Tenant};

use super::guard::Detail;
use super::routes::Refused;
use super::{App, posted};
use crate::ingest::MoveError;

pub(super) fn router() -> Router<App> {
    Router::new().route("/devices/{device}/owner", post(set))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    agent: String,
    tenant: Option<String>,
}

async fn set(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(Extension<Detail>, Json<Value>), Refused> {
    let asked: Asked = posted::json(&headers, body).await?;
    let bad = |what: &str, got: &str, error: &dyn std::fmt::Display| Refused::bad(format!("{what} {got:?}: {error}"));
    let device: DeviceId = name.parse().map_err(|error| bad("device", &name, &error))?;
    let agent: AgentId = asked.agent.parse().map_err(|error| bad("agent", &asked.agent, &error))?;
    let tenant: Tenant = match &asked.tenant {
        Some(tenant) => tenant.parse().map_err(|error| bad("tenant", tenant, &error))?,
        None => Tenant::DEFAULT,
    };
    app.ingest.move_device(tenant, device, agent).await.map_err(|error| {
        let status = match error {
            MoveError::Unknown(_) => StatusCode::NOT_FOUND,
            MoveError::Failed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, format!("device {name:?}: {error}"))
    })?;
    tracing::info!(%tenant, %device, %agent, "the device was moved");
    let moved = json!({"tenant": tenant.as_str(), "device": device.as_str(), "agent": agent.as_str()});
    Ok((Extension(Detail(format!("to {tenant}/{agent}"))), Json(moved)))
}
