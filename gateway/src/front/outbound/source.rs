//! Where the messages of one client come from: the router, or for a session that outlives its connection the log.

use std::sync::Arc;

use tokio::task::JoinHandle;
use weir_protocol::Tenant;

use super::setup::Supply;
use super::subscriptions::Subscriptions;
use crate::delivery::{Budget, Cursor, Message, Place, Positions};
use crate::router::registry::Full;
use crate::router::{Delivered, Subscriber};

/// One thing to send.
pub enum Next {
    /// What was at the head of what is sent again; nothing if it is not to be had any more.
    Again(Option<Message>),
    /// Retained messages that were asked for.
    Retained,
    /// What an operator tells the client changed.
    Ordered,
    /// A message that was not sent before.
    New(Arc<Message>),
}

/// Where they come from.
pub(super) enum Source {
    /// Nothing is subscribed, and the session ends with its connection.
    Nowhere,
    /// The router: what is missed is missed.
    Live(Box<Subscriber>),
    /// The log.
    Log(Box<Log>),
}

/// The log, and a message of it that is read again.
pub(super) struct Log {
    cursor: Cursor,
    again: Option<JoinHandle<Option<Message>>>,
}

impl Source {
    /// From the log.
    pub(super) fn log(cursor: Cursor) -> Self {
        Self::Log(Box::new(Log { cursor, again: None }))
    }

    /// Whether messages can be had again.
    pub(super) fn is_log(&self) -> bool {
        matches!(self, Self::Log(_))
    }

    /// One subscription more, with this filter. Where it begins, in partitions that are read from further back.
    pub(super) fn subscribe(
        &mut self,
        supply: &Supply,
        tenant: Tenant,
        all: &Subscriptions,
        filter: &str,
    ) -> Result<Positions, Full> {
        if let Self::Nowhere = self {
            *self = Self::Live(Box::new(supply.delivery.live().subscriber(tenant)?));
        }
        match self {
            Self::Nowhere => (),
            Self::Live(subscriber) => subscriber.subscribe(filter)?,
            Self::Log(log) => return Ok(log.cursor.subscribe(all.filters(), filter)),
        }
        Ok(Positions::default())
    }

    /// One subscription less; `all` are left.
    pub(super) fn unsubscribe(&mut self, all: &Subscriptions, filter: &str) {
        match self {
            Self::Nowhere => (),
            Self::Live(_) if all.is_empty() => *self = Self::Nowhere,
            Self::Live(subscriber) => {
                subscriber.unsubscribe(filter);
            }
            Self::Log(log) => log.cursor.unsubscribe(all.filters(), filter),
        }
    }

    /// The record at `place`; `None` if it is not there any more. May be dropped at any time.
    pub(super) async fn again(&mut self, supply: &Supply, place: Place) -> Option<Message> {
        let Self::Log(log) = self else { return None };
        let message = log.again.get_or_insert_with(|| supply.delivery.message(place)).await.ok().flatten();
        log.again = None;
        message
    }

    /// The next message. May be dropped at any time without losing one.
    pub(super) async fn next(&mut self, budget: Budget) -> Arc<Message> {
        match self {
            Self::Nowhere => std::future::pending().await,
            Self::Live(subscriber) => loop {
                if let Delivered::Message(message) = subscriber.next().await {
                    return message;
                }
            },
            Self::Log(log) => log.cursor.next(budget).await,
        }
    }

    /// The next message if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Arc<Message>> {
        match self {
            Self::Nowhere => None,
            Self::Live(subscriber) => loop {
                if let Delivered::Message(message) = subscriber.try_next()? {
                    return Some(message);
                }
            },
            Self::Log(log) => log.cursor.try_next(),
        }
    }

    /// Where a session that outlives its connection is; `unacknowledged` was sent.
    pub(super) fn positions(&mut self, unacknowledged: impl Iterator<Item = Place> + Clone) -> Positions {
        match self {
            Self::Log(log) => log.cursor.positions(unacknowledged),
            Self::Nowhere | Self::Live(_) => Positions::default(),
        }
    }

    /// Behind what was sent.
    pub(super) fn next_positions(&self) -> Positions {
        match self {
            Self::Log(log) => log.cursor.next_positions(),
            Self::Nowhere | Self::Live(_) => Positions::default(),
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Log(log) => log.cursor.held(),
            Self::Nowhere | Self::Live(_) => 0,
        }
    }
}
