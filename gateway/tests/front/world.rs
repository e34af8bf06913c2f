//! A whole gateway in this process, on free ports and a directory of its own, and what talks to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_gateway::config::Config;
use weir_gateway::run::{Addresses, RunError, World, run};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::items::{self, Items};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value as Sample, ValueKind,
};
use weir_storage::RealFs;

/// Far beyond what anything here takes: a wait so long is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) at: Addresses,
    pub(crate) data: TempDir,
    /// Its wall clock.
    pub(crate) clock: Arc<Ahead>,
    reload: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), RunError>>,
}

/// The wall clock of a gateway, which a test can put forward.
#[derive(Default)]
pub(crate) struct Ahead(AtomicI64);

impl Ahead {
    /// Puts it forward by so many seconds.
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(1_000_000 * seconds, Relaxed);
    }
}

impl WallClock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Relaxed))
    }
}

/// Settings with every port free to choose.
pub(crate) fn settings(data: &Path) -> Vec<(String, String)> {
    let pairs = [
        ("WEIR_GATEWAY_MQTT__LISTEN", "127.0.0.1:0".to_owned()),
        ("WEIR_GATEWAY_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("WEIR_GATEWAY_KAFKA__LISTEN", "127.0.0.1:0".to_owned()),
        ("WEIR_GATEWAY_DATA", data.display().to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_on(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_on(data: TempDir) -> Self {
        Self::start_with(data, &[]).await
    }

    /// A gateway with other settings than the defaults, as variables.
    pub(crate) async fn start_with(data: TempDir, more: &[(&str, &str)]) -> Self {
        let more = more.iter().map(|(name, value)| (format!("WEIR_GATEWAY_{name}"), (*value).to_owned()));
        let config = Config::load(None, settings(data.path()).into_iter().chain(more)).unwrap();
        Self::start_as(data, config).await
    }

    /// A gateway with a file of settings.
    pub(crate) async fn start_by(data: TempDir, text: &str) -> Self {
        let path = data.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load_with_files(Some(&path), settings(data.path())).unwrap();
        Self::start_as(data, config).await
    }

    async fn start_as(data: TempDir, config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, at) = oneshot::channel();
        let (clock, reload) = (Arc::<Ahead>::default(), Arc::<Notify>::default());
        let world = World {
            fs: Arc::new(RealFs),
            clock: Arc::clone(&clock) as Arc<dyn WallClock>,
            reload: Arc::clone(&reload),
            #[cfg(feature = "plant")]
            plant: None,
        };
        let served = tokio::spawn(async move {
            let shutdown = async move {
                let _ = stopped.await;
            };
            run(&config, world, shutdown, move |at| ready.send(at).unwrap()).await
        });
        Self { at: at.await.unwrap(), data, clock, reload, stop: Some(stop), served }
    }

    /// Waits until `/metrics` shows this line, such as `mqtt_wills_waiting 1`.
    pub(crate) async fn shows(&self, line: &str) {
        let line = format!("\nweir_gateway_{line}\n");
        let shown = async { while !self.get("/metrics").await.1.contains(&line) {} };
        timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("never: {line}"));
    }

    /// Replaces its file of settings and has it read again, as SIGHUP does.
    pub(crate) fn reload(&self, text: &str) {
        std::fs::write(self.data.path().join("settings.toml"), text).unwrap();
        self.reload.notify_one();
    }

    /// Stops it as SIGTERM does; its data stays.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.data
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        get(self.at.http, path).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Every record of a topic, partition by partition.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for partition in 0..4 {
            let page = self.json(&format!("/topics/{topic}/partitions/{partition}/records?limit=10000")).await;
            assert_eq!(page["next"], page["end"]);
            all.extend(page["records"].as_array().unwrap().iter().cloned());
        }
        all
    }
}

/// Status and body of a GET.
pub(crate) async fn get(at: SocketAddr, path: &str) -> (u16, String) {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).await
}

/// Status and body of a POST of JSON.
pub(crate) async fn post(at: SocketAddr, path: &str, body: &Value) -> (u16, String) {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    ask(at, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
}

/// Status and body of what a request is answered.
pub(crate) async fn ask(at: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn channels() -> Vec<u8> {
    let mut bytes = Vec::new();
    let channel =
        Channel { id: ChannelId(0), name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 0.5 };
    items::push(&mut bytes, &channel);
    bytes
}

/// The `describe` payload of a device.
pub(crate) fn description(device: &str) -> Vec<u8> {
    let channels = channels();
    let schema = SchemaHash::of(Items::new(&channels));
    describe::encode(&Description { device: DeviceId::new(device).unwrap(), schema, channels: Items::new(&channels) })
}

/// A batch of one device and restart 7 with one temperature for each sequence: the sequence itself.
pub(crate) fn batch(device: &str, sequences: std::ops::Range<u64>) -> Vec<u8> {
    let schema = SchemaHash::of(Items::new(&channels()));
    let mut run = RunBuilder::new(DeviceId::new(device).unwrap(), Restart(7), schema, Sequence(sequences.start));
    for sequence in sequences {
        run.push(&Reading {
            channel: ChannelId(0),
            time: SystemClock.now(),
            clock: Clock::Synchronised,
            value: Sample::Float(sequence as f32),
        });
    }
    let mut envelope = EnvelopeBuilder::new();
    envelope.push(&run.section());
    envelope.finish(true)
}
