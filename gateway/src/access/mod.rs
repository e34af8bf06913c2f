//! Who may do what: who a client is, and which topics it may use.

mod denied;
pub mod identity;

use std::net::IpAddr;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use weir_protocol::Tenant;

use crate::tls::PeerCertificate;

pub use denied::Denied;
pub use identity::{ClientId, Identity, Proof};

/// The door and its rules; cheap to clone.
#[derive(Clone)]
pub struct Access {
    random: Arc<dyn SecureRandom + Send + Sync>,
}

/// What a client says of itself in CONNECT, and what is known of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The client id; empty if one is to be chosen.
    pub client_id: &'a str,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// The certificate that TLS verified.
    pub certificate: Option<&'a PeerCertificate>,
    /// Where it comes from.
    pub address: IpAddr,
}

/// What a client wants with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To publish on this topic name.
    Publish,
    /// To get what is published on topics that match this filter.
    Subscribe,
}

/// Random bytes of a client id that the gateway chooses.
const CHOSEN_BYTES: usize = 10;

impl Access {
    /// A door that is open to everybody.
    pub fn open() -> Self {
        Self { random: Arc::new(SystemRandom::new()) }
    }

    /// Finds out who a client is. An empty client id gets one: the name of its certificate, else one chosen here.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Identity, Denied> {
        let (tenant, proof) = match attempt.certificate {
            Some(certificate) => (certificate.tenant, Proof::Certificate(certificate.serial.clone())),
            None => (Tenant::DEFAULT, Proof::Nothing),
        };
        let client = match (attempt.client_id, attempt.certificate) {
            ("", Some(certificate)) => ClientId::new(&certificate.name),
            ("", None) => ClientId::new(&self.choose()?),
            (id, Some(certificate)) if id != &*certificate.name => return Err(Denied::ClientId),
            (id, _) => ClientId::new(id),
        };
        Ok(Identity { tenant, client: client.map_err(|_| Denied::ClientId)?, proof })
    }

    /// Whether a client may do that. Cheap: it is asked for every message.
    pub fn may(&self, _identity: &Identity, _action: Action, _topic_or_filter: &str) -> bool {
        true
    }

    /// Resolves when this client has to be disconnected.
    pub fn revoked(&self, _identity: &Identity) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }

    fn choose(&self) -> Result<String, Denied> {
        let mut bytes = [0; CHOSEN_BYTES];
        self.random.fill(&mut bytes).map_err(|_| Denied::Busy)?;
        Ok(bytes.iter().fold("auto-".to_owned(), |text, byte| text + &format!("{byte:02x}")))
    }
}
