//! Whatever can be too large is: CONNECTs, packets, topics, properties, wills, lists of filters, HTTP heads and bodies,
//! WebSocket frames, Kafka requests. Some only say so, some do it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;

use super::{status, until_closed};
use crate::clients::mqtt::{
    DISCONNECT, Hello, Link, PUBACK, answer, codes, packet, plain, publish, publish_with, string,
};
use crate::clients::tls::secure;
use crate::soak::front_door::horde::{Horde, Tally};
use crate::soak::front_door::stage::Stage;

pub(super) const COUNTERS: &[&str] = &[
    "mqtt_refusals_total{reason=\"packet-too-large\"}",
    "mqtt_refusals_total{reason=\"topic-too-long\"}",
    "mqtt_refusals_total{reason=\"properties-too-long\"}",
    "kafka_refusals_total{reason=\"oversized\"}",
];
/// Attackers, and how soon each comes again.
const GIANTS: usize = 40;
const BACK: Duration = Duration::from_millis(150);
/// What is sent of something that says it is larger still: more than the largest payload.
const SENT: usize = (1 << 20) + 4096;
/// The largest remaining length of MQTT, 268,435,455.
const LARGEST: [u8; 4] = [0xff, 0xff, 0xff, 0x7f];

struct Targets {
    mqtt: SocketAddr,
    http: SocketAddr,
    kafka: SocketAddr,
    tls: SocketAddr,
    known: Vec<(String, Arc<ClientConfig>)>,
    much: Vec<u8>,
}

pub(super) fn begin(stage: &Stage, scale: usize) -> Result<Horde> {
    let count = (GIANTS / scale).max(10);
    let name = |number| format!("giant-{number}");
    let known = (0..count).map(|number| Ok((name(number), stage.certified(&name(number))?)));
    let deployment = &stage.deployment;
    let targets = Targets {
        mqtt: deployment.mqtt,
        http: deployment.http,
        kafka: deployment.kafka,
        tls: stage.tls,
        known: known.collect::<Result<_>>()?,
        much: vec![b'x'; SENT],
    };
    let targets = Arc::new(targets);
    Ok(Horde::gather(count, BACK, move |number, tally| {
        let targets = Arc::clone(&targets);
        async move { targets.attack(number, &tally).await }
    }))
}

impl Targets {
    async fn attack(&self, number: usize, tally: &Tally) -> Result<()> {
        tally.did(1);
        match number % 10 {
            // A CONNECT of 256 MiB.
            0 => self.send(number, self.mqtt, &[&[0x10], &LARGEST, &self.much]).await,
            // One that is really there, with 64 KiB of everything.
            1 => {
                let name = "x".repeat(usize::from(u16::MAX));
                let will = (name.as_str(), self.much.as_slice());
                let hello = Hello { login: Some((&name, &name)), will: Some(will), ..Hello::of(&name) };
                self.send(number, self.mqtt, &[&hello.packet()]).await
            }
            // A PUBLISH of 256 MiB, of somebody who may publish.
            2 => {
                let mut link = self.enter(number).await?;
                until_closed(&mut link, &[&[0x32], &LARGEST, &self.much, &self.much]).await;
                Ok(())
            }
            3 => self.publish(number, tally).await,
            // A SUBSCRIBE of 1 MiB.
            4 => {
                let mut link = self.enter(number).await?;
                until_closed(&mut link, &[&packet(0x82, &self.much)]).await;
                Ok(())
            }
            // A head, a path and a body of 1 MiB and more.
            5 => self.send(number, self.http, &[b"GET / HTTP/1.1\r\nHost: x\r\nX: ", &self.much, &self.much]).await,
            6 => self.send(number, self.http, &[b"GET /", &self.much]).await,
            7 => {
                let head =
                    "POST /enroll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 9999999999\r\n\r\n";
                self.send(number, self.http, &[head.as_bytes(), &self.much, &self.much]).await
            }
            // A frame of 2^62 bytes over WebSocket.
            8 => {
                let mut link = plain(number, self.http).await?;
                let got = status(&mut link, UPGRADE.as_bytes()).await?;
                tally.expect(got == 101, || format!("WebSocket was answered {got}"));
                let mut frame = vec![0x82, 0xff, 0x40];
                frame.extend_from_slice(&[0; 7 + 4]);
                until_closed(&mut link, &[&frame, &self.much]).await;
                Ok(())
            }
            // A request of 2 GiB.
            _ => self.send(number, self.kafka, &[&i32::MAX.to_be_bytes(), &self.much]).await,
        }
    }

    /// Topics, properties and payloads up to the largest packet and beyond.
    async fn publish(&self, number: usize, tally: &Tally) -> Result<()> {
        let name = &self.known[number].0;
        let mut link = self.enter(number).await?;
        let long = format!("plant/{name}/{}", "x".repeat(60_000));
        let deep = format!("plant/{name}/{}", "x/".repeat(500));
        let topic = format!("plant/{name}/x");
        let mut property = vec![0x26];
        string(b"k", &mut property);
        string(&self.much[..60_000], &mut property);
        let packets =
            [publish(&long, 1, b"x"), publish(&deep, 2, b"x"), publish_with(topic.as_bytes(), 3, &property, b"x")];
        for packet in packets {
            link.write_all(&packet).await?;
            link.flush().await?;
            let code = codes(PUBACK, &mut link).await?;
            tally.expect(code.iter().all(|code| *code >= 0x80), || format!("too much was answered {code:02x?}"));
        }
        link.write_all(&publish(&topic, 4, &self.much)).await?;
        link.flush().await?;
        let (first, body) = answer(&mut link).await?;
        tally
            .expect(first == DISCONNECT, || format!("a packet that is too large was answered {first:02x} {body:02x?}"));
        Ok(())
    }

    async fn enter(&self, number: usize) -> Result<Link> {
        let (name, client) = &self.known[number];
        let mut link = secure(number, self.tls, client).await?;
        Hello::of(name).enter(&mut link).await?;
        Ok(link)
    }

    async fn send(&self, number: usize, to: SocketAddr, parts: &[&[u8]]) -> Result<()> {
        until_closed(&mut plain(number, to).await?, parts).await;
        Ok(())
    }
}

const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";
