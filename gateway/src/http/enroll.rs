//! How a device gets its certificate: `POST /enroll` with a token, and `POST /renew` with the certificate that it has.
//!
//! What it guarantees: the key never leaves the device, which sends a request (PKCS #10, PEM) and gets the certificate with
//! the authority's behind it; a token is used up, durably, before the certificate is made, and a request that cannot be
//! certified costs no token; a certificate is renewed for whom it names and nobody else, if it is of this authority, and not
//! before half of its life, so that what a stolen one can do is bounded; nothing of this is answered over a connection that
//! others can read along. Who gets a certificate is in the audit before it is made and with the result before it is answered,
//! and so is who is refused. Bodies are bounded, and so are certificates that are signed at a time.
//!
//! | answer | to |
//! |---|---|
//! | 201, the chain in PEM form | what was certified |
//! | 400 | no certificate request, a bad one, a name that is none |
//! | 401 | no token, an unknown one; a renewal without a certificate |
//! | 403 | a token that has ended, was used, or is for others; plain HTTP from another machine; a certificate of others |
//! | 429 | too many tries; a certificate that is young yet |
//! | 503 | no authority, no room; nothing was issued |

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use tokio::sync::Semaphore;
use weir_protocol::time::WallClock;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::posted::{self, Unread};
use super::routes::Refused;
use super::serve::Peer;
use crate::access::audit::{Actor, NotWritten, Wanted};
use crate::access::{Access, ClientId, EnrolError, Who};
use crate::ca::request::{BadRequest, Request};
use crate::ca::{Ca, CaError, Certificate, Owner};

/// Certificates that are signed and written at a time; the rest wait their turn.
const AT_A_TIME: usize = 4;
/// What the chain is (RFC 8555, section 9.1).
const CHAIN: &str = "application/pem-certificate-chain";

/// What certifies devices.
#[derive(Clone)]
pub struct Enrolment {
    /// The authority.
    pub ca: Ca,
    /// Who may be certified.
    pub access: Access,
    /// How long a certificate is good.
    pub lifetime: Duration,
    /// Tells how old one is.
    pub clock: Arc<dyn WallClock>,
}

/// The paths of enrolment.
pub fn router<S: Clone + Send + Sync + 'static>(enrolment: Enrolment) -> Router<S> {
    let desk = Desk { enrolment, turns: Arc::new(Semaphore::new(AT_A_TIME)) };
    Router::new().route("/enroll", post(enroll)).route("/renew", post(renew)).with_state(desk)
}

#[derive(Clone)]
struct Desk {
    enrolment: Enrolment,
    turns: Arc<Semaphore>,
}

/// For whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrollQuery {
    name: Option<String>,
}

async fn enroll(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<EnrollQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    desk.private(&peer, Wanted::Enrol)?;
    let Query(query) = query.map_err(|error| Refused::bad(format!("{error}; use name=")))?;
    let token = bearer(&headers).inspect_err(|_| desk.refused(Wanted::Enrol, "", &peer, "no token"))?.to_owned();
    let request = request(body).await?;
    let asked = query.name.or_else(|| request.name().map(str::to_owned)).unwrap_or_default();
    let name = ClientId::new(&asked)
        .map_err(|error| Refused::bad(format!("name {asked:?}: {error}; give ?name=NAME, or -subj /CN=NAME")))?;
    desk.there()?;
    let enrolled = desk.enrolment.access.enrol(&token, name.as_str(), peer.address).await.map_err(not_enrolled)?;
    let owner = Owner { tenant: enrolled.tenant, name };
    let actor = Actor::device(Who::Token(enrolled.token).to_string(), peer.address);
    desk.certify("POST /enroll", actor, request, owner, None).await
}

async fn renew(State(desk): State<Desk>, Extension(peer): Extension<Peer>, body: Body) -> Result<Response, Refused> {
    desk.private(&peer, Wanted::Renew)?;
    let shown = peer.certificate.as_ref().ok_or_else(|| {
        desk.refused(Wanted::Renew, "", &peer, "no certificate");
        Refused::new(
            StatusCode::UNAUTHORIZED,
            "a renewal needs the present certificate: use https and `curl --cert device.pem --key device.key`, or \
             enrol again with a token",
        )
    })?;
    let request = request(body).await?;
    desk.there()?;
    let name = ClientId::new(&shown.name).map_err(|error| Refused::bad(error.to_string()))?;
    let owner = Owner { tenant: shown.tenant, name };
    let ca = desk.enrolment.ca.clone();
    let (serial, of) = (Arc::clone(&shown.serial), owner.clone());
    let known = tokio::task::spawn_blocking(move || ca.is_of(&serial, &of)).await;
    if !known.map_err(|_| stopping())?.map_err(not_issued)? {
        desk.refused(Wanted::Renew, &shown.name, &peer, "a certificate of others, or revoked");
        return Err(not_issued(CaError::NotOurs));
    }
    desk.is_old_enough(&shown.der)?;
    let actor = Actor::device(format!("client:{}/{}", owner.tenant, owner.name), peer.address);
    desk.certify("POST /renew", actor, request, owner, Some(Arc::clone(&shown.serial))).await
}

