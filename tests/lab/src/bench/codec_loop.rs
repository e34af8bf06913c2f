//! The least that an MQTT server can do and still be honest: it decodes each PUBLISH with rumqttc's codec, appends the
//! payload to one file, and answers PUBACK once the `fdatasync` of its group has returned. It knows no identity, no
//! topic and no repeat. What the gateway takes more than this is the price of being a gateway.
//!
//! Natural group commit, as in the storage: a group is what came while the group before was synced.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use clap::Args;
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes read at once; what a group holds is bounded by the windows of its connections.
const READ: usize = 256 * 1024;
/// The largest packet.
const MAX_PACKET: usize = 2 << 20;

/// Serves the minimal loop until it is killed; prints its address.
#[derive(Args, Clone, Debug)]
pub struct CodecLoop {
    /// The file that payloads are appended to
    pub file: PathBuf,
}

/// Runs it.
pub async fn run(options: &CodecLoop) -> Result<()> {
    let file = File::create(&options.file).with_context(|| format!("cannot make {}", options.file.display()))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    println!("{}", listener.local_addr().context("no address")?);
    let disk = Arc::new(Disk::default());
    let committing = disk.clone();
    std::thread::Builder::new().name("commit".into()).spawn(move || committing.run(file))?;
    loop {
        let (socket, _) = listener.accept().await.context("cannot accept")?;
        tokio::spawn(serve(socket, disk.clone()));
    }
}

/// The group that is being filled, and the groups that are on disk.
struct Disk {
    filling: Mutex<Group>,
    work: Condvar,
    synced: watch::Sender<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        let filling = Mutex::new(Group { number: 1, bytes: Vec::new() });
        Self { filling, work: Condvar::new(), synced: watch::Sender::new(0) }
    }
}

/// Payloads that are written and synced together.
struct Group {
    number: u64,
    bytes: Vec<u8>,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Group> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds payloads; the number of the group that holds them.
    fn append(&self, payloads: &[u8]) -> u64 {
        let mut group = self.lock();
        group.bytes.extend_from_slice(payloads);
        self.work.notify_one();
        group.number
    }

    /// Writes and syncs one group after the other. An error ends it: then nothing is acknowledged any more.
    fn run(&self, mut file: File) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let mut group = self.lock();
            while group.bytes.is_empty() {
                group = self.work.wait(group).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut group.bytes, &mut bytes);
            let number = group.number;
            group.number += 1;
            drop(group);
            file.write_all(&bytes)?;
            file.sync_data()?;
            bytes.clear();
            self.synced.send_replace(number);
        }
    }
}

/// One connection, until it closes or is no MQTT 3.1.1.
async fn serve(mut socket: TcpStream, disk: Arc<Disk>) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut synced = disk.synced.subscribe();
    let (mut received, mut answers, mut payloads) = (BytesMut::with_capacity(READ), BytesMut::new(), Vec::new());
    let mut waiting: VecDeque<(u64, Vec<u16>)> = VecDeque::new();
    loop {
        tokio::select! {
            read = socket.read_buf(&mut received) => if read? == 0 { return Ok(()) },
            changed = synced.changed(), if !waiting.is_empty() => changed?,
        }
        let mut ids = Vec::new();
        loop {
            match Packet::read(&mut received, MAX_PACKET) {
                Ok(Packet::Connect(_)) => {
                    ConnAck::new(ConnectReturnCode::Success, false).write(&mut answers).map(drop)?
                }
                Ok(Packet::Publish(publish)) => {
                    payloads.extend_from_slice(&publish.payload);
                    ids.push(publish.pkid);
                }
                Ok(_) => {}
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => break,
                Err(error) => bail!("no MQTT 3.1.1: {error}"),
            }
        }
        received.reserve(READ);
        if !ids.is_empty() {
            waiting.push_back((disk.append(&payloads), ids));
            payloads.clear();
        }
        let done = *synced.borrow_and_update();
        while waiting.front().is_some_and(|(number, _)| *number <= done) {
            for id in waiting.pop_front().into_iter().flat_map(|(_, ids)| ids) {
                PubAck::new(id).write(&mut answers)?;
            }
        }
        if !answers.is_empty() {
            socket.write_all(&answers).await?;
            answers.clear();
        }
    }
}
