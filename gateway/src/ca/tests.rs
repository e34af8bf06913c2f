//! What the authority certifies, and what it never does.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};

use rcgen::{CertificateParams, DnType, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use tempfile::TempDir;
use weir_protocol::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::*;
use crate::tls::PeerCertificate;

const DAY: Duration = Duration::from_secs(86_400);

/// A clock that is set by hand, in seconds.
struct Hands(AtomicI64);

impl WallClock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

struct Town {
    data: TempDir,
    clock: Arc<Hands>,
    ca: Ca,
}

/// The 21st of November 2026.
const NOW: i64 = 1_795_219_200;

impl Town {
    fn new() -> Self {
        let (data, clock) = (TempDir::new().unwrap(), Arc::new(Hands(AtomicI64::new(NOW))));
        let ca = Ca::new(data.path(), clock.clone());
        ca.init(Some("Weir test")).unwrap();
        Self { data, clock, ca }
    }

    /// The same directory, as another process opens it.
    fn reopened(&self) -> Ca {
        Ca::new(self.data.path(), self.clock.clone())
    }

    fn issue(&self, name: &str) -> Certificate {
        self.ca.issue(&request(&KeyPair::generate().unwrap(), "whatever"), &owner(name), DAY).unwrap()
    }
}

fn owner(name: &str) -> Owner {
    Owner { tenant: Tenant::DEFAULT, name: ClientId::new(name).unwrap() }
}

fn csr(key: &impl SigningKey, name: &str) -> String {
    let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "another-tenant");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning];
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn request(key: &impl SigningKey, name: &str) -> Request {
    Request::parse(csr(key, name).as_bytes()).unwrap()
}

fn first(chain: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
}

#[test]
fn the_gateway_says_who_a_client_is_whatever_it_asked_for() {
    let town = Town::new();
    let key = KeyPair::generate().unwrap();
    let signed = town.ca.issue(&request(&key, "root"), &owner("pump-1"), DAY).unwrap();
    let der = first(&signed.chain);
    let peer = PeerCertificate::read(&der).unwrap();
    assert_eq!((&*peer.name, peer.tenant, &*peer.serial), ("pump-1", Tenant::DEFAULT, signed.serial.bytes()));
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(!certificate.is_ca());
    assert!(certificate.subject_alternative_name().unwrap().is_none(), "a client is no server");
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.code_signing && !usage.any);
    assert_eq!(certificate.public_key().subject_public_key.data, key.public_key_raw());
    assert_eq!(certificate.validity().not_after.timestamp(), NOW + 86_400);
    assert_eq!(signed.chain.matches("BEGIN CERTIFICATE").count(), 2, "the authority comes along");
}

#[test]
fn keys_that_are_too_weak_and_requests_of_others_are_refused() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        request(&KeyPair::generate_for(algorithm).unwrap(), "pump-1");
    }
    // Made by openssl: the library makes no RSA keys.
    Request::parse(include_bytes!("../../tests/fixtures/rsa-2048.csr")).unwrap();
    let weak = Request::parse(include_bytes!("../../tests/fixtures/rsa-1024.csr")).unwrap_err();
    assert_eq!(weak, BadRequest::Key("RSA with 1024 bits".to_owned()));
    let curve = Request::parse(include_bytes!("../../tests/fixtures/p-521.csr")).unwrap_err();
    assert!(matches!(curve, BadRequest::Key(_)), "{curve}");

    let pem = csr(&KeyPair::generate().unwrap(), "pump-1");
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
    // One bit of what is signed, and one of the signature.
    for place in [30, der.len() - 3] {
        let mut other = der.to_vec();
        other[place] ^= 1;
        let refused = Request::parse(pem_of(&other).as_bytes()).unwrap_err();
        assert!(matches!(refused, BadRequest::Signature | BadRequest::Malformed), "{place}: {refused}");
    }
    for cut in 0..der.len() {
        assert!(Request::parse(pem_of(&der[..cut]).as_bytes()).is_err(), "cut at {cut}");
    }
    let longer = [&der[..], b"and more"].concat();
    assert_eq!(Request::parse(pem_of(&longer).as_bytes()).unwrap_err(), BadRequest::Malformed);
    assert_eq!(Request::parse(b"hello").unwrap_err(), BadRequest::NotPem);
    assert_eq!(Request::parse(&[b'x'; 20_000]).unwrap_err(), BadRequest::TooLarge(20_000));
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn what_is_issued_and_revoked_is_known_to_the_next_process() {
    let town = Town::new();
    let (one, two) = (town.issue("pump-1"), town.issue("pump-2"));
    let revoked = town.reopened().revoke(&Revoke::Owner(owner("pump-1"))).unwrap();
    assert_eq!(revoked.iter().map(|issued| &issued.serial).collect::<Vec<_>>(), [&one.serial]);
    for ca in [&town.ca, &town.reopened()] {
        let mut all = ca.issued().unwrap();
        all.sort_by_key(|issued| issued.name.to_string());
        let known: Vec<_> = all.iter().map(|issued| (issued.serial.clone(), issued.revoked_at)).collect();
        assert_eq!(known, [(one.serial.clone(), Some(NOW)), (two.serial.clone(), None)]);
    }
    assert!(town.ca.revoke(&Revoke::Serial(one.serial.clone())).unwrap().is_empty(), "once is enough");
    let unknown = town.ca.revoke(&Revoke::Owner(owner("pump-3"))).unwrap_err().to_string();
    assert!(unknown.contains("\"default/pump-3\"") && unknown.contains("`weir-gateway ca show`"), "{unknown}");
    // What is over is forgotten, and so is that it was revoked.
    town.clock.0.fetch_add(86_401, Ordering::Relaxed);
    assert!(town.reopened().issued().unwrap().is_empty());
}

