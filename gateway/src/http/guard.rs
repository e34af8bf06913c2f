//! Who may ask what: every request passes here before its handler.
//!
//! What it guarantees: a path is served to the role that its permit names ([`permits`]) and to nobody less; who acts is in the
//! audit before the act and with its result before the answer; who is refused is told what to type, and is in the audit; an
//! answer that goes on (the tail) ends when the token that asked for it is revoked or ends.

use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::body::Body as _;
use serde_json::json;

use super::permits::{self, Permit, permit};
use super::serve::Peer;
use crate::access::audit::Wanted;
use crate::access::{Access, Caller, Role, Unproven};

/// What an act did, for the audit, where its path does not say it; an extension of the answer.
#[derive(Clone, Debug)]
pub(super) struct Detail(pub(super) String);

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()) else {
        // There is no such path, which is no secret.
        return next.run(request).await;
    };
    let permit = permit(request.method(), &path);
    let caller = match caller(&access, &request) {
        Ok(caller) => caller,
        Err(_) if is_for_everybody(&access, &permit, &path) => return next.run(request).await,
        Err(why) => return unproven(&access, &request, why),
    };
    if let Err(why) = may(&caller, &permit) {
        forbidden(&access, &caller);
        return refused(StatusCode::FORBIDDEN, &why);
    }
    request.extensions_mut().insert(caller.clone());
    if !permit.is_act {
        return until_ended(&access, &caller, next.run(request).await);
    }
    let name = format!("{} {path}", request.method());
    let target = request.uri().path().to_owned();
    let Some(id) = access.new_id() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "no randomness from the system");
    };
    let act = match access.audit().begin(&caller, &name, &id, &target).await {
        Ok(act) => act,
        Err(error) => return refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    // Not dropped half way when the client goes away: what is done is written.
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        let status = response.status();
        let act = match response.extensions().get::<Detail>() {
            Some(Detail(detail)) => act.with_detail(detail),
            None => act,
        };
        match act.end(status.is_success(), status.as_str()).await {
            Ok(()) => response,
            Err(error) => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("it was answered {status}, but that could not be written to the audit: {error}"),
            ),
        }
    });
    match done.await {
        Ok(response) => until_ended(&access, &caller, response),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "the gateway stops"),
    }
}

/// Who asks: whoever came through the socket is known already.
fn caller(access: &Access, request: &Request) -> Result<Caller, Unproven> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        return Ok(caller.clone());
    }
    let address = request.extensions().get::<Peer>().ok_or(Unproven::Missing)?.address;
    access.bearer(shown(request.headers())?, address)
}

/// The token that a request shows.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, Unproven> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Unproven::Unknown)?;
    let (scheme, token) = value.split_once(' ').ok_or(Unproven::Unknown)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(Unproven::Missing) }
}

fn is_for_everybody(access: &Access, permit: &Permit, path: &str) -> bool {
    permit.role.is_none() || (path == permits::METRICS && access.settings().open_metrics)
}

/// Whether the caller may, or what it lacks.
fn may(caller: &Caller, permit: &Permit) -> Result<(), String> {
    let Some(role) = permit.role else { return Ok(()) };
    if caller.role < role {
        return Err(format!(
            "this needs the role {role}, and yours is {}; `weir-gateway token create --role {role}` makes a token, or run \
             the command on the gateway's machine",
            caller.role
        ));
    }
    match &caller.tenant {
        Some(tenant) if !permit.is_of_tenants => Err(format!(
            "this token is for the tenant {tenant} alone, and this is about all tenants; \
                         `weir-gateway token create --role {role}` makes one for all"
        )),
        _ => Ok(()),
    }
}

/// Whether the caller may read a topic: there is one that one role alone reads. A no is in the audit.
pub(super) fn may_read(access: &Access, caller: &Caller, topic: &str) -> bool {
    let may = topic != crate::access::audit::TOPIC || (caller.role == Role::Admin && caller.tenant.is_none());
    if !may {
        forbidden(access, caller);
    }
    may
}

fn forbidden(access: &Access, caller: &Caller) {
    access.audit().refused(Wanted::Http, &caller.who.to_string(), caller.address, "the role does not allow it");
}

fn unproven(access: &Access, request: &Request, why: Unproven) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.address);
    access.audit().refused(Wanted::Http, "", address, why.audited());
    let status = match why {
        Unproven::TooOften => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::UNAUTHORIZED,
    };
    let mut response = refused(status, &why.to_string());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

/// Ends an answer whose end nobody knows with what its caller showed.
fn until_ended(access: &Access, caller: &Caller, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    if body.size_hint().exact().is_some() {
        return Response::from_parts(parts, body);
    }
    let ended = Box::pin(access.ended(caller));
    let body = Body::from_stream(body.into_data_stream().take_until(ended));
    Response::from_parts(parts, body)
}
