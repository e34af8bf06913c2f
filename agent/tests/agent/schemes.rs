//! Whoever speaks TLS to a port without it, or the other way round, is hung up on without a word; the agent says what to
//! write.

use std::process::Output;
use std::sync::Arc;

use crate::process::{Place, text};
use crate::support::doors::Door;
use crate::support::local::until;

/// A port that takes what comes and hangs up, as a broker does to what is no CONNECT.
async fn without_tls() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.readable().await;
            let _ = stream.try_read(&mut [0; 4096]);
        }
    });
    port
}

/// What a command prints, while the ports here go on.
async fn says(place: &Arc<Place>, words: Vec<String>) -> String {
    let place = Arc::clone(place);
    let output =
        tokio::task::spawn_blocking(move || place.output(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    let Output { stdout, stderr, .. } = output.await.expect("a command");
    format!("{}{}", text(&stdout), text(&stderr))
}

/// The settings of an agent that ships to `address`, and the authority that it trusts.
fn place(address: &str, authority: Option<&str>) -> Arc<Place> {
    let place = Place::with_data("");
    let ca = place.path().join("ca.pem");
    let mut settings = std::fs::read_to_string(place.config()).expect("the settings");
    settings += &format!("drain = \"10ms\"\n[system]\nenabled = false\n[uplink]\naddress = \"{address}\"\n");
    if let Some(authority) = authority {
        std::fs::write(&ca, authority).expect("a file");
        settings += &format!("ca = {ca:?}\n");
    }
    std::fs::write(place.config(), settings).expect("a file");
    Arc::new(place)
}

/// What the uplink of a running agent ran into.
async fn error_of(place: &Arc<Place>) -> String {
    let socket = place.data().join("agent.sock");
    let place = Arc::clone(place);
    let told = tokio::task::spawn_blocking(move || {
        let _agent = place.start();
        until(&socket, "/status", |answer| answer.json()["uplink"]["last_error"].is_string()).json()
    });
    told.await.expect("a status")["uplink"]["last_error"].to_string()
}

#[tokio::test]
async fn without_tls_at_a_port_that_speaks_it_is_told_to_write_the_scheme_with_it() {
    let (door, _) = Door::tls(1).await;
    let (with, enrol) = (format!("mqtts://127.0.0.1:{}", door.port), format!("http://127.0.0.1:{}", door.port));
    for (settings, version) in [("", "5"), ("mqtt = \"3.1.1\"\n", "3.1.1")] {
        let place = place(&format!("mqtt://127.0.0.1:{}", door.port), None);
        let written = std::fs::read_to_string(place.config()).expect("the settings") + settings;
        std::fs::write(place.config(), written).expect("a file");
        let said = says(&place, vec!["doctor".to_owned()]).await;
        assert!(said.contains(&format!("TLS is spoken at this port: write {with}")), "{version}: {said}");
        let said = error_of(&place).await;
        assert!(said.contains(&format!("TLS is spoken at this port: write {with}")), "{version}: {said}");
    }
    let enroll = ["enroll", "--gateway", &enrol, "--token", "t"].map(str::to_owned).to_vec();
    let said = says(&place("127.0.0.1:1", None), enroll).await;
    assert!(said.contains(&enrol.replace("http", "TLS is spoken at this port: write https")), "{said}");
}

#[tokio::test]
async fn with_tls_at_a_port_that_does_not_speak_it_is_told_to_write_the_scheme_without() {
    let (port, (_door, authority)) = (without_tls().await, Door::tls(1).await);
    let place = place(&format!("mqtts://127.0.0.1:{port}"), Some(&authority));
    let expected = "write mqtt:// in place of mqtts://, http:// in place of https://";
    let said = says(&place, vec!["doctor".to_owned()]).await;
    assert!(said.contains(expected), "{said}");
    let said = error_of(&place).await;
    assert!(said.contains(expected), "{said}");
    let (gateway, ca) = (format!("https://127.0.0.1:{port}"), place.path().join("ca.pem").display().to_string());
    let enroll = ["enroll", "--gateway", &gateway, "--token", "t", "--ca", &ca].map(str::to_owned).to_vec();
    let said = says(&place, enroll).await;
    assert!(said.contains(expected), "{said}");
}
