//! rumqttd with a listener of its own, as a process beside the gateway: the peer of live fan-out.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::ports::Reserved;
use crate::process::{Process, Program};

/// How long it may take to listen.
const READY: Duration = Duration::from_secs(10);

/// Serves MQTT 3.1.1 with rumqttd until it is killed, with the limits of its own sample settings.
#[derive(Args, Clone, Debug)]
pub struct Rumqttd {
    /// Where to listen
    pub address: SocketAddr,
}

/// Runs it.
pub fn run(options: &Rumqttd) -> Result<()> {
    let server = ServerSettings {
        name: "v4".to_owned(),
        listen: options.address,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: 20_480,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let router = RouterConfig {
        max_connections: 10_010,
        max_outgoing_packet_count: 200,
        max_segment_size: 100 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let v4 = Some(HashMap::from([("1".to_owned(), server)]));
    Broker::new(Config { router, v4, ..Config::default() }).start().context("rumqttd")
}

/// It, running.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) process: Process,
    _reserved: Reserved,
}

impl Peer {
    /// Starts it on a free port.
    pub(super) async fn start(scratch: &Scratch, binaries: &Binaries) -> Result<Self> {
        let reserved = Reserved::new(0)?;
        let address = reserved.address;
        let program = Program {
            name: "rumqttd".to_owned(),
            guard: binaries.lab.clone(),
            path: binaries.lab.clone(),
            arguments: vec!["rumqttd".into(), address.to_string().into()],
            environment: Vec::new(),
            log: scratch.join("rumqttd.log"),
        };
        let process = program.start()?;
        let begun = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            if begun.elapsed() > READY {
                bail!("rumqttd does not listen on {address}: {error}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { address, process, _reserved: reserved })
    }
}
