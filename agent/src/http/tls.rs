//! TLS of a port: 1.2 or 1.3, with a certificate and a key from PEM files.
//!
//! What it guarantees: a port opens with files that can be used or not at all; files that changed are read again with the
//! next connection, so that renewal needs no restart; while new ones cannot be used the old ones stay, and the log says
//! why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use tokio_rustls::TlsAcceptor;

use crate::identity::{Identity, IdentityError};

/// A certificate and its key.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    known: Mutex<(Changed, Arc<ServerConfig>)>,
}

/// When each file changed last.
type Changed = [Option<SystemTime>; 2];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is not that of the certificate.
    #[error("{}: the key does not belong to the certificate {}: {source}", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
}

impl Tls {
    /// TLS with these files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let known = Mutex::new((changed(certificate, key), read(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), known })
    }

    /// What takes a connection, with the files as they are now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed(&self.certificate, &self.key);
        if known.0 != now {
            known.0 = now;
            match read(&self.certificate, &self.key) {
                Ok(config) => known.1 = config,
                Err(error) => tracing::warn!(%error, "the certificate changed and cannot be used; the old one stays"),
            }
        }
        TlsAcceptor::from(Arc::clone(&known.1))
    }
}

fn changed(certificate: &Path, key: &Path) -> Changed {
    [certificate, key].map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok())
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let Identity { chain, key: private } = Identity::read(certificate, key).map_err(|error| match error {
        IdentityError::Io { path, source } => TlsError::File { path, what: source.to_string() },
        IdentityError::Damaged { path, expected } => TlsError::File { path, what: format!("no {expected} in it") },
        IdentityError::Exists(path) => TlsError::File { path, what: "it is in use".to_owned() },
    })?;
    let mismatch = |source| TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a certificate of this name and its key, as long ago as that.
    fn write(dir: &Path, name: &str, age: u64) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let files = [("certificate.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
        let [certificate, key] = files.map(|(file, text)| {
            let path = dir.join(file);
            std::fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_262_400 - age);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            path
        });
        (certificate, key)
    }

    #[test]
    fn a_certificate_that_changes_is_used_and_one_that_cannot_be_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = write(dir.path(), "old", 9);
        let tls = Tls::open(&certificate, &key).unwrap();
        let first = Arc::clone(&tls.known.lock().unwrap().1);
        let is_first = |tls: &Tls| Arc::ptr_eq(&first, tls.acceptor().config());
        assert!(is_first(&tls), "read once");
        std::fs::write(&certificate, "half of a certif").unwrap();
        assert!(is_first(&tls), "the old one stays");
        write(dir.path(), "new", 1);
        assert!(!is_first(&tls));
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (certificate, key) = write(one.path(), "one", 1);
        let (_, foreign) = write(other.path(), "other", 1);
        let said = |certificate: &Path, key: &Path| Tls::open(certificate, key).unwrap_err().to_string();
        assert!(said(&one.path().join("none"), &key).contains("none: No such file"));
        assert!(said(&key, &key).contains("no certificate in PEM form in it"));
        assert!(said(&certificate, &foreign).contains("does not belong"), "{}", said(&certificate, &foreign));
    }
}
