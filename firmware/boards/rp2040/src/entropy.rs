//! What differs at each boot.

use embassy_rp::clocks::RoscRng;
use weir_protocol::checksum::crc32;

/// 32 bits of entropy from the ring oscillator, or none if its random bit is stuck.
///
/// The bits are biased and may follow each other (RP2040 datasheet 2.17.5), so four times as many are taken
/// and folded by a CRC.
pub(crate) fn entropy() -> Option<u32> {
    let mut bits = [0; 16];
    RoscRng.fill_bytes(&mut bits);
    let stuck = bits.iter().all(|byte| *byte == 0) || bits.iter().all(|byte| *byte == 0xff);
    (!stuck).then(|| crc32(&bits))
}
