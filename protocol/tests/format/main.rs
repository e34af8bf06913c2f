//! Format 1, byte by byte: what a released build wrote, every later build reads; what it writes stays the same.
//!
//! `v1.txt` holds a line for each message: its name and its bytes. A version that is released is never edited; a new one
//! gets a file of its own beside it, and the build then encodes the new one and decodes both (see `protocol/FORMATS.md`).
#![cfg(feature = "std")]

mod envelopes;
mod lines;
mod serial;

use std::collections::BTreeMap;

/// The frozen bytes of version 1.
const V1: &str = include_str!("v1.txt");

/// A message, as this build writes it and as it reads pinned bytes.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// The bytes, and whether every build must write exactly these. A compressor may choose others.
    pub(crate) encoded: Vec<u8>,
    pub(crate) exact: bool,
    /// What was encoded, and how to read it back, both as text to compare.
    pub(crate) said: String,
    pub(crate) read: fn(&[u8]) -> String,
}

fn messages() -> Vec<Message> {
    let mut all = serial::messages();
    all.extend(envelopes::messages());
    all.extend(lines::messages());
    all
}

fn pinned(text: &str) -> BTreeMap<&str, Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once(' ').expect("a name, a space, and bytes"))
        .map(|(name, hex)| (name, bytes(hex)))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    pairs.iter().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_message_is_written_as_version_1_wrote_it() {
    let pinned = pinned(V1);
    let mut changed = String::new();
    for message in messages().iter().filter(|message| message.exact || !pinned.contains_key(message.name)) {
        if pinned.get(message.name) != Some(&message.encoded) {
            changed += &format!("{} {}\n", message.name, hex(&message.encoded));
        }
    }
    assert!(changed.is_empty(), "not the bytes of version 1; a change of format is a new version:\n{changed}");
}

#[test]
fn what_version_1_wrote_is_read_for_ever() {
    let messages: BTreeMap<&str, Message> = messages().into_iter().map(|message| (message.name, message)).collect();
    for (name, bytes) in pinned(V1) {
        let message = messages.get(name).unwrap_or_else(|| panic!("{name} is pinned, but nothing reads it any more"));
        assert_eq!((message.read)(&bytes), message.said, "{name}");
    }
}

/// A peer that is newer is told so by name; its bytes are never guessed at.
#[test]
fn another_version_is_refused_with_both_versions_named() {
    let mut batch = pinned(V1)["batch.readings"].clone();
    batch[2] = 2;
    let error = weir_protocol::batch::Envelope::open(&batch).expect_err("of version 2");
    assert_eq!(error.to_string(), "envelope version 2; this build reads 1 to 1");

    let frame = pinned(V1)["down.hello-request"].clone();
    let mut plain = vec![0; frame.len()];
    let length = cobs::decode(&frame[..frame.len() - 1], &mut plain).expect("a frame");
    plain.truncate(length - 4);
    plain[0] = 2;
    plain.extend(weir_protocol::checksum::crc32(&plain).to_le_bytes());
    let mut newer = vec![0; 64];
    let length = cobs::encode(&plain, &mut newer);
    newer[length] = 0;
    let mut decoder = weir_protocol::frame::Decoder::<64>::new();
    let error = decoder.feed(&mut &newer[..=length]).expect("a frame").expect_err("of version 2");
    assert_eq!(error.to_string(), "frame version 2; this build reads 1 to 1");
}
