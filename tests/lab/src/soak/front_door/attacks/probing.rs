//! Clients that prove who they are and then try what is not theirs: topics of others, topics of agents, wide filters, the name
//! of another, a will on another's topic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;

use crate::clients::mqtt::{Hello, Link, PUBACK, SUBACK, codes, publish, subscribe};
use crate::clients::tls::secure;
use crate::soak::front_door::healthy::{agent, controller, sensor};
use crate::soak::front_door::horde::{Horde, Tally};
use crate::soak::front_door::stage::Stage;

pub(super) const COUNTERS: &[&str] = &[
    "mqtt_refusals_total{reason=\"not-authorized\"}",
    "mqtt_refusals_total{reason=\"client-id\"}",
    "access_refused_total{wanted=\"mqtt-connect\"}",
    "access_refused_total{wanted=\"mqtt-publish\"}",
    "access_refused_total{wanted=\"mqtt-subscribe\"}",
];
/// Who tries, and how soon again.
const PROBES: usize = 50;
const BACK: Duration = Duration::from_millis(200);
/// Topics of each of the kinds of healthy clients that are tried each time.
const OTHERS: usize = 10;

pub(super) fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let count = PROBES / scale;
    let names: Vec<String> = (0..count).map(|number| format!("probe-{number}")).collect();
    let clients = names.iter().map(|name| stage.certified(name)).collect::<Result<Vec<_>>>()?;
    let (gateway, known) = (stage.tls, Arc::new((names, clients)));
    Ok(Horde::gather(count, BACK, move |number, tally| {
        let known = Arc::clone(&known);
        async move {
            let (names, clients) = &*known;
            let victim = sensor(number % OTHERS);
            let mut link = secure(number, gateway, &clients[number]).await?;
            let code = Hello::of(&victim).say(&mut link).await?;
            tally.expect(code >= 0x80, || format!("{} came in as {victim}", names[number]));
            let mut link = secure(number, gateway, &clients[number]).await?;
            let topic = format!("plant/{victim}/x");
            let code = Hello { will: Some((&topic, b"gone")), ..Hello::of(&names[number]) }.say(&mut link).await?;
            tally.expect(code >= 0x80, || format!("{} left a will on {topic}", names[number]));
            let mut link = secure(number, gateway, &clients[number]).await?;
            Hello::of(&names[number]).enter(&mut link).await?;
            tally.did(2);
            for other in 0..OTHERS {
                let [agent, sensor, controller] = [agent(other), sensor(other), controller(other)];
                let topics = [
                    format!("plant/{sensor}"),
                    format!("plant/{controller}/set"),
                    format!("weir/1/default/{agent}/batch"),
                    format!("weir/1/default/{agent}/status"),
                ];
                for topic in &topics {
                    try_one(&mut link, &publish(topic, 1, b"mine"), PUBACK, topic, &tally).await?;
                }
                let filters = [format!("plant/{sensor}"), format!("weir/1/default/{agent}/command"), "#".to_owned()];
                try_one(&mut link, &subscribe(2, &filters), SUBACK, &filters.join(", "), &tally).await?;
            }
            Ok(())
        }
    }))
}

async fn try_one(link: &mut Link, packet: &[u8], kind: u8, what: &str, tally: &Tally) -> Result<()> {
    link.write_all(packet).await?;
    link.flush().await?;
    let codes = codes(kind, link).await?;
    tally.did(1);
    tally.expect(codes.iter().all(|code| *code >= 0x80), || format!("{what} was answered {codes:02x?}"));
    Ok(())
}
