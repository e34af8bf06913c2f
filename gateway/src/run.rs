//! The program: from settings to a gateway that serves until it is told to stop.
//!
//! What it guarantees: all ports are bound before anything is created on disk; while the logs are recovered MQTT
//! waits and HTTP says that it is not ready; a stop answers what is in flight, within the drain time, and then ends;
//! a stop during recovery ends it. Time, filesystem and the wish to stop are parameters.
//!
//! Order of a stop: the front takes no more and answers; ingest commits what it has; HTTP serves until then.

mod access;
mod clients;
mod inlets;
mod opening;
mod options;
mod parts;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use weir_protocol::settings::Spanned;
use weir_protocol::time::WallClock;
use weir_storage::{Fs, IoError, durable};

use self::access::{Reloading, keep, stop as stop_access};
use crate::access::audit;
use crate::ca::{self, Ca};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::front::Front;
use crate::http::authority::Authority;
use crate::http::enroll::Enrolment;
use crate::http::{self, App, Socket, SocketError};
use crate::ingest::StartError;
use crate::kafka::{Kafka, KafkaOptions};
use crate::keyed_log::KeyedLogError;
use crate::lock::{Claim, ClaimError, Running};
use crate::redrive::Redrive;
use crate::router::Live;
use crate::tls::{Acceptor, Revocations, TlsError};
use opening::Started;
use parts::Parts;

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
    let http_options = options::http(config);
    let (close, closing) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let Started { ingest, topics, groups, clients, access } = tokio::select! {
        started = opening::start(config, &world, revocations) => started?,
        // Recovery may be cut off at any point, as a kill does.
        () = &mut shutdown => return Ok(()),
        () = http::serve(web.clone(), acceptor(&config.http.tls), http::starting(), http_options, closing.clone()) => return Err(RunError::CutOff),
    };
    let socket = Socket::listen(&config.data)?;
    let broker = options::broker(config, &world, addresses.kafka)?;
    let log = Kafka::new(groups.topics().clone(), groups.clone(), broker, KafkaOptions::from(config));
    let log =
        Arc::new(log.with_access(access.clone(), config.kafka.users()).with_acceptor(acceptor(&config.kafka.tls)));
    let live = Live::new(topics.clone(), options::live(config));
    let delivery = Delivery::new(topics.clone(), ingest.stores().clone(), live.clone(), config.mqtt.delivery_options());
    let front = Front::new(ingest.clone(), clients.both(), options::front(config), world.clock.clone())
        .with_delivery(delivery.clone());
    let front = front.with_access(access.clone()).with_rates(access.limits().clone());
    let front = front.with_stores(ingest.stores().clone());
    let front = Arc::new(front);
    let (stop, stopping) = watch::channel(false);
    let (model, feeding) = opening::start_model(config, &topics, &ingest).await;
    let websockets = inlets::websockets(config, &front, &stopping);
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
    let ca = Ca::new(&config.data, world.clock.clone());
    let authority = Authority { ca: ca.clone(), lifetime: config.ca.lifetime.get_ref().0 };
    let app = App {
        topics: all,
        ingest: ingest.clone(),
        redrive,
        groups: groups.clone(),
        sessions: clients.sessions.clone(),
        access: access.clone(),
        authority: authority.clone(),
        gateway: Arc::new(parts),
        websockets: websockets.clone(),
        stop: closing.clone(),
    };
    let reloading = Reloading::new(config, world.reload.clone(), access.clone(), log.clone());
    let auditing = tokio::spawn(keep(access.clone(), reloading.keep(), stopping.clone()));
    tokio::spawn(live.run(closing.clone()));
    let enrolment =
        Enrolment { ca: ca.clone(), access: access.clone(), lifetime: authority.lifetime, clock: world.clock.clone() };
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

/// The port that the system chose when the settings say 0.
fn local(listener: &TcpListener, asked: &Spanned<SocketAddr>) -> SocketAddr {
    listener.local_addr().unwrap_or(*asked.get_ref())
}
