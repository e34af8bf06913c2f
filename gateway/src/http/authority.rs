//! The gateway's own authority, for admins: what `weir-gateway ca` does beside a running gateway, so that it is in the audit.
//!
//! `POST /ca` takes `{"name": "Plant 7", "server_names": ["gw.example"]}`: makes the authority, and a certificate
//! of the gateway itself if names are given. With an authority that is there already it takes names alone. Without `name`
//! the authority has one of its own ([`Ca::init`]).
//! `POST /ca/certificates/{tenant}/{client}` takes `{"csr": "-----BEGIN CERTIFICATE REQUEST-----.."}` and answers
//! `{"serial": "..", "not_after": 1795230000, "chain": "-----BEGIN CERTIFICATE-----.."}`. `DELETE` of the same path revokes all
//! certificates of a client, `DELETE /ca/serials/{serial}` one; both answer `{"revoked": [{"serial": "..", "tenant": "..",
//! "name": ".."}]}`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard::Detail;
use super::routes::Refused;
use super::{App, posted};
use crate::access::ClientId;
use crate::ca::request::Request;
use crate::ca::{Ca, CaError, Owner, Revoke};
use crate::tls::Serial;

/// The authority, and how long what it gives out is good.
#[derive(Clone)]
pub struct Authority {
    /// The authority.
    pub ca: Ca,
    /// The life of a certificate.
    pub lifetime: Duration,
}

impl Authority {
    /// Makes the authority, called `name` or by a name of its own, and a certificate for the gateway itself if it has names.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn init(&self, name: Option<&str>, server_names: &[String]) -> Result<Value, CaError> {
        match self.ca.init(name) {
            Err(CaError::Exists(_)) if !server_names.is_empty() => (),
            made => made?,
        }
        if !server_names.is_empty() {
            self.ca.serve_as(server_names)?;
        }
        Ok(json!({"server_names": server_names}))
    }

    /// Certifies the key of a request for `owner`.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn issue(&self, owner: &Owner, request: &Request) -> Result<Value, CaError> {
        let issued = self.ca.issue(request, owner, self.lifetime)?;
        Ok(json!({"serial": issued.serial.to_string(), "not_after": issued.not_after, "chain": issued.chain}))
    }

    /// Revokes certificates.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn revoke(&self, what: &Revoke) -> Result<Value, CaError> {
        let line = |one: &crate::ca::register::Issued| json!({"serial": one.serial.to_string(), "tenant": one.tenant.as_str(), "name": one.name.as_str()});
        Ok(json!({"revoked": self.ca.revoke(what)?.iter().map(line).collect::<Vec<_>>()}))
    }
}

/// What of an answer the path of its request does not say, for the audit.
pub(crate) fn detail(done: &Value) -> String {
    let all = |value: &Value, of: fn(&Value) -> &Value| -> String {
        let texts = value.as_array().into_iter().flatten().filter_map(|one| of(one).as_str());
        texts.collect::<Vec<_>>().join(" ")
    };
    match (&done["serial"], &done["revoked"], &done["server_names"]) {
        (Value::String(serial), _, _) => format!("serial {serial}"),
        (_, revoked @ Value::Array(_), _) => format!("serials {}", all(revoked, |one| &one["serial"])),
        (_, _, names) => all(names, |one| one),
    }
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/ca", post(init))
        .route("/ca/certificates/{tenant}/{client}", post(issue).delete(revoke_all))
        .route("/ca/serials/{serial}", delete(revoke_one))
}

/// What was done, and how the audit says it.
type Done = Result<(Extension<Detail>, Json<Value>), Refused>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    name: Option<String>,
    #[serde(default)]
    server_names: Vec<String>,
}

async fn init(State(app): State<App>, headers: HeaderMap, body: Body) -> Done {
    let Init { name, server_names } = posted::json(&headers, body).await?;
    of(app, move |authority| authority.init(name.as_deref(), &server_names)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    csr: String,
}

async fn issue(
    State(app): State<App>,
    Path((tenant, client)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Done {
    let Issue { csr } = posted::json(&headers, body).await?;
    let owner = owner(&tenant, &client)?;
    let request = Request::parse(csr.as_bytes()).map_err(|error| Refused::bad(error.to_string()))?;
    of(app, move |authority| authority.issue(&owner, &request)).await
}

async fn revoke_all(
    State(app): State<App>,
    Path((tenant, client)): Path<(String, String)>,
    headers: HeaderMap,
) -> Done {
    posted::own(&headers)?;
    let what = Revoke::Owner(owner(&tenant, &client)?);
    of(app, move |authority| authority.revoke(&what)).await
}

async fn revoke_one(State(app): State<App>, Path(serial): Path<String>, headers: HeaderMap) -> Done {
    posted::own(&headers)?;
    let expected = || Refused::bad(format!("serial {serial:?}: expected hexadecimal digits"));
    let what = Revoke::Serial(Serial::parse(&serial).ok_or_else(expected)?);
    of(app, move |authority| authority.revoke(&what)).await
}

fn owner(tenant: &str, client: &str) -> Result<Owner, Refused> {
    let tenant = tenant.parse().map_err(|error| Refused::bad(format!("tenant {tenant:?}: {error}")))?;
    let name = ClientId::new(client).map_err(|error| Refused::bad(format!("client {client:?}: {error}")))?;
    Ok(Owner { tenant, name })
}

/// Does something with the authority, which waits for the disk.
async fn of(app: App, act: impl FnOnce(&Authority) -> Result<Value, CaError> + Send + 'static) -> Done {
    let done = tokio::task::spawn_blocking(move || act(&app.authority)).await;
    let done = done.map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping"))?;
    let done = done.map_err(|error| {
        let status = match &error {
            CaError::Request(_) => StatusCode::BAD_REQUEST,
            CaError::Unknown(_) => StatusCode::NOT_FOUND,
            CaError::Exists(_) => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, error.to_string())
    })?;
    Ok((Extension(Detail(detail(&done))), Json(done)))
}
