//! How often clients may come, and how much they may send.
//!
//! What it guarantees: connects for each address and each identity, failed logins for each address, and messages and bytes
//! for each identity have a rate ([`bucket`]); over a rate a connect is refused, and a publisher is not read for a while, so
//! that nothing it sends is lost. What is remembered is bounded ([`table`]): a bucket that is full again is forgotten, and in a
//! table that is full all who are not in it share one bucket.

pub mod bucket;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::access::{ClientId, Identity};
use crate::lobby::subscriber;
use bucket::Rate;
use table::Table;
use weir_protocol::Tenant;

/// The rates. `None`: any.
#[derive(Clone, Copy, Debug)]
pub struct LimitsOptions {
    /// CONNECTs of one address.
    pub connects_per_address: Option<Rate>,
    /// CONNECTs of one identity.
    pub connects: Option<Rate>,
    /// Logins of one address that failed.
    pub failed_logins: Option<Rate>,
    /// Messages that one identity publishes.
    pub messages: Option<Rate>,
    /// Bytes that one identity publishes.
    pub bytes: Option<Rate>,
}

impl LimitsOptions {
    /// No limits at all.
    pub const NONE: Self =
        Self { connects_per_address: None, connects: None, failed_logins: None, messages: None, bytes: None };
}

/// All rates of the gateway; cheap to clone.
#[derive(Clone)]
pub struct Limits {
    inner: Arc<Inner>,
}

struct Inner {
    addresses: Table<IpAddr>,
    clients: Table<(Tenant, ClientId)>,
    logins: Table<IpAddr>,
    messages: Table<(Tenant, ClientId)>,
    bytes: Table<(Tenant, ClientId)>,
    counts: [AtomicU64; Limited::ALL.len()],
}

/// Which rate was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// CONNECTs of an address.
    ConnectsOfAddress,
    /// CONNECTs of an identity.
    Connects,
    /// Failed logins of an address.
    FailedLogins,
    /// Messages of an identity.
    Messages,
    /// Bytes of an identity.
    Bytes,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ConnectsOfAddress, Self::Connects, Self::FailedLogins, Self::Messages, Self::Bytes];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectsOfAddress => "connects-of-address",
            Self::Connects => "connects",
            Self::FailedLogins => "failed-logins",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
        }
    }
}

