//! The certificate of a client: who it is.
//!
//! Format: the subject's CN is the client id, its O the tenant; without an O it is the tenant `default`. What does not
//! say both in one way is nobody's certificate.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use weir_protocol::Tenant;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use crate::access::ClientId;

/// A certificate that was verified, and whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is: the O of its subject.
    pub tenant: Tenant,
    /// The name there: the CN of its subject, which is the client id.
    pub name: Arc<str>,
    /// Its serial number, as [`Serial`] has it.
    pub serial: Arc<[u8]>,
    /// Which certificate it is, of those of all authorities.
    pub id: CertificateId,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// All of it.
    pub der: Arc<[u8]>,
}

/// Which certificate it is: its issuer and its serial number, as one hash. Numbers are given by each authority for itself, and
/// many count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId([u8; 32]);

impl CertificateId {
    /// Of the certificate with this number that was issued by `issuer`, the name as it is encoded.
    pub fn new(issuer: &[u8], serial: &[u8]) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(&(issuer.len() as u64).to_be_bytes());
        hash.update(issuer);
        hash.update(Serial::new(serial).bytes());
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        Self(id)
    }
}

/// The serial number of a certificate: big-endian, without leading zeros.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Arc<[u8]>);

/// The longest serial number, in bytes (RFC 5280, section 4.1.2.2), with some room for authorities that exceed it.
const MAX_SERIAL: usize = 32;

impl Serial {
    /// A number as it stands in a certificate.
    pub fn new(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes.get(zeros..).unwrap_or_default().into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads hexadecimal digits, with or without colons, as `openssl x509 -serial` prints them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> =
            text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
        if digits.is_empty() || digits.len() > 2 * MAX_SERIAL {
            return None;
        }
        let padded = std::iter::repeat_n(0, digits.len() % 2).chain(digits.iter().copied()).collect::<Vec<u32>>();
        // Two digits are below 256.
        Some(Self::new(&padded.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect::<Vec<_>>()))
    }
}

impl Borrow<[u8]> for Serial {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("00");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Nameless {
    /// It cannot be read.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// There is not one name in it.
    #[error("the subject of the client certificate has {0} common names, expected one: the client id")]
    Names(usize),
    /// Its name is no client id.
    #[error("the client certificate is for {0:?}, which is no client id: 1 to 128 bytes without control characters")]
    NoClientId(String),
    /// There are several tenants in it, or one that is none.
    #[error("the subject of the client certificate has the organisations {0:?}, expected one tenant at most")]
    NoTenant(Vec<String>),
}

impl PeerCertificate {
    /// Reads a certificate that was verified.
    ///
    /// # Errors
    /// [`Nameless`] if it does not say who its owner is.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, Nameless> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Nameless::Unreadable)?;
        let subject = parsed.subject();
        let text = |value: &AttributeTypeAndValue<'_>| value.as_str().map(str::to_owned).unwrap_or_default();
        let names: Vec<_> = subject.iter_common_name().map(text).collect();
        let [name] = &names[..] else { return Err(Nameless::Names(names.len())) };
        let organisations: Vec<_> = subject.iter_organization().map(text).collect();
        let tenant = match &organisations[..] {
            [] => Some(Tenant::DEFAULT),
            [one] => one.parse().ok(),
            _ => None,
        };
        Ok(Self {
            tenant: tenant.ok_or(Nameless::NoTenant(organisations))?,
            name: ClientId::new(name).map(|_| name.as_str().into()).map_err(|_| Nameless::NoClientId(name.clone()))?,
            serial: Serial::new(parsed.raw_serial()).0,
            id: CertificateId::new(parsed.issuer().as_raw(), parsed.raw_serial()),
            not_after: parsed.validity().not_after.timestamp(),
            der: certificate.as_ref().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_read_as_it_is_printed() {
        for (text, printed) in [("0a:FF:01", "0aff01"), ("aff01", "0aff01"), ("00000001", "01"), ("0", "00")] {
            assert_eq!(Serial::parse(text).unwrap().to_string(), printed);
        }
        for text in ["", ":", "xyz", "pump-1", &"1".repeat(65)] {
            assert_eq!(Serial::parse(text), None, "{text}");
        }
        assert_eq!(Serial::new(&[0, 0, 7]), Serial::new(&[7]));
    }
}
