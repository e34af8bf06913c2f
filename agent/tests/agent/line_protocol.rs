//! Line protocol: what senders push, what they are told, and what is on disk then.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::identity::trust;
use weir_agent::source::LifeError;
use weir_agent::source::clock::SampleTime;
use weir_agent::source::line_protocol::{self, LineProtocolConfig, Naming, Outcome, Precision, Refused, Writer};
use weir_protocol::settings::Source;
use weir_protocol::{Clock, Timestamp, Value};
use weir_storage::FaultyFs;

use crate::support::office::Office;
use crate::support::sources::Bench;
use crate::support::{NOON, clocks, device};

fn config(text: &str) -> Result<LineProtocolConfig, String> {
    let text = format!("[line_protocol]\n{text}");
    let config = Config::of(&Source::new("agent.toml", text)).map_err(|error| error.to_string())?;
    Ok(config.line_protocol.expect("the section"))
}

fn writer(bench: &Bench, text: &str) -> Writer {
    let naming = Naming { device_tag: "host".to_owned(), device: device("box"), tags: None };
    Writer::new(&config(text).expect("good settings"), naming, bench.context("line_protocol", "test"))
}

/// A port on a path of its own, and what it feeds.
struct Port {
    dir: tempfile::TempDir,
    bench: Bench,
    life: JoinHandle<Result<(), LifeError>>,
}

impl Port {
    async fn open(bench: Bench, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = format!("listen = \"unix:{}\"\n{more}", dir.path().join("lines").display());
        let context = bench.context("line_protocol", "test");
        let life = tokio::spawn(line_protocol::run(config(&listen).expect("good settings"), device("box"), context));
        bench.looks(|health| health.state == SourceState::Running).await;
        Self { dir, bench, life }
    }

    /// Sends a request; the status, and everything that was answered.
    async fn asks(&self, head: &str, body: &[u8]) -> (u16, String) {
        exchange(self.connect().await, head, body).await
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("lines")).await.expect("a port")
    }

    async fn pushes(&self, lines: &str) -> (u16, String) {
        self.asks("POST /write HTTP/1.1", lines.as_bytes()).await
    }

    async fn closes(self) {
        let Self { bench, life, .. } = self;
        let feeds = bench.feeds.clone();
        bench.stops();
        life.await.expect("no panic").expect("a good end");
        feeds.finish().await;
    }
}

/// Ends what wrote into feeds; everything is on disk then.
async fn end(bench: Bench, office: Office) {
    let feeds = bench.feeds.clone();
    bench.stops();
    feeds.finish().await;
    drop(feeds);
    office.ends().await;
}

/// Sends a request; the status, and everything that was answered.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &[u8]) -> (u16, String) {
    let length = body.len();
    let head = format!("{head}\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // Whoever refuses a body may hang up before it is sent.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), answer)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn what_telegraf_sends_is_on_disk_when_it_is_told_204() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let port = Port::open(Bench::feeding(handle, &office.counters), "").await;
    // The output for version 2 sends gzip.
    let batch = gzip("cpu,cpu=cpu0,host=edge-1 ticks=0i,idle=1i 1795262400000000000\nmem,host=edge-1 used=2i\n");
    let head =
        "POST /api/v2/write?bucket=b&org=o&precision=ns HTTP/1.1\r\ncontent-encoding: gzip\r\nauthorization: Token any";
    assert_eq!(port.asks(head, &batch).await.0, 204);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 3, "durable before the answer");
    assert_eq!(port.pushes("mem,host=edge-1 used=3i\n").await.0, 204);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 4);
    port.closes().await;
    office.closes().await;
}

#[tokio::test]
async fn nobody_is_told_204_while_the_disk_takes_nothing() {
    let disk = FaultyFs::new(1);
    let (office, handle) = Office::open(&disk);
    let port = Port::open(Bench::feeding(handle, &office.counters), "wait = \"200ms\"").await;
    disk.set_capacity(Some(0));
    let (status, answer) = port.pushes("m,host=edge-1 n=0i").await;
    assert_eq!(status, 503);
    assert!(answer.contains("retry-after: 10") && answer.contains("did not take it in time"), "{answer}");
    disk.set_capacity(None);
    port.closes().await;
    office.closes().await;
}

