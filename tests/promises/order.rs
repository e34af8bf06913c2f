//! Order.

use std::collections::{BTreeMap, BTreeSet};

use weir_lab::census::{Lanes, Place};
use weir_tests::rough::{ROUGH_DEVICE, Rough};

#[test]
fn readings_of_a_restart_are_in_the_log_in_order() {
    // What waited while the agent had no gateway is a lane of its own, which what is fresh may overtake.
    let mut lanes: BTreeMap<String, Lanes> = BTreeMap::new();
    for reading in Rough::run().readings() {
        let restart = format!("{} {}", reading["device"], reading["restart"]);
        let place = lanes.entry(restart).or_default().take(reading["sequence"].as_u64().unwrap());
        assert_ne!(place, Place::Disordered, "{reading} stands behind a later one of its lane");
    }
}

#[test]
fn a_device_sends_its_oldest_restart_first() {
    // The power went while the cable was out, so two restarts waited in the ring.
    let of_device = Rough::run().readings().filter(|reading| reading["device"] == ROUGH_DEVICE);
    let boots: Vec<_> = of_device.map(|r| r["restart"].as_str().unwrap().parse::<u64>().unwrap() >> 32).collect();
    assert!(boots.is_sorted(), "every reading of the first boot stands before those of the second");
    assert_eq!(boots.iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn all_readings_of_a_device_are_in_one_partition() {
    let mut places: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (partition, records) in Rough::run().partitions.iter().enumerate() {
        for record in records {
            places.entry(record["value"]["device"].as_str().unwrap()).or_default().insert(partition);
        }
    }
    // As the default partitioner of the Java client does.
    for (device, partitions) in places {
        let [partition] = partitions.iter().collect::<Vec<_>>()[..] else { panic!("{device} is in {partitions:?}") };
        assert_eq!(*partition, murmur2(device.as_bytes()) as usize % 4, "{device}");
    }
}

/// Kafka's hash of a key, with the sign taken off (org.apache.kafka.common.utils.Utils.murmur2).
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) & 0x7fff_ffff
}
