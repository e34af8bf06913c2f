//! Stories of messages that any MQTT client publishes: kept as they came, exactly once where they have an identity.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::{Restart, Sequence, Tenant};
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, LogOptions};

use super::super::keeper::Removal;
use super::super::{Body, Failure, IngestOptions, Published, Sender, Verdict, clients};
use super::log_content::LogContent;
use super::payloads::*;
use super::property::seeds;
use super::{Gateway, Peer};
use crate::access::ClientId;
use crate::http::page;
use crate::mqtt::packet::{Properties, QoS};
use crate::topics::layout::Routing;
use crate::topics::stores::Store;
use crate::topics::{Retention, Role, murmur2};

/// Messages on `site/#` go to `messages`, alarms to a topic of their own.
fn options() -> IngestOptions {
    let store = |filter: &str, topic: &str| Store { filter: filter.into(), tenant: None, topic: topic.into() };
    let stores = vec![store("site/+/alarm", "alarms"), store("site/#", "messages")];
    IngestOptions {
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        routing: Routing { stores, ..Routing::default() },
        ..IngestOptions::default()
    }
}

pub(super) fn client(gateway: &mut Gateway, name: &str) -> Peer {
    gateway.connect_as(Sender { tenant: Tenant::DEFAULT, client: ClientId::new(name).unwrap() })
}

pub(super) fn published(topic: &str, identity: Option<(u64, u64)>) -> Body {
    let identity = identity.map(|(restart, sequence)| (Restart(restart), Sequence(sequence)));
    let qos = if identity.is_some() { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let topic = Bytes::copy_from_slice(topic.as_bytes());
    Body::Published(Box::new(Published { topic, qos, retain: false, properties: Properties::default(), identity }))
}

/// Publishes with identities in a row, each with its sequence as the payload.
fn send(gateway: &mut Gateway, peer: &mut Peer, restart: u64, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let payload = sequence.to_string().into_bytes();
        gateway.publish(peer, published("site/7/count", Some((restart, sequence))), payload);
        gateway.settle();
        gateway.keep().expect("writes");
    }
}

fn kept(gateway: &Gateway, name: &str, restart: u64) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, clients::device(name), restart)
}

#[test]
fn a_message_is_kept_as_it_came_in_the_topic_that_its_name_leads_to() {
    let mut gateway = Gateway::with(options());
    let mut tracker = client(&mut gateway, "tracker 7");
    // What a reading looks like in the log, but for whoever believes that.
    let disguised = b"\0\0\0\0\x01\x0edefault".to_vec();
    for (topic, payload) in [("site/7/alarm", disguised.clone()), ("site/7/temperature", b"21.5".to_vec())] {
        gateway.publish(&mut tracker, published(topic, None), payload);
    }
    assert!(tracker.verdicts().is_empty(), "nothing is told before the commit");
    gateway.settle();
    assert_eq!(tracker.verdicts(), [Verdict::Stored; 2]);

    let read = |topic: &str| {
        let topic = gateway.topics.named(topic).unwrap();
        assert_eq!((topic.role(), topic.schema_id()), (Role::Messages, None));
        // Where the default partitioner of a Kafka producer would look for the key.
        let partition = murmur2::partition(murmur2::hash(b"tracker 7"), topic.partitions().len() as u32);
        topic.partitions()[partition as usize].reader().read(0, 1 << 16).unwrap()
    };
    let alarms = read("alarms");
    let record = alarms.records().next().unwrap().unwrap();
    assert_eq!((record.key, record.value), (Some(&b"tracker 7"[..]), Some(&disguised[..])));
    let json = page::render(0, &read("messages").records().next().unwrap().unwrap());
    let value = &json["value"];
    assert_eq!((&value["topic"], &value["payload"]), (&"site/7/temperature".into(), &"21.5".into()));
    assert!(value["restart"].is_null(), "it has no identity, and may be there twice: {json}");

    let gateway = gateway.power_cut(options());
    assert_eq!((gateway.report.malformed, gateway.report.devices), (0, 0));
    assert_eq!(gateway.content().messages.len(), 2);
}

/// `mosquitto_pub` publishes at QoS 0, says DISCONNECT and closes, all in one write.
#[test]
fn a_message_whose_client_goes_in_the_same_breath_is_stored() {
    let mut gateway = Gateway::with(options());
    let mut hasty = client(&mut gateway, "hasty");
    gateway.hand_in(&mut hasty, published("site/1/x", None), b"and gone".to_vec());
    gateway.engine.disconnect(hasty.id);
    gateway.settle();
    assert_eq!(gateway.content().messages.len(), 1);
}

