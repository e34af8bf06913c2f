//! The bounds of the Kafka port.

use std::time::Duration;

use crate::config::Config;
use crate::lobby::LobbyOptions;

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct KafkaOptions {
    /// The most connections that have sent a request at a time.
    pub connections: usize,
    /// The most of them from one address.
    pub connections_per_address: usize,
    /// How many sockets may wait without having sent one.
    pub lobby: LobbyOptions,
    /// How long a request may take to arrive.
    pub request_timeout: Duration,
    /// How long a connection may go without a request.
    pub idle_timeout: Duration,
    /// What the records on their way to all clients may take together, in bytes.
    pub buffers: usize,
    /// The size at which a partition goes on in a new segment, in bytes, for those who ask.
    pub segment_bytes: u64,
}

impl From<&Config> for KafkaOptions {
    fn from(config: &Config) -> Self {
        let segment_bytes = config.topics.segment.get_ref().0;
        let config = &config.kafka;
        Self {
            segment_bytes,
            connections: *config.connections.get_ref() as usize,
            connections_per_address: *config.connections_per_address.get_ref() as usize,
            lobby: LobbyOptions {
                most: *config.lobby.get_ref() as usize,
                most_per_address: *config.lobby_per_address.get_ref() as usize,
            },
            request_timeout: config.request_timeout.get_ref().0,
            idle_timeout: config.idle_timeout.get_ref().0,
            buffers: config.buffers.get_ref().0 as usize,
        }
    }
}
