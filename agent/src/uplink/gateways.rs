//! Which gateway is used: the order of preference, and what is known of each.
//!
//! What it guarantees: a gateway is used until it failed so often in a row that its breaker opens; then the first in order
//! whose breaker is closed is, and if all are open the one whose wait ends first. While another than the preferred one is
//! used, those before it are tried again every `return_after`, each with a connection of its own, while readings go on
//! over the present one: a gateway that does not answer holds nothing up.
//!
//! Free of sockets and clocks: every moment is a parameter.

use std::time::Duration;

use rand::rngs::StdRng;
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerState};
use super::connection::Endpoint;
use super::credentials::Credentials;
use crate::backoff::Backoff;

/// One gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where it is, and how it is spoken to.
    pub endpoint: Endpoint,
    /// What it is shown, and by what it is recognised.
    pub credentials: Credentials,
    /// Whether it takes retained messages, as far as is known.
    pub retain: bool,
}

/// When to go to another gateway.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Failures in a row that open a breaker.
    pub failures: u32,
    /// How often those before the present gateway are tried.
    pub return_after: Duration,
    /// The shortest and the longest wait before a gateway is tried again.
    pub backoff: (Duration, Duration),
}

/// All of them, in order of preference; at least one.
#[derive(Debug)]
pub(super) struct Gateways {
    list: Vec<(Gateway, Breaker)>,
    order: Order,
    backoff: Backoff,
    at: usize,
    /// When those before the present one are tried, and which is next.
    return_at: Instant,
    probe: usize,
}

impl Gateways {
    pub(super) fn new(list: Vec<Gateway>, order: Order, random: StdRng, now: Instant) -> Self {
        let list = list.into_iter().map(|gateway| (gateway, Breaker::new(order.failures, now))).collect();
        let backoff = Backoff::new(order.backoff.0, order.backoff.1, random);
        Self { list, order, backoff, at: 0, return_at: now, probe: 0 }
    }

    /// The present one.
    pub(super) fn current(&mut self) -> &mut Gateway {
        &mut self.list[self.at].0
    }

    /// One by its place.
    pub(super) fn get(&mut self, at: usize) -> &mut Gateway {
        &mut self.list[at].0
    }

    /// The place of the present one.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Address, breaker and failures in a row of each.
    pub(super) fn states(&self) -> impl Iterator<Item = (&Gateway, BreakerState, u32)> {
        self.list.iter().map(|(gateway, breaker)| (gateway, breaker.state(), breaker.failures()))
    }

    /// Chooses the one that is used next; not before the moment that is returned.
    pub(super) fn choose(&mut self, now: Instant) -> Instant {
        let is_closed = |(_, breaker): &(Gateway, Breaker)| breaker.state() == BreakerState::Closed;
        let next = if is_closed(&self.list[self.at]) {
            self.at
        } else if let Some(closed) = self.list.iter().position(is_closed) {
            closed
        } else {
            let waits = self.list.iter().enumerate().map(|(at, (_, breaker))| (breaker.retry_at(), at));
            waits.min().map_or(self.at, |(_, at)| at)
        };
        self.go_to(next, now);
        self.list[next].1.retry_at()
    }

    /// The present one is being connected to.
    pub(super) fn tried(&mut self) {
        self.list[self.at].1.tried();
    }

    /// The present one acknowledged something; whether anything was held against it.
    pub(super) fn worked(&mut self) -> bool {
        self.list[self.at].1.worked()
    }

    /// The present one failed; `for_good`: the next one is used.
    pub(super) fn failed(&mut self, for_good: bool, now: Instant) {
        self.fail(self.at, for_good, now);
    }

    /// The connection to the present one ended as it should.
    pub(super) fn ended(&mut self, now: Instant) {
        self.list[self.at].1.ended(now);
    }

    /// When one before the present one is to be tried, and which.
    pub(super) fn probe(&self) -> Option<(Instant, usize)> {
        (self.at > 0).then_some((self.return_at, self.probe))
    }

    /// One before the present one is being connected to.
    pub(super) fn probing(&mut self, at: usize) {
        self.list[at].1.tried();
    }

    /// It could not be connected to: the next one before the present one is tried, or all of them later.
    pub(super) fn probe_failed(&mut self, at: usize, now: Instant) {
        self.fail(at, false, now);
        self.probe = at + 1;
        if self.probe >= self.at {
            (self.probe, self.return_at) = (0, now + self.order.return_after);
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn probe_dropped(&mut self, at: usize) {
        self.list[at].1.dropped();
    }

    /// It was connected to and is used from now on.
    pub(super) fn returned(&mut self, at: usize, now: Instant) {
        self.list[self.at].1.ended(now);
        self.go_to(at, now);
    }

    fn fail(&mut self, at: usize, for_good: bool, now: Instant) {
        let breaker = &mut self.list[at].1;
        let wait = self.backoff.after(breaker.failures().saturating_add(1));
        breaker.failed(now + wait, for_good);
    }

    fn go_to(&mut self, at: usize, now: Instant) {
        if self.at != at {
            self.at = at;
            (self.probe, self.return_at) = (0, now + self.order.return_after);
        }
    }
}

#[cfg(test)]
mod tests;
