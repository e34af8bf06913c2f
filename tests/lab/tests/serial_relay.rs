//! The cable in the lab's hands: it carries bytes, remembers promises, and can be pulled out.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use weir_lab::ledger::Ledger;
use weir_lab::relay::serial::SerialRelay;
use weir_protocol::frame;
use weir_protocol::items::{self, Items};
use weir_protocol::serial::device_to_agent::{Hello, Ring};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{DeviceId, Restart, SchemaHash, Sequence};

/// Generous: only a broken relay ever waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const RESTART: Restart = Restart(1 << 32 | 5);

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Reads one frame, with the zero that ends it.
fn read_frame(port: &mut File) -> Vec<u8> {
    let (mut frame, mut byte) = (Vec::new(), [0]);
    while !frame.ends_with(&[0]) {
        port.read_exact(&mut byte).unwrap();
        frame.push(byte[0]);
    }
    frame
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        std::thread::yield_now();
    }
}

/// A directory, a ledger, a cable and both of its ports.
fn cable() -> (tempfile::TempDir, Ledger, SerialRelay, File, File) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    let relay = SerialRelay::new(&dir.path().join("board"), &dir.path().join("agent"), ledger.clone()).unwrap();
    let (board, agent) = (open(&relay.board), open(&relay.agent));
    (dir, ledger, relay, board, agent)
}

fn hello() -> Vec<u8> {
    let held = Held { restart: RESTART, schema: SchemaHash(1), base: Sequence(0), next: Sequence(7) };
    let mut bytes = Vec::new();
    items::push(&mut bytes, &held);
    let device = DeviceId::new("pump").unwrap();
    let hello = Hello { device, schema: SchemaHash(1), ring: Ring::Durable, held: Items::new(&bytes) };
    frame::to_vec(&Up::Hello(hello)).unwrap()
}

#[test]
fn an_acknowledgement_is_in_the_ledger_before_the_board_can_have_it() {
    let (_dir, ledger, _relay, mut board, mut agent) = cable();
    board.write_all(&hello()).unwrap();
    assert_eq!(read_frame(&mut agent), hello());
    let ack = frame::to_vec(&Down::Ack { restart: RESTART, accepted: Sequence(7) }).unwrap();
    agent.write_all(&ack).unwrap();
    assert_eq!(read_frame(&mut board), ack);
    let pages = ledger.pages();
    let facts = &pages[&(DeviceId::new("pump").unwrap(), RESTART)];
    assert_eq!((facts.next, facts.agent_accepted, facts.durable), (7, 7, true));
}

#[test]
fn noise_passes_and_promises_nothing() {
    let (_dir, ledger, relay, mut board, mut agent) = cable();
    relay.inject(vec![0xff; 100]).unwrap();
    let mut noise = [0; 100];
    agent.read_exact(&mut noise).unwrap();
    assert_eq!(noise, [0xff; 100]);
    board.write_all(&[0, 1, 2, 3, 0]).unwrap();
    let mut five = [0; 5];
    agent.read_exact(&mut five).unwrap();
    assert_eq!(five, [0, 1, 2, 3, 0]);
    assert!(ledger.pages().is_empty());
}

#[test]
fn an_unplugged_cable_loses_bytes_and_comes_back_behind_the_same_path() {
    let (_dir, _ledger, relay, mut board, mut agent) = cable();
    relay.unplug().unwrap();
    assert!(!relay.agent.exists());
    // The kernel tells an open port that the other side hung up, one way or the other.
    let end = agent.read(&mut [0; 8]);
    assert!(matches!(&end, Ok(0)) || end.as_ref().is_err_and(|e| e.kind() != ErrorKind::WouldBlock), "{end:?}");
    board.write_all(b"lost\0").unwrap();
    relay.replug().unwrap();
    let mut agent = open(&relay.agent);
    let mut got = Vec::new();
    // What was written while nobody was there may be lost or not; what comes now arrives.
    eventually("a byte arrives again", || {
        board.write_all(b"x").unwrap();
        let mut byte = [0];
        agent.read_exact(&mut byte).unwrap();
        got.push(byte[0]);
        got.ends_with(b"x")
    });
}

#[test]
fn a_port_can_be_closed_and_opened_again() {
    let (_dir, _ledger, relay, mut board, agent) = cable();
    drop(agent);
    let mut agent = open(&relay.agent);
    board.write_all(&hello()).unwrap();
    assert_eq!(read_frame(&mut agent), hello());
}
