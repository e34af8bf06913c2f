//! How the gateway is verified.
//!
//! What it guarantees: its certificate is of an authority that somebody named, by a file or by a fingerprint, and is for
//! the name that the agent calls it by; TLS 1.2 or 1.3.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{Identity, IdentityError};

/// TLS with a gateway whose authority is in the file `ca`, showing `identity` if there is one.
///
/// # Errors
/// [`IdentityError`] naming the file that cannot be used.
pub fn client(ca: &Path, identity: Option<&Identity>) -> Result<ClientConfig, IdentityError> {
    let damaged = |expected| IdentityError::Damaged { path: ca.to_owned(), expected };
    let mut roots = RootCertStore::empty();
    let pem = super::bytes(ca)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let (added, _) = roots.add_parsable_certificates(read.map_err(|_| damaged("certificate in PEM form"))?);
    if added == 0 {
        return Err(damaged("certificate in PEM form"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| damaged("version of TLS"))?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|_| damaged("identity whose key belongs to its certificate")),
    }
}

/// TLS with a gateway whose chain holds an authority with this SHA-256, which is put into the second value.
///
/// # Errors
/// What the library says.
pub fn pinned(fingerprint: [u8; 32]) -> Result<(ClientConfig, Found), Error> {
    let provider = Arc::new(provider::default_provider());
    let found = Found::default();
    let verifier = Pinned { fingerprint, found: found.clone(), provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((config, found))
}

/// The authority that a fingerprint was of.
#[derive(Clone, Debug, Default)]
pub struct Found(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl Found {
    /// It, once a connection was made.
    pub fn get(&self) -> Option<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a SHA-256 in hexadecimal digits, with colons or without.
pub fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Verifies as always, with the one authority whose fingerprint somebody typed.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    found: Found,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_it = |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == self.fingerprint;
        let authority = intermediates.iter().find(is_it).ok_or_else(|| {
            let got: Vec<_> = intermediates.iter().map(|der| hexadecimal(digest(&SHA256, der).as_ref())).collect();
            Error::General(format!(
                "the gateway's authority has the fingerprint {}, expected {}",
                got.last().map_or("none", String::as_str),
                hexadecimal(&self.fingerprint)
            ))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let verified = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        *self.found.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed() {
        let plain = "0123456789abcdefABCDEF000000000000000000000000000000000000000001";
        let colons: Vec<_> = plain.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap()).collect();
        assert_eq!(fingerprint(plain), fingerprint(&colons.join(":")));
        assert_eq!(fingerprint(plain).unwrap()[..3], [0x01, 0x23, 0x45]);
        for wrong in ["", "01", &plain[1..], &format!("{plain}00"), &plain.replace('a', "x")] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }
}
