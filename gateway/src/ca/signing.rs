//! What the authority signs.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weir_protocol::Tenant;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::files::{self, Paths};
use super::{CaError, Certificate};
use crate::tls::Serial;

/// Clocks of clients may be this late, in seconds, when they get a certificate.
const SKEW: u64 = 3600;

/// What a certificate is to say.
pub(super) struct Wanted {
    pub(super) params: CertificateParams,
}

impl Wanted {
    /// A certificate for `name`, of `tenant`.
    pub(super) fn new(name: &str, tenant: Option<Tenant>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(tenant) = tenant {
            params.distinguished_name.push(DnType::OrganizationName, tenant.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Self { params }
    }

    /// From a little before `now`, for `lifetime`, but not after `end`; when it ends.
    fn valid(&mut self, now: i64, lifetime: Duration, end: i64) -> i64 {
        let skew = SKEW.min(lifetime.as_secs() / 10);
        let not_after = end.min(now.saturating_add_unsigned(lifetime.as_secs()));
        self.params.not_before = moment!(now.saturating_sub_unsigned(skew));
        self.params.not_after = moment!(not_after);
        not_after
    }
}

/// A key and a certificate, in PEM form.
pub(super) struct Made {
    pub(super) key: String,
    pub(super) certificate: String,
}

impl Made {
    /// A new authority.
    pub(super) fn authority(name: &str, serial: &Serial, now: i64, lifetime: Duration) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut wanted = Wanted::new(name, None);
        wanted.valid(now, lifetime, i64::MAX);
        wanted.params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
        // It certifies clients, and no other authority.
        wanted.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        wanted.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        wanted.params.use_authority_key_identifier_extension = false;
        let certificate = wanted.params.self_signed(&key)?.pem();
        Ok(Self { key: key.serialize_pem(), certificate })
    }
}

/// The authority, ready to sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    not_after: i64,
}

impl Authority {
    pub(super) fn read(paths: &Paths) -> Result<Self, CaError> {
        let certificate = files::text(&paths.certificate)?;
        let key = KeyPair::from_pem(&files::text(&paths.key)?)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let parsed = X509Certificate::from_der(&der).map_err(|_| rcgen::Error::CouldNotParseCertificate)?.1;
        let not_after = parsed.validity().not_after.timestamp();
        Ok(Self { issuer: Issuer::from_ca_cert_der(&der, key)?, certificate, not_after })
    }

    /// Signs a certificate for `key`.
    pub(super) fn sign(
        &self,
        mut wanted: Wanted,
        key: &impl PublicKeyData,
        serial: Serial,
        now: i64,
        lifetime: Duration,
    ) -> Result<Certificate, CaError> {
        let not_after = wanted.valid(now, lifetime, self.not_after);
        wanted.params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
        let signed = wanted.params.signed_by(key, &self.issuer)?;
        Ok(Certificate { serial, not_after, chain: signed.pem() + &self.certificate })
    }

    /// Signs the list of what is revoked, each since when, in seconds since 1970.
    pub(super) fn revocations<'a>(
        &self,
        revoked: impl Iterator<Item = (&'a Serial, i64)>,
        now: i64,
        lifetime: Duration,
    ) -> Result<String, CaError> {
        let entry = |(serial, at): (&Serial, i64)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial.bytes()),
            revocation_time: moment!(at),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: moment!(now),
            next_update: moment!(now.saturating_add_unsigned(lifetime.as_secs())),
            crl_number: SerialNumber::from(u64::try_from(now).unwrap_or(0)),
            issuing_distribution_point: None,
            revoked_certs: revoked.map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// The last second that a certificate can name (RFC 5280, section 4.1.2.5), in seconds since 1970.
const LAST: u64 = 253_402_300_799;

/// The type of a moment is not ours to name.
macro_rules! moment {
    ($seconds:expr) => {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from($seconds).unwrap_or(0).min(LAST))
    };
}
use moment;
