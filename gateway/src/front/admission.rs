//! Who may have a session: what a CONNECT says is checked in this order, and the first thing that is wrong is answered: the
//! method of authentication, how often the address comes, who it is, how often that client comes, its will, and whether there
//! is room.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::destination::{Destination, Destinations, MAX_STATUS};
use super::refusal::Refusal;
use super::{Front, Intake};
use crate::access::{Attempt, Identity};
use crate::mqtt::packet::{Connect, Version, Will};
use crate::sessions::{Attached, End, Key};
use crate::tls::PeerCertificate;

/// How long the place of a client's own old session is waited for.
const OWN_PLACE: Duration = Duration::from_secs(2);

/// Where a client comes from.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The certificate that TLS verified.
    pub certificate: Option<PeerCertificate>,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, certificate: None }
    }
}

/// A client that may have a session.
pub(super) struct Admitted<'f> {
    pub(super) identity: Identity,
    pub(super) destinations: Destinations,
    pub(super) attached: Attached,
    pub(super) seat: SemaphorePermit<'f>,
}

/// Finds out who a client is.
pub(super) async fn identify<I: Intake>(front: &Front<I>, peer: &Peer, connect: &Connect) -> Result<Identity, Refusal> {
    if connect.authentication_method.is_some() {
        return Err(Refusal::AuthMethod);
    }
    front.limits.address(peer.address, Instant::now()).map_err(|_| Refusal::TooOften)?;
    let attempt = Attempt {
        client_id: &connect.client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        certificate: peer.certificate.as_ref(),
        address: peer.address,
    };
    let identity = front.access.authenticate(attempt).await?;
    front.limits.connect(&identity, Instant::now()).map_err(|_| Refusal::TooOften)?;
    Ok(identity)
}

/// Finds a client that is known a place among the sessions.
pub(super) async fn admit<'f, I: Intake>(
    front: &'f Front<I>,
    identity: Identity,
    version: Version,
    connect: &Connect,
) -> Result<Admitted<'f>, Refusal> {
    let destinations = front.destinations(&identity);
    if let Some(will) = &connect.will {
        check_will(&destinations, will)?;
    }
    let seat = front.seats.try_acquire().ok();
    // The place of its own old connection, which may be dead and not know it, is its own.
    if seat.is_none() && !front.sessions.is_connected(&Key::from(&identity)) {
        return Err(Refusal::Busy);
    }
    let attached = front.sessions.attach(&identity, version, connect).await?;
    let seat = match seat {
        Some(seat) => Some(seat),
        None => timeout(OWN_PLACE, front.seats.acquire()).await.ok().and_then(Result::ok),
    };
    match seat {
        Some(seat) => Ok(Admitted { identity, destinations, attached, seat }),
        None => {
            attached.session.detach(End::default());
            Err(Refusal::Busy)
        }
    }
}

/// A will is what a client might publish: there is somebody to keep it, and the client may.
fn check_will(destinations: &Destinations, will: &Will) -> Result<(), Refusal> {
    destinations.check_length(&will.topic).map_err(|_| Refusal::Will)?;
    match destinations.find(&will.topic, &will.properties) {
        Ok(Destination::Status) if will.payload.len() > MAX_STATUS => Err(Refusal::Will),
        Ok(Destination::Status | Destination::Store) => Ok(()),
        Err(Refusal::NotAuthorized) => Err(Refusal::NotAuthorized),
        // Nobody waits for a batch of the dead.
        Ok(Destination::Batch | Destination::Describe | Destination::Order | Destination::Decided) | Err(_) => {
            Err(Refusal::Will)
        }
    }
}
