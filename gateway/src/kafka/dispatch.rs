//! From the bytes of a request to those of its response.
//!
//! An API or a version that is not advertised has no response that its client could read, so its connection ends; but for
//! ApiVersions, which is how clients find out: there the answer is version 0 with error 35, and the client asks again.
//! With users, whoever asks for more than it takes to authenticate is closed before it has ([`Session::admits`]).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::auth::{Denied, Session, Tokens, Users};
use super::handlers::{self, groups};
use super::memory::Lease;
use super::messages::header::encode_response;
use super::messages::{ApiKey, ErrorCode, Request, RequestHeader, Supported, api_versions};
use super::permits;
use super::refusal::Refusal;
use super::wire::{Input, Output};
use super::{Kafka, acts, fetch};
use crate::access::audit::Wanted;
use crate::access::{Caller, Who};
use crate::groups::coordinator;

/// What is known of the client of a connection.
pub(super) struct Client {
    /// Its name for itself and its address, for those who look at groups.
    named: coordinator::Client,
    session: Session,
    /// After a handshake of version 0 messages of the mechanism come bare, without a header.
    is_bare: bool,
}

impl Client {
    /// A client at `address` that has said nothing yet.
    pub(super) fn new(kafka: &Kafka, address: IpAddr) -> Self {
        let named = coordinator::Client { id: "".into(), host: format!("/{address}").into() };
        let users = kafka.users.borrow().clone();
        let is_tls = kafka.acceptor.is_tls();
        let tokens = kafka.access.clone().map(|access| Tokens::new(access, address, is_tls));
        Self { named, session: Session::new(users).with_tokens(tokens), is_bare: false }
    }

