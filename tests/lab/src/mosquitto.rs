//! mosquitto as the peer: to measure against, and as the broker of a plant; with TLS if it is wanted.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};

use crate::binaries::Binaries;
use crate::deployment::Scratch;
use crate::ports::Reserved;
use crate::process::{Process, Program};

/// How long it may take to listen.
const READY: Duration = Duration::from_secs(10);

/// A running mosquitto.
pub struct Mosquitto {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it speaks TLS; nobody listens there if that was not wanted.
    pub tls: SocketAddr,
    /// The process.
    pub process: Process,
    _reserved: [Reserved; 2],
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where mosquitto is, if it is installed.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian puts it where ordinary users do not look.
    directories.push("/usr/sbin".into());
    directories.into_iter().map(|directory| directory.join("mosquitto")).find(|file| file.is_file())
}

impl Mosquitto {
    /// Starts it in memory, without its limits on queues.
    pub async fn start(
        path: PathBuf,
        scratch: &Scratch,
        binaries: &Binaries,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let reserved = [Reserved::new(0)?, Reserved::new(0)?];
        let [address, tls] = reserved.each_ref().map(|port| port.address);
        let settings = scratch.join("mosquitto.conf");
        let mut text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nmax_inflight_messages 0\n\
             max_queued_messages 0\nset_tcp_nodelay true\nlog_type error\n",
            address.port()
        );
        if let Some(Certificate { certificate, key }) = certificate {
            let (certificate, key) = (certificate.display(), key.display());
            text += &format!("listener {} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n", tls.port());
        }
        fs::write(&settings, text).with_context(|| format!("cannot write {}", settings.display()))?;
        let program = Program {
            name: "mosquitto".to_owned(),
            guard: binaries.lab.clone(),
            path,
            arguments: vec!["-c".into(), settings.into()],
            environment: Vec::new(),
            log: scratch.join("mosquitto.log"),
        };
        let process = program.start()?;
        let begun = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            if begun.elapsed() > READY {
                bail!("mosquitto does not listen on {address}: {error}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { address, tls, process, _reserved: reserved })
    }
}

/// One QoS 0 subscriber, as users of a broker have; it reads for ever, as fast as it comes.
pub fn subscribe(address: SocketAddr, filter: &str) -> Result<()> {
    let mut socket = TcpStream::connect(address).context("cannot connect the subscriber")?;
    let mut packets = BytesMut::new();
    let mut connect = v4::Connect::new("bench-subscriber");
    // rumqttd takes nobody who asks for none.
    connect.keep_alive = u16::MAX;
    connect.write(&mut packets).context("CONNECT")?;
    let mut subscribe = v4::Subscribe::new(filter, QoS::AtMostOnce);
    subscribe.pkid = 1;
    subscribe.write(&mut packets).context("SUBSCRIBE")?;
    socket.write_all(&packets)?;
    // CONNACK and SUBACK: 4 and 5 bytes.
    let mut answer = [0; 9];
    socket.read_exact(&mut answer).context("the broker refuses the subscriber")?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 18];
        while matches!(socket.read(&mut buffer), Ok(length) if length > 0) {}
    });
    Ok(())
}