/// A thief with a certificate that is to be revoked renews it as often as it can.
#[test]
fn a_certificate_is_renewed_for_its_owner_alone_and_not_once_it_is_revoked() {
    let town = Town::new();
    let one = town.issue("pump-1");
    let request = request(&KeyPair::generate().unwrap(), "whatever");
    let renewed = |who: &str| town.ca.renew(one.serial.bytes(), &request, &owner(who), DAY);
    let again = renewed("pump-1").unwrap();
    assert!(matches!(renewed("pump-2"), Err(CaError::NotOurs)), "a name that it does not have");
    assert!(matches!(town.ca.renew(&[1], &request, &owner("pump-1"), DAY), Err(CaError::NotOurs)));
    let revoked = town.ca.revoke(&Revoke::Owner(owner("pump-1"))).unwrap();
    assert_eq!(revoked.len(), 2, "the renewed one too");
    assert!(matches!(renewed("pump-1"), Err(CaError::NotOurs)));
    assert!(!town.ca.is_of(again.serial.bytes(), &owner("pump-1")).unwrap());
}

#[test]
fn an_append_that_was_cut_off_never_happened_and_damage_is_not_believed() {
    let town = Town::new();
    let register = town.ca.paths().register.clone();
    town.issue("pump-1");
    let whole = std::fs::read(&register).unwrap();
    town.issue("pump-2");
    let both = std::fs::read(&register).unwrap();
    for length in whole.len()..both.len() {
        std::fs::write(&register, &both[..length]).unwrap();
        let ca = town.reopened();
        let names = |ca: &Ca| ca.issued().unwrap().iter().map(|issued| issued.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&ca), ["pump-1"], "cut at {length}");
        ca.issue(&request(&KeyPair::generate().unwrap(), ""), &owner("pump-3"), DAY).unwrap();
        assert_eq!(names(&town.reopened()).len(), 2, "and the next one follows what is whole");
    }
    for place in 0..whole.len() - 1 {
        let mut damaged = both.clone();
        damaged[place] ^= 1;
        std::fs::write(&register, &damaged).unwrap();
        let refused = town.reopened().issued().unwrap_err().to_string();
        assert!(refused.contains("line 1 is damaged") && refused.contains("backup"), "{place}: {refused}");
    }
}

#[test]
fn there_is_one_authority_and_its_keys_are_its_own() {
    let town = Town::new();
    town.ca.serve_as(&["gateway.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    for key in [&town.ca.paths().key, &town.ca.paths().server_key] {
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = town.ca.init(Some("Another")).unwrap_err();
    assert!(matches!(again, CaError::Exists(_)), "{again}");
    let none = Ca::new(&town.data.path().join("elsewhere"), town.clock.clone());
    let missing = none.issue(&request(&KeyPair::generate().unwrap(), ""), &owner("pump-1"), DAY).unwrap_err();
    assert!(missing.to_string().contains("`weir-gateway ca init`"), "{missing}");
}

/// Regression: all of them had one name, and a verifier that trusted two looked no further than the first of that name.
#[test]
fn authorities_that_nobody_named_can_be_told_apart() {
    let called = |name: Option<&str>| {
        let data = TempDir::new().unwrap();
        let ca = Ca::new(data.path(), Arc::new(Hands(AtomicI64::new(NOW))));
        ca.init(name).unwrap();
        let certificate = CertificateDer::from_pem_file(&ca.paths().certificate).unwrap();
        let certificate = X509Certificate::from_der(&certificate).unwrap().1;
        (certificate.subject().to_string(), certificate.raw_serial_as_string().replace(':', ""))
    };
    let authorities: Vec<_> = (0..3).map(|_| called(None)).collect();
    for (name, serial) in &authorities {
        assert_eq!(*name, format!("CN=Weir CA {}", &serial[..8]), "of {serial}");
        assert_eq!(authorities.iter().filter(|(other, _)| other == name).count(), 1, "{authorities:?}");
    }
    assert_eq!(called(Some("Plant 7")).0, "CN=Plant 7");
}

#[test]
fn the_gateway_renews_its_own_certificate_and_the_list_at_two_thirds() {
    let town = Town::new();
    let names = ["gateway.example".to_owned(), "192.0.2.1".to_owned(), "::1".to_owned()];
    town.ca.serve_as(&names).unwrap();
    let server = || std::fs::read_to_string(&town.ca.paths().server_certificate).unwrap();
    let before = server();
    let later = |days: i64| {
        town.clock.0.store(NOW + days * 86_400, Ordering::Relaxed);
        let done = town.ca.refresh().unwrap();
        (done.server, done.crl)
    };
    assert_eq!(later(0), (false, false));
    assert_eq!(later(21), (false, true));
    assert_eq!(later(22), (false, false));
    assert_eq!(later(242), (false, true));
    assert_eq!(server(), before);
    assert_eq!(later(245), (true, false));
    assert_ne!(server(), before);
    let der = first(&server());
    let (_, renewed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(renewed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), names.len());
    assert_eq!(renewed.validity().not_after.timestamp(), NOW + (245 + 365) * 86_400);
    std::fs::remove_file(&town.ca.paths().crl).unwrap();
    assert_eq!(later(246), (false, true), "a list that is lost is made from the register");
}
