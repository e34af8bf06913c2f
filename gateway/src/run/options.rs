//! From the settings to what each part of the program takes.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use weir_protocol::settings::Spanned;
use weir_storage::{IoError, JournalOptions, LogOptions};

use super::World;
use crate::config::Config;
use crate::front::session::Limits;
use crate::front::{FrontOptions, TopicLimits};
use crate::http::HttpOptions;
use crate::ingest::{IngestOptions, Limits as IngestLimits};
use crate::kafka::{Broker, cluster_id};
use crate::lobby::LobbyOptions;
use crate::router::LiveOptions;

/// Of ingest.
pub(super) fn ingest(
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
        limits: IngestLimits {
            devices: *config.limits.devices.get_ref() as usize,
            restarts_per_device: *config.limits.restarts_per_device.get_ref() as usize,
            restarts: *config.limits.restarts.get_ref() as usize,
            ranges_per_restart: *config.limits.ranges_per_restart.get_ref() as usize,
            schemas_per_device: *config.limits.schemas_per_device.get_ref() as usize,
            ..IngestLimits::default()
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

/// Of the MQTT front.
pub(super) fn front(config: &Config) -> FrontOptions {
    FrontOptions {
        connections: *config.mqtt.connections.get_ref() as usize,
        lobby: lobby(&config.mqtt.lobby, &config.mqtt.lobby_per_address),
        buffers: config.mqtt.buffers.get_ref().0 as usize,
        connect_timeout: config.mqtt.connect_timeout.get_ref().0,
        limits: Limits { receive_maximum: *config.mqtt.receive_maximum.get_ref(), budget: budget(config) },
        subscriptions: config.mqtt.subscription_limits(),
        topics: TopicLimits {
            levels: *config.mqtt.topic_levels.get_ref() as usize,
            bytes: *config.mqtt.topic_bytes.get_ref() as usize,
            property_bytes: *config.mqtt.property_bytes.get_ref() as usize,
        },
    }
}

/// Of live subscriptions.
pub(super) fn live(config: &Config) -> LiveOptions {
    LiveOptions {
        subscribers: *config.mqtt.connections.get_ref() as usize,
        buffer: config.mqtt.live_buffer.get_ref().0 as usize,
        ..LiveOptions::default()
    }
}

/// Of HTTP.
pub(super) fn http(config: &Config) -> HttpOptions {
    HttpOptions {
        connections: *config.http.connections.get_ref() as usize,
        connections_per_address: *config.http.connections_per_address.get_ref() as usize,
        lobby: lobby(&config.http.lobby, &config.http.lobby_per_address),
        header_timeout: config.http.header_timeout.get_ref().0,
    }
}

/// Who Kafka clients are told this is.
pub(super) fn broker(config: &Config, world: &World, listens: SocketAddr) -> Result<Broker, IoError> {
    // The standard library's own randomness: two gateways draw different ids, and nobody has to guess one.
    let half = || u128::from(RandomState::new().hash_one(0));
    let random = || (half() << 64 | half()).to_be_bytes();
    let advertised = config.kafka.advertised.as_ref().map(|advertised| advertised.get_ref().clone());
    let cluster = cluster_id(&world.fs, &config.data, random)?;
    Ok(Broker { cluster, advertised: advertised.unwrap_or_else(|| listens.into()) })
}

/// Of a lobby.
fn lobby(most: &Spanned<u32>, most_per_address: &Spanned<u32>) -> LobbyOptions {
    LobbyOptions { most: *most.get_ref() as usize, most_per_address: *most_per_address.get_ref() as usize }
}

/// Bytes that one connection of MQTT may have in flight.
fn budget(config: &Config) -> usize {
    // At most 1 GiB, which the settings check.
    config.mqtt.connection_budget.get_ref().0 as usize
}
