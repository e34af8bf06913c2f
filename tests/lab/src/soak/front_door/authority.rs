//! An authority that the plant has beside the gateway's own (`tls.client_ca`, `tls.crl`): certificates by the thousand, and
//! those that nobody should accept.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use crate::clients::tls::Card;

/// The serial number of every certificate that it has revoked.
const REVOKED: u64 = 13;

/// The authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing.
    None,
    /// It ended years ago.
    Expired,
    /// It is on the list of revoked ones.
    Revoked,
}

impl Authority {
    /// A new one.
    pub(super) fn new(name: &str) -> Result<Self> {
        let mut params = named(name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// What it has revoked.
    pub(super) fn revoked(&self) -> Result<String> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2126, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// A certificate for a client of this name.
    pub(super) fn card(&self, name: &str, flaw: Flaw) -> Result<Card> {
        let mut params = named(name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        match flaw {
            Flaw::None => (),
            Flaw::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Flaw::Revoked => params.serial_number = Some(SerialNumber::from(REVOKED)),
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Card::of_pem(&certificate.pem(), &key.serialize_pem())
    }
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
