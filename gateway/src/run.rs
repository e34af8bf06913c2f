//! The program: from settings to a gateway that serves until it is told to stop.
//!
//! What it guarantees: all ports are bound before anything is created on disk; while the logs are recovered MQTT
//! waits and HTTP says that it is not ready; a stop answers what is in flight, within the drain time, and then ends;
//! a stop during recovery ends it. Time, filesystem and the wish to stop are parameters.
//!
//! Order of a stop: the front takes no more and answers; ingest commits what it has; HTTP serves until then.

mod access;
mod clients;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use weir_protocol::settings::Spanned;
use weir_protocol::time::WallClock;
use weir_storage::keyed::Opened;
use weir_storage::{Fs, IoError, JournalOptions, LogOptions, Redone, durable};

use self::access::{Reloading, keep, stop as stop_access};
use crate::access::{Access, audit};
use crate::ca::{self, Ca};
use crate::config::Config;
use crate::delivery::{Delivery, DeliveryOptions};
use crate::front::outbound::subscriptions::SubscriptionLimits;
use crate::front::session::Limits;
use crate::front::{Front, FrontOptions, Intake, Link, Peer, TopicLimits};
use crate::groups::{self, Groups};
use crate::http::enroll::Enrolment;
use crate::http::websocket::WebSockets;
use crate::http::{self, App, Gateway, HttpOptions, Socket, SocketError, metrics};
use crate::ingest::{self, Connection, Events, Ingest, IngestOptions, Message, RecoveryReport, Sender, StartError};
use crate::kafka::{Broker, Kafka, KafkaOptions, cluster_id};
use crate::keyed_log::KeyedLogError;
use crate::lobby::LobbyOptions;
use crate::lock::{Claim, ClaimError, Running};
use crate::model::Model;
use crate::model::feed::{self, Feeding};
use crate::redrive::Redrive;
use crate::router::{Live, LiveOptions};
use crate::tls::{Acceptor, Revocations, Tls, TlsError};
use clients::Clients;

/// What the gateway touches beyond the network.
#[derive(Clone)]
pub struct World {
    /// Where the logs are.
    pub fs: Arc<dyn Fs>,
    /// Record timestamps; never used to decide.
    pub clock: Arc<dyn WallClock>,
    /// Told when the operator wants files to be read again.
    pub reload: Arc<Notify>,
    /// A fault to plant.
    #[cfg(feature = "plant")]
    pub plant: Option<crate::ingest::plant::Plant>,
}

/// Where a running gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// MQTT.
    pub mqtt: SocketAddr,
    /// MQTT over TLS.
    pub mqtt_tls: Option<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Kafka.
    pub kafka: SocketAddr,
}

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// A port cannot be had.
    #[error("cannot listen on {address} ({key}): {source}{}", port_help(.address, .key, .source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key of the settings that names it.
        key: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data directory cannot be had.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The data directory cannot be made.
    #[error("{0}; create it for the user that runs the gateway, or set another `data`")]
    Data(#[from] IoError),
    /// The logs cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An internal topic cannot be opened.
    #[error(transparent)]
    Internal(#[from] KeyedLogError),
    /// The socket for commands cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread died.
    #[error("recovery was cut off")]
    CutOff,
}

fn port_help(address: &SocketAddr, key: &str, source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!("; `ss -ltnp 'sport = :{port}'` names who has it, or set another {key}")
        }
        std::io::ErrorKind::PermissionDenied => format!("; ports below 1024 need privileges: set another {key}"),
        _ => String::new(),
    }
}

