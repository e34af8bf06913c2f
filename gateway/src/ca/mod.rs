//! The gateway's own authority.

use std::path::{Path, PathBuf};

/// The files of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory.
    pub dir: PathBuf,
    /// The authority's own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The list of what it has revoked.
    pub crl: PathBuf,
    /// The certificate that it gave the gateway, with the authority's behind it.
    pub server_certificate: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
}

impl Paths {
    /// Those in the data directory of a gateway.
    pub fn in_data(data: &Path) -> Self {
        let dir = data.join("ca");
        let path = |name| dir.join(name);
        Self {
            certificate: path("ca.pem"),
            key: path("ca.key"),
            crl: path("crl.pem"),
            server_certificate: path("server.pem"),
            server_key: path("server.key"),
            dir,
        }
    }
}
