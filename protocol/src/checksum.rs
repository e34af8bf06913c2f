//! The checksum of everything that Weir sends: CRC-32 (ISO-HDLC, as in zlib and Ethernet).
//!
//! Files use CRC-32C instead, because the Kafka record batch does.

/// CRC-32 of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    #[cfg(feature = "std")]
    return crc32fast::hash(bytes);
    #[cfg(not(feature = "std"))]
    by_table(bytes)
}

/// With one table of 1 KiB: sixteen would be faster and would cost a small device 16 KiB of flash.
#[cfg(any(test, not(feature = "std")))]
fn by_table(bytes: &[u8]) -> u32 {
    use crc::{CRC_32_ISO_HDLC, Crc, Table};
    static TABLE: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
    TABLE.checksum(bytes)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRC algorithms, and every length that a vector unit may treat apart.
    #[test]
    fn device_and_host_compute_the_same() {
        assert_eq!(by_table(b"123456789"), 0xcbf4_3926);
        let bytes: Vec<u8> = (0..600_u32).map(|i| (i * 7 + i / 9) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(crc32(&bytes[..length]), by_table(&bytes[..length]), "{length} bytes");
        }
    }
}
