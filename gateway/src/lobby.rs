//! The lobby of a port: sockets that were accepted and have not yet said who they are.
//!
//! What it guarantees: at most so many in all and from one address, each counted until it is admitted or gone; one
//! more makes room by sending the one away that has been silent for longest, of its own address if that is at its
//! bound. A flood of silent sockets so pushes itself out, and a client that speaks at once gets in beside it.
//!
//! An address is an IPv4 address or an IPv6 /64, which is what one subscriber of a network owns.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LobbyOptions {
    /// Sockets in all.
    pub most: usize,
    /// Sockets of one address.
    pub most_per_address: usize,
}

/// The sockets that wait; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lobby {
    options: LobbyOptions,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Counts the sockets that ever entered: a smaller number has waited for longer.
    entered: u64,
    sockets: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    /// The numbers of each address, ascending.
    addresses: HashMap<IpAddr, VecDeque<u64>>,
}

/// A place in the lobby; dropping it leaves.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    lobby: Lobby,
    sent_away: oneshot::Receiver<()>,
}

impl Lobby {
    /// An empty one.
    pub fn new(options: LobbyOptions) -> Self {
        Self { options, waiting: Arc::default() }
    }

    /// Takes a socket in, sending away the one that has waited for longest if there is no room.
    pub fn enter(&self, address: IpAddr) -> Ticket {
        let address = subscriber(address);
        let mut waiting = self.lock();
        let of_address = waiting.addresses.get(&address).filter(|own| own.len() >= self.options.most_per_address);
        let oldest = match of_address {
            Some(own) => own.front().copied(),
            None if waiting.sockets.len() >= self.options.most => waiting.sockets.keys().next().copied(),
            None => None,
        };
        // Dropping its end tells the socket.
        oldest.and_then(|number| waiting.leave(number));
        let number = waiting.entered;
        waiting.entered += 1;
        let (tell, sent_away) = oneshot::channel();
        waiting.sockets.insert(number, (address, tell));
        waiting.addresses.entry(address).or_default().push_back(number);
        Ticket { number, lobby: self.clone(), sent_away }
    }

    /// How many wait now.
    pub fn len(&self) -> usize {
        self.lock().sockets.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn leave(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let (address, tell) = self.sockets.remove(&number)?;
        if let Some(own) = self.addresses.get_mut(&address) {
            own.retain(|other| *other != number);
            if own.is_empty() {
                self.addresses.remove(&address);
            }
        }
        Some(tell)
    }
}

impl Ticket {
    /// Resolves when the socket has to go to make room.
    pub async fn sent_away(&mut self) {
        // The other end only ever goes away.
        let _ = (&mut self.sent_away).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lobby.lock().leave(self.number);
    }
}

/// What stands for the subscriber behind an address.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn is_sent_away(ticket: &mut Ticket) -> bool {
        ticket.sent_away().now_or_never().is_some()
    }

    #[test]
    fn a_flood_from_one_address_pushes_itself_out() {
        let lobby = Lobby::new(LobbyOptions { most: 10, most_per_address: 3 });
        let mut healthy = lobby.enter("10.0.0.1".parse().unwrap());
        let flood: IpAddr = "10.0.0.2".parse().unwrap();
        let mut flooding: Vec<_> = (0..100).map(|_| lobby.enter(flood)).collect();
        assert_eq!(lobby.len(), 4);
        assert!(!is_sent_away(&mut healthy));
        let stayed = flooding.iter_mut().map(is_sent_away).filter(|away| !away).count();
        assert_eq!(stayed, 3);
        drop((flooding, healthy));
        assert!(lobby.is_empty());
        assert!(lobby.lock().addresses.is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_pushes_out_who_waited_longest() {
        let lobby = Lobby::new(LobbyOptions { most: 10, most_per_address: 3 });
        let mut first = lobby.enter("10.0.0.1".parse().unwrap());
        let _flood: Vec<_> = (0..9).map(|n| lobby.enter(IpAddr::from([10, 1, 0, n]))).collect();
        assert!(!is_sent_away(&mut first));
        let mut last = lobby.enter("10.0.0.2".parse().unwrap());
        assert!(is_sent_away(&mut first) && !is_sent_away(&mut last));
        assert_eq!(lobby.len(), 10);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let lobby = Lobby::new(LobbyOptions { most: 10, most_per_address: 1 });
        let mut first = lobby.enter("2001:db8::1".parse().unwrap());
        let mut second = lobby.enter("2001:db8:0:1::1".parse().unwrap());
        let mut third = lobby.enter("2001:db8::2".parse().unwrap());
        assert!(is_sent_away(&mut first) && !is_sent_away(&mut second) && !is_sent_away(&mut third));
    }
}
