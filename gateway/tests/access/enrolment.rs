//! `POST /enroll`, as deploy/enroll.md tells it to whoever has `openssl` and `curl`.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::secure::{Secure, Shown, request};

/// A request for far more than a device gets.
fn greedy(key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "edge-1");
    params.distinguished_name.push(DnType::OrganizationName, "another-tenant");
    params.subject_alt_names = vec![SanType::DnsName("gateway.example".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // basicConstraints, cA true (RFC 5280, section 4.2.1.9), in case the library leaves it out of a request.
    let ca_true = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
    params.custom_extensions = vec![ca_true];
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// Everything that a certificate says of whom it is for.
fn said(shown: &Shown) -> String {
    let (_, certificate) = X509Certificate::from_der(&shown.chain[0]).unwrap();
    let usage = certificate.extended_key_usage().unwrap().map(|usage| usage.value.clone()).unwrap();
    assert!(usage.client_auth && !usage.server_auth && !usage.code_signing && usage.other.is_empty(), "{usage:?}");
    let names = certificate.subject_alternative_name().unwrap().map(|names| names.value.general_names.len());
    let is_ca = certificate.is_ca();
    format!("{}, alternative names {names:?}, authority {is_ca}", certificate.subject())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_a_device_its_certificate_once() {
    let secure = Secure::start(&[]).await;
    let token = secure.enrolment_token("pump-1").await;
    let key = KeyPair::generate().unwrap();
    let asked = request(&key, "pump-1");
    let (status, chain) = secure.post("/enroll", Some(&token), None, &asked).await.unwrap();
    assert_eq!(status, 201, "{chain}");
    let shown = Shown::of(&chain, &key);
    assert_eq!(shown.chain.len(), 2, "the authority's is behind it");
    assert_eq!(said(&shown), "O=default, CN=pump-1, alternative names None, authority false");

    let (status, why) = secure.post("/enroll", Some(&token), None, &asked).await.unwrap();
    assert!(status == 403 && why.contains("was used already; `weir-gateway token create --enroll NAME`"), "{why}");
    assert_eq!(secure.certificates(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_request_asks_for_the_gateway_says_what_the_certificate_says() {
    let secure = Secure::start(&[]).await;
    let token = secure.enrolment_token("pump-*").await;
    let key = KeyPair::generate().unwrap();
    // The token is for pumps, and the request says that it is one in its path alone.
    let (status, chain) = secure.post("/enroll?name=pump-7", Some(&token), None, &greedy(&key)).await.unwrap();
    assert_eq!(status, 201, "{chain}");
    assert_eq!(said(&Shown::of(&chain, &key)), "O=default, CN=pump-7, alternative names None, authority false");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_come_with_one_token_at_once_get_one_certificate() {
    let secure = Secure::start(&[]).await;
    for round in 1..=5 {
        let token = secure.enrolment_token("pump-1").await;
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (one, other) = (request(&one, "pump-1"), request(&other, "pump-1"));
        let answers = tokio::join!(
            secure.post("/enroll", Some(&token), None, &one),
            secure.post("/enroll", Some(&token), None, &other)
        );
        let mut statuses = [answers.0.unwrap().0, answers.1.unwrap().0];
        statuses.sort_unstable();
        assert_eq!((statuses, secure.certificates()), ([201, 403], round));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_costs_no_token() {
    let secure = Secure::start(&[]).await;
    let token = secure.enrolment_token("pump-1").await;
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let good = request(&key, "pump-1");
    // The middle of the request, which its signature covers.
    let mut forged: Vec<char> = good.chars().collect();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == 'A' { 'B' } else { 'A' };
    let weak = include_str!("../fixtures/rsa-1024.csr").to_owned();
    let cases = [
        ("", String::new(), 400, "-----BEGIN CERTIFICATE REQUEST-----"),
        ("", "garbage".to_owned(), 400, "-----BEGIN CERTIFICATE REQUEST-----"),
        ("", key.serialize_pem(), 400, "-----BEGIN CERTIFICATE REQUEST-----"),
        ("", good[..good.len() / 2].to_owned(), 400, "openssl req -new"),
        ("", forged.into_iter().collect(), 400, "openssl req -new"),
        ("?name=pump-1", weak, 400, "RSA with 1024 bits"),
        ("", "A".repeat(17 << 10), 400, "at most 16384"),
        ("", "A".repeat(300 << 10), 400, "at most"),
        ("?name=", good.clone(), 400, "?name=NAME"),
        ("?nam=pump-1", good.clone(), 400, "use name="),
        ("", request(&other, "pump-2"), 403, "is for \"pump-1\", not for \"pump-2\""),
        ("?name=pump-2", good.clone(), 403, "is for \"pump-1\", not for \"pump-2\""),
    ];
    for (query, body, expected, says) in cases {
        let (status, why) = secure.post(&format!("/enroll{query}"), Some(&token), None, &body).await.unwrap();
        assert!(status == expected && why.contains(says), "{status}, expected {expected} and {says:?}: {why}");
    }
    assert_eq!(secure.certificates(), 0);
    let (status, chain) = secure.post("/enroll", Some(&token), None, &good).await.unwrap();
    assert_eq!(status, 201, "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_token_is_told_what_to_type() {
    let secure = Secure::start(&[("ACCESS__FAILED_LOGINS_PER_ADDRESS", "0")]).await;
    let asked = request(&KeyPair::generate().unwrap(), "pump-1");
    let viewer = secure.command(&["token", "create", "--role", "viewer"]).await;
    let revoked = secure.enrolment_token("pump-1").await;
    let listed = secure.command(&["token", "list"]).await;
    let id = listed.lines().find(|line| line.contains("enroll")).and_then(|line| line.split(' ').next()).unwrap();
    secure.command(&["token", "revoke", id]).await;
    let short = secure.command(&["token", "create", "--enroll", "pump-1", "--expires", "1h"]).await;
    secure.gateway.clock.advance(3601);
    let cases = [
        (None, 401, "`weir-gateway token create --enroll NAME` makes one"),
        (Some("weir_"), 401, "no such enrolment token"),
        (Some(revoked.as_str()), 401, "no such enrolment token, or it was revoked"),
        (Some(&short), 403, "has ended; `weir-gateway token create --enroll NAME` makes a new one"),
        (Some(viewer.as_str()), 403, "this token is for a role, not for enrolment"),
    ];
    for (token, expected, says) in cases {
        let (status, why) = secure.post("/enroll", token, None, &asked).await.unwrap();
        assert!(status == expected && why.contains(says), "{status}, expected {expected} and {says:?}: {why}");
    }
    assert_eq!(secure.certificates(), 0);
}
