//! Clients that may read all that the plant publishes, and do so by as many and as deep filters as they are given, over and
//! over, with filters among them that nobody is given. Beside them deep topics are published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::clients::mqtt::{Hello, Link, PUBACK, SUBACK, answer, codes, publish, subscribe};
use crate::clients::tls::secure;
use crate::soak::front_door::horde::{Horde, Tally};
use crate::soak::front_door::stage::Stage;

pub(super) const COUNTERS: &[&str] = &[
    "mqtt_refusals_total{reason=\"too-many-subscriptions\"}",
    "mqtt_refusals_total{reason=\"topic-filter\"}",
    "mqtt_refusals_total{reason=\"not-authorized\"}",
    "mqtt_refusals_total{reason=\"packet-too-large\"}",
];
/// Bombs at a time.
const BOMBS: usize = 40;
/// Filters that one client is given at the most, as the settings of the stage have it.
const GIVEN: usize = 64;
/// Levels of a filter.
const LEVELS: usize = 32;
/// How long one reads what it asked for, then it comes again.
const LISTEN: Duration = Duration::from_millis(500);
const BACK: Duration = Duration::from_millis(50);

pub(super) fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let count = (BOMBS / scale).max(2);
    let names: Vec<String> = (0..count).map(|number| format!("reader-{number}")).collect();
    let clients = names.iter().map(|name| stage.certified(name)).collect::<Result<Vec<_>>>()?;
    let (gateway, known) = (stage.tls, Arc::new((names, clients)));
    Ok(Horde::gather(count, BACK, move |number, tally| {
        let known = Arc::clone(&known);
        async move {
            let (names, clients) = &*known;
            let mut link = secure(number, gateway, &clients[number]).await?;
            Hello::of(&names[number]).enter(&mut link).await?;
            explode(&mut link, &names[number], number, &tally).await
        }
    }))
}

async fn explode(link: &mut Link, name: &str, number: usize, tally: &Tally) -> Result<()> {
    // Many more than it gets, no two the same.
    let wide: BTreeSet<String> = (0..2 * GIVEN).map(|form| filter(number, form)).collect();
    let wide: Vec<String> = wide.into_iter().collect();
    let given = ask(link, 1, &wide, tally).await?;
    let got = given.iter().filter(|code| **code < 0x80).count();
    tally.expect(got <= GIVEN, || format!("{got} subscriptions of one client, expected {GIVEN} at most"));
    // Everything of everybody, what is internal, too deep, too long, and shared.
    let deep = format!("plant/{}", "+/".repeat(200));
    let long = format!("plant/{}", "x".repeat(2000));
    let none = ["#", "+/+", "weir/#", "weir/1/+/+/batch", "$SYS/#", &deep, &long, "$share/all/plant/#"];
    let refused = ask(link, 2, &none, tally).await?;
    tally.expect(refused.iter().all(|code| *code >= 0x80), || format!("{none:?} were answered {refused:02x?}"));
    // On a topic that all of that matches.
    let topic = format!("plant/{name}{}", "/x".repeat(LEVELS - 2));
    link.write_all(&publish(&topic, 3, b"deep")).await?;
    link.flush().await?;
    let code = codes(PUBACK, link).await?;
    tally.expect(name.starts_with("reader-") && code[0] < 0x80, || format!("a deep topic was answered {code:02x?}"));
    let until = Instant::now() + LISTEN;
    while let Ok(heard) = timeout_at(until, answer(link)).await {
        heard?;
    }
    // A list of filters that is longer than a packet may be ends it.
    link.write_all(&subscribe(4, &vec!["plant/+"; 2000])).await?;
    link.flush().await?;
    while answer(link).await.is_ok() {}
    Ok(())
}

async fn ask<T: AsRef<str>>(link: &mut Link, id: u16, filters: &[T], tally: &Tally) -> Result<Vec<u8>> {
    link.write_all(&subscribe(id, filters)).await?;
    link.flush().await?;
    tally.did(filters.len() as u64);
    codes(SUBACK, link).await
}

/// `plant/` and then `+` and names by the bits of `form`, `#` at the end of every second.
fn filter(number: usize, form: usize) -> String {
    let level = |bit: usize| if form >> (bit % 7) & 1 == 0 { "+".to_owned() } else { format!("x{}", number * form) };
    let levels: Vec<String> = (0..1 + form % 16).map(level).collect();
    format!("plant/{}{}", levels.join("/"), if form.is_multiple_of(2) { "/#" } else { "" })
}