#[tokio::test]
async fn a_bad_line_is_named_and_takes_no_other_with_it() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let port = Port::open(Bench::feeding(handle, &office.counters), "").await;
    let lines = "# a comment\nm n=0i\nm,host= x=1\nm n=what\r\n\nm n=1i \r\nm n=\"kind\"\n";
    let (status, answer) = port.pushes(lines).await;
    assert_eq!(status, 400);
    let body: serde_json::Value = serde_json::from_str(answer.lines().last().expect("a body")).expect("JSON");
    let error = body["error"].as_str().expect("an error");
    assert!(error.starts_with("partial write: 3 lines refused, the others are kept: line 3: "), "{error}");
    assert!(
        error.contains("; line 4: got ") && error.contains("; line 7: channel m.n: got a value of kind"),
        "{error}"
    );
    assert_eq!((body["line"].as_u64(), body["code"].as_str()), (Some(3), Some("invalid")));
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 2);
    assert_eq!(office.counters.get(Event::LinesRefused), 3);
    port.closes().await;
    office.closes().await;
}

/// Every field of a line is held until all of them are read: one line of two megabytes was a hundred in memory.
#[tokio::test]
async fn a_line_without_end_is_refused_and_those_beside_it_are_kept() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let endless = format!("m {}n=0", "n=0,".repeat(20_000));
    let outcome = writer(&bench, "").write(&format!("m n=1\n{endless}\nm n=2"), Precision::default()).await;
    let Outcome::Kept(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.named, [(2, "got a line of 80005 bytes, expected at most 65536".to_owned())]);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 2);
    end(bench, office).await;
}

#[tokio::test]
async fn what_is_no_push_is_told_so_and_the_next_one_is_taken() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let port = Port::open(Bench::feeding(handle, &office.counters), "body = \"4 KiB\"").await;
    let bomb = gzip(&"m n=0i\n".repeat(10_000));
    let wrong: [(&str, &[u8], u16); 7] = [
        ("POST /write?precision=fortnight HTTP/1.1", b"m n=0i", 400),
        ("POST /write HTTP/1.1\r\ncontent-encoding: gzip", b"m n=0i", 400),
        ("POST /write HTTP/1.1\r\ncontent-encoding: br", b"m n=0i", 415),
        ("POST /write HTTP/1.1\r\ncontent-encoding: gzip", &bomb, 413),
        ("POST /write HTTP/1.1", &[b'#'; 5000], 413),
        ("POST /write HTTP/1.1", b"m n=\xff", 400),
        ("POST /query?q=SELECT%201 HTTP/1.1", b"", 400),
    ];
    for (head, body, status) in wrong {
        assert_eq!(port.asks(head, body).await.0, status, "{head}");
    }
    assert_eq!(port.pushes("m n=0i").await.0, 204);
    assert_eq!(port.pushes("").await.0, 204, "nothing is all on disk");
    port.closes().await;
    office.closes().await;
}

#[tokio::test]
async fn clients_that_look_for_an_influxdb_find_one() {
    let port = Port::open(Bench::unlinked(), "").await;
    let (status, answer) = port.asks("GET /ping HTTP/1.1", b"").await;
    assert!(status == 204 && answer.contains("x-influxdb-version: weir-"), "{answer}");
    assert!(port.asks("GET /health HTTP/1.1", b"").await.1.contains("\"pass\""));
    let form = b"q=CREATE+DATABASE+%22telegraf%22";
    assert_eq!(port.asks("POST /query HTTP/1.1", form).await.0, 200);
    assert_eq!(port.asks("POST /query?q=CREATE%20DATABASE%20x HTTP/1.1", b"").await.0, 200);
    port.closes().await;
}

#[tokio::test]
async fn a_token_is_asked_for_in_each_of_the_ways_that_clients_know() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("token"), "secret\nnot this\n").expect("a file");
    let token_file = format!("token_file = \"{}\"", dir.path().join("token").display());
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let port = Port::open(Bench::feeding(handle, &office.counters), &token_file).await;
    // `Basic` carries telegraf:secret and telegraf:wrong.
    for shown in ["", "Token wrong", "Token", "Bearer secret2", "Basic dGVsZWdyYWY6d3Jvbmc=", "Basic %"] {
        let head = format!("POST /write HTTP/1.1\r\nauthorization: {shown}");
        assert_eq!(port.asks(&head, b"m n=0i").await.0, 401, "{shown:?}");
    }
    assert_eq!(office.counters.get(Event::PushesRefused), 6);
    for (at, shown) in ["Token secret", "Bearer secret", "Basic dGVsZWdyYWY6c2VjcmV0"].iter().enumerate() {
        let head = format!("POST /write HTTP/1.1\r\nauthorization: {shown}");
        assert_eq!(port.asks(&head, format!("m n={at}i").as_bytes()).await.0, 204, "{shown}");
    }
    port.closes().await;
    office.closes().await;
}