/// Runs a gateway until `shutdown` resolves. `ready` is told the addresses once connections are accepted.
///
/// # Errors
/// [`RunError`] if it cannot start; a gateway that has started ends without error.
pub async fn run(
    config: &Config,
    world: World,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(Addresses),
) -> Result<(), RunError> {
    let mqtt = listen(&config.mqtt.listen, "mqtt.listen").await?;
    let mqtt_tls = match &config.mqtt.tls_listen {
        Some(address) => Some(listen(address, "mqtt.tls_listen").await?),
        None => None,
    };
    let web = listen(&config.http.listen, "http.listen").await?;
    let kafka = listen(&config.kafka.listen, "kafka.listen").await?;
    let revocations = Revocations::default();
    let tls = config.open_tls(revocations.clone())?;
    let acceptor =
        |wanted: &Spanned<bool>| tls.clone().filter(|_| *wanted.get_ref()).map_or_else(Acceptor::plain, Acceptor::from);
    let addresses = Addresses {
        mqtt: local(&mqtt, &config.mqtt.listen),
        mqtt_tls: mqtt_tls.as_ref().and_then(|listener| listener.local_addr().ok()),
        http: local(&web, &config.http.listen),
        kafka: local(&kafka, &config.kafka.listen),
    };
    durable::create_dir_all(&*world.fs, &config.data)?;
    let instance = format!("{}-{}", std::process::id(), world.clock.now().0);
    let running = Running {
        pid: std::process::id(),
        http: addresses.http,
        kafka: Some(addresses.kafka),
        mqtt_tls: addresses.mqtt_tls,
        instance: instance.clone(),
    };
    let _claim = Claim::new(&*world.fs, &config.data, &running)?;
    Socket::fits(&config.data)?;

    let web = Arc::new(web);
    let http_options = HttpOptions {
        connections: *config.http.connections.get_ref() as usize,
        connections_per_address: *config.http.connections_per_address.get_ref() as usize,
        lobby: lobby(&config.http.lobby, &config.http.lobby_per_address),
        header_timeout: config.http.header_timeout.get_ref().0,
    };
    let (close, closing) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let Started { ingest, topics, groups, clients, access } = tokio::select! {
        started = start(config, &world, revocations) => started?,
        // Recovery may be cut off at any point, as a kill does.
        () = &mut shutdown => return Ok(()),
        () = http::serve(web.clone(), acceptor(&config.http.tls), http::starting(), http_options, closing.clone()) => return Err(RunError::CutOff),
    };
    let socket = Socket::listen(&config.data)?;
    let broker = broker(config, &world, addresses.kafka)?;
    let log = Kafka::new(groups.topics().clone(), groups.clone(), broker, KafkaOptions::from(config));
    let log =
        Arc::new(log.with_access(access.clone(), config.kafka.users()).with_acceptor(acceptor(&config.kafka.tls)));
    let live = Live::new(topics.clone(), live_options(config));
    let delivery = Delivery::new(topics.clone(), ingest.stores().clone(), live.clone(), DeliveryOptions::default());
    let front = Front::new(ingest.clone(), clients.both(), front_options(config), world.clock.clone())
        .with_delivery(delivery.clone());
    let front = front.with_access(access.clone()).with_rates(access.limits().clone());
    let front = front.with_stores(ingest.stores().clone());
    let front = Arc::new(front);
    let (stop, stopping) = watch::channel(false);
    let (model, feeding) = start_model(config, &topics, &ingest).await;
    let websockets = websockets(config, &front, &stopping);
    let parts = Parts {
        front: front.clone(),
        ingest: ingest.clone(),
        live: live.clone(),
        clients: clients.clone(),
        delivery,
        access: access.clone(),
        websockets: websockets.clone(),
        kafka: log.clone(),
        tls: tls.clone(),
        model,
        stopping: stopping.clone(),
        instance,
    };
    let redrive = Redrive::open(world.fs.clone(), &config.data, ingest.clone(), topics.clone())?;
    // Not for Kafka: what it serves, every user of it reads.
    let all = groups.topics().with_internal(audit::TOPIC, access.audit().reader());
    access.audit().announce_in(&all);
    let app = App {
        topics: all,
        ingest: ingest.clone(),
        redrive,
        groups: groups.clone(),
        sessions: clients.sessions.clone(),
        access: access.clone(),
        gateway: Arc::new(parts),
        websockets: websockets.clone(),
        stop: closing.clone(),
    };
    let reloading = Reloading::new(config, world.reload.clone(), access.clone(), log.clone());
    let auditing = tokio::spawn(keep(access.clone(), reloading.keep(), stopping.clone()));
    tokio::spawn(live.run(closing.clone()));
    let ca = Ca::new(&config.data, world.clock.clone());
    let enrolment = Enrolment {
        ca: ca.clone(),
        access: access.clone(),
        lifetime: config.ca.lifetime.get_ref().0,
        clock: world.clock.clone(),
    };
    tokio::spawn(ca::keep(ca, closing.clone()));
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.keep(reloading.of_tls(), closing.clone()));
    }
    tokio::spawn(reloading.run(closing.clone()));
    let keeping = clients.keep(&ingest);
    let timing = tokio::spawn(groups.clone().run(stopping.clone()));
    let kafka = tokio::spawn(log.serve(kafka, stopping.clone()));
    let plain = front.clone().serve(mqtt, Acceptor::plain(), stopping.clone());
    let encrypted = match (mqtt_tls, tls.clone()) {
        (Some(listener), Some(tls)) => Some(front.serve(listener, tls.into(), stopping)),
        _ => None,
    };
    let mqtt = tokio::spawn(async move {
        tokio::join!(plain, futures_util::future::OptionFuture::from(encrypted));
    });
    let router = http::router(app).merge(http::enroll::router(enrolment));
    let commands = tokio::spawn(socket.serve(router.clone(), closing.clone()));
    let web = tokio::spawn(http::serve(web, acceptor(&config.http.tls), router, http_options, closing));
    tracing::info!(mqtt = %addresses.mqtt, mqtt_tls = ?addresses.mqtt_tls, http = %addresses.http, kafka = %addresses.kafka, data = %config.data.display(), "ready");
    ready(addresses);

    shutdown.await;
    tracing::info!("stopping: answering what is in flight");
    // Receivers live in the tasks above; a task that is gone needs no telling.
    let _ = stop.send(true);
    let aborts = [mqtt.abort_handle(), kafka.abort_handle(), web.abort_handle(), commands.abort_handle()];
    let drained = timeout(config.drain.get_ref().0, async {
        let _ = mqtt.await;
        websockets.closed().await;
        let _ = kafka.await;
        keeping.stop().await;
        if let Some(feeding) = feeding {
            // It may wait for ingest, which is still there.
            let _ = tokio::task::spawn_blocking(move || feeding.stop()).await;
        }
        ingest.stop().await;
        let _ = timing.await;
        // Waits for what was handed in.
        let _ = tokio::task::spawn_blocking(move || groups.stop()).await;
        let _ = close.send(true);
        let _ = web.await;
        let _ = commands.await;
        let _ = auditing.await;
        let _ = tokio::task::spawn_blocking(move || stop_access(&access)).await;
    });
    if drained.await.is_err() {
        tracing::warn!("not everything in flight was answered in time; its senders will send it again");
        aborts.iter().for_each(AbortHandle::abort);
    }
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: &Spanned<SocketAddr>, key: &'static str) -> Result<TcpListener, RunError> {
    let address = *address.get_ref();
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, key, source })
}

