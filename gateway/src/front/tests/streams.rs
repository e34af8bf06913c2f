//! Random streams of packets, good, half good and hostile, in both versions, over connections and power cuts.
//!
//! Whatever comes: nothing panics or hangs, every answer is a packet that another codec reads, memory stays within its bound,
//! a durable session is there again, and what was acknowledged is in the log: at QoS 2 once, at QoS 1 at least once and
//! no more often than it was sent.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::packets::{acknowledgement, connect, packet, publish, subscribe, unsubscribe};
use super::*;
use crate::mqtt::packet::Version::{V4, V5};

const TOPICS: [&str; 5] = ["t/a", "t/b", "t/a/c", "weir/1/default/client/status", REFUSED];
/// What nothing stores.
const REFUSED: &str = "nobody/stores/this";
const FILTERS: [&str; 7] = ["t/#", "t/+", "#", "t/a", "$share/g/t/#", "a/#/b", "1/2/3/4/5/6/7/8/9"];
/// Packet ids of messages that are kept book of: one more than a client of MQTT 5 may use at a time.
const IDS: std::ops::RangeInclusive<u16> = 1..=6;
/// From here on are the packet ids of what is hostile, so far that one wrong bit makes none of the others of it.
const HOSTILE: u16 = 0x5500;

/// Reads a number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_send_is_answered_or_refused_and_what_is_acknowledged_is_stored() {
    let first = setting("WEIR_SEED", 1);
    for seed in first..first + setting("WEIR_SEEDS", 6) {
        for version in [V4, V5] {
            if let Err(error) = tokio::spawn(live(seed, version)).await {
                panic!("WEIR_SEED={seed} WEIR_SEEDS=1 {version:?}: {error}");
            }
        }
    }
}

/// A message above QoS 0 that is not finished.
#[derive(Clone)]
struct Out {
    first: u8,
    topic: &'static str,
    payload: String,
    /// PUBREC came.
    is_received: bool,
    /// PUBREL was sent on this connection.
    is_released: bool,
}

/// A client, and its book.
struct Client {
    random: StdRng,
    version: Version,
    out: BTreeMap<u16, Out>,
    /// Its session outlives the connection.
    is_durable: bool,
    messages: u32,
    /// How often each payload was sent, and at which QoS.
    sent: BTreeMap<String, (u8, usize)>,
    acknowledged: BTreeSet<String>,
    /// Messages that it got at QoS 1 and did not acknowledge.
    got: Vec<u16>,
}

/// What comes behind one action.
enum Then {
    GoOn,
    /// What was sent makes sense to nobody: nothing more is sent that is kept book of.
    Wild,
}

async fn live(seed: u64, version: Version) {
    let mut random = StdRng::seed_from_u64(seed);
    let connections = random.random_range(2..6);
    let mut rig = Rig::open(FaultyFs::new(seed));
    let mut client = Client {
        random,
        version,
        out: BTreeMap::new(),
        is_durable: false,
        messages: 0,
        sent: BTreeMap::new(),
        acknowledged: BTreeSet::new(),
        got: Vec::new(),
    };
    let mut before = None;
    for _ in 0..connections {
        client.intrude(&rig).await;
        let mut peer = client.come(&rig, before.take()).await;
        let mut is_wild = false;
        for _ in 0..client.random.random_range(5..60) {
            if is_wild || matches!(client.act(&mut peer).await, Then::Wild) {
                is_wild = true;
                let junk: Vec<u8> = (0..client.random.random_range(0..300)).map(|_| client.random.random()).collect();
                if !peer.send(&junk).await {
                    break;
                }
            }
            if client.random.random_bool(0.3) {
                tokio::task::yield_now().await;
            }
            while let Ok(answer) = peer.answers.try_recv() {
                client.hear(answer);
            }
            rig.check_memory(2);
        }
        match client.random.random_range(0..6) {
            0 => {
                let _ = peer.send(&[0xe0, 0]).await;
                client.leave(peer).await;
            }
            // The next connection takes the session over.
            1 => before = Some(peer),
            2 => {
                rig = rig.power_cut();
                client.leave(peer).await;
            }
            _ => client.leave(peer).await,
        }
    }
    if let Some(peer) = before {
        client.leave(peer).await;
    }
    assert_eq!(rig.front.counters().snapshot().held, 0, "who is gone holds nothing");
    let stored = rig.stored().await;
    let count = |payload: &str| stored.get(payload.as_bytes()).copied().unwrap_or(0);
    for payload in &client.acknowledged {
        assert!(count(payload) > 0, "{payload} was acknowledged and is not stored");
    }
    for (payload, (qos, times)) in &client.sent {
        let most = if *qos == 1 { *times } else { 1 };
        assert!(count(payload) <= most, "{payload} at QoS {qos}, sent {times} times: {} times", count(payload));
    }
}

