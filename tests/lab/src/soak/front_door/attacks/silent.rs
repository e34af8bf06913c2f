//! Clients that never read: subscribers of everything, publishers that take no PUBACK, and readers of the tail over HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::status;
use crate::clients::mqtt::{Hello, SUBACK, codes, plain, publish, subscribe_at};
use crate::clients::tls::secure;
use crate::soak::front_door::horde::Horde;
use crate::soak::front_door::stage::Stage;

/// In a slice none: half a minute is what somebody is given, and sockets keep what comes in a few seconds.
pub(super) const COUNTERS: &[&str] = &["mqtt_refusals_total{reason=\"not-reading\"}", "live_dropped_total"];
/// Clients of each of the three kinds.
const EACH: usize = 30;
const BACK: Duration = Duration::from_secs(1);
/// How long one stays, if nobody sends it away: longer than the gateway's patience.
const STAY: Duration = Duration::from_secs(45);
/// Bytes of a message, and how often a publisher sends one: so subscribers have more to read than any socket keeps.
const MESSAGE: usize = 16 * 1024;
const BETWEEN: Duration = Duration::from_millis(50);

pub(super) fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let count = (EACH / scale).max(3);
    let names: Vec<String> = (0..2 * count).map(|number| format!("reader-{number}")).collect();
    let clients = names.iter().map(|name| stage.certified(name)).collect::<Result<Vec<_>>>()?;
    let (gateway, http) = (stage.tls, stage.deployment.http);
    let tail = format!(
        "GET /topics/messages/tail HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.viewer.shown
    );
    let known = Arc::new((names, clients, tail));
    Ok(Horde::gather(3 * count, BACK, move |number, tally| {
        let known = Arc::clone(&known);
        async move {
            let (names, clients, tail) = &*known;
            let is_reader = number >= 2 * count;
            if is_reader {
                let mut link = plain(number, http).await?;
                let got = status(&mut link, tail.as_bytes()).await?;
                sleep(STAY).await;
                return if got == 200 { Ok(()) } else { bail!("the tail was answered {got}") };
            }
            let mut link = secure(number, gateway, &clients[number]).await?;
            Hello::of(&names[number]).enter(&mut link).await?;
            if number.is_multiple_of(2) {
                // At QoS 1 no more comes than one window of messages without a PUBACK, which sockets may keep.
                let qos = u8::from(number.is_multiple_of(4));
                link.write_all(&subscribe_at(qos, 1, &["plant/#"])).await?;
                link.flush().await?;
                codes(SUBACK, &mut link).await?;
                tally.did(1);
                sleep(STAY).await;
                return Ok(());
            }
            let packet = publish(&format!("plant/{}", names[number]), 1, &vec![b'x'; MESSAGE]);
            let send = async {
                loop {
                    link.write_all(&packet).await?;
                    link.flush().await?;
                    tally.did(1);
                    sleep(BETWEEN).await;
                }
            };
            timeout(STAY, send).await.unwrap_or(Ok(()))
        }
    }))
}
