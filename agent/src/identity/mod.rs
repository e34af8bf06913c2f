//! Who this agent is to the gateway: its key and certificate, and the authority that gave it.
//!
//! What it guarantees: the key is made here and never leaves; key and certificate lie in one file that is replaced as a
//! whole, durably, before anything uses it, so that a crash leaves the old pair or the new one; the gateway's name and
//! certificate are verified always ([`trust`]); a certificate is renewed at two thirds of its life ([`renewal`]).
//!
//! Format of `<data_dir>/identity/`, all PEM or text, so that `curl` and `openssl` read it too: `device.pem` has the key
//! (PKCS #8) and behind it the certificate, mode 0600; `ca.pem` has the authority; `gateway` has the URL it came from.

pub mod enrolment;
mod explain;
pub mod renewal;
pub(crate) mod spoken;
pub mod trust;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use explain::explain;

/// The files of an identity; there may be none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    dir: PathBuf,
}

/// Why there is no identity to use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: no {expected} in it; `weir-agent enroll --force` makes the identity anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// There is one already.
    #[error("this agent has an identity in {}: `--force` replaces it", .0.display())]
    Exists(PathBuf),
}

/// A key with its certificate.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, its own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The name of the agent.
    pub name: String,
    /// Its first second, since 1970.
    pub not_before: i64,
    /// Its last second, since 1970.
    pub not_after: i64,
}

impl Life {
    /// When it is to be renewed: at two thirds, in seconds since 1970.
    pub fn due(&self) -> i64 {
        self.not_before.saturating_add(self.not_after.saturating_sub(self.not_before) / 3 * 2)
    }

    /// Whole days that are left at `now`; negative once it is over.
    pub fn days_left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now).div_euclid(86_400)
    }
}

impl Store {
    /// That of the agent with this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("identity") }
    }

    /// Key and certificate.
    pub fn device(&self) -> PathBuf {
        self.dir.join("device.pem")
    }

    /// The authority.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn url(&self) -> PathBuf {
        self.dir.join("gateway")
    }

    /// Whether there is an identity.
    pub fn exists(&self) -> bool {
        self.device().exists()
    }

    /// Where the certificate was got, and is renewed.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn gateway(&self) -> Result<String, IdentityError> {
        let path = self.url();
        std::fs::read_to_string(&path)
            .map(|url| url.trim().to_owned())
            .map_err(|source| IdentityError::Io { path, source })
    }

    /// Key and certificate.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(&self) -> Result<Identity, IdentityError> {
        Identity::read(&self.device(), &self.device())
    }

    /// Keeps a new identity: where it is from, who gave it, and then itself.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; the identity that was there before stays then.
    pub fn enrolled(&self, url: &str, ca: &str, key: &str, chain: &str) -> Result<(), IdentityError> {
        let on = |source| IdentityError::Io { path: self.dir.clone(), source };
        std::fs::create_dir_all(&self.dir).map_err(on)?;
        std::fs::set_permissions(&self.dir, Permissions::from_mode(0o700)).map_err(on)?;
        if let Some(data_dir) = self.dir.parent() {
            File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(on)?;
        }
        self.replace(&self.url(), &format!("{url}\n"))?;
        self.replace(&self.ca(), ca)?;
        self.renewed(key, chain)
    }

    /// Puts a new key and certificate in place of the old ones.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; the old ones stay then.
    pub fn renewed(&self, key: &str, chain: &str) -> Result<(), IdentityError> {
        self.replace(&self.device(), &format!("{}\n{}", key.trim_end(), chain))
    }

    fn replace(&self, path: &Path, content: &str) -> Result<(), IdentityError> {
        let temporary = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(content.as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&temporary, path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| IdentityError::Io { path: path.to_owned(), source })
    }
}

impl Identity {
    /// Reads certificate and key, which may be in one file.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let damaged = |path: &Path, expected| IdentityError::Damaged { path: path.to_owned(), expected };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(certificate)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let private =
            PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|_| damaged(key, "private key in PEM form"))?;
        Ok(Self { chain: chain.ok_or_else(|| damaged(certificate, "certificate in PEM form"))?, key: private })
    }

    /// Whose it is and for how long; `None` if the certificate cannot be read.
    pub fn life(&self) -> Option<Life> {
        let (_, certificate) = X509Certificate::from_der(self.chain.first()?).ok()?;
        let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
        let validity = certificate.validity();
        Some(Life { name, not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })
}