#[test]
fn without_an_identity_a_message_that_is_sent_twice_is_there_twice() {
    let mut gateway = Gateway::with(options());
    let mut plain = client(&mut gateway, "plain");
    for _ in 0..2 {
        gateway.publish(&mut plain, published("site/1/x", None), b"again".to_vec());
        gateway.settle();
    }
    assert_eq!(gateway.content().messages.len(), 2);
    assert_eq!(gateway.counters.snapshot().messages, 2);
}

#[test]
fn with_an_identity_it_is_there_once_however_often_it_comes() {
    let mut gateway = Gateway::with(options());
    let mut meter = client(&mut gateway, "meter/1");
    let once = || published("site/1/x", Some((9, 0)));
    // Twice before the first is committed, once after, once after a power cut.
    gateway.publish(&mut meter, once(), b"first".to_vec());
    gateway.publish(&mut meter, once(), b"first".to_vec());
    gateway.settle();
    gateway.publish(&mut meter, once(), b"first".to_vec());
    gateway.settle();
    assert_eq!(meter.verdicts(), [Verdict::Stored; 3]);
    let mut gateway = gateway.power_cut(options());
    let mut meter = client(&mut gateway, "meter/1");
    gateway.publish(&mut meter, once(), b"first".to_vec());
    gateway.publish(&mut meter, published("site/1/x", Some((9, 1))), b"second".to_vec());
    gateway.settle();
    assert_eq!(meter.verdicts(), [Verdict::Stored; 2]);
    assert_eq!(kept(&gateway, "meter/1", 9), [0, 1]);
    let stats = gateway.counters.snapshot();
    assert_eq!((stats.messages, stats.repeats, stats.readings), (1, 1, 0));
}

#[test]
fn a_message_that_was_not_committed_is_taken_again() {
    let mut gateway = Gateway::with(options());
    let mut meter = client(&mut gateway, "meter");
    gateway.fs.fail_once(Fault::Sync);
    gateway.publish(&mut meter, published("site/1/x", Some((9, 0))), b"first".to_vec());
    gateway.settle();
    assert_eq!(meter.verdicts(), [Verdict::Failed(Failure::Commit)]);
    let mut meter = client(&mut gateway, "meter");
    gateway.publish(&mut meter, published("site/1/x", Some((9, 0))), b"first".to_vec());
    gateway.settle();
    assert_eq!(meter.verdicts(), [Verdict::Stored]);
    assert_eq!(kept(&gateway, "meter", 9), [0]);
}

/// Whichever name the client has: the checkpoint knows only its ledger.
#[test]
fn what_retention_removed_is_still_known() {
    for name in ["meter", "a meter with a name that is none"] {
        let options = IngestOptions { retention: Retention { bytes: Some(12 << 10), age: None }, ..options() };
        let mut gateway = Gateway::with(options.clone());
        let mut meter = client(&mut gateway, name);
        send(&mut gateway, &mut meter, 5, 0..300);
        assert!(gateway.retain().iter().any(|ended| matches!(ended, Ok(Removal::Upto(upto)) if *upto > 0)));
        let first = kept(&gateway, name, 5)[0];
        assert!(first > 0, "the first messages are gone");

        let mut gateway = gateway.power_cut(options);
        assert!(gateway.report.records_read < 300, "most of it is known from checkpoints");
        let mut meter = client(&mut gateway, name);
        send(&mut gateway, &mut meter, 5, 0..310);
        assert!(meter.verdicts().iter().all(|verdict| *verdict == Verdict::Stored));
        assert_eq!(kept(&gateway, name, 5), (first..310).collect::<Vec<_>>(), "{name}: nothing is there again");
        gateway.content().assert_conserved();
    }
}

#[test]
fn a_client_that_moves_to_another_topic_keeps_its_ledger() {
    let mut gateway = Gateway::with(options());
    let mut meter = client(&mut gateway, "meter");
    for (sequence, topic) in ["site/1/x", "site/1/alarm", "site/2/x", "site/2/alarm"].into_iter().enumerate() {
        gateway.publish(&mut meter, published(topic, Some((5, sequence as u64))), b"x".to_vec());
    }
    gateway.settle();
    gateway.checkpoint();
    let mut gateway = gateway.power_cut(options());
    let mut meter = client(&mut gateway, "meter");
    for sequence in 0..4 {
        gateway.publish(&mut meter, published("site/1/x", Some((5, sequence))), b"x".to_vec());
    }
    gateway.settle();
    assert_eq!(gateway.content().messages.len(), 4);
}