/// Who Kafka clients are told this is.
fn broker(config: &Config, world: &World, listens: SocketAddr) -> Result<Broker, IoError> {
    // The standard library's own randomness: two gateways draw different ids, and nobody has to guess one.
    let half = || u128::from(RandomState::new().hash_one(0));
    let random = || (half() << 64 | half()).to_be_bytes();
    let advertised = config.kafka.advertised.as_ref().map(|advertised| advertised.get_ref().clone());
    let cluster = cluster_id(&world.fs, &config.data, random)?;
    Ok(Broker { cluster, advertised: advertised.unwrap_or_else(|| listens.into()) })
}

/// The port that the system chose when the settings say 0.
fn local(listener: &TcpListener, asked: &Spanned<SocketAddr>) -> SocketAddr {
    listener.local_addr().unwrap_or(*asked.get_ref())
}

/// What was opened.
struct Started {
    ingest: Ingest,
    topics: crate::topics::Topics,
    groups: Groups,
    clients: Clients,
    access: Access,
}

/// Recovers the logs; it reads files for a while, so not on a worker thread.
async fn start(config: &Config, world: &World, revocations: Revocations) -> Result<Started, RunError> {
    let options = ingest_options(config, world);
    let (fs, clock, data) = (world.fs.clone(), world.clock.clone(), config.data.clone());
    let (settings, wanted) = (config.clone(), access::Wanted::of(config));
    let started = tokio::task::spawn_blocking(move || -> Result<_, RunError> {
        let started = Ingest::start(fs.clone(), &data, options, clock.clone())?;
        let access = access::open(&fs, &data, wanted, clock, revocations)?;
        Ok((started, groups::Opened::open(&fs, &data)?, clients::Opened::open(&fs, &settings)?, access))
    });
    let ((ingest, topics, report), offsets, clients, access) = started.await.map_err(|_| RunError::CutOff)??;
    log_recovery(&report);
    log_offsets(&offsets);
    let options = config.groups.options();
    let all = topics.with_internal(groups::offsets::TOPIC, [offsets.reader()]);
    let groups = Groups::new(offsets, all, options, &*world.clock, Box::new(groups::random_bits));
    let clients = Clients::new(clients, config, &*world.clock);
    Ok(Started { ingest, topics, groups, clients, access })
}

