//! What a client asks to be certified: PKCS #10 (RFC 2986).
//!
//! What it guarantees: of a request nothing is taken but its public key, and its common name as a proposal. Whoever sent
//! it has the private key, as the signature shows; the key is P-256, P-384, Ed25519 or RSA of 2048 bits or more.

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// The largest request, in bytes: one with an RSA key of 8192 bits takes 3 KiB.
pub const MAX_REQUEST: usize = 16 << 10;
/// RSA keys, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const MAKE_ONE: &str = "make one with `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key \
                        -subj /CN=NAME -out device.csr`";

/// A request that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// It is too large.
    #[error("a certificate request of {0} bytes; at most {MAX_REQUEST} are taken")]
    TooLarge(usize),
    /// It is none.
    #[error("no certificate request in PEM form, which begins with `-----BEGIN CERTIFICATE REQUEST-----`: {MAKE_ONE}")]
    NotPem,
    /// It cannot be read.
    #[error("the certificate request is malformed: {MAKE_ONE}")]
    Malformed,
    /// It was signed with another key than its own, or not at all.
    #[error("the signature of the certificate request is not that of its key: {MAKE_ONE}")]
    Signature,
    /// Its key is none that is taken.
    #[error("a key of {0}; expected P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits: {MAKE_ONE}")]
    Key(String),
}

/// A request whose key is its sender's.
#[derive(Clone, Debug)]
pub struct Request {
    key: SubjectPublicKeyInfo,
    name: Option<String>,
}

impl Request {
    /// Reads and checks a request.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn parse(pem: &[u8]) -> Result<Self, BadRequest> {
        if pem.len() > MAX_REQUEST {
            return Err(BadRequest::TooLarge(pem.len()));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem).map_err(|_| BadRequest::NotPem)?;
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| BadRequest::Malformed)?;
        if !rest.is_empty() {
            return Err(BadRequest::Malformed);
        }
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        match key.parsed().map_err(|_| BadRequest::Malformed)? {
            PublicKey::RSA(rsa) if RSA_BITS.contains(&rsa.key_size()) => (),
            PublicKey::RSA(rsa) => return Err(BadRequest::Key(format!("RSA with {} bits", rsa.key_size()))),
            // The curve is looked at below.
            PublicKey::EC(_) | PublicKey::Unknown(_) => (),
            _ => return Err(BadRequest::Key(key.algorithm.algorithm.to_string())),
        }
        let kind = || BadRequest::Key(key.algorithm.algorithm.to_string());
        let key = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| kind())?;
        request.verify_signature().map_err(|_| BadRequest::Signature)?;
        let name = info.subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        Ok(Self { key, name })
    }

    /// The name that the request has in it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}
