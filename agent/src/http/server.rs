//! Accepting connections and serving them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::listener::Stream;
use super::{Limits, Listening, MAX_HEAD, Router};
use crate::counters::{Counters, Event};

/// How long to wait when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long requests under way may take once it is to stop.
const FAREWELL: Duration = Duration::from_secs(1);
/// What those without a place hear.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 55\r\n\r\n{\"error\": \"as many connections as are allowed; retry\"}\n";

/// Serves until the sender of `stop` is dropped or says something. Requests under way get a moment to end, streams
/// end with it. Dropping the future ends everything at once.
pub async fn serve(
    listening: Listening,
    router: Router,
    limits: Limits,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listening.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok(stream), Ok(place)) => {
                let (acceptor, router, stop) = (listening.acceptor(), router.clone(), stop.clone());
                connections.spawn(async move {
                    if let Some(stream) = greet(stream, acceptor, limits).await {
                        serve_one(stream, place, router, limits, stop).await;
                    }
                });
            }
            (Ok(stream), Err(_)) => {
                let what = || format!("{}: as many connections as are allowed", listening.address());
                counters.warn(Event::HttpRefused, what);
                refuse(stream).await;
            }
            (Err(error), _) => {
                tracing::warn!(%error, address = %listening.address(), "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listening);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, ended).await;
}

/// Agrees on TLS, if that is wanted; a client that takes longer for it than for a head of a request is let go.
async fn greet(stream: Stream, acceptor: Option<TlsAcceptor>, limits: Limits) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(stream) };
    match tokio::time::timeout(limits.head, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS with an HTTP client");
            None
        }
        Err(_) => None,
    }
}

/// Serves one connection until it ends or `stop` says something.
pub(super) async fn serve_one(
    stream: Stream,
    _place: OwnedSemaphorePermit,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<()>,
) {
    let service = service_fn(|request| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.answer(request, limits.body).await.into_response()) }
    });
    let mut transport = TimeoutStream::new(stream);
    // Else whoever opens a stream and never reads it would hold its place until it dies.
    transport.set_write_timeout(Some(limits.stall));
    let transport = Box::pin(transport);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(transport), service);
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = &mut served => outcome,
        _ = stop.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// Tells a client that there is no place, if its socket takes that at once: nobody is waited for.
async fn refuse(mut stream: Stream) {
    let _ = tokio::time::timeout(Duration::ZERO, stream.write_all(NO_PLACE)).await;
    let _ = tokio::time::timeout(Duration::ZERO, stream.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Address, Answer, Request};
    use bytes::Bytes;
    use hyper::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    const LIMITS: Limits = Limits {
        connections: 2,
        head: Duration::from_millis(100),
        body: Duration::from_millis(100),
        stall: Duration::from_secs(20),
    };

    struct Port {
        address: String,
        counters: Arc<Counters>,
        stop: watch::Sender<()>,
        serving: JoinHandle<()>,
        /// Every request for `/stream` gets one of these to write to.
        streams: mpsc::Receiver<mpsc::Sender<Bytes>>,
    }

    async fn open() -> Port {
        let listening = Listening::open(&Address::parse("127.0.0.1:0").unwrap(), 0).unwrap();
        let address = listening.address().to_string();
        let (sender, streams) = mpsc::channel(8);
        let echo = |request: Request| async move {
            Answer::text(StatusCode::OK, "text/plain", request.body).header("x-names", "good")
        };
        let router = Router::default()
            .get("/name", |_| async { Answer::text(StatusCode::OK, "text/plain", "weir") })
            .post("/echo", 8, echo)
            .get("/stream", move |_| {
                let sender = sender.clone();
                async move {
                    let (lines, body) = mpsc::channel(1);
                    let _ = sender.send(lines).await;
                    Answer::stream("text/plain", body)
                }
            });
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(());
        let serving = tokio::spawn(serve(listening, router, LIMITS, Arc::clone(&counters), stopped));
        Port { address, counters, stop, serving, streams }
    }

    impl Port {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(&self.address).await.unwrap()
        }

        /// Sends `request` and reads until the port closes.
        async fn says(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            rest(stream).await
        }
    }

    async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
        let mut text = String::new();
        // Who is refused may find the connection reset behind the answer.
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    fn closing(request: &str, body: &str) -> String {
        let length = body.len();
        format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn every_request_has_its_answer() {
        let port = open().await;
        let cases = [
            ("GET /name?a=b", "", "200 OK", "weir"),
            ("POST /echo", "12345678", "200 OK", "12345678"),
            ("POST /echo", "123456789", "413 Payload Too Large", "at most 8 bytes"),
            ("GET /name", "x", "413 Payload Too Large", "at most 0 bytes"),
            ("POST /name", "", "405 Method Not Allowed", "got POST, expected GET"),
            ("GET /else", "", "404 Not Found", "/else: nothing here; there are /echo, /name, /stream"),
        ];
        for (request, body, status, expected) in cases {
            let answer = port.says(&closing(request, body)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(expected), "{answer}");
        }
        let head = port.says(&closing("HEAD /name", "")).await;
        assert!(head.contains("content-length: 4") && head.ends_with("\r\n\r\n"), "{head}");
        let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n";
        assert!(port.says(chunked).await.contains("413"), "what is not announced is counted");
    }

    #[tokio::test]
    async fn who_is_slow_to_ask_is_closed() {
        let port = open().await;
        assert_eq!(port.says("GET /name HT").await, "", "half a head");
        assert!(port.says("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await.contains("408"));
        let kept = port.says("GET /name HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(kept.contains("200 OK") && kept.ends_with("weir"), "a connection that is kept ends as well: {kept}");
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(2 * MAX_HEAD));
        assert!(!port.says(&long).await.contains("200"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_answer_is_let_go() {
        let router = Router::default()
            .get("/long", |_| async { Answer::text(StatusCode::OK, "text/plain", "x".repeat(1 << 16)) });
        let (mut client, ours) = tokio::io::duplex(64);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (_stop, stopped) = watch::channel(());
        let serving = tokio::spawn(serve_one(Box::new(ours), place, router, LIMITS, stopped));
        client.write_all(closing("GET /long", "").as_bytes()).await.unwrap();
        // It reads slowly for a while, which is no reason.
        for _ in 0..4 {
            tokio::time::sleep(LIMITS.stall / 2).await;
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
        tokio::time::timeout(2 * LIMITS.stall, serving).await.expect("it is let go").unwrap();
        assert!(rest(client).await.len() < 1 << 16);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_counted() {
        let mut port = open().await;
        let mut held = Vec::new();
        for _ in 0..LIMITS.connections {
            let mut stream = port.connect().await;
            stream.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            held.push((port.streams.recv().await.unwrap(), stream));
        }
        let refused = rest(port.connect().await).await;
        let (head, body) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{refused}");
        assert_eq!(port.counters.get(Event::HttpRefused), 1);
        let (lines, stream) = held.remove(0);
        lines.send(Bytes::from_static(b"a line\n")).await.unwrap();
        drop(lines);
        assert!(rest(stream).await.contains("a line\n"));
        // The place is free once its connection is over, a moment later.
        while !port.says(&closing("GET /name", "")).await.contains("200 OK") {}
    }

    #[tokio::test]
    async fn a_stop_waits_for_nobody_who_streams() {
        let mut port = open().await;
        let mut stream = port.connect().await;
        stream.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let _lines = port.streams.recv().await.unwrap();
        drop(port.stop);
        tokio::time::timeout(FAREWELL * 10, port.serving).await.expect("an end").unwrap();
        assert!(TcpStream::connect(&port.address).await.is_err(), "nobody listens");
    }
}
