//! `POST /renew`: a new certificate for whoever has one that is good still.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::secure::{DAY, Secure, Shown, request};

/// More than half of a year.
const OLD: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_for_whom_it_names_and_nobody_else() {
    let secure = Secure::start(&[]).await;
    let (shown, _) = secure.issued("pump-1", OLD);
    let key = KeyPair::generate().unwrap();
    // It asks for another name, in every place where a name can be.
    let asked = request(&key, "pump-2");
    let (status, chain) = secure.post("/renew?name=pump-2", None, Some(&shown), &asked).await.unwrap();
    assert_eq!(status, 201, "{chain}");
    let renewed = Shown::of(&chain, &key);
    let (_, certificate) = X509Certificate::from_der(&renewed.chain[0]).unwrap();
    assert_eq!(certificate.subject().to_string(), "O=default, CN=pump-1");
    let validity = certificate.validity();
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert!(lifetime >= 365 * DAY.cast_signed(), "{lifetime} s");

    // A thief gets no more out of it than one certificate that is as good.
    let (status, why) = secure.post("/renew", None, Some(&renewed), &asked).await.unwrap();
    assert!(status == 429 && why.contains("at half of its life"), "{status}: {why}");
    assert_eq!(secure.certificates(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_certificate_renews_none() {
    let secure = Secure::start(&[]).await;
    let asked = request(&KeyPair::generate().unwrap(), "pump-1");
    let (status, why) = secure.post("/renew", None, None, &asked).await.unwrap();
    assert!(status == 401 && why.contains("curl --cert device.pem --key device.key"), "{why}");
    // No token stands for one.
    let token = secure.enrolment_token("pump-1").await;
    assert_eq!(secure.post("/renew", Some(&token), None, &asked).await.unwrap().0, 401);

    let (expired, _) = secure.issued("pump-1", 400);
    let error = secure.post("/renew", None, Some(&expired), &asked).await.unwrap_err();
    assert!(error.to_string().contains("CertificateExpired"), "{error}");

    // It is refused at once, whether the list of revoked certificates was read again by then or not.
    let (lost, _) = secure.issued("lost", OLD);
    secure.revoke("lost");
    match secure.post("/renew", None, Some(&lost), &asked).await {
        Ok((status, why)) => assert!(status == 403 && why.contains("enrol with a token"), "{status}: {why}"),
        Err(error) => assert!(error.to_string().contains("CertificateRevoked"), "{error}"),
    }
    let (kept, _) = secure.issued("kept", OLD);
    for garbage in ["", "garbage", &"A".repeat(300 << 10)] {
        let (status, why) = secure.post("/renew", None, Some(&kept), garbage).await.unwrap();
        assert_eq!(status, 400, "{why}");
    }
    assert_eq!(secure.certificates(), 2, "the one that expired is forgotten; of the other two none was renewed");
}

/// An authority that the operator trusts besides ours says who its devices are, and gives them their certificates itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_not_renewed_here() {
    let dir = tempfile::tempdir().unwrap();
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "another authority");
    let path = dir.path().join("another.pem");
    std::fs::write(&path, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "pump-1");
    let signed = params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();

    let secure = Secure::start(&[("TLS__CLIENT_CA", path.to_str().unwrap())]).await;
    let shown = Shown::of(&signed.pem(), &key);
    let (status, why) = secure.post("/renew", None, Some(&shown), &request(&key, "pump-1")).await.unwrap();
    assert!(status == 403 && why.contains("none that this gateway's authority gave out"), "{status}: {why}");
}
