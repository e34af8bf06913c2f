//! Who may read: SASL/PLAIN, SASL/SCRAM-SHA-256 and TLS, as every client does them.

use std::io::Write;
use std::process::{Command, Stdio};

use weir_tests::binaries;

use crate::client::Client;
use crate::kcat::{kcat_says, kcat_takes};
use crate::order::Order;
use crate::stage::Stage;

const USER: &str = "reader";
const PASSWORD: &str = "correct horse";
const MECHANISMS: [&str; 2] = ["PLAIN", "SCRAM-SHA-256"];
const ALL: [Client; 5] = [Client::Confluent, Client::Aiokafka, Client::Kafkajs, Client::Java, Client::Franz];
/// Readings that are stored for them.
const FEW: u64 = 800;

/// The settings of one user, as `weir-gateway user add` prints them.
fn users() -> String {
    let mut command = Command::new(&binaries().gateway);
    command.args(["user", "add", USER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let line = printed.lines().find(|line| line.contains("SCRAM-SHA-256$")).unwrap();
    format!("[kafka.users]\n{line}\n")
}

fn login(mechanism: &'static str, password: &str) -> Order {
    let login = Some((mechanism, USER.to_owned(), password.to_owned()));
    Order { login, ..Order::records(FEW) }
}

/// A certificate of 127.0.0.1 and the settings that use it.
fn certificate(directory: &std::path::Path) -> (std::path::PathBuf, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("gateway.pem"), directory.join("gateway.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = format!("tls = true\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    (certificate, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_with_either_mechanism() {
    let stage = Stage::empty(&users(), "").await;
    stage.store(0, FEW).await;
    for (client, mechanism) in ALL.iter().flat_map(|client| MECHANISMS.map(|mechanism| (client, mechanism))) {
        let Some(running) = client.start(stage.kafka, &login(mechanism, PASSWORD)) else { continue };
        stage.expect(&running.finish().await, FEW);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_as_that() {
    let stage = Stage::empty(&users(), "").await;
    for mechanism in MECHANISMS {
        let wrong = Order { login: login(mechanism, "incorrect horse").login, ..Order::of_group("intruders") };
        Client::Confluent.says(&stage, &wrong, "SASL authentication error").await;
        // It gives up as if nobody were there; its log says why.
        Client::Aiokafka.complains(&stage, &wrong, "AuthenticationFailed").await;
        Client::Kafkajs.says(&stage, &wrong, "KafkaJSSASLAuthenticationError").await;
        Client::Java.says(&stage, &wrong, "SaslAuthenticationException").await;
        Client::Franz.says(&stage, &wrong, "SASL_AUTHENTICATION_FAILED").await;
    }
    let (user, password) = (format!("sasl.username={USER}"), "sasl.password=incorrect horse");
    let sasl = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=PLAIN", "-X", &user, "-X", password];
    kcat_says(&stage, &[&["-C", "-t", "readings", "-e"], &sasl[..]].concat(), "SASL authentication error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_speaks_tls_and_trusts_no_other_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, settings) = certificate(directory.path());
    let stage = Stage::empty(&format!("{settings}{}", users()), "").await;
    stage.store(0, FEW).await;
    for client in ALL {
        let order = Order { ca: Some(ca.clone()), ..login("SCRAM-SHA-256", PASSWORD) };
        let Some(running) = client.start(stage.kafka, &order) else { continue };
        stage.expect(&running.finish().await, FEW);
    }
    let trusted = format!("ssl.ca.location={}", ca.display());
    let (user, password) = (format!("sasl.username={USER}"), format!("sasl.password={PASSWORD}"));
    let tls = ["-X", "security.protocol=SASL_SSL", "-X", "sasl.mechanism=PLAIN", "-X", &user, "-X", &password];
    let asked = [&["-C", "-t", "readings", "-e", "-X", &trusted], &tls[..]].concat();
    if let Some(taken) = kcat_takes(&stage, &asked).await {
        stage.expect(&taken, FEW);
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let (other, _) = certificate(elsewhere.path());
    let order = Order { ca: Some(other), ..Order::of_group("deceived") };
    Client::Confluent.says(&stage, &order, "certificate").await;
    Client::Java.says(&stage, &order, "SslAuthenticationException").await;
    Client::Franz.says(&stage, &order, "certificate").await;
}
