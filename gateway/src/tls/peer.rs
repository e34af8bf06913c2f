//! Who a client is by its certificate.

use std::sync::Arc;

use weir_protocol::Tenant;

/// The certificate of a client, which our own authority signed and which was valid when the connection began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its O; `default` if it has none.
    pub tenant: Tenant,
    /// Its CN.
    pub name: Arc<str>,
    /// Its serial number, big endian, as it stands in the certificate.
    pub serial: Arc<[u8]>,
    /// The whole of it.
    pub der: Arc<[u8]>,
}
