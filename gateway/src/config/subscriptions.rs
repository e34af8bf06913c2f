//! The keys of the table `mqtt` about what clients subscribe to.

use weir_protocol::settings::{SettingsError, Source};

use super::{Mqtt, within};
use crate::delivery::DeliveryOptions;
use crate::front::outbound::subscriptions::SubscriptionLimits;

impl Mqtt {
    pub(super) fn check_subscriptions(&self, source: &Source) -> Result<(), SettingsError> {
        within(source, "mqtt.subscriptions", &self.subscriptions, 1..=10_000)?;
        within(source, "mqtt.catch_ups", &self.catch_ups, 1..=256)
    }

    /// As the front takes them.
    pub fn subscription_limits(&self) -> SubscriptionLimits {
        let (most, levels) = (*self.subscriptions.get_ref(), *self.topic_levels.get_ref());
        SubscriptionLimits { most: most as usize, levels: levels as usize }
    }

    /// As durable subscriptions take them.
    pub fn delivery_options(&self) -> DeliveryOptions {
        DeliveryOptions { reads: *self.catch_ups.get_ref() as usize, ..DeliveryOptions::default() }
    }
}