#[tokio::test]
async fn a_port_with_a_certificate_speaks_tls_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec!["edge-1.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("lines.pem"), dir.path().join("lines.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let files = format!("certificate = \"{}\"\nkey = \"{}\"", certificate.display(), key.display());
    let port = Port::open(Bench::feeding(handle, &office.counters), &files).await;
    let mut plain = port.connect().await;
    plain.write_all(b"POST /write HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nm n=0i").await.expect("a port");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let client = TlsConnector::from(Arc::new(trust::client(&certificate, None).expect("an authority")));
    let name = "edge-1.example".try_into().expect("a name");
    let stream = client.connect(name, port.connect().await).await.expect("TLS");
    assert_eq!(exchange(stream, "POST /write HTTP/1.1", b"m n=0i").await.0, 204);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 1);
    port.closes().await;
    office.closes().await;
}

#[tokio::test]
async fn readings_have_the_names_units_and_times_that_their_lines_and_the_settings_say() {
    let bench = Bench::unlinked();
    let units = "wait = \"10ms\"\n[[line_protocol.unit]]\nchannel = \"*.usage_*\"\nunit = \"%\"\n\
                 [[line_protocol.unit]]\nchannel = \"*temp*\"\nunit = \"Cel\"\n";
    let writer = writer(&bench, units);
    let earlier = NOON.0 / 1_000_000 - 60;
    let later = NOON.0 / 1_000_000 + 3600;
    let text = format!(
        "cpu,host=edge-1,cpu=cpu0 usage_idle=98.5 {earlier}\nroom temp=21i,state=\"open door\",on=t\nclock ahead=1i {later}"
    );
    writer.write(&text, Precision::Seconds).await;
    let named = bench.feeds.held();
    let find = |channel: &str| named.iter().find(|held| held.channel == channel).unwrap_or_else(|| panic!("{named:?}"));
    let idle = find("cpu.usage_idle.cpu-cpu0");
    assert_eq!((idle.device, idle.unit.as_str(), idle.value), (device("edge-1"), "%", Value::Double(98.5)));
    assert_eq!((idle.at.time, idle.at.clock), (Timestamp(NOON.0 - 60_000_000), Clock::Synchronised));
    let temp = find("room.temp");
    assert_eq!((temp.device, temp.unit.as_str(), temp.value), (device("box"), "Cel", Value::Integer(21)));
    assert_eq!((find("room.state").text.as_deref(), find("room.on").value), (Some("open door"), Value::Boolean(true)));
    assert_eq!((temp.at.time, find("clock.ahead").at.time), (NOON, NOON), "no time, and one that is no sample's");
}

#[tokio::test]
async fn a_time_is_not_believed_while_this_machines_clock_is_not_unless_senders_know_better() {
    let noon = SampleTime { time: Timestamp(1_795_262_400_000_000), clock: Clock::Synchronised };
    for (trust, believed) in [("", false), ("trust_time = true", true)] {
        let bench = Bench::unlinked();
        let mut context = bench.context("line_protocol", "test");
        context.clocks = clocks(|| false);
        let naming = Naming { device_tag: "host".to_owned(), device: device("box"), tags: None };
        let writer =
            Writer::new(&config(&format!("wait = \"10ms\"\n{trust}")).expect("good settings"), naming, context);
        writer.write("m said=0i 1795262400000000000\nm unsaid=0i", Precision::default()).await;
        let held = bench.feeds.held();
        assert_eq!(held[0].at == noon, believed, "{:?}", held[0]);
        assert_eq!(held[1].at.clock, Clock::Uptime, "nobody said a time");
    }
}

#[tokio::test]
async fn a_flood_evicts_nothing_and_is_told_where_to_begin_again() {
    let bench = Bench::unlinked();
    let writer = writer(&bench, "ring = 256\nwait = \"50ms\"");
    let lines: String = (0..300).map(|n| format!("m n={n}i\n")).collect();
    assert_eq!(writer.write(&lines, Precision::default()).await, Outcome::Late { line: Some(257) });
    assert_eq!(writer.write("m n=300i", Precision::default()).await, Outcome::Late { line: Some(1) });
    assert_eq!(bench.counters.get(Event::ReadingsEvicted), 0);
    assert_eq!(bench.health.sources()[0].readings, 256);
}

/// It went into the ring at once, where its end evicted its beginning: the sender was told 503, and sent it again for ever.
#[tokio::test]
async fn a_line_with_more_values_than_the_ring_is_taken_in_pieces() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let line = format!("m {}x=0", "x=1,".repeat(599));
    let outcome = writer(&bench, "ring = 256").write(&line, Precision::default()).await;
    assert_eq!(outcome, Outcome::Kept(Refused { count: 0, named: Vec::new() }));
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 600);
    assert_eq!(office.counters.get(Event::ReadingsEvicted), 0);
    end(bench, office).await;
}

