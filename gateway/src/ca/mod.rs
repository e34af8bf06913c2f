//! The gateway's own authority: it says who a client is.
//!
//! What it guarantees:
//! - a certificate names whom the gateway says, for what the gateway says, for as long as it says; of a request nothing
//!   is taken but its public key, which has to be a good one and the sender's own ([`request`]);
//! - a certificate is in the register, durably, before anybody gets it, so that it can be revoked ([`register`]);
//! - a revocation is durable in the register first and then in the list that TLS reads, which is made from the register:
//!   a list that is lost or old is made anew;
//! - commands beside a running gateway and the gateway itself take turns, by a lock on the directory.
//!
//! Format: PEM files in `<data>/ca`, which every tool reads. Keys have mode 0600.

mod files;
pub mod register;
pub mod request;
mod signing;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyPair};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use weir_protocol::Tenant;
use weir_protocol::time::WallClock;

use crate::access::ClientId;
use crate::tls::Serial;
use files::Locked;
use register::{Issued, Register, RegisterError};
use request::{BadRequest, Request};
use signing::Authority;

pub use files::Paths;
pub use upkeep::keep;

/// Digits of its serial number in the name of an authority that was given none.
const NAMED_BY: usize = 8;
/// How long the authority lives.
const AUTHORITY: Duration = Duration::from_secs(3653 * 86_400);
/// How long a certificate of the gateway itself lives.
const SERVER: Duration = Duration::from_secs(365 * 86_400);
/// How long a list of revoked certificates says it is good for.
const CRL: Duration = Duration::from_secs(30 * 86_400);

/// Why the authority did not do something.
#[derive(Debug, Error)]
pub enum CaError {
    /// There is none.
    #[error("there is no authority in {}: make one with `weir-gateway ca init`", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("{} is there already: clients trust it. To begin anew, stop the gateway and move {} away", .0.display(), dir(.0))]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its register cannot be read.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The request is not taken.
    #[error(transparent)]
    Request(#[from] BadRequest),
    /// Something with the signature; what the library said.
    #[error("the authority cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
    /// No randomness.
    #[error("no randomness from the system")]
    Random,
    /// A certificate that is to be renewed is of others, or was revoked.
    #[error("the certificate is none that this gateway's authority gave out, or revoked; enrol with a token")]
    NotOurs,
    /// No certificate goes by that name or number.
    #[error("no certificate that is still good goes by {0:?}; `weir-gateway ca show` lists them")]
    Unknown(String),
}

fn dir(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name there.
    pub name: ClientId,
}

/// A certificate as it is handed out.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its number.
    pub serial: Serial,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// The certificate, and behind it the authority's.
    pub chain: String,
}

/// The authority in a data directory; cheap to clone. There may be none yet.
#[derive(Clone)]
pub struct Ca {
    paths: Paths,
    clock: Arc<dyn WallClock>,
    /// What was read of the register so far.
    register: Arc<Mutex<Register>>,
}

impl Ca {
    /// That of the data directory `data`. Touches nothing.
    pub fn new(data: &Path, clock: Arc<dyn WallClock>) -> Self {
        let paths = Paths::in_data(data);
        let register = Arc::new(Mutex::new(Register::new(&paths.register)));
        Self { paths, clock, register }
    }

    /// Its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Makes the authority, called `name`, with an empty list of what it revoked. Without a name it is called by the
    /// beginning of its serial number, as in `Weir CA 5f0a12bc`: who trusts several authorities looks for theirs by name.
    ///
    /// # Errors
    /// [`CaError::Exists`] if there is one; otherwise what went wrong.
    pub fn init(&self, name: Option<&str>) -> Result<(), CaError> {
        let lock = Locked::create(&self.paths)?;
        if self.paths.certificate.exists() {
            return Err(CaError::Exists(self.paths.certificate.clone()));
        }
        let serial = random_serial()?;
        let own = || format!("Weir CA {}", serial.to_string().chars().take(NAMED_BY).collect::<String>());
        let name = name.map_or_else(own, str::to_owned);
        let authority = signing::Made::authority(&name, &serial, self.now(), AUTHORITY)?;
        lock.write_key(&self.paths.key, &authority.key)?;
        // The certificate last: with it there is an authority.
        lock.append(&self.paths.register, b"")?;
        lock.write(&self.paths.certificate, authority.certificate.as_bytes())?;
        self.write_crl(&lock, &mut self.register())
    }

