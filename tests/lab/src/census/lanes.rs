//! The order that is promised for the readings of one restart.
//!
//! After an outage an agent ships what is fresh before what waited: its two lanes (`agent/src/uplink/spool`), each in
//! order. So the log is two rising sequences, merged; what fits into neither stands out of order.

/// Follows the readings of one restart through the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lanes {
    /// One past the last reading of each lane, what is fresh first.
    ends: [u64; 2],
}

impl Lanes {
    /// Takes the next reading of the log; false if it stands behind a later one of its lane.
    pub fn take(&mut self, sequence: u64) -> bool {
        // Into the lane that ends nearest before it: if any way fits, this one does.
        match self.ends.iter_mut().find(|end| **end <= sequence) {
            Some(end) => {
                *end = sequence + 1;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disordered(log: &[u64]) -> Vec<u64> {
        let mut lanes = Lanes::default();
        log.iter().copied().filter(|sequence| !lanes.take(*sequence)).collect()
    }

    #[test]
    fn what_is_fresh_may_overtake_what_waited_and_nothing_else_may() {
        assert_eq!(disordered(&[0, 1, 2, 3]), [0; 0]);
        assert_eq!(disordered(&[0, 8, 1, 9, 2, 10, 3, 11, 12]), [0; 0], "a backlog of 1 to 3");
        assert_eq!(disordered(&[0, 8, 1, 3, 2, 9]), [2], "in the backlog");
        assert_eq!(disordered(&[0, 9, 1, 8, 2, 10]), [2], "three lanes");
    }
}
