//! HTTP clients that say nothing, never finish, never read or come by the hundred, beside one that behaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::world::{Gateway, get};

const PATIENCE: Duration = Duration::from_secs(60);

async fn small(more: &[(&str, &str)]) -> Gateway {
    let mut settings = vec![
        ("HTTP__LOBBY", "20"),
        ("HTTP__LOBBY_PER_ADDRESS", "10"),
        ("HTTP__CONNECTIONS", "8"),
        ("HTTP__CONNECTIONS_PER_ADDRESS", "4"),
    ];
    settings.extend(more);
    Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await
}

/// A connection from another address of this machine.
async fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(address), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_makes_room_for_requests() {
    let gateway = small(&[]).await;
    let mut crowd = Vec::new();
    for number in 0..60 {
        crowd.push(from([127, 0, 0, 2 + number % 3], gateway.at.http).await);
        assert_eq!(gateway.get("/healthz").await.0, 200);
    }
    // The first came from an address that has had ten more since.
    assert!(is_closed(&mut crowd[0]).await);
    assert_eq!(gateway.get("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_and_bodies_that_never_come_are_not_waited_for() {
    let gateway = small(&[("HTTP__HEADER_TIMEOUT", "100ms")]).await;
    let body = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx";
    let chunked = "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    for start in ["", "GE", "GET /topics HTTP/1.1\r\nHost: x\r\n", body, chunked] {
        let mut loris = TcpStream::connect(gateway.at.http).await.unwrap();
        loris.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(gateway.get("/healthz").await.0, 200);
        assert!(is_closed(&mut loris).await, "{start:?} is still waited for");
    }
    // A connection that is kept alive and says nothing more ends too.
    let mut idle = TcpStream::connect(gateway.at.http).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(is_closed(&mut idle).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_places() {
    let gateway = small(&[]).await;
    let mut tails = Vec::new();
    let tail = b"GET /topics/readings/tail HTTP/1.1\r\nHost: x\r\n\r\n";
    for number in 0..6 {
        let mut stream = from([127, 0, 0, 2], gateway.at.http).await;
        stream.write_all(tail).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let expected = if number < 4 { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
        assert_eq!(std::str::from_utf8(&head).unwrap(), expected, "tail {number}");
        tails.push(stream);
    }
    assert_eq!(get(gateway.at.http, "/healthz").await.0, 200);
    // A place that was given up is free.
    drop(tails);
    let served = async {
        loop {
            let mut stream = from([127, 0, 0, 2], gateway.at.http).await;
            stream.write_all(tail).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                break;
            }
        }
    };
    timeout(PATIENCE, served).await.unwrap();
}
