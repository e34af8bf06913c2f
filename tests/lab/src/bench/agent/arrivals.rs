//! What has arrived at the broker: a subscriber that counts readings, each once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use weir_protocol::batch::{Envelope, MAX_PAYLOAD};
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{DeviceId, RangeSet, Restart};

use super::payload::FIELDS;

/// The largest packet that is read: our batch, or a thousand points.
const MAX_PACKET: usize = 2 * MAX_PAYLOAD;
/// How often the count is looked at.
const LOOK: Duration = Duration::from_millis(2);

pub(super) struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    /// Subscribes to everything at `broker`.
    pub(super) fn new(broker: SocketAddr) -> Result<Self> {
        let mut socket = TcpStream::connect(broker).context("cannot connect the subscriber")?;
        let mut packets = BytesMut::new();
        let mut connect = v4::Connect::new("arrivals");
        connect.keep_alive = 0;
        connect.write(&mut packets).context("CONNECT")?;
        let mut subscribe = v4::Subscribe::new("#", QoS::AtMostOnce);
        subscribe.pkid = 1;
        subscribe.write(&mut packets).context("SUBSCRIBE")?;
        socket.write_all(&packets)?;
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        std::thread::spawn(move || read(socket, &counter));
        Ok(Self(count))
    }

    /// Readings so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until there are so many.
    pub(super) fn wait(&self, readings: u64, patience: Duration) -> Result<()> {
        let (mut begun, mut last) = (Instant::now(), self.count());
        while self.count() < readings {
            if self.count() > last {
                (begun, last) = (Instant::now(), self.count());
            }
            if begun.elapsed() > patience {
                bail!("{} of {readings} readings arrived, and no more within {patience:?}", self.count());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Until the broker hangs up.
fn read(mut socket: TcpStream, count: &AtomicU64) {
    let mut stream = BytesMut::new();
    let mut chunk = vec![0; 1 << 18];
    let mut seen = BTreeMap::new();
    while let Ok(length) = socket.read(&mut chunk) {
        if length == 0 {
            return;
        }
        stream.extend_from_slice(&chunk[..length]);
        while let Ok(packet) = v4::Packet::read(&mut stream, MAX_PACKET) {
            if let v4::Packet::Publish(publish) = packet {
                count.fetch_add(readings(&publish, &mut seen), Ordering::Relaxed);
            }
        }
    }
}

/// Readings in a message that were not there before; of line protocol all of them, as they have no identity.
fn readings(publish: &v4::Publish, seen: &mut BTreeMap<(DeviceId, Restart), RangeSet>) -> u64 {
    let Some(topic) = Topic::parse(&publish.topic) else {
        return publish.payload.iter().filter(|byte| **byte == b'\n').count() as u64 * FIELDS;
    };
    let Some(envelope) = Envelope::open(&publish.payload).ok().filter(|_| topic.purpose == Purpose::Batch) else {
        return 0;
    };
    let mut new = 0;
    for span in envelope.manifest() {
        let seen = seen.entry((span.device, span.restart)).or_default();
        let before = seen.len();
        seen.insert(span.start.0..span.end.0);
        new += seen.len() - before;
    }
    new
}
