//! A digest of a set of entries that follows every change in constant time.
//!
//! It is the sum of a 64-bit number per entry, so that the order of changes does not matter. It is there to notice
//! what a damaged database loses, keeps too long or mixes up; it does not resist anybody who forges entries.

/// The digest of a set of keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(number_of(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(number_of(key, value));
    }

    pub(super) fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_be_bytes(bytes: [u8; 8]) -> Digest {
        Digest(u64::from_be_bytes(bytes))
    }
}

/// Two checksums side by side, mixed (the last step of splitmix64: Steele, Lea, Flood 2014), so that those of
/// entries that differ in one bit do not cancel out in a sum.
fn number_of(key: &[u8], value: &[u8]) -> u64 {
    let of_key = crc32c::crc32c(key);
    let of_both = crc32c::crc32c_append(of_key, value);
    let mut number = u64::from(of_key) << 32 | u64::from(of_both);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
