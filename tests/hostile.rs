//! Bytes from strangers: refused and counted; nobody else notices.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::fs;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rumqttc::mqttbytes::{QoS, v4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_lab::deployment::Deployment;
use weir_tests::{PATIENCE, deployment, expect_to_hold, seed};

/// Resident memory of a process, in MiB.
fn memory(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// How much memory a process may have gained from rubbish, in MiB: buffers, not backlog.
const GAIN: f64 = 32.0;

async fn readings(deployment: &Deployment, more: u64) {
    let now = deployment.wait_for("the log is read", PATIENCE, |_| true).await.unwrap().readings();
    deployment.wait_for("readings go on", PATIENCE, |census| census.readings() >= now + more).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_the_serial_port_cost_nothing_but_a_resend() {
    let mut random = StdRng::seed_from_u64(seed());
    let deployment = deployment(|plan| plan.rate = 200).await;
    readings(&deployment, 100).await;
    let (pid, before) = (deployment.agent.pid(), memory(deployment.agent.pid()));
    for _ in 0..300 {
        let mut noise = vec![0; random.random_range(1..4000)];
        random.fill_bytes(&mut noise);
        deployment.boards[0].cable.inject(noise).unwrap();
        tokio::task::yield_now().await;
    }
    readings(&deployment, 100).await;
    assert_eq!(deployment.agent.pid(), pid, "the agent is the same process");
    let after = memory(pid);
    assert!(after < before + GAIN, "the agent grew from {before} to {after} MiB");
    expect_to_hold(deployment).await;
}

/// Sends `bytes` as a connection of its own and reads until the gateway closes it or says nothing more.
async fn stranger(deployment: &Deployment, bytes: &[u8]) {
    let mut socket = TcpStream::connect(deployment.mqtt).await.unwrap();
    // The gateway may close before it has read everything.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the gateway leaves a broken connection open: {:02x?}", &bytes[..bytes.len().min(32)]);
}

fn connect_and_publish() -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    v4::Connect::new("stranger").write(&mut bytes).unwrap();
    let mut publish = v4::Publish::new("weir/1/default/stranger/batch", QoS::AtLeastOnce, vec![7; 300]);
    publish.pkid = 1;
    publish.write(&mut bytes).unwrap();
    bytes.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_mqtt_port_is_refused_and_counted_beside_a_healthy_agent() {
    let mut random = StdRng::seed_from_u64(seed());
    let deployment = deployment(|plan| plan.rate = 200).await;
    readings(&deployment, 100).await;
    let (pid, before) = (deployment.gateway.pid(), memory(deployment.gateway.pid()));
    let whole = connect_and_publish();
    for round in 0..200 {
        let mut bytes = vec![0; random.random_range(1..600)];
        random.fill_bytes(&mut bytes);
        match round % 3 {
            // Nothing of MQTT in it.
            0 => stranger(&deployment, &bytes).await,
            // Cut short anywhere.
            1 => stranger(&deployment, &whole[..random.random_range(1..whole.len())]).await,
            // A good start, then rubbish.
            _ => stranger(&deployment, &[&whole[..], &bytes[..]].concat()).await,
        }
    }
    readings(&deployment, 100).await;
    assert_eq!(deployment.gateway.pid(), pid, "the gateway is the same process");
    let after = memory(pid);
    assert!(after < before + GAIN, "the gateway grew from {before} to {after} MiB");
    let metrics = deployment.log.text("/metrics").await.unwrap();
    let refused = metrics.lines().filter(|line| line.starts_with("weir_gateway_mqtt_refusals_total"));
    let refused: f64 = refused.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert!(refused > 0.0, "every refusal is counted:\n{metrics}");
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_claims_256_mib_is_refused_before_it_is_buffered() {
    let deployment = deployment(|_| ()).await;
    let before = memory(deployment.gateway.pid());
    let mut connect = bytes::BytesMut::new();
    v4::Connect::new("stranger").write(&mut connect).unwrap();
    // PUBLISH, remaining length 268,435,455: the most that MQTT can say.
    let claim = [0x32, 0xff, 0xff, 0xff, 0x7f];
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(deployment.mqtt).await.unwrap();
        socket.write_all(&connect).await.unwrap();
        socket.write_all(&claim).await.unwrap();
        strangers.push(socket);
    }
    for mut socket in strangers {
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "refused at once, without waiting for the 256 MiB");
    }
    let after = memory(deployment.gateway.pid());
    assert!(after < before + GAIN, "the gateway grew from {before} to {after} MiB");
    readings(&deployment, 20).await;
    expect_to_hold(deployment).await;
}