/// Opens the read model and begins to feed it. A gateway without it stores and serves all the same.
async fn start_model(
    config: &Config,
    topics: &crate::topics::Topics,
    ingest: &Ingest,
) -> (Option<Arc<Model>>, Option<Feeding>) {
    let (data, topics, ingest) = (config.data.clone(), topics.clone(), ingest.clone());
    let started = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let (model, opened) = Model::open(&data).map_err(|error| error.to_string())?;
        if let Opened::Rebuild(why) = opened {
            tracing::warn!(why, "the read model cannot be believed; it is filled again from the logs");
        }
        let model = Arc::new(model);
        let feeding = feed::start(Arc::clone(&model), topics, ingest).map_err(|error| error.to_string())?;
        Ok((model, feeding))
    });
    match started.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok((model, feeding)) => (Some(model), Some(feeding)),
        Err(error) => {
            tracing::error!(error, "the read model cannot be opened: /devices is not served");
            (None, None)
        }
    }
}

/// Says what recovery found; damage is named, not fatal.
fn log_recovery(report: &RecoveryReport) {
    let RecoveryReport { readings, dead_lettered, lost, devices, records_read, malformed, .. } = *report;
    tracing::info!(readings, dead_lettered, lost, devices, records_read, malformed, "recovered");
    let Redone { entries, bytes, damaged, put_aside, .. } = report.redone;
    if entries > 0 {
        tracing::info!(entries, bytes, "redone from the journal");
    }
    if damaged > 0 || put_aside {
        tracing::warn!(
            damaged,
            put_aside,
            "the journal was damaged; what is missing is named below, partition by partition"
        );
    }
    for found in &report.partitions {
        let (topic, partition, recovery) = (&*found.topic, found.partition, &found.recovery);
        if recovery.truncated_bytes > 0 {
            tracing::info!(topic, partition, bytes = recovery.truncated_bytes, "cut off what was never acknowledged");
        }
        for why in &found.bad_checkpoints {
            tracing::warn!(topic, partition, why, "a checkpoint cannot be believed; an older one was used, or the log");
        }
        if found.is_cut {
            let unnamed = found.unnamed_offsets;
            tracing::warn!(
                topic,
                partition,
                unnamed,
                "the log ends before a checkpoint saw it end: its last commits were damaged"
            );
        }
        if found.history_unknown {
            tracing::error!(
                topic,
                partition,
                "no checkpoint can be believed and the log does not begin at 0: of what was stored before its first                  records nothing is known, and readings that belong there become dead letters (history-unknown)"
            );
        }
        if recovery.damage_count > 0 {
            let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
            tracing::warn!(topic, partition, damages, lost_offsets, "damaged: `weir-gateway topic verify` names it");
        }
    }
}

/// Says what was found of groups.
fn log_offsets(opened: &groups::Opened) {
    let ((groups, offsets), recovery) = (opened.counts(), opened.recovery());
    tracing::info!(groups, offsets, "offsets of groups read");
    if recovery.damage_count > 0 {
        let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
        tracing::warn!(damages, lost_offsets, "weir.offsets is damaged: groups may go on at earlier offsets");
    }
}

fn ingest_options(
    config: &Config,
    #[cfg_attr(not(feature = "plant"), expect(unused_variables))] world: &World,
) -> IngestOptions {
    let log = LogOptions {
        segment_bytes: config.topics.segment.get_ref().0,
        cap_bytes: config.topics.partition_cap.as_ref().map(|cap| cap.get_ref().0),
        ..IngestOptions::default().log
    };
    IngestOptions {
        partitions: *config.topics.partitions.get_ref(),
        log,
        journal: journal_options(config.topics.journal.get_ref().0),
        connection_budget: budget(config),
        limits: ingest::Limits {
            devices: *config.limits.devices.get_ref() as usize,
            restarts_per_device: *config.limits.restarts_per_device.get_ref() as usize,
            restarts: *config.limits.restarts.get_ref() as usize,
            ranges_per_restart: *config.limits.ranges_per_restart.get_ref() as usize,
            schemas_per_device: *config.limits.schemas_per_device.get_ref() as usize,
            ..ingest::Limits::default()
        },
        compatibility: config.schemas.compatibility,
        binding: config.binding(),
        retention: config.topics.retention(),
        routing: config.topics.routing(&config.mqtt.store),
        #[cfg(feature = "plant")]
        plant: world.plant,
        ..IngestOptions::default()
    }
}

