//! The places of connections that have said something: bounded in all, and for each address.
//!
//! An address is what [`crate::lobby::subscriber`] makes of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lobby::subscriber;

/// The places of a port; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    most_per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// So many in all, and so many for each address.
    pub(crate) fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, taken: Arc::default() }
    }

    /// A place for a client at `address`; `None` if there is none.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = subscriber(address);
        let mut taken = self.lock();
        let own = taken.addresses.get(&address).copied().unwrap_or(0);
        if taken.all >= self.most || own >= self.most_per_address {
            return None;
        }
        taken.all += 1;
        taken.addresses.insert(address, own + 1);
        drop(taken);
        Some(Place { places: self.clone(), address })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half way through a change.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(own) = taken.addresses.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_address_and_come_back() {
        let places = Places::new(3, 2);
        let near: IpAddr = "10.0.0.1".parse().unwrap();
        let held = [places.take(near).unwrap(), places.take(near).unwrap()];
        assert!(places.take(near).is_none());
        let other = places.take("10.0.0.2".parse().unwrap()).unwrap();
        assert!(places.take("10.0.0.3".parse().unwrap()).is_none());
        drop((held, other));
        assert_eq!(places.taken(), 0);
        assert!(places.lock().addresses.is_empty());
    }
}
