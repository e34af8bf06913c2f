//! The messages at QoS 1 that a client has not acknowledged.
//!
//! What it guarantees: at most as many as the client announced, and never more than [`MOST`]; a packet id is not given
//! again while it is out; what was sent is known in its order, so that it can be sent again in that order.

use std::collections::VecDeque;

use crate::delivery::{Origin, Place, Sent};

/// The most messages that one client has not acknowledged, whatever it announced.
pub(super) const MOST: usize = 256;

/// What is out.
#[derive(Debug)]
pub(super) struct Window {
    sent: VecDeque<Sent>,
    last: u16,
    most: usize,
}

impl Window {
    /// What was out when the client was here last, as far as it can be had again; `receive_maximum` is what it announced.
    pub(super) fn new(receive_maximum: u16, mut sent: VecDeque<Sent>, last: u16) -> Self {
        sent.retain(|sent| sent.origin != Origin::Passing);
        Self { sent, last, most: usize::from(receive_maximum).min(MOST) }
    }

    /// How many more may be sent.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.sent.len())
    }

    /// Whether one more of those that are out may be sent again, of which the last `waiting` were not yet: a client that comes
    /// back may have announced less than before ([MQTT-3.3.4-9]).
    pub(super) fn takes_again(&self, waiting: usize) -> bool {
        self.sent.len().saturating_sub(waiting) < self.most
    }

    /// Whether a message with this id is out.
    pub(super) fn is_out(&self, id: u16) -> bool {
        self.sent.iter().any(|sent| sent.id == id)
    }

    /// The id of the next message; callers have looked whether there is room.
    pub(super) fn take(&mut self, origin: Origin) -> u16 {
        loop {
            // They start over at 1; 0 is none (section 2.2.1). What is out is far less than all ids.
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.sent.iter().any(|sent| sent.id == self.last) {
                self.sent.push_back(Sent { id: self.last, origin });
                return self.last;
            }
        }
    }

    /// The client acknowledged one, or it cannot be had again; whether it was out.
    pub(super) fn done(&mut self, id: u16) -> bool {
        let at = self.sent.iter().position(|sent| sent.id == id);
        at.is_some_and(|at| self.sent.remove(at).is_some())
    }

    /// Where the log has what is out.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + Clone {
        self.sent.iter().filter_map(|sent| match sent.origin {
            Origin::Log(place) => Some(place),
            Origin::Retained(..) | Origin::Passing => None,
        })
    }

    /// What is out, in its order.
    pub(super) fn sent(&self) -> &VecDeque<Sent> {
        &self.sent
    }

    /// What is out, and the id that was given last.
    pub(super) fn into_parts(self) -> (VecDeque<Sent>, u16) {
        (self.sent, self.last)
    }

    /// Bytes that it takes.
    pub(super) fn held(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>()
    }

    /// Gives back what it holds for traffic that there is not.
    pub(super) fn trim(&mut self) {
        self.sent.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(receive_maximum: u16) -> Window {
        Window::new(receive_maximum, VecDeque::new(), 0)
    }

    #[test]
    fn a_packet_id_is_not_given_twice_while_it_is_out() {
        let mut ids = window(u16::MAX);
        let kept = ids.take(Origin::Passing);
        for _ in 0..u32::from(u16::MAX) + 10 {
            let id = ids.take(Origin::Passing);
            assert!(id != 0 && id != kept);
            assert!(ids.done(id));
        }
        assert_eq!(ids.into_parts().0, [Sent { id: kept, origin: Origin::Passing }]);
    }

    #[test]
    fn a_puback_for_nothing_makes_no_room() {
        let mut ids = window(2);
        let (first, _) = (ids.take(Origin::Passing), ids.take(Origin::Passing));
        assert_eq!(ids.room(), 0);
        assert!(!ids.done(first + 1000));
        assert_eq!(ids.room(), 0);
        assert!(ids.done(first));
        assert!(!ids.done(first));
        assert_eq!(ids.room(), 1);
        assert_eq!(window(u16::MAX).room(), MOST);
    }

    #[test]
    fn who_comes_back_with_a_smaller_window_gets_nothing_new_until_it_has_acknowledged() {
        let mut before = window(10);
        for _ in 0..5 {
            before.take(Origin::Retained("a".into(), crate::mqtt::packet::QoS::AtLeastOnce));
        }
        before.take(Origin::Passing);
        let (sent, last) = before.into_parts();
        let mut after = Window::new(3, sent, last);
        assert_eq!((after.sent().len(), after.room()), (5, 0));
        for id in 1..=3 {
            after.done(id);
        }
        assert_eq!(after.room(), 1);
        assert_eq!(after.take(Origin::Passing), 7, "ids go on");
    }
}