#[tokio::test]
async fn senders_make_only_so_many_devices_and_channels() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let bench = Bench::feeding(handle, &office.counters);
    let writer = writer(&bench, "max_devices = 2");
    let hosts: String = (0..5).map(|n| format!("m,host=h{n} n=0i\n")).collect();
    let Outcome::Kept(refused) = writer.write(&hosts, Precision::default()).await else { panic!("a good disk") };
    assert_eq!((refused.count, refused.named[0].0), (3, 3));
    assert!(refused.named[0].1.contains("raise line_protocol.max_devices"));
    let series: String = (1..400).map(|n| format!("m,host=h0,series=s{n} n={n}i\n")).collect();
    let Outcome::Kept(refused) = writer.write(&series, Precision::default()).await else { panic!("a good disk") };
    assert_eq!(refused.count, 399 - 255, "h0 has a channel already");
    assert!(refused.named[0].1.contains("256 channels"), "{refused:?}");
    drop(writer);
    let feeds = bench.feeds.clone();
    bench.stops();
    feeds.finish().await;
    office.closes().await;
}

#[tokio::test]
async fn a_sender_that_stalls_and_one_that_says_nonsense_hold_nobody_up() {
    let bench = Bench::unlinked();
    let text = "listen = \"127.0.0.1:0\"\nconnections = 2\nwait = \"10ms\"";
    // Where the system put it stands nowhere, so the test asks for a free port first.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let text = text.replace("127.0.0.1:0", &free.to_string());
    let context = bench.context("line_protocol", "test");
    let life = tokio::spawn(line_protocol::run(config(&text).expect("good settings"), device("box"), context));
    bench.looks(|health| health.state == SourceState::Running).await;
    let mut stalls = TcpStream::connect(free).await.expect("a port");
    stalls.write_all(b"POST /write HTTP/1.1\r\ncontent-length: 100\r\n\r\nm n=").await.expect("a peer");
    let mut nonsense = TcpStream::connect(free).await.expect("a port");
    nonsense.write_all(&[0xff; 4096]).await.expect("a peer");
    let mut answer = Vec::new();
    let _ = nonsense.read_to_end(&mut answer).await;
    let mut honest = TcpStream::connect(free).await.expect("a port");
    honest.write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("a peer");
    let mut answer = String::new();
    honest.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    bench.stops();
    life.await.expect("no panic").expect("a good end, whoever stalls");
}

#[tokio::test]
async fn what_collectd_sends_is_taken_too() {
    let (office, handle) = Office::open(&FaultyFs::new(1));
    let port = Port::open(Bench::feeding(handle, &office.counters), "").await;
    let list = r#"[{"values":[0],"dstypes":["derive"],"dsnames":["value"],"time":1795262400.0,"interval":10,
        "host":"edge-1","plugin":"cpu","plugin_instance":"0","type":"cpu","type_instance":"idle"}]"#;
    let head = "POST /collectd HTTP/1.1\r\ncontent-type: application/json";
    assert_eq!(port.asks(head, list.as_bytes()).await.0, 204);
    assert_eq!(office.counters.get(Event::ReadingsAccepted), 1);
    let (status, answer) = port.asks(head, b"PUTVAL edge-1/cpu-0/cpu-idle interval=10 1251533299:1").await;
    assert!(status == 400 && answer.contains("Format"), "{answer}");
    port.closes().await;
    office.closes().await;
}

#[test]
fn settings_that_open_more_than_was_meant_are_refused() {
    let refused = [
        ("listen = \"0.0.0.0:8086\"", "insecure = true"),
        ("listen = \"0.0.0.0:8086\"\ncertificate = \"/c\"\nkey = \"/k\"", "nobody has to show a token"),
        ("certificate = \"/c\"", "comes together with key"),
        ("listen = \"localhost\"", "expected \"127.0.0.1:9464\""),
        ("body = \"100 B\"", "expected 1 KiB to 32 MiB"),
        ("connections = 0", "expected 1 to 256"),
        ("max_devices = 1000", "expected 1 to 256"),
        ("ring = 1", "expected 256 to 1048576"),
        ("[[line_protocol.unit]]\nchannel = \"*\"\nunit = \"\"", "UCUM"),
    ];
    for (text, expected) in refused {
        let error = config(text).expect_err(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let open = config("listen = \"0.0.0.0:8086\"\ninsecure = true").expect("it was said twice");
    assert!(!open.listen.get_ref().is_local());
    config("listen = \"0.0.0.0:8086\"\ncertificate = \"/c\"\nkey = \"/k\"\ntoken_file = \"/t\"")
        .expect("with TLS and a token");
}
