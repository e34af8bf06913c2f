//! Sessions over a filesystem that fails, a clock that is paused, and a publisher that tells what it was given.

mod bounds;
mod power;
mod stories;
mod wills;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use weir_protocol::Timestamp;
use weir_protocol::time::WallClock;
use weir_storage::{FaultyFs, Fs, LogOptions};

use super::*;
use crate::access::Proof;
use crate::delivery::{Positions, Subscription};
use crate::keyed_log;
use crate::mqtt::packet::{Connect, Filter, Properties, QoS, RetainHandling, Version, Will};

/// The wall clock of these tests: so many milliseconds after 1970.
struct Wall(i64);

impl WallClock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(1000 * self.0)
    }
}

/// 2026-01-01.
const NOW_MS: i64 = 1_767_225_600_000;

fn start(fs: &FaultyFs) -> Sessions {
    start_with(fs, Options::default(), NOW_MS)
}

fn start_with(fs: &FaultyFs, options: Options, wall_ms: i64) -> Sessions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    // Small segments: something to compact.
    let log = LogOptions { segment_bytes: 2000, ..keyed_log::options() };
    let opened = Opened::open_with(&fs, Path::new("/data"), log).expect("opens");
    Sessions::new(opened, options, &Wall(wall_ms), Box::new(rand::random))
}

fn identity(name: &str) -> Identity {
    Identity { tenant: Tenant::DEFAULT, client: ClientId::new(name).expect("a client id"), proof: Proof::Nothing }
}

fn key(name: &str) -> Key {
    Key::from(&identity(name))
}

/// A client that wants its session for so many seconds, and no clean start.
fn connect(expiry: u32) -> Connect {
    Connect {
        client_id: String::new(),
        clean_start: false,
        keep_alive: 0,
        session_expiry: expiry,
        receive_maximum: 100,
        max_packet: u32::MAX,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        username: None,
        password: None,
        will: None,
    }
}

fn clean(expiry: u32) -> Connect {
    Connect { clean_start: true, ..connect(expiry) }
}

fn with_will(delay: u32, connect: Connect) -> Connect {
    let will = Will {
        topic: Bytes::from_static(b"gone"),
        payload: Bytes::from_static(b"p"),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay,
        properties: Properties::default(),
    };
    Connect { will: Some(Box::new(will)), ..connect }
}

async fn attach(sessions: &Sessions, name: &str, connect: Connect) -> Attached {
    sessions.attach(&identity(name), Version::V5, &connect).await.expect("a session")
}

fn subscription(filter: &str) -> Subscription {
    let filter = Filter {
        filter: filter.to_owned(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    };
    Subscription { filter, identifier: None, since: Positions::default() }
}

async fn flush(session: &mut Session) -> Result<(), NotWritten> {
    match session.flush() {
        Some(written) => written.await,
        None => Ok(()),
    }
}

fn filters(session: &Session) -> Vec<String> {
    session.state.subscriptions.iter().map(|known| known.filter.filter.clone()).collect()
}

const LOST: End = End { will: true, expiry: None };
const GOODBYE: End = End { will: false, expiry: None };

/// Takes wills.
#[derive(Clone)]
struct Told {
    wills: Arc<Mutex<Vec<String>>>,
    /// What becomes of the next ones; the last stays.
    answers: Arc<Mutex<Vec<Published>>>,
    came: Arc<Notify>,
}

impl Told {
    fn new() -> Self {
        Self { wills: Arc::default(), answers: Arc::new(Mutex::new(vec![Published::Stored])), came: Arc::default() }
    }

    fn wills(&self) -> Vec<String> {
        self.wills.lock().expect("not poisoned").clone()
    }
}

impl Publisher for Told {
    async fn publish(&self, client: Key, will: Will) -> Published {
        self.wills.lock().expect("not poisoned").push(format!("{} {}", client.client, will.topic.escape_ascii()));
        let mut answers = self.answers.lock().expect("not poisoned");
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        self.came.notify_one();
        answer
    }
}
