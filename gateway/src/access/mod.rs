//! Who may do what: who a client is, which topics it may use, and in which role people and programs act.
//!
//! What it guarantees: a client is who it proves to be ([`Access::authenticate`]), by a certificate of our own authority, by a
//! password ([`password`]), or by nothing where the door is open; what it may do follows from its name, its tenant and the
//! rules alone ([`acl`]), and with rules it may do nothing else. Whoever acts over HTTP or Kafka shows a token
//! ([`token`]) that has a role ([`role`]). What is revoked ends connections at once ([`Access::revoked`],
//! [`Access::ended`]). Every act over HTTP and the socket, and every refusal, is in the audit ([`audit`]). Nothing here waits for a disk but changes of
//! [`credentials`] and acts.
//!
//! | a client shows | its client id | it is |
//! |---|---|---|
//! | a certificate | the CN, or none | the CN, of the tenant in O |
//! | user name and password | one that its user may take, or none | that client, of the user's tenant |
//! | nothing, and the door is open | any, or none | that client, of the tenant `default` |

pub mod acl;
pub mod admin;
pub mod audit;
mod callers;
pub mod credentials;
mod denied;
pub mod identity;
pub mod password;
pub mod role;
#[cfg(test)]
mod tests;
pub mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use tokio::sync::watch;
use weir_protocol::Tenant;
use weir_protocol::time::{SystemClock, WallClock};

use crate::limits::{Limits, LimitsOptions};
use crate::tls::{PeerCertificate, Revocations};
use acl::Rules;
use audit::{Audit, Wanted};
use credentials::Credentials;
use password::Verifier;

pub use callers::{EnrolError, Unproven};
pub use denied::Denied;
pub use identity::{ClientId, Identity, Proof};
pub use role::{Caller, Role, Who};

/// The door and its rules; cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    settings: watch::Sender<Arc<Settings>>,
    credentials: Credentials,
    revocations: Revocations,
    verifier: Verifier,
    audit: Audit,
    limits: Limits,
    clock: Arc<dyn WallClock>,
    random: SystemRandom,
}

/// What a person may set of it, and change while the gateway runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may come to the MQTT ports.
    pub mqtt: Door,
    /// Who may come to the HTTP port.
    pub http: Door,
    /// Who may come to the Kafka port.
    pub kafka: Door,
    /// Whether metrics are shown to everybody.
    pub open_metrics: bool,
    /// Which topics clients may use.
    pub rules: Rules,
}

/// Who may come to a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// Everybody.
    #[default]
    Open,
    /// Who proves who it is.
    Required,
}

impl Settings {
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self { mqtt: Door::Open, http: Door::Open, kafka: Door::Open, open_metrics: true, rules: Rules::open() }
    }
}

/// What [`Access`] is made of.
pub struct Parts {
    /// Passwords and tokens.
    pub credentials: Credentials,
    /// Certificates that are good no more.
    pub revocations: Revocations,
    /// Where acts and refusals are written.
    pub audit: Audit,
    /// How often somebody may come.
    pub limits: Limits,
    /// Tells when tokens end.
    pub clock: Arc<dyn WallClock>,
    /// Logins that may wait for their password to be checked.
    pub most_waiting: usize,
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
/// Why a rule says no, in the audit.
const NO_RULE: &str = "no rule allows it";

impl Access {
    /// A door that is open to everybody, with nothing behind it: no credentials, no audit, no limits.
    pub fn open() -> Self {
        let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
        let parts = Parts {
            credentials: Credentials::none(),
            revocations: Revocations::default(),
            audit: Audit::none(Arc::clone(&clock)),
            limits: Limits::new(LimitsOptions::NONE),
            clock,
            most_waiting: 1,
        };
        Self::new(parts, Settings::open())
    }

    /// The door as the settings have it.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let random = SystemRandom::new();
        let Parts { credentials, revocations, audit, limits, clock, most_waiting } = parts;
        let verifier = Verifier::new(most_waiting, &random);
        let settings = watch::Sender::new(Arc::new(settings));
        let inner = Inner { settings, credentials, revocations, verifier, audit, limits, clock, random };
        Self { inner: Arc::new(inner) }
    }

    /// The settings change: they hold from now on, also for connections that are there.
    pub fn reload(&self, settings: Settings) {
        self.inner.settings.send_replace(Arc::new(settings));
    }

