//! Who this chip is: the MAC address that the factory of the board programs into its user registers. A board
//! without one has twelve digits `f`, as all of its kind.

use crate::registers::system;

/// The MAC address.
pub(crate) struct Chip([u8; 6]);

impl Chip {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let [a, b, c, _] = system::USER0.read().to_le_bytes();
        let [d, e, f, _] = system::USER1.read().to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    /// Its bytes.
    pub(crate) fn mac(&self) -> &[u8] {
        &self.0
    }

    /// Eight bytes that differ from those of other chips.
    pub(crate) fn id(&self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.0;
        [a, b, c, d, e, f, 0, 0]
    }
}
