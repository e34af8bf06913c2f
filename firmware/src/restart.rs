//! Numbering restarts: what makes two runs of a device, or of two clones of it, different.
//!
//! A restart is a persisted boot counter beside a nonce ([`weir_protocol::Restart::from_boot`]). The counter
//! alone would repeat when a flash image is cloned or restored; the nonce alone would collide by chance. Who
//! has no entropy must not invent it: such a board uses a [`crate::RamRing`], and the agent numbers its runs.

use weir_protocol::checksum::crc32;

/// Hashes 32 bits of `entropy`, fresh at each boot, with the id of the chip.
///
/// For one chip, different entropy always gives a different nonce; for the same entropy (a bad source at
/// power-on), different chips still differ.
pub fn nonce(entropy: u32, chip: &[u8; 8]) -> u32 {
    let [a, b, c, d] = entropy.to_le_bytes();
    let [e, f, g, h, i, j, k, l] = *chip;
    // A CRC is a bijection of any four bytes of its input: this is why no entropy is lost.
    crc32(&[a, b, c, d, e, f, g, h, i, j, k, l])
}
