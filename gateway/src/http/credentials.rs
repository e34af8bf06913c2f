//! Users of MQTT and tokens, for admins.
//!
//! `PUT /access/users/{name}` takes `{"password": "$argon2id$..", "tenant": "default", "clients": "pump-*"}`: the password is
//! hashed by who sends it, and never travels. `POST /access/tokens` takes `{"name": "lake", "role": "viewer"}` or `{"enroll":
//! "pump-*"}`, and perhaps `tenant` and `expires_ms`, and answers `{"id": "..", "token": "weir_.."}`: the only time that the
//! token is shown. `DELETE` ends either at once, with the connections that it let in.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, put};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_protocol::Tenant;

use super::guard::Detail;
use super::routes::Refused;
use super::{App, posted};
use crate::access::admin::{AdminError, NewToken, NewUser};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/access/users", get(users))
        .route("/access/users/{name}", put(set_user).delete(remove_user))
        .route("/access/tokens", get(tokens).post(create_token))
        .route("/access/tokens/{id}", delete(revoke_token))
}

async fn users(State(app): State<App>) -> Json<Value> {
    Json(Value::Array(app.access.users()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    password: String,
    tenant: Option<String>,
    clients: Option<String>,
}

async fn set_user(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(Extension<Detail>, Json<Value>), Refused> {
    let User { password, tenant, clients } = posted::json(&headers, body).await?;
    let of = tenant.as_deref().unwrap_or(Tenant::DEFAULT.as_str());
    let detail = Detail(format!("tenant {of}, clients {}", clients.as_deref().unwrap_or(&name)));
    let user = NewUser { name: name.clone(), password, tenant, clients };
    app.access.set_user(user).await.map_err(refused)?;
    Ok((Extension(detail), Json(json!({"user": name}))))
}

async fn remove_user(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    posted::own(&headers)?;
    app.access.remove_user(&name).await.map_err(refused)?;
    Ok(Json(json!({"user": name, "removed": true})))
}

async fn tokens(State(app): State<App>) -> Json<Value> {
    Json(Value::Array(app.access.tokens()))
}

async fn create_token(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<(Extension<Detail>, Json<Value>), Refused> {
    let asked: NewToken = posted::json(&headers, body).await?;
    let what = asked.to_string();
    let (id, token) = app.access.create_token(asked).await.map_err(refused)?;
    Ok((Extension(Detail(format!("{id} {what}"))), Json(json!({"id": id, "token": token}))))
}

async fn revoke_token(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    posted::own(&headers)?;
    app.access.revoke_token(&id).await.map_err(refused)?;
    Ok(Json(json!({"token": id, "revoked": true})))
}

fn refused(error: AdminError) -> Refused {
    let status = match &error {
        AdminError::NotFound(_) => StatusCode::NOT_FOUND,
        AdminError::Full(_) => StatusCode::CONFLICT,
        AdminError::NotWritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        AdminError::Wrong(_) => StatusCode::BAD_REQUEST,
    };
    Refused::new(status, error.to_string())
}
