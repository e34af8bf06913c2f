//! Clients whose certificate has ended, was revoked by either authority, is of an authority that nobody trusts, or that show
//! none at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use crate::clients::mqtt::Hello;
use crate::clients::tls::secure;
use crate::soak::front_door::authority::{Authority, Flaw};
use crate::soak::front_door::horde::Horde;
use crate::soak::front_door::stage::Stage;

pub(super) const COUNTERS: &[&str] = &[
    "tls_handshakes_failed_total{reason=\"expired\"}",
    "tls_handshakes_failed_total{reason=\"revoked\"}",
    "tls_handshakes_failed_total{reason=\"untrusted\"}",
    "mqtt_refusals_total{reason=\"nothing-proven\"}",
];
/// Clients at a time, and how soon they come again: without an answer to wait for they could come without a pause.
const CLIENTS: usize = 100;
const BACK: Duration = Duration::from_millis(200);
/// The gauge of what is revoked, how soon it has to know, and how often that is looked at.
const REVOKED: &str = "tls_revoked";
const KNOWN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// Whose certificates were good once.
const LOST: &str = "lost-0";

pub(super) async fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let stranger = Authority::new("A stranger")?;
    let revoked = stage.issued(LOST).await?;
    let before = stage.counter(REVOKED).await?;
    stage.command(&["ca", "revoke", LOST], "").await?;
    let begun = Instant::now();
    while stage.counter(REVOKED).await? == before {
        if begun.elapsed() > KNOWN {
            bail!("the gateway does not know after {KNOWN:?} that {LOST} is revoked");
        }
        sleep(LOOK).await;
    }
    let clients = [
        ("expired-0", stage.client(Some(&stage.plant.card("expired-0", Flaw::Expired)?))?),
        ("revoked-0", stage.client(Some(&stage.plant.card("revoked-0", Flaw::Revoked)?))?),
        (LOST, revoked),
        ("sensor-0", stage.client(Some(&stranger.card("sensor-0", Flaw::None)?))?),
        ("sensor-0", stage.client(None)?),
    ];
    let (gateway, clients) = (stage.tls, Arc::new(clients));
    Ok(Horde::gather(CLIENTS / scale, BACK, move |number, tally| {
        let clients = Arc::clone(&clients);
        async move {
            let (name, client) = &clients[number % clients.len()];
            tally.did(1);
            // In TLS 1.3 a client hears only afterwards that its certificate is not taken.
            let Ok(mut link) = secure(number, gateway, client).await else { return Ok(()) };
            if let Ok(code) = Hello::of(name).say(&mut link).await {
                tally.expect(code >= 0x80, || format!("{name} came in with a certificate that is not good"));
            }
            Ok(())
        }
    }))
}
