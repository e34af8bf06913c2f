//! The checksum of everything that Weir sends: CRC-32 (ISO-HDLC, as in zlib and Ethernet).
//!
//! Files use CRC-32C instead, because the Kafka record batch does.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

// One 1 KiB table: sixteen would be faster and would cost a small device 16 KiB of flash.
const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// CRC-32 of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: Crc<u32, Table<1>> = CRC;
    TABLE.checksum(bytes)
}