    /// The settings of now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.inner.settings.borrow())
    }

    /// Passwords and tokens.
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// Where acts and refusals are written.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// How often somebody may come, and how much it may send.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Logins that wait for their password to be checked.
    pub fn waiting(&self) -> usize {
        self.inner.verifier.waiting()
    }

    /// Finds out who a client is. An empty client id gets one: the name of its certificate or user, else one chosen here.
    ///
    /// # Errors
    /// [`Denied`], which is in the audit then.
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Identity, Denied> {
        let found = self.identify(&attempt).await;
        if let Err(denied) = &found {
            if *denied == Denied::Credentials {
                self.inner.limits.failed_login(attempt.address, Instant::now());
            }
            self.inner.audit.refused(Wanted::Connect, named(&attempt), Some(attempt.address), denied.why());
        }
        found
    }

    async fn identify(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        if let Some(certificate) = attempt.certificate {
            if self.inner.revocations.contains(certificate.id) {
                return Err(Denied::Revoked);
            }
            let is_its_own = attempt.client_id.is_empty() || attempt.client_id == &*certificate.name;
            let client = ClientId::new(&certificate.name).ok().filter(|_| is_its_own).ok_or(Denied::ClientId)?;
            let proof = Proof::Certificate(certificate.id);
            return Ok(Identity { tenant: certificate.tenant, client, proof });
        }
        if let (Some(username), Some(password)) = (attempt.username, attempt.password)
            && (self.settings().mqtt == Door::Required || self.inner.credentials.table().users().contains_key(username))
        {
            return self.of_user(attempt, username, password).await;
        }
        if self.settings().mqtt == Door::Required {
            return Err(Denied::NothingProven);
        }
        let chosen = match attempt.client_id {
            "" => self.choose()?,
            id => id.to_owned(),
        };
        let client = ClientId::new(&chosen).map_err(|_| Denied::ClientId)?;
        Ok(Identity { tenant: Tenant::DEFAULT, client, proof: Proof::Nothing })
    }

    async fn of_user(&self, attempt: &Attempt<'_>, username: &str, password: &[u8]) -> Result<Identity, Denied> {
        self.inner.limits.logins(attempt.address, Instant::now()).map_err(|_| Denied::TooOften)?;
        let user: Arc<str> = username.into();
        let record = self.inner.credentials.table().users().get(&user).cloned();
        let known = record.as_ref().map(|record| (record.version, &record.password));
        self.inner.verifier.verify(&user, known, password, attempt.address).await?;
        // Only of a known user is a password right.
        let record = record.ok_or(Denied::Credentials)?;
        let may_take = |id: &str| match &record.clients {
            Some(pattern) => pattern.matches(id),
            None => id == username,
        };
        let chosen = match attempt.client_id {
            "" if may_take(username) => username.to_owned(),
            "" => self.choose()?,
            id => id.to_owned(),
        };
        let client = ClientId::new(&chosen).ok().filter(|id| may_take(id.as_str())).ok_or(Denied::ClientId)?;
        Ok(Identity { tenant: record.tenant, client, proof: Proof::Password { user, version: record.version } })
    }

    /// Whether a client may do that with a topic name or a topic filter. Cheap: it is asked for every message. A no is in the
    /// audit.
    pub fn may(&self, identity: &Identity, action: Action, topic_or_filter: &str) -> bool {
        let settings = self.inner.settings.borrow();
        let verdict = settings.rules.verdict(identity.tenant, &identity.client, action, topic_or_filter);
        if verdict.is_allowed() {
            return true;
        }
        let refused = match action {
            Action::Publish => Wanted::Publish,
            Action::Subscribe => Wanted::Subscribe,
        };
        self.inner.audit.refused(refused, identity.client.as_str(), None, NO_RULE);
        false
    }

    /// Resolves when this client has to be disconnected: what it proved itself with was revoked or replaced, the door was
    /// shut, or the rules gave it more than they give now.
    pub fn revoked(&self, identity: &Identity) -> impl Future<Output = ()> + Send + 'static {
        let (inner, identity) = (Arc::clone(&self.inner), identity.clone());
        let before = self.settings();
        async move {
            let mut settings = inner.settings.subscribe();
            let mut credentials = inner.credentials.changed();
            let revocations = inner.revocations.clone();
            let shown = match &identity.proof {
                Proof::Certificate(shown) => Some(*shown),
                _ => None,
            };
            let of_certificate = async {
                match shown {
                    Some(shown) => revocations.revoked(shown).await,
                    None => std::future::pending().await,
                }
            };
            let mut of_certificate = std::pin::pin!(of_certificate);
            loop {
                let now = Arc::clone(&settings.borrow_and_update());
                if !inner.stands(&identity, &before, &now) {
                    return;
                }
                tokio::select! {
                    () = &mut of_certificate => return,
                    changed = settings.changed() => if changed.is_err() { return },
                    changed = credentials.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    fn choose(&self) -> Result<String, Denied> {
        let mut bytes = [0; CHOSEN_BYTES];
        self.inner.random.fill(&mut bytes).map_err(|_| Denied::Busy)?;
        Ok(bytes.iter().fold("auto-".to_owned(), |text, byte| text + &format!("{byte:02x}")))
    }
}

impl Inner {
    /// Whether a client that was let in under `before` would be let in now, and may do what it might.
    fn stands(&self, identity: &Identity, before: &Settings, now: &Settings) -> bool {
        let is_proven = match &identity.proof {
            Proof::Nothing => now.mqtt == Door::Open,
            Proof::Certificate(_) => true,
            Proof::Password { user, version } => {
                self.credentials.table().users().get(user).is_some_and(|user| user.version == *version)
            }
        };
        is_proven && before.rules.is_kept_by(&now.rules, identity.tenant, &identity.client)
    }
}

/// Whom a refusal is about, as it said.
fn named<'a>(attempt: &Attempt<'a>) -> &'a str {
    match (attempt.certificate, attempt.username, attempt.client_id) {
        (Some(certificate), _, _) => &certificate.name,
        (_, Some(user), "") => user,
        (_, _, id) => id,
    }
}
