//! Bytes that no client sends: a version from the future, and a frame that made another decoder abort its process.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::PATIENCE;

use crate::client::Client;
use crate::order::Order;
use crate::stage::Stage;

/// Keys of requests (kafka.apache.org/protocol#protocol_api_keys).
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
/// UNSUPPORTED_VERSION.
const UNSUPPORTED: i16 = 35;
const CORRELATION: i32 = 7;

/// A request without client id, behind its length.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &CORRELATION.to_be_bytes(), &(-1_i16).to_be_bytes()];
    let request = [&header.concat(), body].concat();
    [&(request.len() as u32).to_be_bytes()[..], &request].concat()
}

/// What the gateway answers before it closes the connection or falls silent; `None` if it closed it at once.
async fn answer(stage: &Stage, frame: &[u8]) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect(stage.kafka).await.unwrap();
    socket.write_all(frame).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let length = socket.read_u32().await.ok()?;
        answer.resize(length as usize, 0);
        socket.read_exact(&mut answer).await.ok().map(|_| answer)
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer or the end of the connection")
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_from_the_future_is_told_which_versions_there_are() {
    let stage = Stage::empty("", "").await;
    // A header of a version that nobody knows may have anything behind it.
    let answer = answer(&stage, &frame(API_VERSIONS, 99, &[0, 5, b'w', b'e', b'i', b'r', 0])).await.expect("an answer");
    // KIP-511: the body is that of version 0, so that every client can read it.
    assert_eq!(answer[..4], CORRELATION.to_be_bytes());
    assert_eq!(i16_at(&answer, 4), UNSUPPORTED);
    let count = i32::from_be_bytes(answer[6..10].try_into().unwrap());
    let versions: Vec<_> = (0..count as usize).map(|api| i16_at(&answer, 10 + 6 * api)).collect();
    assert_eq!(answer.len(), 10 + 6 * versions.len());
    assert!(versions.contains(&API_VERSIONS) && versions.contains(&METADATA), "{versions:?}");
    println!("ApiVersions 99: error {UNSUPPORTED}, and the versions of {count} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_of_the_future_and_frames_that_lie_about_their_length_end_their_own_connection_only() {
    let stage = Stage::empty("", "").await;
    stage.store(0, 800).await;
    assert_eq!(answer(&stage, &frame(METADATA, 99, &[0; 8])).await, None);
    // 14 bytes: an array of topics that claims 2,147,483,647 of them.
    let lie = frame(METADATA, 1, &i32::MAX.to_be_bytes());
    assert_eq!(lie.len(), 4 + 14);
    assert_eq!(answer(&stage, &lie).await, None);
    let Some(beside) = Client::Confluent.start(stage.kafka, &Order::records(800)) else { return };
    stage.expect(&beside.finish().await, 800);
}