impl Client {
    /// Somebody else comes, with bytes that begin no session or with one that is over at once.
    async fn intrude(&mut self, rig: &Rig) {
        let mut bytes = connect(self.version, "intruder", true, false);
        let at = self.random.random_range(0..bytes.len());
        match self.random.random_range(0..4) {
            0 => bytes[at] ^= 1 << self.random.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.iter_mut().for_each(|byte| *byte = self.random.random()),
            _ => bytes.extend(packet(0xf0, &[])),
        }
        // A wrong bit in its version makes it speak the other one.
        let version = if bytes.get(8) == Some(&4) { V4 } else { V5 };
        let mut peer = rig.dial(version);
        let _ = peer.send(&bytes).await;
        peer.end().await;
    }

    /// Begins a session, or goes on with one, while the connection before this one may still be there.
    async fn come(&mut self, rig: &Rig, before: Option<Peer>) -> Peer {
        let clean = self.random.random_bool(0.2);
        let durable = if self.version == V4 { !clean } else { self.random.random_bool(0.8) };
        let mut peer = rig.dial(self.version);
        assert!(peer.send(&connect(self.version, "client", clean, durable)).await);
        let answer = timeout(PATIENCE, peer.answers.recv()).await.unwrap().unwrap();
        let Answer::Connected { present, code: 0 } = answer else { panic!("{answer:?}") };
        if let Some(before) = before {
            self.leave(before).await;
        }
        assert_eq!(present, self.is_durable && !clean, "a durable session is there, and no other");
        self.is_durable = durable;
        if !present {
            self.out.clear();
        }
        self.got.clear();
        // On 3.1.1 nobody is told what was refused; this client remembers.
        self.out.retain(|_, out| out.topic != REFUSED);
        self.out.values_mut().for_each(|out| out.is_released = out.is_received);
        for (id, out) in self.out.clone() {
            let bytes = match out.is_received {
                true => acknowledgement(0x62, id),
                false => self.message(out.first | 8, id, out.topic, &[], &out.payload),
            };
            let _ = peer.send(&bytes).await;
        }
        peer
    }

    /// The connection ends.
    async fn leave(&mut self, peer: Peer) {
        for answer in peer.end().await {
            self.hear(answer);
        }
    }

    fn message(&mut self, first: u8, id: u16, topic: &str, more: &[u8], payload: &str) -> Vec<u8> {
        let sent = self.sent.entry(payload.to_owned()).or_insert((first >> 1 & 3, 0));
        sent.1 += 1;
        publish(self.version, first, topic, id, more, payload.as_bytes())
    }

