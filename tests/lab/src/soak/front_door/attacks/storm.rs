//! Thousands of certified clients that all come at once over TLS, with a whole handshake each, stay for a while and come
//! again. Half of them have a session that outlives its connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};

use crate::clients::mqtt::Hello;
use crate::clients::tls::secure;
use crate::soak::front_door::horde::Horde;
use crate::soak::front_door::stage::Stage;

/// Clients.
pub(in crate::soak::front_door) const CLIENTS: usize = 5000;
/// How long they stay once they are in; then all the world's cables are pulled out.
const STAY: Duration = Duration::from_secs(5);
/// How long they wait before they come back.
const BACK: Duration = Duration::from_secs(1);
/// How long they wait for their session, as MQTT clients do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long their sessions are kept, in seconds.
const EXPIRY: u32 = 3600;

pub(super) fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let names: Vec<String> = (0..CLIENTS / scale).map(|number| format!("storm-{number}")).collect();
    let clients = names.iter().map(|name| stage.certified(name)).collect::<Result<Vec<_>>>()?;
    let gateway = stage.tls;
    let known = Arc::new((names, clients));
    Ok(Horde::gather(CLIENTS / scale, BACK, move |number, tally| {
        let known = Arc::clone(&known);
        async move {
            let (names, clients) = &*known;
            let expiry = if number.is_multiple_of(2) { EXPIRY } else { 0 };
            let enter = async {
                let mut link = secure(number, gateway, &clients[number]).await?;
                Hello { expiry, ..Hello::of(&names[number]) }.enter(&mut link).await?;
                anyhow::Ok(link)
            };
            let link = timeout(PATIENCE, enter).await??;
            tally.did(1);
            sleep(STAY).await;
            drop(link);
            Ok(())
        }
    }))
}