impl Desk {
    fn there(&self) -> Result<(), Refused> {
        let paths = self.enrolment.ca.paths();
        if paths.certificate.exists() { Ok(()) } else { Err(not_issued(CaError::Missing(paths.dir.clone()))) }
    }

    /// From half of its life on; a client whose clock jumps does not fill the register.
    fn is_old_enough(&self, der: &[u8]) -> Result<(), Refused> {
        let der = CertificateDer::from(der);
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| Refused::bad("the certificate"))?;
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let half = from.saturating_add(to.saturating_sub(from) / 2);
        let wait = half.saturating_sub(self.enrolment.clock.now().0.div_euclid(1_000_000));
        if wait <= 0 {
            return Ok(());
        }
        let why = format!("the certificate is good for long yet: renew it in {wait} s, at half of its life, or later");
        Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, why))
    }

    /// Tokens are worth stealing.
    fn private(&self, peer: &Peer, wanted: Wanted) -> Result<(), Refused> {
        if peer.is_tls || peer.address.to_canonical().is_loopback() {
            return Ok(());
        }
        self.refused(wanted, "", peer, "a connection without TLS");
        let why = "over https alone: set http.tls = true in the settings of the gateway";
        Err(Refused::new(StatusCode::FORBIDDEN, why))
    }

    fn refused(&self, wanted: Wanted, who: &str, peer: &Peer, why: &'static str) {
        self.enrolment.access.audit().refused(wanted, who, Some(peer.address), why);
    }

    /// Certifies the key of a request, which is an act; `renewed` is the number of the certificate in whose place it comes.
    async fn certify(
        &self,
        name: &str,
        actor: Actor,
        request: Request,
        owner: Owner,
        renewed: Option<Arc<[u8]>>,
    ) -> Result<Response, Refused> {
        let access = &self.enrolment.access;
        let not_written = |error: NotWritten| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        let id = access
            .new_id()
            .ok_or_else(|| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no randomness from the system"))?;
        let target = format!("{}/{}", owner.tenant, owner.name);
        let act = access.audit().begin(actor, name, &id, &target).await.map_err(not_written)?;
        let issued = self.issue(request, owner, renewed).await;
        let (act, status) = match &issued {
            Ok(Certificate { serial, .. }) => (act.with_detail(&format!("serial {serial}")), StatusCode::CREATED),
            Err(refused) => (act, refused.status()),
        };
        tracing::info!(owner = target, %status, "{name}");
        act.end(issued.is_ok(), status.as_str()).await.map_err(not_written)?;
        Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, CHAIN)], issued?.chain).into_response())
    }

    async fn issue(&self, request: Request, owner: Owner, renewed: Option<Arc<[u8]>>) -> Result<Certificate, Refused> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| stopping())?;
        let Enrolment { ca, lifetime, .. } = self.enrolment.clone();
        let issue = move || {
            let issued = match renewed {
                Some(serial) => ca.renew(&serial, &request, &owner, lifetime),
                None => ca.issue(&request, &owner, lifetime),
            };
            drop(turn);
            issued
        };
        let issued = tokio::task::spawn_blocking(issue).await.map_err(|_| stopping())?;
        issued.map_err(not_issued)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown.and_then(|shown| shown.strip_prefix("Bearer ")).map(str::trim).ok_or_else(|| {
        Refused::new(
            StatusCode::UNAUTHORIZED,
            "no token: send `Authorization: Bearer TOKEN`; `weir-gateway token create --enroll NAME` makes one",
        )
    })
}

async fn request(body: Body) -> Result<Request, Refused> {
    let body = posted::read(body).await.map_err(|unread| match unread {
        Unread::TooLarge => Refused::bad(BadRequest::TooLarge(posted::MAX_BODY).to_string()),
        Unread::TooSlow => Refused::bad("the certificate request did not come within 10 seconds"),
    })?;
    Request::parse(&body).map_err(|error| Refused::bad(error.to_string()))
}

fn not_enrolled(error: EnrolError) -> Refused {
    let status = match error {
        EnrolError::Unknown => StatusCode::UNAUTHORIZED,
        EnrolError::TooOften => StatusCode::TOO_MANY_REQUESTS,
        EnrolError::NotWritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        EnrolError::Expired | EnrolError::Used | EnrolError::NotForEnrolment | EnrolError::WrongName { .. } => {
            StatusCode::FORBIDDEN
        }
    };
    Refused::new(status, error.to_string())
}

fn not_issued(error: CaError) -> Refused {
    if let CaError::NotOurs = error {
        return Refused::new(StatusCode::FORBIDDEN, error.to_string());
    }
    tracing::error!(%error, "no certificate was issued");
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn stopping() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping")
}