    /// Sends one thing.
    async fn act(&mut self, peer: &mut Peer) -> Then {
        let filter = FILTERS[self.random.random_range(0..FILTERS.len())];
        let bytes = match self.random.random_range(0..40) {
            0..18 => match self.publish() {
                Some(bytes) => bytes,
                None => return Then::GoOn,
            },
            18..24 => {
                let received = self.out.iter_mut().find(|(_, out)| out.is_received && !out.is_released);
                let Some((id, out)) = received else { return Then::GoOn };
                out.is_released = true;
                acknowledgement(0x62, *id)
            }
            24..27 => subscribe(self.version, 30, filter, self.random.random_range(0..3)),
            27 => unsubscribe(self.version, 31, filter),
            28..32 => match self.got.pop() {
                Some(id) => acknowledgement(0x40, id),
                None => return Then::GoOn,
            },
            32..35 => vec![0xc0, 0],
            // Acknowledgements of what was never sent.
            35..38 => {
                let first = [0x40, 0x50, 0x62, 0x70][self.random.random_range(0..4)];
                acknowledgement(first, HOSTILE)
            }
            _ => {
                let mut bytes = self.hostile();
                let at = self.random.random_range(0..bytes.len());
                match self.random.random_range(0..3) {
                    0 => bytes[at] ^= 1 << self.random.random_range(0..8),
                    1 => bytes.truncate(at),
                    _ => (),
                }
                let _ = peer.send(&bytes).await;
                return Then::Wild;
            }
        };
        // In pieces, as networks deal them out.
        let at = self.random.random_range(0..=bytes.len());
        let _ = peer.send(&bytes[..at]).await && peer.send(&bytes[at..]).await;
        Then::GoOn
    }

    /// The next message: at QoS 0, or with a packet id that is free.
    fn publish(&mut self) -> Option<Vec<u8>> {
        let qos = self.random.random_range(0..3u8);
        let free = IDS.clone().find(|id| !self.out.contains_key(id));
        let id = if qos == 0 { 0 } else { free? };
        let topic = TOPICS[self.random.random_range(0..TOPICS.len()).min(self.random.random_range(0..TOPICS.len()))];
        let first = 0x30 | qos << 1 | u8::from(self.random.random_bool(0.2));
        self.messages += 1;
        let payload = format!("{}{}", self.messages, ".".repeat(self.random.random_range(0..2000)));
        if qos > 0 {
            self.out.insert(id, Out { first, topic, payload: payload.clone(), is_received: false, is_released: false });
        }
        let more: &[u8] = match self.random.random_range(0..6) {
            0 => &[0x02, 0, 0, 14, 16],
            1 => b"\x26\x00\x01k\x00\x01v",
            2 => &[0x23, 0, 3],
            _ => &[],
        };
        Some(self.message(first, id, topic, more, &payload))
    }

    /// What no client may send, or what a wrong bit makes into that.
    fn hostile(&mut self) -> Vec<u8> {
        let (version, id) = (self.version, HOSTILE);
        match self.random.random_range(0..9) {
            0 => publish(version, 0x32, "t/+", id, &[], b"wildcard"),
            1 => publish(version, 0x36, "t/a", id, &[], b"both bits of QoS"),
            2 => publish(version, 0x32, "t/a", id, &[0x23, 0, 200], b"no such alias"),
            3 => publish(version, 0x34, "t/\u{1f525}", id, &[], b"good"),
            4 => packet(0x30, &vec![0x41; 300 << 10]),
            5 => vec![0x30, 0xff, 0xff, 0xff, 0x7f],
            6 => subscribe(version, id, "t/#", 0xff),
            7 => connect(version, "client", true, false),
            _ => packet(0xf0, b"AUTH"),
        }
    }

    /// Keeps book of what it is told.
    fn hear(&mut self, answer: Answer) {
        let (id, code) = match answer {
            Answer::Acknowledged(id, code) | Answer::Received(id, code) => (id, code),
            Answer::Completed(id) => (id, 0),
            Answer::Message { id, qos: 1 } => return self.got.push(id),
            Answer::Message { qos, .. } => return assert_eq!(qos, 0, "nothing above QoS 1 is granted"),
            _ => return,
        };
        if !IDS.contains(&id) {
            return;
        }
        let Some(out) = self.out.get_mut(&id) else { panic!("{answer:?} answers nothing") };
        let is_stored = code < 0x80 && !out.topic.ends_with("/status");
        match answer {
            Answer::Completed(_) => assert!(out.is_received),
            _ if is_stored => drop(self.acknowledged.insert(out.payload.clone())),
            _ => (),
        }
        match answer {
            Answer::Received(..) if code < 0x80 => out.is_received = true,
            _ => drop(self.out.remove(&id)),
        }
    }
}
