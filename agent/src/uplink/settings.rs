//! From the settings to what the uplink works with.

use super::budget::BudgetOptions;
use super::connection::{Endpoint, Options};
use super::credentials::Credentials;
use super::gateways::{Gateway, Order};
use super::{OpenClasses, PaceOptions, UplinkOptions};
use crate::config::Config;

impl UplinkOptions {
    /// How to ship.
    pub fn of(config: &Config) -> Self {
        let uplink = &config.uplink;
        Self {
            agent: config.name,
            gateways: Gateway::all(config),
            connection: Options {
                client_id: config.name.to_string(),
                keep_alive: uplink.keep_alive.get_ref().0,
                window: *uplink.window.get_ref(),
                will: Default::default(),
            },
            batch_bytes: uplink.batch_bytes.get_ref().0 as usize,
            batch_interval: uplink.batch_interval.0,
            compress: uplink.compress,
            ack_timeout: uplink.ack_timeout.get_ref().0,
            progress_timeout: uplink.progress_timeout.get_ref().0,
            status_interval: uplink.status_interval.get_ref().0,
            position_interval: uplink.position_interval.get_ref().0,
            pace: PaceOptions {
                rate: uplink.backlog_rate.as_ref().map(|rate| rate.get_ref().0),
                delay: uplink.backlog_delay.0,
            },
            order: Order {
                failures: *uplink.breaker_failures.get_ref(),
                return_after: uplink.return_after.get_ref().0,
                backoff: (uplink.backoff_min.get_ref().0, uplink.backoff_max.get_ref().0),
            },
        }
    }
}

impl Gateway {
    /// Those of the settings, in order of preference.
    pub fn all(config: &Config) -> Vec<Self> {
        let gateways = config.uplink.gateways();
        let gateway = |set: &crate::config::GatewayConfig| Self {
            endpoint: Endpoint {
                address: set.address.get_ref().clone(),
                version: set.mqtt.unwrap_or(config.uplink.mqtt),
                proxy: set.proxy.as_ref().map(|proxy| proxy.get_ref().clone()),
            },
            credentials: Credentials::of(set, &config.data_dir, config.name),
            retain: true,
        };
        gateways.iter().map(gateway).collect()
    }
}

impl BudgetOptions {
    /// What the link may carry.
    pub fn of(config: &Config) -> Self {
        let budget = &config.uplink.budget;
        let class = |name: &str| config.queue.class_named(name).map_or(OpenClasses::NONE, OpenClasses::one);
        let exempt = budget.exempt.iter().map(|name| class(name.get_ref()));
        Self {
            bytes_per_day: budget.bytes_per_day.as_ref().map(|bytes| bytes.get_ref().0),
            exempt: exempt.fold(OpenClasses::NONE, OpenClasses::or),
            hours: budget.hours.iter().map(|(name, hours)| (class(name.get_ref()), hours.clone())).collect(),
            utc_offset: budget.utc_offset,
        }
    }
}
