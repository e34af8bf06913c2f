//! Who this chip is: the MAC address that is programmed into its user registers at the factory of the board.

use weir_protocol::DeviceId;

use crate::registers::system;

/// For the compiler: hexadecimal digits always make a name.
const NAMELESS: DeviceId = match DeviceId::new("lm3s") {
    Ok(name) => name,
    Err(_) => unreachable!(),
};

/// The id of the chip. A board without a MAC address has twelve digits `f`, as all of its kind.
pub(crate) fn chip() -> [u8; 8] {
    let [a, b, c, _] = system::USER0.read().to_le_bytes();
    let [d, e, f, _] = system::USER1.read().to_le_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// The device id: `lm3s-` and the MAC address in hexadecimal.
pub(crate) fn device_id(chip: &[u8; 8]) -> DeviceId {
    let mut text = *b"lm3s-000000000000";
    for (digits, byte) in text[5..].chunks_exact_mut(2).zip(chip) {
        digits[0] = hexadecimal(byte >> 4);
        digits[1] = hexadecimal(byte & 15);
    }
    core::str::from_utf8(&text).ok().and_then(|text| DeviceId::new(text).ok()).unwrap_or(NAMELESS)
}

fn hexadecimal(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}
