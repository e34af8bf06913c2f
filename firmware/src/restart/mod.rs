//! Numbering restarts: what makes two runs of a device, or of two clones of it, different.
//!
//! A restart is a persisted boot counter beside a nonce ([`weir_protocol::Restart::from_boot`]). The counter
//! alone would repeat when a memory is wiped or a flash image is cloned; the nonce alone would collide by
//! chance. Where they come from:
//! - flash and entropy: [`crate::FlashRing`] keeps the counter, each boot has a [`nonce`] of its own;
//! - an EEPROM and no entropy: [`eeprom`] keeps the counter beside a seed that an agent has given once;
//! - neither: who has no entropy must not invent it. The ring is a [`crate::RamRing`] and the agent numbers
//!   each run.

pub mod eeprom;

use weir_protocol::checksum::crc32;

/// Hashes 32 bits of `entropy` with the id of the chip.
///
/// For one chip, different entropy always gives a different nonce; for the same entropy (a bad source at
/// power-on), different chips still differ.
pub fn nonce(entropy: u32, chip: &[u8; 8]) -> u32 {
    let [a, b, c, d] = entropy.to_le_bytes();
    let [e, f, g, h, i, j, k, l] = *chip;
    // A CRC is a bijection of any four bytes of its input: this is why no entropy is lost.
    crc32(&[a, b, c, d, e, f, g, h, i, j, k, l])
}