    /// Resolves when it would not be let in any more.
    pub(super) fn shut_out(&self, kafka: &Kafka) -> impl Future<Output = ()> + Send + 'static {
        let (mut users, before) = (kafka.users.subscribe(), self.session.users().cloned());
        let name = self.session.user().map(str::to_owned);
        let ended = kafka.access.as_ref().zip(self.session.caller()).map(|(access, caller)| access.ended(caller));
        async move {
            if let Some(ended) = ended {
                return ended.await;
            }
            let stands = move |now: &Option<Users>| match (now, &before, &name) {
                (None, _, _) => true,
                (Some(now), Some(before), Some(name)) => now.agree(before, name),
                _ => false,
            };
            if users.wait_for(|now| !stands(now)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether it has authenticated, or need not.
    pub(super) fn may_ask(&self) -> bool {
        self.session.is_open()
    }

    /// Who acts, for the audit.
    pub(super) fn caller(&self) -> Caller {
        let user = self.session.user().map_or(Who::Anybody, |user| Who::User(user.into()));
        let address = self.address();
        let of_user = || Caller { who: user, role: self.session.role(), tenant: None, address };
        self.session.caller().cloned().unwrap_or_else(of_user)
    }

    fn address(&self) -> Option<IpAddr> {
        self.named.host.strip_prefix('/')?.parse().ok()
    }

    fn name(&mut self, id: Option<String>) {
        let id = id.unwrap_or_default();
        if *self.named.id != *id {
            self.named.id = Arc::from(id);
        }
    }
}

/// A response.
pub(super) struct Answer {
    pub(super) pieces: Vec<Bytes>,
    /// The room that its records take until it is sent.
    pub(super) lease: Option<Lease>,
    /// Why the connection ends behind it.
    pub(super) last: Option<Closing>,
}

/// Why a connection ends, and details for the log.
pub(super) type Closing = (Refusal, String);

fn denied(why: Denied) -> Closing {
    (Refusal::Unauthenticated, why.to_string())
}

/// Answers a request, or says why the connection ends.
pub(super) async fn answer(
    kafka: &Kafka,
    client: &mut Client,
    frame: &[u8],
    stop: &watch::Receiver<bool>,
) -> Result<Answer, Closing> {
    if client.is_bare {
        let step = client.session.authenticate(frame).await;
        client.is_bare = client.session.user().is_none();
        let answer = Answer { pieces: vec![step.response.auth_bytes], lease: None, last: None };
        return step.denied.map_or(Ok(answer), |why| Err(denied(why)));
    }
    let malformed = |error| (Refusal::Malformed, format!("{error}"));
    let mut input = Input::new(frame);
    let header = RequestHeader::decode(&mut input).map_err(malformed)?;
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let mut out = Output::new();
    let Some(api) = header.supported() else {
        if header.api_key != ApiKey::ApiVersions.number() {
            return Err((Refusal::Unsupported, format!("API {} version {version}", header.api_key)));
        }
        kafka.counters.requested(ApiKey::ApiVersions);
        let error = kafka.counters.failed(ErrorCode::UnsupportedVersion);
        encode_response(&mut out, &api_versions::API, 0, correlation_id);
        api_versions::Response { error }.encode(&mut out, 0);
        return Ok(Answer { pieces: out.finish(), lease: None, last: None });
    };
    kafka.counters.requested(api.key);
    if !client.session.admits(api.key) {
        return Err((Refusal::Unauthenticated, format!("{:?} without authentication", api.key)));
    }
    let request = Request::decode(api.key, &mut input, version).map_err(malformed)?;
    if client.session.role() < permits::role(api.key) {
        return Ok(forbidden(kafka, client, &request, api, version, correlation_id));
    }
    if matches!(&request, Request::Produce(produce) if produce.acks == 0) {
        return Err((Refusal::Unsupported, "Produce without an answer".to_owned()));
    }
    client.name(header.client_id);
    encode_response(&mut out, api, version, correlation_id);
    let (lease, last) = respond(kafka, client, request, version, &mut out, stop).await;
    Ok(Answer { pieces: out.finish(), lease, last })
}

/// The answer to a request that the role does not allow.
fn forbidden(
    kafka: &Kafka,
    client: &Client,
    request: &Request,
    api: &Supported,
    version: i16,
    correlation_id: i32,
) -> Answer {
    let error = kafka.counters.failed(ErrorCode::GroupAuthorizationFailed);
    if let Some(access) = &kafka.access {
        let who = client.session.caller().map_or_else(
            || client.session.user().unwrap_or_default().to_owned(),
            // Every token comes as the same user.
            |caller| caller.who.to_string(),
        );
        access.audit().refused(Wanted::Kafka, &who, client.address(), "the role does not allow it");
    }
    let mut out = Output::new();
    encode_response(&mut out, api, version, correlation_id);
    permits::refuse(request, error, &mut out, version);
    Answer { pieces: out.finish(), lease: None, last: None }
}

/// Writes the response; the room that it takes, and why the connection ends behind it.
async fn respond(
    kafka: &Kafka,
    client: &mut Client,
    request: Request,
    version: i16,
    out: &mut Output,
    stop: &watch::Receiver<bool>,
) -> (Option<Lease>, Option<Closing>) {
    let coordinator = &kafka.groups;
    match request {
        Request::ApiVersions(_) => api_versions::Response { error: ErrorCode::None }.encode(out, version),
        Request::SaslHandshake(request) => {
            let response = client.session.handshake(&request.mechanism);
            client.is_bare = version == 0 && response.error.is_none();
            kafka.counters.failed(response.error);
            response.encode(out, version);
        }
        Request::SaslAuthenticate(request) => {
            let step = client.session.authenticate(&request.auth_bytes).await;
            kafka.counters.failed(step.response.error);
            step.response.encode(out, version);
            return (None, step.denied.map(denied));
        }
        Request::Produce(request) => handlers::produce::answer(kafka, request).encode(out, version),
        Request::Metadata(request) => handlers::metadata::answer(kafka, request).encode(out, version),
        Request::ListOffsets(request) => handlers::list_offsets::answer(kafka, request).await.encode(out, version),
        Request::Fetch(request) => {
            let (response, lease) = fetch::answer(kafka, request, stop).await;
            response.encode(out, version);
            return (lease, None);
        }
        Request::DescribeConfigs(request) => handlers::describe_configs::answer(kafka, request).encode(out, version),
        Request::DescribeCluster(request) => handlers::describe_cluster::answer(kafka, request).encode(out, version),
        Request::FindCoordinator(request) => handlers::find_coordinator::answer(kafka, request).encode(out, version),
        Request::JoinGroup(request) => {
            groups::join_group(coordinator, &client.named, request, version).await.encode(out, version);
        }
        Request::SyncGroup(request) => groups::sync_group(coordinator, request).await.encode(out, version),
        Request::Heartbeat(request) => groups::heartbeat(coordinator, &request).encode(out, version),
        Request::LeaveGroup(request) => groups::leave_group(coordinator, request).encode(out, version),
        Request::OffsetCommit(request) => groups::offset_commit(coordinator, request).await.encode(out, version),
        Request::OffsetFetch(request) => groups::offset_fetch(coordinator, request).encode(out, version),
        Request::OffsetDelete(request) => acts::offset_delete(kafka, client, request).await.encode(out, version),
        Request::ListGroups(request) => groups::list_groups(coordinator, &request).encode(out, version),
        Request::DescribeGroups(request) => groups::describe_groups(coordinator, request).encode(out, version),
        Request::DeleteGroups(request) => acts::delete_groups(kafka, client, request).await.encode(out, version),
    }
    (None, None)
}
