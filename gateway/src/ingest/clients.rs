//! The ledgers of MQTT clients: what a client publishes exactly once is accounted for like the readings of a device.
//!
//! Guarantees: each client has one ledger and no two clients of a tenant share one; which partition its messages are in
//! follows from the ledger's name alone, because a checkpoint knows nothing else.
//!
//! The ledger of a client is the device `mqtt:<client id>`. Where that is no name of a device (too long, or with other
//! characters), and for a client id that looks like what follows, it is `mqtt:` and 40 hexadecimal digits: 32 of the SHA-256
//! of the client id, and 8 of the hash that chooses its partition. Agents write no such device: see [`is_one`].

use ring::digest::{SHA256, digest};
use weir_protocol::DeviceId;

use crate::topics::murmur2;

/// What the names of these devices begin with.
pub const PREFIX: &str = "mqtt:";
const HASHED: usize = 40;

/// The device that accounts for a client.
pub fn device(client: &str) -> DeviceId {
    let own = (!is_hashed(client)).then(|| DeviceId::new(&format!("{PREFIX}{client}")).ok()).flatten();
    own.unwrap_or_else(|| {
        let mut name = String::from(PREFIX);
        let partition = murmur2::hash(client.as_bytes()).to_be_bytes();
        let bytes = digest(&SHA256, client.as_bytes());
        for byte in bytes.as_ref().iter().take((HASHED - 8) / 2).chain(&partition) {
            name.extend([byte >> 4, byte & 0x0f].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
        }
        // The prefix and hexadecimal digits: a name.
        DeviceId::new(&name).unwrap_or(NOBODY)
    })
}

const NOBODY: DeviceId = match DeviceId::new(PREFIX) {
    Ok(device) => device,
    Err(_) => panic!("a good name"),
};

/// Whether a device is the ledger of a client.
pub fn is_one(device: DeviceId) -> bool {
    device.as_str().starts_with(PREFIX)
}

/// What the partition of a client's messages follows from: the hash of its id, which is their key.
pub(crate) fn key_hash(device: DeviceId) -> u32 {
    let client = device.as_str().strip_prefix(PREFIX).unwrap_or(device.as_str());
    let hash = is_hashed(client).then(|| u32::from_str_radix(&client[HASHED - 8..], 16).ok()).flatten();
    hash.unwrap_or_else(|| murmur2::hash(client.as_bytes()))
}

fn is_hashed(client: &str) -> bool {
    client.len() == HASHED && client.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_ledger_of_its_own_whose_name_says_the_partition() {
        let looks_hashed = device("tracker 7").as_str()[PREFIX.len()..].to_owned();
        let clients =
            ["pump-7", "tracker 7", "tracker 8", "größe", ":", &"x".repeat(43), &"x".repeat(42), &looks_hashed];
        let mut known = std::collections::HashSet::new();
        for client in clients {
            let ledger = device(client);
            assert!(is_one(ledger) && known.insert(ledger), "{client}: {ledger}");
            assert_eq!(key_hash(ledger), murmur2::hash(client.as_bytes()), "{client}");
        }
    }

    /// The names are in checkpoints: they never change.
    #[test]
    fn the_names_of_version_1_never_change() {
        assert_eq!(device("pump-7").as_str(), "mqtt:pump-7");
        assert_eq!(device("tracker 7").as_str(), "mqtt:e9176fa89cd5c690c11e21e2c0261c6f78fb6265");
    }
}