impl Limits {
    /// These rates.
    pub fn new(options: LimitsOptions) -> Self {
        let inner = Inner {
            addresses: Table::new(options.connects_per_address),
            clients: Table::new(options.connects),
            logins: Table::new(options.failed_logins),
            messages: Table::new(options.messages),
            bytes: Table::new(options.bytes),
            counts: Default::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A CONNECT from `address`, before it is known who it is. Failed logins of the address are not looked at: whoever
    /// shows a certificate is not to pay for a guesser behind the same router.
    ///
    /// # Errors
    /// [`Limited`] if the address comes too often.
    pub fn address(&self, address: IpAddr, now: Instant) -> Result<(), Limited> {
        match self.inner.addresses.spend(&subscriber(address), 1.0, now) {
            None => Ok(()),
            Some(_) => Err(self.count(Limited::ConnectsOfAddress)),
        }
    }

    /// Somebody at `address` is about to prove by a password who it is, or showed a token that there is not.
    ///
    /// # Errors
    /// [`Limited`] if too many logins of it failed.
    pub fn logins(&self, address: IpAddr, now: Instant) -> Result<(), Limited> {
        match self.inner.logins.has_some(&subscriber(address), now) {
            true => Ok(()),
            false => Err(self.count(Limited::FailedLogins)),
        }
    }

    /// A CONNECT of a client that proved who it is.
    ///
    /// # Errors
    /// [`Limited`] if it comes too often.
    pub fn connect(&self, identity: &Identity, now: Instant) -> Result<(), Limited> {
        match self.inner.clients.spend(&name(identity), 1.0, now) {
            None => Ok(()),
            Some(_) => Err(self.count(Limited::Connects)),
        }
    }

    /// A login from `address` failed.
    pub fn failed_login(&self, address: IpAddr, now: Instant) {
        self.inner.logins.spend(&subscriber(address), 1.0, now);
    }

    /// The rates of what one client publishes; those of its next connection go on where these end.
    pub fn publisher(&self, identity: &Identity, now: Instant) -> Publisher {
        let name = name(identity);
        let (messages, bytes) = (self.inner.messages.bucket(&name, now), self.inner.bytes.bucket(&name, now));
        Publisher { limits: self.clone(), messages, bytes }
    }

    /// How often each rate was exceeded.
    pub fn counts(&self) -> impl Iterator<Item = (Limited, u64)> {
        Limited::ALL.into_iter().map(|limited| (limited, self.inner.counts[limited as usize].load(Ordering::Relaxed)))
    }

    fn count(&self, limited: Limited) -> Limited {
        self.inner.counts[limited as usize].fetch_add(1, Ordering::Relaxed);
        limited
    }
}

fn name(identity: &Identity) -> (Tenant, ClientId) {
    (identity.tenant, identity.client.clone())
}

/// The rates of what one client publishes.
pub struct Publisher {
    limits: Limits,
    messages: Option<table::Shared>,
    bytes: Option<table::Shared>,
}

impl Publisher {
    /// A message of so many bytes came; how long to read nothing more of this client, if it is over a rate.
    pub fn publish(&self, bytes: usize, now: Instant) -> Option<Duration> {
        let spend = |bucket: &Option<table::Shared>, amount: f64, limited: Limited| {
            let wait = bucket.as_ref()?.spend(amount, now)?;
            self.limits.count(limited);
            Some(wait)
        };
        let messages = spend(&self.messages, 1.0, Limited::Messages);
        // Far below 2^53.
        let bytes = spend(&self.bytes, bytes as f64, Limited::Bytes);
        messages.max(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Proof;

    const RATE: Rate = Rate { per_second: 1.0, burst: 3.0 };

    fn limits() -> Limits {
        let rate = Some(RATE);
        Limits::new(LimitsOptions {
            connects_per_address: rate,
            connects: rate,
            failed_logins: rate,
            messages: rate,
            bytes: Some(Rate { per_second: 1000.0, burst: 5000.0 }),
        })
    }

    fn client(name: &str) -> Identity {
        Identity { tenant: Tenant::DEFAULT, client: ClientId::new(name).unwrap(), proof: Proof::Nothing }
    }

    fn counted(limits: &Limits, limited: Limited) -> u64 {
        limits.counts().find(|(one, _)| *one == limited).unwrap().1
    }

    #[test]
    fn an_address_that_comes_too_often_is_refused_and_others_are_not() {
        let (limits, start) = (limits(), Instant::now());
        let storm: IpAddr = "10.0.0.1".parse().unwrap();
        let refused = (0..100).filter(|_| limits.address(storm, start).is_err()).count();
        assert_eq!((refused, counted(&limits, Limited::ConnectsOfAddress)), (97, 97));
        assert_eq!(limits.address("10.0.0.2".parse().unwrap(), start), Ok(()));
    }

    #[test]
    fn failed_logins_of_an_address_keep_others_there_from_guessing_for_a_while() {
        let (limits, start) = (limits(), Instant::now());
        let guesser: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(limits.logins(guesser, start + Duration::from_secs(60)), Ok(()));
            limits.failed_login(guesser, start + Duration::from_secs(60));
        }
        let now = start + Duration::from_secs(60);
        assert_eq!(limits.logins(guesser, now), Err(Limited::FailedLogins));
        assert_eq!(limits.logins("2001:db8::2".parse().unwrap(), now), Err(Limited::FailedLogins), "the same network");
        assert_eq!(limits.logins("2001:db8:0:1::1".parse().unwrap(), now), Ok(()));
        assert_eq!(limits.address(guesser, now), Ok(()), "who has a certificate has nothing to do with it");
        assert_eq!(limits.logins(guesser, now + Duration::from_secs(5)), Ok(()));
    }

    #[test]
    fn an_identity_that_comes_too_often_is_refused_wherever_it_comes_from() {
        let (limits, start) = (limits(), Instant::now());
        let refused = (0..10).filter(|_| limits.connect(&client("pump-1"), start).is_err()).count();
        assert_eq!((refused, counted(&limits, Limited::Connects)), (7, 7));
        assert_eq!(limits.connect(&client("pump-2"), start), Ok(()));
    }

    #[test]
    fn a_publisher_over_its_rate_waits_and_a_new_connection_changes_nothing() {
        let (limits, start) = (limits(), Instant::now());
        let first = limits.publisher(&client("pump-1"), start);
        assert_eq!((0..3).map(|_| first.publish(10, start)).collect::<Vec<_>>(), [None; 3]);
        assert_eq!(first.publish(10, start), Some(Duration::from_secs(1)));
        drop(first);
        let second = limits.publisher(&client("pump-1"), start);
        assert_eq!(second.publish(10, start), Some(Duration::from_secs(2)));
        let other = limits.publisher(&client("pump-2"), start);
        assert_eq!(other.publish(7000, start), Some(Duration::from_secs(2)), "bytes have a rate of their own");
        assert_eq!((counted(&limits, Limited::Messages), counted(&limits, Limited::Bytes)), (2, 1));
    }

    #[test]
    fn without_rates_nobody_waits() {
        let (limits, now) = (Limits::new(LimitsOptions::NONE), Instant::now());
        let address = "10.0.0.1".parse().unwrap();
        limits.failed_login(address, now);
        assert!((0..1000).all(|_| limits.address(address, now).is_ok() && limits.connect(&client("a"), now).is_ok()));
        let publisher = limits.publisher(&client("a"), now);
        assert!((0..1000).all(|_| publisher.publish(1 << 20, now).is_none()));
    }
}
