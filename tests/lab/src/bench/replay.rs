//! A Kafka server that knows no log: it gives the answers that it has heard a gateway give to the same requests.
//!
//! What it does not know it asks the gateway, and remembers. So the first run of a client records, and all runs behind
//! it are answered out of memory: the least that a server of these bytes can do. Metadata names the replay itself
//! instead of the gateway, or clients would go there.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, MetadataResponse};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

/// The largest request and answer, in bytes.
const MAX_FRAME: usize = 64 << 20;
/// Key, version and correlation id of a request; the last stands in front of an answer, too.
const CORRELATION: std::ops::Range<usize> = 4..8;

/// The server; it ends with the process.
pub(super) struct Replay {
    /// Where it listens.
    pub(super) address: SocketAddr,
    tape: Arc<Tape>,
}

struct Tape {
    gateway: SocketAddr,
    address: SocketAddr,
    /// Answers behind their correlation id, by request without its own.
    answers: RwLock<HashMap<Vec<u8>, Arc<[u8]>>>,
    asked: AtomicU64,
}

impl Replay {
    /// Listens, in front of `gateway`.
    pub(super) fn start(gateway: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
        let address = listener.local_addr().context("no address")?;
        let tape = Arc::new(Tape { gateway, address, answers: RwLock::default(), asked: AtomicU64::new(0) });
        let theirs = Arc::clone(&tape);
        std::thread::Builder::new().name("replay".into()).spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let tape = Arc::clone(&theirs);
                // A client that hangs up ends its connection, and nothing else.
                std::thread::spawn(move || tape.serve(socket));
            }
        })?;
        Ok(Self { address, tape })
    }

    /// How many answers were not known and came from the gateway.
    pub(super) fn asked(&self) -> u64 {
        self.tape.asked.load(Ordering::Relaxed)
    }
}

impl Tape {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut gateway = None;
        while let Some(mut request) = read_frame(&mut client)? {
            if request.len() < CORRELATION.end {
                bail!("a request of {} bytes", request.len());
            }
            let correlation: [u8; 4] = request[CORRELATION].try_into()?;
            request[CORRELATION].fill(0);
            let known = self.answers.read().unwrap_or_else(PoisonError::into_inner).get(&request).cloned();
            let answer = match known {
                Some(answer) => answer,
                None => self.ask(&mut gateway, request)?,
            };
            let length = u32::try_from(answer.len() + correlation.len())?;
            client.write_all(&[length.to_be_bytes(), correlation].concat())?;
            client.write_all(&answer)?;
        }
        Ok(())
    }

    /// Asks the gateway, over a connection that this client has for itself.
    fn ask(&self, gateway: &mut Option<TcpStream>, request: Vec<u8>) -> Result<Arc<[u8]>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let gateway = match gateway {
            Some(gateway) => gateway,
            None => gateway.insert(TcpStream::connect(self.gateway).context("the gateway does not listen")?),
        };
        gateway.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
        gateway.write_all(&request)?;
        let answer = read_frame(gateway)?.context("the gateway hung up")?;
        let answer = answer.get(size_of::<i32>()..).context("an answer without a header")?;
        let (key, version) =
            (i16::from_be_bytes([request[0], request[1]]), i16::from_be_bytes([request[2], request[3]]));
        let answer: Arc<[u8]> = match key == ApiKey::Metadata as i16 {
            true => self.naming_itself(Bytes::copy_from_slice(answer), version)?.into(),
            false => answer.into(),
        };
        self.answers.write().unwrap_or_else(PoisonError::into_inner).insert(request, Arc::clone(&answer));
        Ok(answer)
    }

    fn naming_itself(&self, mut answer: Bytes, version: i16) -> Result<Vec<u8>> {
        let mut out = BytesMut::new();
        if MetadataResponse::header_version(version) > 0 {
            out.put_u8(answer.get_u8());
        }
        let mut metadata = MetadataResponse::decode(&mut answer, version).context("Metadata of the gateway")?;
        for broker in &mut metadata.brokers {
            broker.host = self.address.ip().to_string().into();
            broker.port = self.address.port().into();
        }
        metadata.encode(&mut out, version)?;
        Ok(out.to_vec())
    }
}

/// A frame behind its length; `None` at the end of the connection.
fn read_frame(socket: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; size_of::<u32>()];
    if socket.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        bail!("a frame of {length} bytes, expected at most {MAX_FRAME}");
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame)?;
    Ok(Some(frame))
}
