//! Zigzag variable-length integers as Kafka's record format (and Protocol Buffers) define them:
//! seven bits a byte, least significant group first, the high bit set on all but the last byte.

/// The most bytes a 64-bit value takes.
pub(crate) const MAX_BYTES: usize = 10;

/// Bytes that `value` takes.
pub(crate) const fn len(value: i64) -> usize {
    let significant = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    significant.div_ceil(7)
}

/// Appends `value`. Byte by byte, because most lengths, deltas and counts are one or two bytes: copying them as a
/// slice costs more than it saves.
pub(crate) fn put(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Takes a value off the front of `bytes`; `None` when it is cut short or longer than 64 bits.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        let group = u64::from(byte & 0x7f);
        if at == MAX_BYTES - 1 && group > 1 {
            return None;
        }
        value |= group << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_value_comes_back_in_the_length_announced() {
        for shift in 0..64 {
            for value in [1i64 << shift, -(1i64 << (shift % 63)), (1i64 << shift).wrapping_sub(1)] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert_eq!(bytes.len(), len(value), "{value}");
                let mut rest = &bytes[..];
                assert_eq!(take(&mut rest), Some(value));
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn a_value_cut_short_or_too_long_is_refused() {
        assert_eq!(take(&mut &[0x80][..]), None);
        assert_eq!(take(&mut &[0xff; 11][..]), None);
        assert_eq!(take(&mut &[][..]), None);
    }
}
