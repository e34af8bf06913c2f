//! What a driven device measures: a pure function of its name, its restart and the sequence, so that nothing that was sent
//! need be remembered to be compared with what is stored. The seed of a load is in the number of its restart.

use serde_json::Value as Json;
use weir_protocol::{DeviceId, Restart};

use crate::ledger::RestartKey;

/// The channel that every driven device has.
pub(crate) const CHANNEL: &str = "load";

/// The value of a sequence, from 0 to below 1 in steps that single precision holds exactly.
pub(crate) fn value(key: &RestartKey, sequence: u64) -> f32 {
    let device = key.0.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        // FNV-1a.
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let bits = mix(mix(key.1.0 ^ device).wrapping_add(sequence)) >> 40;
    bits as f32 / (1 << 24) as f32
}

/// A bijection of 64 bits that looks random: MurmurHash3's finaliser (Appleby, public domain).
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// The payload of a foreign device's message: JSON, as such devices send it.
pub(crate) fn message(key: &RestartKey, sequence: u64) -> String {
    let (device, restart, value) = (key.0, key.1, value(key, sequence));
    format!(r#"{{"device":"{device}","restart":"{}","sequence":{sequence},"value":{value}}}"#, restart.0)
}

/// Whose such a message is, and the object in it. `None`: it is none of a driven device.
pub(crate) fn parse(payload: &str) -> Option<(RestartKey, Json)> {
    let object: Json = serde_json::from_str(payload).ok()?;
    let device = DeviceId::new(object["device"].as_str()?).ok()?;
    let restart = Restart(object["restart"].as_str()?.parse().ok()?);
    object["sequence"].as_u64()?;
    Some(((device, restart), object))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn values_differ_by_device_restart_and_sequence_and_travel_as_text_unchanged() {
        let device = |name: &str| DeviceId::new(name).unwrap();
        let key = (device("load-00001"), Restart(7));
        let values: HashSet<u32> = (0..1000).map(|sequence| value(&key, sequence).to_bits()).collect();
        assert!(values.len() > 990, "{} different ones", values.len());
        assert_ne!(value(&key, 5), value(&(device("load-00002"), Restart(7)), 5));
        assert_ne!(value(&key, 5), value(&(key.0, Restart(8)), 5));
        for sequence in 0..1000 {
            let (whose, object) = parse(&message(&key, sequence)).unwrap();
            assert_eq!((whose, object["sequence"].as_u64()), (key, Some(sequence)));
            assert_eq!(object["value"].as_f64().map(|value| value as f32), Some(value(&key, sequence)));
        }
    }
}
