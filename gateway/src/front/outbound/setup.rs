//! How the outbound side of a session begins.

use std::sync::Arc;

use weir_protocol::AgentId;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::time::WallClock;

use super::commands::Commands;
use super::orders::Orders;
use super::retained::Waiting;
use super::source::Source;
use super::subscribing::may_have;
use super::subscriptions::{SubscriptionLimits, Subscriptions};
use super::window::Window;
use super::{Counted, Outbound};
use crate::access::{Access, Identity};
use crate::delivery::{Cursor, Delivery, DeliveryOptions, Positions, Subscription, Unfinished};
use crate::front::counters::Counters;
use crate::mqtt::write::Writer;
use crate::retained::Retained;
use crate::router::{Live, LiveOptions};
use crate::topics::Topics;
use crate::topics::stores::Stores;

/// What all sessions are supplied from.
pub struct Supply {
    /// The log.
    pub delivery: Delivery,
    /// The retained messages, if there are any.
    pub retained: Option<Retained>,
    /// The moment, against which messages expire.
    pub clock: Arc<dyn WallClock>,
    /// What one client may subscribe to.
    pub limits: SubscriptionLimits,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Supply {
    /// Of nothing: whoever subscribes hears nothing.
    pub(in crate::front) fn none(clock: Arc<dyn WallClock>, counters: Arc<Counters>) -> Self {
        let delivery = Delivery::new(
            Topics::none(),
            Stores::default(),
            Live::new(Topics::none(), LiveOptions::default()),
            DeliveryOptions::default(),
        );
        Self { delivery, retained: None, clock, limits: SubscriptionLimits::default(), counters }
    }
}

/// One client and its session.
pub struct Setup {
    /// Writes to it.
    pub writer: Writer,
    /// Who it is.
    pub identity: Identity,
    /// Who may subscribe to what.
    pub access: Access,
    /// How many messages at QoS 1 it takes unacknowledged.
    pub receive_maximum: u16,
    /// What it goes on with, if its session outlives the connection: empty for a new one.
    pub resumed: Option<Resumed>,
}

/// What a session that outlives its connections kept.
#[derive(Clone, Debug, Default)]
pub struct Resumed {
    /// Its subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Where it is.
    pub positions: Positions,
    /// What was out when the client went.
    pub unfinished: Unfinished,
}

impl Outbound {
    /// The outbound side of a session.
    pub fn new(supply: Arc<Supply>, setup: Setup) -> Self {
        let Setup { writer, identity, access, receive_maximum, resumed } = setup;
        let commands = AgentId::new(identity.client.as_str()).ok().map(|agent| {
            let topic = Topic { tenant: identity.tenant, agent, purpose: Purpose::Command };
            Box::new(Commands::new(topic.to_string()))
        });
        let is_durable = resumed.is_some();
        let Resumed { subscriptions, mut positions, unfinished } = resumed.unwrap_or_default();
        let window = Window::new(receive_maximum, unfinished.sent, unfinished.last_id);
        // What the rules said when it subscribed is not what they say now.
        let may = |filter: &str| may_have(&access, &identity, filter);
        let subscriptions = Subscriptions::new(subscriptions, may, supply.delivery.topics());
        supply.counters.withheld(subscriptions.withheld());
        // What was sent is not read again as if it was new, as long as it is known what was.
        for next in unfinished.next.iter() {
            positions.set(&next.topic, next.partition, next.offset);
        }
        let source = if is_durable {
            let mut cursor = Cursor::new(supply.delivery.clone(), identity.tenant);
            cursor.resume(subscriptions.filters(), &positions);
            Source::log(cursor)
        } else {
            Source::Nowhere
        };
        let again = window.sent().clone();
        let retained = supply.retained.as_ref();
        let retained = retained
            .map(|retained| Waiting::resume(identity.tenant, unfinished.retained, &subscriptions, retained))
            .unwrap_or_default();
        let mut orders = Orders::default();
        subscriptions.filters().for_each(|filter| orders.subscribe(&supply, &identity, &filter));
        let mut counted = Counted { count: 0, supply: Arc::clone(&supply) };
        counted.set(subscriptions.len());
        Self {
            supply,
            counted,
            writer,
            identity,
            access,
            commands,
            orders,
            subscriptions,
            window,
            retained,
            again,
            source,
            moved: false,
        }
    }
}
