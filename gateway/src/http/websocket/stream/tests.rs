use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A frame of a client whose mask changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

fn pair(room: usize) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    (WebSocket::new(ours), theirs)
}

/// Reads one frame of ours.
async fn answer(theirs: &mut DuplexStream) -> (u8, Vec<u8>) {
    let (first, second) = (theirs.read_u8().await.unwrap(), theirs.read_u8().await.unwrap());
    let length = match second {
        126 => usize::from(theirs.read_u16().await.unwrap()),
        127 => theirs.read_u64().await.unwrap() as usize,
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    theirs.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

#[tokio::test]
async fn each_write_is_a_binary_frame() {
    let (mut ours, mut theirs) = pair(1 << 20);
    for length in [1, 125, 126, 0xffff, 0x10000] {
        ours.write_all(&vec![7; length]).await.unwrap();
        assert_eq!(answer(&mut theirs).await, (0x82, vec![7; length]));
    }
}

/// A frame is whole on the wire although the transport takes a few bytes at a time, and a pong never gets into it.
#[tokio::test]
async fn a_slow_transport_gets_whole_frames_and_pongs_between_them() {
    let (ours, theirs) = pair(3);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let reading = tokio::spawn(async move {
        let mut bytes = vec![0; 100];
        let length = reader.read(&mut bytes).await.unwrap();
        (bytes[..length].to_vec(), reader)
    });
    let writing = tokio::spawn(async move {
        for _ in 0..3 {
            writer.write_all(&[1; 300]).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer
    });
    let (mut from, mut to) = tokio::io::split(theirs);
    let sending = tokio::spawn(async move {
        to.write_all(&frame(0x89, b"ping")).await.unwrap();
        to.write_all(&frame(0x82, b"x")).await.unwrap();
        to
    });
    let mut bytes = vec![0; 3 * 304 + 6];
    from.read_exact(&mut bytes).await.unwrap();
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some((&first, behind)) = rest.split_first() {
        let (length, behind) = match behind[0] {
            126 => (usize::from(u16::from_be_bytes([behind[1], behind[2]])), &behind[3..]),
            short => (usize::from(short), &behind[1..]),
        };
        frames.push((first, behind[..length].to_vec()));
        rest = &behind[length..];
    }
    frames.sort();
    let mut expected = vec![(0x82, vec![1; 300]); 3];
    expected.push((0x8a, b"ping".to_vec()));
    assert_eq!(frames, expected);
    assert_eq!(reading.await.unwrap().0, b"x");
    let _ = (writing.await.unwrap(), sending.await.unwrap());
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_with_the_last_one() {
    let (mut ours, mut theirs) = pair(1 << 16);
    for number in 0..100u8 {
        theirs.write_all(&frame(0x89, &[number])).await.unwrap();
    }
    theirs.write_all(&frame(0x82, b"x")).await.unwrap();
    // In one read: what is read byte by byte is answered one by one.
    let mut buffer = [0; 1000];
    assert_eq!((ours.read(&mut buffer).await.unwrap(), buffer[0]), (1, b'x'));
    ours.flush().await.unwrap();
    assert_eq!(answer(&mut theirs).await, (0x8a, vec![99]));
}

#[tokio::test]
async fn a_close_ends_the_stream_and_is_answered_with_its_code() {
    let (mut ours, mut theirs) = pair(1 << 16);
    theirs.write_all(&frame(0x82, b"last")).await.unwrap();
    theirs.write_all(&frame(0x88, &[0x03, 0xe9])).await.unwrap();
    theirs.write_all(&frame(0x82, b"not any more")).await.unwrap();
    let mut read = Vec::new();
    ours.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last");
    ours.shutdown().await.unwrap();
    assert_eq!(answer(&mut theirs).await, (0x88, vec![0x03, 0xe9]));
    assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_frame_that_may_not_be_is_an_error_and_named_at_the_end() {
    let (mut ours, mut theirs) = pair(1 << 16);
    theirs.write_all(&frame(0x81, b"text")).await.unwrap();
    assert_eq!(ours.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    // What was to be said is said.
    ours.write_all(b"bye").await.unwrap();
    ours.shutdown().await.unwrap();
    assert_eq!(answer(&mut theirs).await, (0x82, b"bye".to_vec()));
    assert_eq!(answer(&mut theirs).await, (0x88, vec![0x03, 0xeb]));
    assert!(ours.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn an_end_of_ours_says_normal_closure() {
    let (mut ours, mut theirs) = pair(1 << 16);
    ours.shutdown().await.unwrap();
    assert_eq!(answer(&mut theirs).await, (0x88, vec![0x03, 0xe8]));
}