    /// Gives the gateway itself a certificate for `names`, which are those that clients know it by.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn serve_as(&self, names: &[String]) -> Result<(), CaError> {
        let lock = Locked::open(&self.paths)?;
        let key = KeyPair::generate()?;
        let mut wanted = signing::Wanted::new(names.first().map_or("weir-gateway", String::as_str), None);
        wanted.params.subject_alt_names = rcgen::CertificateParams::new(names)?.subject_alt_names;
        wanted.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let authority = Authority::read(&self.paths)?;
        let signed = authority.sign(wanted, &key, random_serial()?, self.now(), SERVER)?;
        // Readers take the two once they belong together.
        lock.write_key(&self.paths.server_key, &key.serialize_pem())?;
        lock.write(&self.paths.server_certificate, signed.chain.as_bytes())
    }

    /// Gives `owner` a certificate for the key of `request`, good for `lifetime`.
    ///
    /// # Errors
    /// [`CaError`]; nobody has a certificate then.
    pub fn issue(&self, request: &Request, owner: &Owner, lifetime: Duration) -> Result<Certificate, CaError> {
        let lock = Locked::open(&self.paths)?;
        self.issue_with(&lock, &mut self.register(), request, owner, lifetime)
    }

    /// Gives `owner` another certificate if the one with `serial` is its own, given out here, not over and not revoked: nobody
    /// revokes it in between.
    ///
    /// # Errors
    /// [`CaError::NotOurs`]; otherwise as [`Ca::issue`].
    pub fn renew(
        &self,
        serial: &[u8],
        request: &Request,
        owner: &Owner,
        lifetime: Duration,
    ) -> Result<Certificate, CaError> {
        let lock = Locked::open(&self.paths)?;
        let mut register = self.register();
        register.read_on(self.now())?;
        if !register.is_of(serial, owner) {
            return Err(CaError::NotOurs);
        }
        self.issue_with(&lock, &mut register, request, owner, lifetime)
    }

    fn issue_with(
        &self,
        lock: &Locked,
        register: &mut Register,
        request: &Request,
        owner: &Owner,
        lifetime: Duration,
    ) -> Result<Certificate, CaError> {
        let mut wanted = signing::Wanted::new(owner.name.as_str(), Some(owner.tenant));
        wanted.params.is_ca = IsCa::ExplicitNoCa;
        wanted.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let authority = Authority::read(&self.paths)?;
        let signed = authority.sign(wanted, request.key(), random_serial()?, self.now(), lifetime)?;
        let issued = Issued::of(owner, &signed);
        register.read_on(self.now())?;
        register.issue(lock, issued)?;
        Ok(signed)
    }

    /// What is good still: not over, and not revoked unless `all` are asked for.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn issued(&self) -> Result<Vec<Issued>, CaError> {
        let _lock = Locked::open(&self.paths)?;
        let mut register = self.register();
        register.read_on(self.now())?;
        Ok(register.all().cloned().collect())
    }

    /// Whether the certificate with this number is `owner`'s, given out here, not over and not revoked.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn is_of(&self, serial: &[u8], owner: &Owner) -> Result<bool, CaError> {
        let _lock = Locked::open(&self.paths)?;
        let mut register = self.register();
        register.read_on(self.now())?;
        Ok(register.is_of(serial, owner))
    }

    /// Revokes the certificate with a serial number, or all of a name; those that were revoked by this.
    ///
    /// # Errors
    /// [`CaError::Unknown`] if there is none that is good still; otherwise what went wrong.
    pub fn revoke(&self, what: &Revoke) -> Result<Vec<Issued>, CaError> {
        let lock = Locked::open(&self.paths)?;
        let mut register = self.register();
        register.read_on(self.now())?;
        let found: Vec<_> = register.all().filter(|issued| what.is(issued)).cloned().collect();
        if found.is_empty() {
            return Err(CaError::Unknown(what.to_string()));
        }
        let fresh: Vec<_> = found.into_iter().filter(|issued| issued.revoked_at.is_none()).collect();
        for issued in &fresh {
            register.revoke(&lock, &issued.serial, self.now())?;
        }
        // Again also where nothing is new: the list may have been lost.
        self.write_crl(&lock, &mut register)?;
        Ok(fresh)
    }

    /// The list of revoked certificates, in PEM form.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn crl(&self) -> Result<String, CaError> {
        files::text(&self.paths.crl)
    }

    fn write_crl(&self, lock: &Locked, register: &mut Register) -> Result<(), CaError> {
        register.read_on(self.now())?;
        let revoked = register.all().filter_map(|issued| Some((&issued.serial, issued.revoked_at?)));
        let list = Authority::read(&self.paths)?.revocations(revoked, self.now(), CRL)?;
        lock.write(&self.paths.crl, list.as_bytes())
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        // What was read stays true whatever happened to its reader.
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000_000)
    }
}

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// One certificate.
    Serial(Serial),
    /// All of a name.
    Owner(Owner),
}

impl Revoke {
    fn is(&self, issued: &Issued) -> bool {
        match self {
            Self::Serial(serial) => issued.serial == *serial,
            Self::Owner(owner) => issued.tenant == owner.tenant && issued.name == owner.name,
        }
    }
}

impl std::fmt::Display for Revoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial) => serial.fmt(f),
            Self::Owner(owner) => write!(f, "{}/{}", owner.tenant, owner.name),
        }
    }
}

/// A number that nobody can guess and no other certificate has: 127 random bits.
fn random_serial() -> Result<Serial, CaError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CaError::Random)?;
    // Positive, and as long as every other.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(Serial::new(&bytes))
}

#[cfg(test)]
mod tests;