#[test]
fn a_message_is_never_taken_for_one_of_an_agent_nor_the_other_way_round() {
    let mut gateway = Gateway::with(options());
    let mut both = client(&mut gateway, "edge-1");
    gateway.describe(&mut both, description(device("probe")));
    gateway.send(&mut both, batch(device("probe"), 1, 0..2));
    gateway.publish(&mut both, published("site/1/x", Some((1, 0))), b"x".to_vec());
    gateway.settle();
    assert_eq!(both.verdicts(), [Verdict::Stored; 3]);
    assert_eq!((kept(&gateway, "edge-1", 1), gateway.content().readings.len()), (vec![0], 3));

    // Whose name is no agent's sends no batches.
    let mut other = client(&mut gateway, "no agent");
    gateway.send(&mut other, batch(device("probe"), 1, 2..4));
    assert!(matches!(other.verdicts()[..], [Verdict::Unreadable(_)]));
}

/// Clients that send each message until it is acknowledged, over power cuts, failed commits and checkpoints: with an
/// identity it is there once, without one at least once.
#[test]
fn whatever_happens_what_was_acknowledged_is_there_and_with_an_identity_once() {
    let names = ["meter", "a meter with spaces"];
    for seed in seeds(120) {
        println!("WEIR_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut gateway = Gateway::on(FaultyFs::new(seed), options());
        // Client, sequence, and whether it had an identity.
        let mut acknowledged = BTreeSet::new();
        for _ in 0..random.random_range(3..8) {
            let mut peers = names.map(|name| client(&mut gateway, name));
            // What each ticket was.
            let mut sent = [Vec::new(), Vec::new()];
            for _ in 0..random.random_range(1..12) {
                let at = random.random_range(0..2);
                let next = (0..).find(|next| !acknowledged.contains(&(at, *next, true))).unwrap_or(0);
                // A resend overlaps what was acknowledged, and what is still under way.
                let first = u64::saturating_sub(next, random.random_range(0..3));
                for sequence in first..first + random.random_range(1..5) {
                    let topic = ["site/1/x", "site/1/alarm"][random.random_range(0..2)];
                    let payload = format!("{at}/{sequence}").into_bytes();
                    for identity in [Some((7, sequence)), None] {
                        gateway.publish(&mut peers[at], published(topic, identity), payload.clone());
                        sent[at].push((at, sequence, identity.is_some()));
                    }
                }
                match random.random_range(0..6) {
                    0 => gateway.fs.fail_once(Fault::Sync),
                    1 => {
                        gateway.engine.snapshot_all();
                        // The fault may meet the checkpoint.
                        let _ = gateway.keep();
                    }
                    2 => {}
                    _ => gateway.settle(),
                }
            }
            if random.random_range(0..2) == 0 {
                gateway.settle();
            }
            for (peer, sent) in peers.iter_mut().zip(&sent) {
                let stored = peer.outcomes().into_iter().filter(|outcome| outcome.verdict == Verdict::Stored);
                acknowledged.extend(stored.map(|outcome| sent[outcome.ticket as usize]));
            }
            gateway = gateway.power_cut(options());
            let content = gateway.content();
            content.assert_conserved();
            for (at, sequence, has_identity) in &acknowledged {
                let payload = format!("{at}/{sequence}").into_bytes();
                let own = content.messages.iter().filter(|message| message.2 == payload && message.3 == *has_identity);
                let count = own.count();
                let is_fine = if *has_identity { count == 1 } else { count >= 1 };
                assert!(is_fine, "{} {sequence}, identity {has_identity}: {count} times", names[*at]);
            }
        }
    }
}

#[test]
fn a_message_without_a_place_is_refused() {
    let mut gateway = Gateway::with(options());
    let mut lost = client(&mut gateway, "lost");
    gateway.publish(&mut lost, published("elsewhere", None), b"x".to_vec());
    gateway.settle();
    assert!(matches!(lost.verdicts()[..], [Verdict::Unreadable(_)]));
    assert!(gateway.content().messages.is_empty());
    gateway.pass(Duration::from_secs(1));
}
