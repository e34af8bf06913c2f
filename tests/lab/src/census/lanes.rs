//! The order that is promised for the readings of one restart.
//!
//! After an outage an agent ships what is fresh before what waited: its two lanes (`agent/src/uplink/spool`), each in
//! order. So the log is two rising sequences, merged; what fits into neither stands out of order. What was overtaken must
//! have waited: when, the ledger knows ([`crate::ledger::Facts::waited`]).

/// Where a reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind all sequences before it.
    InOrder,
    /// Behind a later sequence, in the order of what was overtaken.
    Overtaken,
    /// Behind a later sequence of its lane.
    Disordered,
}

/// Follows the readings of one restart through the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lanes {
    /// One past the last reading of each lane, what is fresh first.
    ends: [u64; 2],
}

impl Lanes {
    /// Takes the next reading of the log.
    pub fn take(&mut self, sequence: u64) -> Place {
        // Into the lane that ends nearest before it: if any way fits, this one does.
        let Some(lane) = self.ends.iter().position(|end| *end <= sequence) else { return Place::Disordered };
        self.ends[lane] = sequence + 1;
        if lane == 0 { Place::InOrder } else { Place::Overtaken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn those(place: Place, log: &[u64]) -> Vec<u64> {
        let mut lanes = Lanes::default();
        log.iter().copied().filter(|sequence| lanes.take(*sequence) == place).collect()
    }

    fn disordered(log: &[u64]) -> Vec<u64> {
        those(Place::Disordered, log)
    }

    #[test]
    fn what_is_fresh_may_overtake_what_waited_and_nothing_else_may() {
        assert_eq!(disordered(&[0, 1, 2, 3]), [0; 0]);
        let with_backlog = [0, 8, 1, 9, 2, 10, 3, 11, 12];
        assert_eq!(disordered(&with_backlog), [0; 0]);
        assert_eq!(those(Place::Overtaken, &with_backlog), [1, 2, 3]);
        assert_eq!(disordered(&[0, 8, 1, 3, 2, 9]), [2], "in the backlog");
        assert_eq!(disordered(&[0, 9, 1, 8, 2, 10]), [2], "three lanes");
    }
}
