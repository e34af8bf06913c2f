//! What the parts of access do together.

use super::admin::NewToken;
use super::*;
use crate::limits::bucket::Rate;
use crate::tls::peer::CertificateId;

/// A door in front of which three failed logins of an address are too many.
fn guarded() -> Access {
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let failed_logins = Some(Rate { per_second: 1e-6, burst: 2.5 });
    let parts = Parts {
        credentials: Credentials::none(),
        revocations: Revocations::default(),
        audit: Audit::none(Arc::clone(&clock)),
        limits: Limits::new(LimitsOptions { failed_logins, ..LimitsOptions::NONE }),
        clock,
        most_waiting: 1,
    };
    let settings = Settings { mqtt: Door::Required, http: Door::Required, kafka: Door::Required, ..Settings::open() };
    Access::new(parts, settings)
}

/// One office, one router: somebody in it tries a token that was stolen and revoked, again and again.
#[tokio::test]
async fn a_guesser_is_shut_out_and_nobody_else_at_its_address() {
    let (access, router) = (guarded(), "203.0.113.7".parse().unwrap());
    let new = |role, enroll: Option<&str>| NewToken { role, enroll: enroll.map(str::to_owned), ..NewToken::default() };
    let (_, good) = access.create_token(new(Some(Role::Viewer), None)).await.unwrap();
    let (_, enrols) = access.create_token(new(None, Some("pump-1"))).await.unwrap();
    let (id, stolen) = access.create_token(new(Some(Role::Admin), None)).await.unwrap();
    access.revoke_token(&id).await.unwrap();

    let tried: Vec<_> = (0..5).map(|_| access.bearer(Some(&stolen), router).unwrap_err()).collect();
    let (unknown, too_often) = (Unproven::Unknown, Unproven::TooOften);
    assert_eq!(tried, [unknown, unknown, unknown, too_often, too_often]);
    let password = Attempt {
        client_id: "pump-1",
        username: Some("pump-1"),
        password: Some(b"guess"),
        certificate: None,
        address: router,
    };
    assert_eq!(access.authenticate(password).await.unwrap_err(), Denied::TooOften);
    assert_eq!(access.enrol(&stolen, "pump-1", router).await.unwrap_err(), EnrolError::TooOften);

    assert_eq!(access.bearer(Some(&good), router).unwrap().role, Role::Viewer);
    access.token_over_kafka(&good, router).unwrap();
    access.enrol(&enrols, "pump-1", router).await.unwrap();
    let certificate = PeerCertificate {
        tenant: Tenant::DEFAULT,
        name: "pump-1".into(),
        serial: Arc::from([1]),
        id: CertificateId::new(b"authority", &[1]),
        not_after: i64::MAX,
        der: Arc::from([]),
    };
    let attempt = Attempt { username: None, password: None, certificate: Some(&certificate), ..password };
    access.limits().address(router, Instant::now()).unwrap();
    assert_eq!(access.authenticate(attempt).await.unwrap().client.as_str(), "pump-1");
    assert_eq!(access.bearer(Some(&stolen), router).unwrap_err(), too_often);
}
