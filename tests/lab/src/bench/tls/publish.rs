//! QoS 1 publishes over TLS: the gateway answers after its commit, mosquitto at once.

use anyhow::Result;

use super::super::Measure;
use super::super::load::{self, PUBLISHERS, WINDOW};
use super::super::side::Side;
use super::super::table::{ratios, spread};
use super::{Servers, client};

/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// Publishes of one publisher in one turn.
const EACH: usize = 40_000;
/// Of mosquitto, which takes longer for each.
const EACH_MOSQUITTO: usize = 10_000;
const TURNS: usize = 5;

pub(super) fn run(servers: &Servers, quick: bool) -> Result<Measure> {
    let scale = if quick { 10 } else { 1 };
    let config = client::config(false)?;
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for _ in 0..TURNS {
        let restart = load::new_restart();
        let load = |server, each| load::run_over(|| client::dial(server, &config), each / scale, PAYLOAD, restart);
        ours.turn(servers.pid(), || load(servers.tls, EACH))?;
        if let Some(peer) = &servers.mosquitto {
            theirs.turn(peer.process.pid(), || load(peer.tls, EACH_MOSQUITTO))?;
        }
    }
    let (got, reference) = match servers.mosquitto {
        Some(_) => {
            let ratio = spread(&ratios(&ours.rates, &theirs.rates));
            (format!("{ratio} times; {ours}"), format!("mosquitto, one QoS 0 subscriber without TLS: {theirs}"))
        }
        None => (ours.to_string(), super::NOT_INSTALLED.to_owned()),
    };
    Ok(Measure {
        what: format!(
            "QoS 1 publishes over TLS 1.3, each a valid batch of 200 B, PUBACK after commit, {PUBLISHERS} publishers, \
             window {WINDOW}"
        ),
        got: Some(got),
        reference,
        goal: "3x".to_owned(),
    })
}