/// The salt is the standard library's own randomness, which it gives its hash tables for the same reason: nobody
/// outside can know it.
fn journal_options(bytes: u64) -> Option<JournalOptions> {
    let salt = RandomState::new().hash_one(bytes);
    (bytes > 0).then_some(JournalOptions { bytes, salt })
}

fn front_options(config: &Config) -> FrontOptions {
    FrontOptions {
        connections: *config.mqtt.connections.get_ref() as usize,
        lobby: lobby(&config.mqtt.lobby, &config.mqtt.lobby_per_address),
        buffers: config.mqtt.buffers.get_ref().0 as usize,
        connect_timeout: config.mqtt.connect_timeout.get_ref().0,
        limits: Limits { receive_maximum: *config.mqtt.receive_maximum.get_ref(), budget: budget(config) },
        subscriptions: SubscriptionLimits::default(),
        topics: TopicLimits {
            levels: *config.mqtt.topic_levels.get_ref() as usize,
            bytes: *config.mqtt.topic_bytes.get_ref() as usize,
            property_bytes: *config.mqtt.property_bytes.get_ref() as usize,
        },
    }
}

fn live_options(config: &Config) -> LiveOptions {
    LiveOptions {
        subscribers: *config.mqtt.connections.get_ref() as usize,
        buffer: config.mqtt.live_buffer.get_ref().0 as usize,
        ..LiveOptions::default()
    }
}

/// MQTT over WebSocket, into the front like any other connection.
fn websockets(config: &Config, front: &Arc<Front<Ingest>>, stopping: &watch::Receiver<bool>) -> WebSockets {
    let (front, stopping) = (Arc::clone(front), stopping.clone());
    let origins = config.http.websocket_origins.iter().map(|origin| origin.get_ref().clone()).collect();
    WebSockets::new(origins, move |stream, peer| {
        let (front, stopping) = (Arc::clone(&front), stopping.clone());
        let peer = Peer { address: peer.address, certificate: peer.certificate.as_deref().cloned() };
        Box::pin(async move { front.serve_one(stream, peer, stopping).await })
    })
}

fn lobby(most: &Spanned<u32>, most_per_address: &Spanned<u32>) -> LobbyOptions {
    LobbyOptions { most: *most.get_ref() as usize, most_per_address: *most_per_address.get_ref() as usize }
}

fn budget(config: &Config) -> usize {
    // At most 1 GiB, which the settings check.
    config.mqtt.connection_budget.get_ref().0 as usize
}

impl Intake for Ingest {
    type Link = Connection;

    fn connect(&self, sender: Sender, events: Events) -> Connection {
        Ingest::connect(self, sender, events)
    }
}

impl Link for Connection {
    async fn submit(&mut self, messages: Vec<Message>) {
        Connection::submit(self, messages).await;
    }
}

/// What HTTP asks about.
struct Parts {
    front: Arc<Front<Ingest>>,
    ingest: Ingest,
    live: Live,
    clients: Clients,
    delivery: Delivery,
    access: Access,
    websockets: WebSockets,
    kafka: Arc<Kafka>,
    tls: Option<Tls>,
    model: Option<Arc<Model>>,
    stopping: watch::Receiver<bool>,
    instance: String,
}

impl Gateway for Parts {
    fn not_ready(&self) -> Option<String> {
        if *self.stopping.borrow() {
            return Some("stopping".to_owned());
        }
        self.ingest
            .stats()
            .paused
            .then(|| "paused: no room on the disk, or a log is at topics.partition_cap".to_owned())
    }

    fn model(&self) -> Option<Arc<Model>> {
        self.model.clone()
    }

    fn status(&self) -> Value {
        self.clients.sessions.agents(&self.clients.retained)
    }

    fn version(&self) -> Value {
        json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "instance": self.instance,
        })
    }

    fn metrics(&self, out: &mut metrics::Text) {
        metrics::front(out, self.front.counters());
        metrics::front_bounds(out, self.front.options(), self.front.waiting_and_room());
        metrics::live(out, &self.live.stats());
        metrics::sessions(out, &self.clients.sessions.stats());
        metrics::retained(out, &self.clients.retained.stats());
        metrics::delivery(out, &self.delivery.stats());
        metrics::access(out, &self.access);
        metrics::websockets(out, self.websockets.counts());
        self.kafka.metrics(out);
        if let Some(tls) = &self.tls {
            tls.metrics(out);
        }
        metrics::ingest(out, &self.ingest.stats());
    }
}
