//! What stands between an agent and its gateway: a WebSocket, a proxy, TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Something that takes connections and passes them on; how many it passed.
pub(crate) struct Door {
    pub(crate) port: u16,
    passed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Door {
    /// A server of MQTT over WebSocket at `/mqtt` (RFC 6455), which hands what comes to `port`.
    pub(crate) async fn websocket(port: u16) -> Self {
        Self::open(move |stream, passed| upgrade(stream, port, passed)).await
    }

    /// An HTTP proxy that knows CONNECT, for one user or for everybody.
    pub(crate) async fn proxy(login: Option<&'static str>) -> Self {
        Self::open(move |stream, passed| connect(stream, login, passed)).await
    }

    /// TLS for this machine, which hands what is inside to `port`; the authority that its certificate is of, as PEM.
    pub(crate) async fn tls(port: u16) -> (Self, String) {
        let names = ["127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let door = Self::open(move |stream, passed| decrypt(acceptor.clone(), stream, port, passed)).await;
        (door, made.cert.pem())
    }

    async fn open<F: Future<Output = Option<()>> + Send + 'static>(
        serve: impl Fn(TcpStream, Arc<AtomicUsize>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&passed);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&counted)));
            }
        });
        Self { port, passed, task }
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything up to the empty line, byte by byte: nothing behind it is taken.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

async fn connect(mut stream: TcpStream, login: Option<&str>, passed: Arc<AtomicUsize>) -> Option<()> {
    let head = head(&mut stream).await?;
    let wanted = login.map(|login| format!("Basic {}", BASE64.encode(login)));
    if header(&head, "Proxy-Authorization") != wanted.as_deref() {
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
        return stream.write_all(refused).await.ok();
    }
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let mut behind = TcpStream::connect(target).await.ok()?;
    passed.fetch_add(1, Ordering::Relaxed);
    stream.write_all(b"HTTP/1.1 200 OK\r\nVia: 1.1 test\r\n\r\n").await.ok()?;
    copy_bidirectional(&mut stream, &mut behind).await.ok()?;
    Some(())
}

async fn decrypt(acceptor: TlsAcceptor, stream: TcpStream, port: u16, passed: Arc<AtomicUsize>) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    passed.fetch_add(1, Ordering::Relaxed);
    let mut behind = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    copy_bidirectional(&mut stream, &mut behind).await.ok()?;
    Some(())
}

async fn upgrade(mut stream: TcpStream, port: u16, passed: Arc<AtomicUsize>) -> Option<()> {
    let head = head(&mut stream).await?;
    if !head.starts_with("GET /mqtt ") || header(&head, "Sec-WebSocket-Protocol") != Some("mqtt") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.ok();
    }
    let key = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", header(&head, "Sec-WebSocket-Key")?);
    let accept = BASE64.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    passed.fetch_add(1, Ordering::Relaxed);
    let (from_agent, to_agent) = stream.into_split();
    let (from_gateway, to_gateway) = TcpStream::connect(("127.0.0.1", port)).await.ok()?.into_split();
    tokio::select! {
        _ = unframe(from_agent, to_gateway) => {}
        _ = frame(from_gateway, to_agent) => {}
    }
    Some(())
}

/// Binary frames of a client, which are masked, as bytes.
async fn unframe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Option<()> {
    loop {
        let [opcode, length] = [from.read_u8().await.ok()?, from.read_u8().await.ok()?];
        assert!(length & 0x80 != 0, "a client masks every frame");
        let length = match length & 0x7f {
            126 => u64::from(from.read_u16().await.ok()?),
            127 => from.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mask = from.read_u32().await.ok()?.to_be_bytes();
        let mut payload = vec![0; usize::try_from(length).ok()?];
        from.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match opcode & 0x0f {
            0 | 2 => to.write_all(&payload).await.ok()?,
            8 => return None,
            _ => {}
        }
    }
}

/// Bytes as binary frames of a server.
async fn frame(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Option<()> {
    let mut buffer = [0; 1000];
    loop {
        let length = from.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        let mut frame = vec![0x82];
        match length {
            ..126 => frame.push(length as u8),
            _ => frame.extend([126, (length >> 8) as u8, length as u8]),
        }
        frame.extend_from_slice(&buffer[..length]);
        to.write_all(&frame).await.ok()?;
    }
}
