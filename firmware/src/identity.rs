//! The name of a device: its kind and the id of its chip.

use weir_protocol::DeviceId;

/// For the compiler: what is cut to fit is a name.
const NAMELESS: DeviceId = match DeviceId::new("device") {
    Ok(name) => name,
    Err(_) => unreachable!(),
};
/// The longest name that is made here.
const LONGEST: usize = 40;

/// `kind`, a hyphen, and `chip` in hexadecimal: `pico-e6614c311b7e5a2f`. `kind` is of letters and digits, at most
/// 20; `chip` has at most 8 bytes.
pub fn device_id(kind: &str, chip: &[u8]) -> DeviceId {
    let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    let digits = chip.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let text: heapless::Vec<u8, LONGEST> = kind.bytes().chain([b'-']).chain(digits).take(LONGEST).collect();
    core::str::from_utf8(&text).ok().and_then(|text| DeviceId::new(text).ok()).unwrap_or(NAMELESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_kind_and_the_digits_of_the_chip() {
        assert_eq!(
            device_id("pico", &[0xe6, 0x61, 0x4c, 0x31, 0x1b, 0x7e, 0x5a, 0x2f]).as_str(),
            "pico-e6614c311b7e5a2f"
        );
        assert_eq!(device_id("lm3s", &[0x52, 0x54, 0, 0x12, 0x34, 0x56]).as_str(), "lm3s-525400123456");
    }
}
