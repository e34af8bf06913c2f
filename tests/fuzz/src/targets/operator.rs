//! What operators and commands of the same machine say to an agent, and what it answers: signed documents, requests at the
//! local port, and the answers of that port as commands read them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use weir_agent::cli;
use weir_agent::counters::Counters;
use weir_agent::health::Health;
use weir_agent::local::{self, View};
use weir_agent::processing::Tap;
use weir_agent::queue::{Incarnation, Queue, QueueOptions};
use weir_agent::remote::Desk;
use weir_agent::remote::document::Document;
use weir_agent::remote::keys::SecretKey;
use weir_agent::remote::ledger::{Ledger, Recorded};
use weir_agent::remote::settings::check_from_afar;
use weir_protocol::settings::Source;
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Restart};
use weir_storage::{FaultyFs, Fs};

use super::Noon;
use crate::target::Target;

pub(super) const REMOTE: Target = Target {
    name: "remote",
    run: document,
    max_len: 4096,
    memory: 1 << 20,
    inputs: 20_000,
    seeds: || vec![("config", CONFIG.to_vec()), ("command", COMMAND.to_vec()), ("ledger", LEDGER.to_vec())],
};
/// A connection has buffers of its own, whatever is said.
pub(super) const PORT: Target = Target {
    name: "local-port",
    run: |bytes| local::fuzz::request(view(), bytes),
    max_len: 4096,
    memory: 1 << 20,
    inputs: 20_000,
    seeds: || {
        vec![
            ("status", b"GET /status HTTP/1.1\r\nhost: a\r\n\r\nGET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
            ("tap", b"GET /tap?device=board-*&channel=a%20b&count=0 HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
            ("settings", b"GET /settings HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec()),
            ("head", b"HEAD /healthz HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nabc".to_vec()),
            (
                "chunks",
                b"POST /tap HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
            ),
        ]
    },
};
/// The screen has a cell for each place, up to a thousand rows.
pub(super) const STATUS: Target = Target {
    name: "status",
    run: cli::fuzz::status,
    max_len: 8192,
    memory: 32 << 20,
    inputs: 5_000,
    seeds: || vec![("status", STATUS_DOCUMENT.to_vec())],
};
pub(super) const TAPPED: Target = Target {
    name: "tapped",
    run: cli::fuzz::tapped,
    max_len: 2048,
    memory: 256 << 10,
    inputs: 50_000,
    seeds: || {
        let after: [(&str, &[u8]); 3] = [
            ("passed", br#"{"device":"b","restart":"7","sequence":7,"channel":"t","unit":"Cel","time_us":1,"synchronised":true,"value":21.5,"rule":2,"then":{"is":"passed","channel":"t","unit":"K","value":294.65,"class":1}}"#),
            ("refused", br#"{"device":"b","sequence":7,"channel":"t","value":999,"rule":1,"then":{"is":"refused","value":999,"expected":"-40 to 85"}}"#),
            ("missed", br#"{"missed":12}"#),
        ];
        after.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect()
    },
};

const CONFIG: &[u8] =
    b"weir config 1\nversion = 7\nagent = \"edge-*\"\nissued = 1795327200\nexpires = 1797919200\n---\n\
[uplink]\nbatch_interval = \"1s\"\n[[process]]\nchannel = \"t\"\nwindow = \"10s\"\ntake = [\"mean\"]\n---\n";

const COMMAND: &[u8] = b"weir command 1\nid = \"c-1\"\nname = \"restart\"\nargs = [\"wlan0\", \"a \\\"b\\\"\"]\n\
agent = \"edge-?\"\nissued = 1795327200\nexpires = 1797919200\n---\n";

const LEDGER: &[u8] = br#"{"highest":8,"highest_digest":"ab","confirmed":{"version":7,"settings":"drain = \"3s\"\n"},
"trial":{"overlay":{"version":8,"settings":""},"starts":1},
"owed":[{"number":3,"about":"config","headline":"8 trying","detail":""}],"next_number":4,
"commands":[{"id":"c-1","digest":"cd","expires":100,"is_done":false}],"forgotten":50}"#;

const STATUS_DOCUMENT: &[u8] = include_bytes!("../../corpus/status/status");

/// Takes any bytes as a document, as one whose signature is right, and as what is remembered of documents.
fn document(bytes: &[u8]) {
    static KEY: OnceLock<SecretKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("weir-fuzz-key-{}", std::process::id()));
        let key = SecretKey::generate(&path);
        let _ = std::fs::remove_file(&path);
        match key {
            Ok(key) => key,
            Err(error) => panic!("a key for this target: {error}"),
        }
    });
    let public = key.public();
    if let Err(error) = Document::open(bytes, &[public]) {
        assert!(!error.is_authentic(), "nobody signed it");
    }
    let newline: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
    let text = [bytes, newline].concat();
    let last = format!("{public} {}\n", key.sign(&text));
    match Document::open(&[&text, last.as_bytes()].concat(), &[public]) {
        Ok(document) => {
            let _ = document.header().check("edge-1", 1_795_327_200);
            if let Document::Config(config) = &document {
                let source = Source::new("remote settings", &config.settings);
                let _ = check_from_afar(&source);
                let _ = weir_agent::config::Config::of(&source);
            }
            if let Ok(again) = document.sign(key) {
                assert_eq!(Document::open(again.as_bytes(), &[public]), Ok(document), "what is signed is what is read");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
    if let Ok(mut ledger) = serde_json::from_slice::<Ledger>(bytes) {
        ledger.start(Restart::from_agent(7));
        ledger.place();
        let _ = ledger.begin("c-1", "cd", (200, 100), true);
        let output = String::from_utf8_lossy(bytes).repeat(2);
        let _ = ledger.end("c-1", Recorded { how: "exited 0".to_owned(), output });
        let _ = (ledger.begin_trial(), ledger.confirm(), ledger.interrupted(), ledger.result_of("c-1"));
        if let Some(owed) = ledger.owed().map(|outcome| outcome.number) {
            ledger.paid(owed);
        }
    }
}

/// What the port shows: an agent that just started.
fn view() -> &'static View {
    static VIEW: OnceLock<View> = OnceLock::new();
    VIEW.get_or_init(|| {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(0));
        let options = QueueOptions { cap: 1 << 20, ..QueueOptions::default() };
        let (dir, counters) = (Path::new("/agent"), Arc::new(Counters::default()));
        let (Ok((queue, _)), Ok(agent), Ok(desk)) = (
            Queue::open(&fs, dir, options, Incarnation(7)),
            AgentId::new("edge-1"),
            Desk::open(&fs, dir, Restart::from_agent(7), Arc::clone(&counters)),
        ) else {
            panic!("an agent opens on an empty disk");
        };
        let health = Arc::new(Health::default());
        health.source("serial", "/dev/ttyACM0").error("no such device");
        View {
            agent,
            queue: Arc::new(queue),
            counters,
            health,
            clock: Arc::new(Noon) as Arc<dyn WallClock>,
            started: Instant::now().into(),
            progress_timeout: Duration::from_secs(60),
            tap: Tap::default(),
            written: Arc::default(),
            overlay: None,
            desk: Arc::new(desk),
        }
    })
}
