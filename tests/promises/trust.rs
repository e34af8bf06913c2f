//! Trust: how an agent is let in, and sent away.

use std::fs;
use std::time::Duration;

use tokio::time::timeout;
use weir_lab::deployment::{AGENT, Deployment};
use weir_tests::{PATIENCE, binaries, expect_to_hold, plan};

/// Short enough to see a renewal, long enough for a busy machine between two thirds and the end of it.
const LIFETIME: &str = "30s";
/// How often a state is looked at that sends no event.
const LOOK: Duration = Duration::from_millis(50);
/// Readings that show that the system is alive.
const ALIVE: u64 = 100;

/// A deployment whose agent speaks to the gateway itself, with nobody in between, and is not let in yet.
async fn prepare() -> Deployment {
    let plan = plan(|plan| {
        plan.tls = true;
        plan.tables = format!("[ca]\nlifetime = {LIFETIME:?}\n\n[access]\nfailed_logins_per_address = 0\n");
    });
    let lab = Deployment::prepare(plan, binaries()).await.unwrap();
    let (path, trust) = (lab.scratch.join("agent.toml"), lab.trust.as_ref().unwrap());
    let settings = fs::read_to_string(&path).unwrap();
    let direct = settings.replace(&format!(":{}\"", lab.network.address.port()), &format!(":{}\"", trust.mqtts.port()));
    assert_ne!(direct, settings);
    fs::write(path, direct).unwrap();
    lab
}

/// Waits for what no event tells.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("after {PATIENCE:?} still not: {what}"));
}

async fn readings(lab: &Deployment, at_least: u64) -> u64 {
    let what = format!("{at_least} readings in the log");
    lab.wait_for(&what, PATIENCE, |census| census.readings() >= at_least).await.unwrap().readings()
}

/// How many handshakes failed for this reason.
async fn failed(lab: &Deployment, reason: &str) -> u64 {
    let metrics = lab.log.text("/metrics").await.unwrap();
    let line = format!("weir_gateway_tls_handshakes_failed_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_let_in_by_a_token_renews_its_certificate_under_load_and_is_gone_when_it_is_revoked() {
    let mut lab = prepare().await;
    let trust = lab.trust.clone().unwrap();
    // It enrols, and ships under the name in its certificate.
    lab.launch().await.unwrap();
    let before = fs::read(&trust.device).unwrap();
    let seen = readings(&lab, ALIVE).await;
    let issued = trust.gateway(&["ca", "show"]).await.unwrap();
    assert!(issued.lines().any(|line| line.ends_with(&format!("good  default/{AGENT}"))), "{issued}");

    // At two thirds of its life the certificate is another, and nothing was interrupted by that.
    until("the certificate is renewed", async || fs::read(&trust.device).is_ok_and(|now| now != before)).await;
    let seen = readings(&lab, seen + ALIVE).await;

    // Revoked: it is disconnected, tries again and is not let in; what it ships stays in its queue.
    let revoked = trust.gateway(&["ca", "revoke", AGENT]).await.unwrap();
    assert!(revoked.lines().count() >= 2, "the certificate of now and the one before it: {revoked}");
    until("the agent was refused", async || failed(&lab, "revoked").await > 0).await;
    let stored = readings(&lab, seen).await;
    let mut accepted = lab.ledger.agent_promises();
    let enough = *accepted.borrow_and_update() + 10;
    timeout(PATIENCE, accepted.wait_for(|count| *count >= enough)).await.unwrap().unwrap();
    assert_eq!(readings(&lab, stored).await, stored, "nothing comes from whom nobody lets in");

    // Enrolled anew, it ships what it held, each reading once.
    let token = trust.gateway(&["token", "create", "--enroll", AGENT]).await.unwrap();
    trust.enroll_with(&token, &["--force"]).await.unwrap();
    readings(&lab, stored + ALIVE).await;
    expect_to_hold(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_gets_no_certificate_and_says_what_to_type() {
    let mut lab = prepare().await;
    let trust = lab.trust.clone().unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let make = async |more: &[&str]| trust.gateway(&[&["token", "create"], more].concat()).await.unwrap();
    let refused = async |token: &str| trust.enroll_with(token, &["--force"]).await.unwrap_err().to_string();

    let used = make(&["--enroll", AGENT]).await;
    trust.enroll_with(&used, &[]).await.unwrap();
    let identity = fs::read(&trust.device).unwrap();
    let short = make(&["--enroll", "another", "--expires", "1s"]).await;
    until("the token has ended", async || refused(&short).await.contains("has ended")).await;
    for (token, why) in [
        (used, "was used already"),
        (short, "has ended"),
        (make(&["--enroll", "another"]).await, "is for \"another\", not for \"lab-agent\""),
        (make(&["--role", "admin"]).await, "is for a role, not for enrolment"),
        ("weir_bm90IGEgdG9rZW4".to_owned(), "no such enrolment token"),
    ] {
        let said = refused(&token).await;
        assert!(said.contains(why) && said.contains("weir-gateway token create --enroll NAME"), "{why}: {said}");
    }
    let again = trust.enroll_with("weir_", &[]).await.unwrap_err().to_string();
    assert!(again.contains("`--force` replaces it"), "{again}");
    assert_eq!(fs::read(&trust.device).unwrap(), identity, "whoever is refused keeps what he has");
    lab.scratch.remove().unwrap();
}
