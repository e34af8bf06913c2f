//! A token that was stolen and then revoked, on every port; one of the lowest role that tries more; an enrolment token that
//! was used up; passwords that are guessed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::status;
use crate::clients::mqtt::{Hello, plain};
use crate::kafka::client::Client;
use crate::soak::front_door::healthy::controller;
use crate::soak::front_door::horde::{Horde, Tally};
use crate::soak::front_door::stage::Stage;

/// In a slice all but the first.
pub(super) const COUNTERS: &[&str] = &[
    "mqtt_limited_total{reason=\"failed-logins\"}",
    "access_refused_total{wanted=\"http\"}",
    "access_refused_total{wanted=\"kafka\"}",
    "access_refused_total{wanted=\"enrol\"}",
    "access_refused_total{wanted=\"mqtt-connect\"}",
];
/// Thieves, and how soon each tries again.
const THIEVES: usize = 60;
const BACK: Duration = Duration::from_millis(20);
/// Who enrolled with the token that is tried again.
const ENROLLED: &str = "enrolled-0";

/// What thieves have, and where they try it.
struct Loot {
    stolen: String,
    used: String,
    viewer: String,
    request: String,
    mqtt: std::net::SocketAddr,
    http: std::net::SocketAddr,
    kafka: std::net::SocketAddr,
}

pub(super) async fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let stolen = stage.token(&["--role", "admin"]).await?;
    stage.command(&["token", "revoke", &stolen.id], "").await?;
    let used = stage.token(&["--enroll", ENROLLED]).await?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::new(vec![ENROLLED.to_owned()])?.serialize_request(&key)?.pem()?;
    let deployment = &stage.deployment;
    let loot = Loot {
        stolen: stolen.shown,
        used: used.shown,
        viewer: stage.viewer.shown.clone(),
        request,
        mqtt: deployment.mqtt,
        http: deployment.http,
        kafka: deployment.kafka,
    };
    // The owner comes first.
    let mut owner = plain(0, loot.http).await?;
    match status(&mut owner, &loot.enrol()).await? {
        201 => (),
        got => bail!("a good enrolment token was answered {got}"),
    }
    let loot = Arc::new(loot);
    Ok(Horde::gather(THIEVES / scale, BACK, move |number, tally| {
        let loot = Arc::clone(&loot);
        async move { loot.try_one(number, &tally).await }
    }))
}

impl Loot {
    async fn try_one(&self, number: usize, tally: &Tally) -> Result<()> {
        let refused = |status: u16| (400..500).contains(&status);
        tally.did(1);
        match number % 6 {
            0 => {
                let path = "/topics/readings/partitions/0/records?offset=0&limit=10";
                let got = self.http(number, &get("GET", path, &self.stolen)).await?;
                tally.expect(refused(got), || format!("the stolen token was answered {got} over HTTP"));
            }
            1 => {
                let got = self.http(number, &get("POST", "/access/tokens", &self.viewer)).await?;
                tally.expect(refused(got), || format!("a viewer made a token: {got}"));
                let got = self.http(number, &get("DELETE", "/sessions/default/sensor-0", &self.viewer)).await?;
                tally.expect(refused(got), || format!("a viewer ended a session: {got}"));
            }
            2 => {
                let got = self.http(number, &self.enrol()).await?;
                tally.expect(refused(got), || format!("a used token was answered {got}"));
            }
            3 => {
                let is_in = Client::connect(self.kafka).await?.login(&self.stolen).await.is_ok();
                tally.expect(!is_in, || "the stolen token was taken over Kafka".to_owned());
            }
            4 => {
                let name = controller(number % 3);
                let mut link = plain(number, self.mqtt).await?;
                let code = Hello { login: Some((&name, "battery staple")), ..Hello::of(&name) }.say(&mut link).await?;
                tally.expect(code >= 0x80, || format!("a guessed password of {name} was taken"));
            }
            _ => {
                let path = "/topics/readings/tail";
                let got = self.http(number, &get("GET", path, "weir_guessed")).await?;
                tally.expect(refused(got), || format!("a guessed token was answered {got}"));
            }
        }
        Ok(())
    }

    async fn http(&self, number: usize, request: &[u8]) -> Result<u16> {
        status(&mut plain(number, self.http).await?, request).await
    }

    fn enrol(&self) -> Vec<u8> {
        let Self { used, request, .. } = self;
        format!(
            "POST /enroll?name={ENROLLED} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {used}\r\nContent-Length: {}\r\n\r\n{request}",
            request.len()
        )
        .into_bytes()
    }
}

fn get(method: &str, path: &str, token: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    format!("{head}Content-Length: 0\r\n\r\n").into_bytes()
}
