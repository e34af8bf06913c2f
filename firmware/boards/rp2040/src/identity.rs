//! Who this chip is, and what differs at each boot.

use embassy_rp::clocks::RoscRng;
use weir_protocol::DeviceId;
use weir_protocol::checksum::crc32;

/// For the compiler: hexadecimal digits always make a name.
const NAMELESS: DeviceId = match DeviceId::new("pico") {
    Ok(name) => name,
    Err(_) => unreachable!(),
};

/// The device id: `pico-` and the unique id of the flash chip in hexadecimal.
pub(crate) fn device_id(chip: &[u8; 8]) -> DeviceId {
    let mut text = *b"pico-0000000000000000";
    for (digits, byte) in text[5..].chunks_exact_mut(2).zip(chip) {
        digits[0] = hexadecimal(byte >> 4);
        digits[1] = hexadecimal(byte & 15);
    }
    core::str::from_utf8(&text).ok().and_then(|text| DeviceId::new(text).ok()).unwrap_or(NAMELESS)
}

fn hexadecimal(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

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
