//! Bytes that nobody should send, by the thousand, beside a client that behaves.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::AsyncWriteExt;
use weir_gateway::front::refusal::Refusal;
use weir_gateway::ingest::Verdict;
use weir_gateway::mqtt::packet::Version::{V4, V5};

use crate::script::{Answered, Stage, connect, packet, publish, subscribe};

const BATCH: &str = "weir/1/default/edge-1/batch";

/// The seed of this run: `WEIR_SEED` replays one.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().next_u64());
    println!("WEIR_SEED={seed}");
    seed
}

/// Bytes of a client gone mad: noise, a good packet with flipped bits, or one that is cut short.
fn madness(random: &mut StdRng) -> Vec<u8> {
    let version = if random.random() { V4 } else { V5 };
    let mut bytes = match random.random_range(0..6) {
        0 => (0..random.random_range(1..200)).map(|_| random.random()).collect(),
        1 => connect(version, "mad-1", 30, Some(("weir/1/default/mad-1/status", "gone"))),
        2 => publish(version, "weir/1/default/mad-1/batch", random.random_range(0..4), random.random(), b"xyz"),
        3 => subscribe(version, &["weir/1/default/mad-1/command", "#"]),
        4 => packet(random.random(), &[random.random(), random.random(), random.random()]),
        _ => publish(version, "weir/1/default/mad-1/status", 1, 1, &[b'x'; 3000]),
    };
    match random.random_range(0..3) {
        0 => {
            let cut = random.random_range(0..=bytes.len());
            bytes.truncate(cut);
        }
        1 if !bytes.is_empty() => {
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
        _ => (),
    }
    bytes
}

#[tokio::test]
async fn thousands_of_mad_clients_do_not_disturb_a_healthy_one() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut stage = Stage::with_room(1_000_000);
    let mut healthy = stage.connect(V5, "edge-1").await;
    for round in 0..3000_u16 {
        let mut mad = stage.dial(V5);
        let with_session: bool = random.random();
        if with_session {
            let version = if random.random() { V4 } else { V5 };
            mad.send(&connect(version, "mad-2", 30, None)).await;
        }
        for _ in 0..random.random_range(1..4) {
            // The front may have closed already.
            let _ = mad.stream.write_all(&madness(&mut random)).await;
        }
        // A front that panics fails here: the task is joined.
        mad.vanish().await;
        if round % 100 == 0 {
            let pkid = round + 1;
            healthy.send(&publish(V5, BATCH, 1, pkid, b"healthy")).await;
            loop {
                let message = stage.message().await;
                if &message.0.payload[..] == b"healthy" {
                    stage.decide(&message, Verdict::Stored);
                    break;
                }
            }
            assert_eq!(healthy.answer().await, Answered::Acknowledged(pkid, 0));
        }
    }
    let counters = stage.front.counters();
    assert_eq!(counters.snapshot().connected, 1);
    let counted: u64 = Refusal::ALL.iter().map(|refusal| counters.refusals(*refusal)).sum();
    assert!(counted > 1000, "only {counted} refusals were counted");
}
