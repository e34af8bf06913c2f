//! A load against a gateway that refuses: what is refused is counted and sent again, and nothing is given up.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_lab::ledger::Ledger;
use weir_lab::load::{Load, LoadPlan};
use weir_lab::truth::Truths;
use weir_protocol::batch::Envelope;
use weir_protocol::{DeviceId, RangeSet};

const PATIENCE: Duration = Duration::from_secs(60);
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
const TOO_MANY: u8 = 0x97;
const DEAD_LETTERED: u8 = 0x99;

/// What a gateway took, by device.
type Taken = Arc<Mutex<BTreeMap<DeviceId, RangeSet>>>;

/// Takes connections one after the other, and answers the batches of each with the codes that it has for it; those behind
/// them, and all of later connections, with success. A code that refuses ends the connection.
async fn gateway(codes: Vec<Vec<u8>>) -> (SocketAddr, Taken) {
    gateway_that_describes(0, codes).await
}

/// The same, which answers descriptions with a code of its own.
async fn gateway_that_describes(described: u8, codes: Vec<Vec<u8>>) -> (SocketAddr, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Taken::default());
    let all = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut codes = codes.into_iter();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            serve(socket, described, codes.next().unwrap_or_default(), &all).await;
        }
    });
    (address, taken)
}

async fn serve(mut socket: TcpStream, described: u8, codes: Vec<u8>, taken: &Taken) {
    let (mut input, mut codes) = (BytesMut::new(), codes.into_iter());
    loop {
        let (id, code) = match Packet::read(&mut input, None) {
            Ok(Packet::Connect(..)) => {
                socket.write_all(CONNACK).await.unwrap();
                continue;
            }
            Ok(Packet::Publish(publish)) if publish.topic.ends_with(b"/batch") => {
                let code = codes.next().unwrap_or(0);
                if code == 0 || code == DEAD_LETTERED {
                    let mut taken = taken.lock().unwrap();
                    for span in Envelope::open(&publish.payload).unwrap().manifest() {
                        taken.entry(span.device).or_default().insert(span.start.0..span.end.0);
                    }
                }
                (publish.pkid, code)
            }
            Ok(Packet::Publish(publish)) => (publish.pkid, described),
            Ok(other) => panic!("{other:?}"),
            Err(Error::InsufficientBytes(_)) => match socket.read_buf(&mut input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
            Err(error) => panic!("{error}"),
        };
        let [high, low] = id.to_be_bytes();
        // Whoever is gone needs no answer.
        let _ = socket.write_all(&[0x40, 3, high, low, code]).await;
        if code == TOO_MANY {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_and_sent_again_until_it_is_taken() {
    let (address, taken) = gateway(vec![vec![0, TOO_MANY], vec![TOO_MANY], vec![DEAD_LETTERED]]).await;
    let plan = LoadPlan { devices: 5, connections: 1, rate: 500.0, batch: 20, ..LoadPlan::new(1) };
    let mut truths = Truths::default();
    let mut load = Load::start(plan, address, Ledger::new(), &mut truths).await.unwrap();
    let three_connections = async {
        while load.seen().counts.connects < 3 || load.seen().counts.acknowledged < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, three_connections).await.unwrap();
    load.settle(PATIENCE).await.unwrap();
    let outcome = load.finish().await;
    let counts = &outcome.seen.counts;
    assert_eq!((counts.acknowledged, counts.sent), (outcome.seen.due, outcome.seen.due), "{counts:?}");
    assert_eq!(counts.refusals.get("PUBACK 0x97"), Some(&2), "{counts:?}");
    assert_eq!(counts.dead_lettered, 20, "{counts:?}");
    assert!(counts.sent_again >= 20, "{counts:?}");
    assert_eq!(outcome.unacknowledged, []);
    let taken = taken.lock().unwrap();
    assert_eq!(taken.values().map(RangeSet::len).sum::<u64>(), outcome.seen.due);
    assert!(
        taken.values().all(|sequences| sequences.range_count() == 1),
        "from the first on, without a hole: {taken:?}"
    );
}

#[tokio::test]
async fn what_nobody_takes_is_named_to_the_last_reading() {
    let (address, _) = gateway(vec![vec![TOO_MANY]; 100_000]).await;
    let plan = LoadPlan { devices: 3, connections: 1, rate: 300.0, batch: 20, ..LoadPlan::new(1) };
    let mut truths = Truths::default();
    let mut load = Load::start(plan, address, Ledger::new(), &mut truths).await.unwrap();
    let refused = async {
        while load.seen().counts.refusals.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    let error = load.settle(Duration::from_millis(100)).await.unwrap_err().to_string();
    assert!(error.contains("PUBACK 0x97"), "{error}");
    let outcome = load.finish().await;
    let named: u64 = outcome.unacknowledged.iter().map(|(_, run)| run.end - run.start).sum();
    assert!(named > 0 && named == outcome.seen.due, "{outcome:?}");
    assert!(outcome.unacknowledged.iter().all(|(_, run)| run.start == 0), "{outcome:?}");
}

/// Regression: what another agent's device sends is dead-lettered and no verdict, so a load with other connections than the one
/// before was told that everything acknowledged was lost.
#[tokio::test]
async fn a_device_that_is_bound_to_another_agent_is_said_before_anything_is_due() {
    let (address, _) = gateway_that_describes(DEAD_LETTERED, Vec::new()).await;
    let plan = LoadPlan { devices: 3, connections: 1, ..LoadPlan::new(1) };
    let started = Load::start(plan, address, Ledger::new(), &mut Truths::default()).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("load-0000") && error.contains("--connections") && error.contains("--name"), "{error}");
}
