//! The first word to a gateway, of one client, before a fleet comes: whatever is wrong with an address or a proof is said
//! once, with what to type instead.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::entrance::{Entrance, Proof};
use super::{LoadPlan, Version};
use crate::clients::mqtt::CONNACK;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an HTTP port and a TLS port answer to what they do not understand: a status line, and an alert (RFC 8446, 5.1).
const HTTP: &[u8] = b"HTTP";
const ALERT: u8 = 0x15;

/// Connects as the first client of a plan, and goes again.
///
/// # Errors
/// It is not let in.
pub(crate) async fn greet(entrance: &Entrance, plan: &LoadPlan) -> Result<()> {
    entrance.check(plan)?;
    let address = entrance.mqtt.address();
    let answer = timeout(PATIENCE, ask(entrance, plan)).await;
    let answer = answer.map_err(|_| anyhow!("{address} does not answer within {PATIENCE:?}; is MQTT spoken there?"))?;
    let answer = answer.map_err(|error| {
        let why = format!("{error:#}");
        let help = unreachable(&why, entrance.mqtt.name());
        anyhow!("{address}: {why}{help}")
    })?;
    match &answer[..] {
        [] if entrance.mqtt.name().is_none() => bail!(
            "{address} hung up without a word; MQTT is at mqtt.listen of the gateway (1883). If that port wants TLS, type \
             --gateway mqtts://HOST:PORT --ca FILE"
        ),
        [] => bail!("{address} hung up without a word; MQTT over TLS is at mqtt.tls_listen of the gateway (8883)"),
        [ALERT, ..] => bail!("TLS is spoken at {address}; type --gateway mqtts://HOST:PORT --ca FILE"),
        [first, ..] if answer.starts_with(HTTP) || *first != CONNACK => {
            let what = if answer.starts_with(HTTP) { "HTTP" } else { "no MQTT" };
            bail!("{what} is spoken at {address}; type --gateway with the port of mqtt.listen (1883)")
        }
        [_, _, _, 0, ..] => Ok(()),
        [_, _, _, code, ..] => bail!("the gateway does not let us in{}", refusal(*code, entrance, plan)),
        _ => bail!("{address} hung up within its answer"),
    }
}

/// Says CONNECT; the first bytes of the answer.
async fn ask(entrance: &Entrance, plan: &LoadPlan) -> Result<Vec<u8>> {
    let (mut link, hello) = entrance.connect(plan, 0).await?;
    let mut answer = Vec::new();
    // What hangs up at once may have answered all the same.
    let sent = async { link.write_all(&hello).await.and(link.flush().await) }.await;
    while answer.len() < HTTP.len() {
        match link.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            // A client's certificate is refused behind the handshake.
            Err(error) => return Err(error.into()),
        }
    }
    if answer.is_empty() && entrance.mqtt.name().is_some() {
        sent?;
    }
    Ok(answer)
}

/// What helps if nobody answers, or nobody that TLS believes; `name` is whom it has to be.
fn unreachable(why: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    let known = [
        ("onnection refused", "; is the gateway there? `cargo lab up` starts one".to_owned()),
        ("InvalidContentType", "; no TLS is spoken there: type --gateway mqtt://HOST:PORT".to_owned()),
        ("UnknownIssuer", "; type --ca with the authority of this gateway: <data>/ca/ca.pem of its machine".to_owned()),
        (
            "NotValidForName",
            format!("; its certificate is not for {name}: type --gateway with the name that it is for"),
        ),
        ("not valid for name", format!("; its certificate is not for {name}: type --gateway with the name in it")),
        ("tls handshake eof", "; no TLS is spoken there: type --gateway mqtt://HOST:PORT".to_owned()),
        ("CertificateRevoked", "; the certificate was revoked: type another --certificate and --key".to_owned()),
        ("CertificateExpired", "; the certificate has ended: type another --certificate and --key".to_owned()),
        ("UnknownCA", "; the gateway does not know the authority of --certificate".to_owned()),
    ];
    known.into_iter().find(|(what, _)| why.contains(what)).map_or_else(String::new, |(_, help)| help)
}

/// What a code of CONNACK means, and what helps.
fn refusal(code: u8, entrance: &Entrance, plan: &LoadPlan) -> String {
    let client = plan.client(0);
    // Of 3.1.1 by the codes that mean the same in 5 (MQTT 3.1.1, 3.2.2.3; MQTT 5, 3.2.2.2).
    let code = match (plan.version, code) {
        (Version::V4, 2) => 0x85,
        (Version::V4, 3) => 0x88,
        (Version::V4, 4) => 0x86,
        (Version::V4, 5) => 0x87,
        _ => code,
    };
    let all = client.trim_end_matches(|digit: char| digit.is_ascii_digit());
    match (code, &entrance.proof) {
        (0x85, Proof::Certificate(..)) => format!(
            ": the name in the certificate is not the client id, {client}; `weir-gateway ca issue --csr FILE --name \
             {client}` makes one"
        ),
        (0x85, _) => format!(
            ": the user may not take the client id {client}; type: weir-gateway user add USER --mqtt --clients '{all}*'"
        ),
        (0x86, _) => ": an unknown user or a wrong password; see --login, and `weir-gateway user list`".to_owned(),
        (0x87, Proof::Nothing) => format!(
            ": it wants to know who comes; type --login USER:PASSWORD after `weir-gateway user add USER --mqtt --clients \
             '{all}*'`, or --certificate and --key"
        ),
        (0x87, _) => ": that certificate, or that user, was revoked".to_owned(),
        (0x97, _) => ": it is full; let it take more: mqtt.connections".to_owned(),
        (0x9f, _) => ": too many failed logins, or connects, of this address; wait a minute".to_owned(),
        _ => format!(": CONNACK {code:#04x}; its log says why"),
    }
}
