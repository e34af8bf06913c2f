//! Names that others gave, as names of ours.
//!
//! What it guarantees: two different names stay two different names. A name that cannot be kept as it is, because it
//! is too long or holds other characters, ends in a hash of all of it; the hash is the same in every run.

use weir_protocol::DeviceId;
use weir_protocol::name::MAX_NAME;

/// The longest name of a channel that the gateway takes, in bytes.
pub(super) const MAX_CHANNEL: usize = 64;
/// The longest name that others may give, in bytes. What a message has in common is part of the name of each of its
/// values, so without a bound a message of some megabytes could be work for minutes.
pub(super) const MAX_GIVEN: usize = 1024;
/// A dash and eight digits.
const HASH: usize = 9;

/// A channel that somebody calls `name`: letters, digits, dot, dash and underscore stay. None: there is no name.
pub(super) fn channel(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| plain(name.to_owned(), || name.to_owned(), is_plain(name), MAX_CHANNEL))
}

/// A channel that is shown as `name` and stands for what `all` says; `is_exact`: the one tells the other.
pub(super) fn channel_of(name: String, all: impl FnOnce() -> String, is_exact: bool) -> String {
    let is_exact = is_exact && is_plain(&name);
    plain(name, all, is_exact, MAX_CHANNEL)
}

/// A device that somebody calls `name`. None: there is no name.
pub(super) fn device(name: &str) -> Option<DeviceId> {
    if let Ok(device) = DeviceId::new(name) {
        return Some(device);
    }
    let text = plain(name.trim_start_matches('.').to_owned(), || name.to_owned(), false, MAX_NAME);
    (!name.is_empty()).then(|| DeviceId::new(&text).ok()).flatten()
}

fn is_kept(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(is_kept)
}

fn plain(name: String, all: impl FnOnce() -> String, is_exact: bool, most: usize) -> String {
    if is_exact && name.len() <= most {
        return name;
    }
    let kept = |c: char| if c.is_ascii() && is_kept(c as u8) { c } else { '_' };
    let mut text: String = name.chars().map(kept).take(most - HASH).collect();
    text.push_str(&format!("-{:08x}", hash(&all())));
    text
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_name_stays_and_two_bad_ones_stay_two() {
        assert_eq!(channel("boiler.flow-temp_1").as_deref(), Some("boiler.flow-temp_1"));
        let (slash, space) = (channel("disk /var").unwrap(), channel("disk_/var").unwrap());
        assert!(slash.starts_with("disk__var-") && space.starts_with("disk__var-"), "{slash} {space}");
        assert_ne!(slash, space);
        assert_eq!(channel(""), None);
    }

    #[test]
    fn names_are_cut_to_what_the_gateway_takes_and_told_apart() {
        let (one, two) = (channel(&format!("{}a", "x".repeat(80))), channel(&format!("{}b", "x".repeat(80))));
        assert_ne!(one, two);
        assert_eq!(one.unwrap().len(), MAX_CHANNEL);
        let long = device(&"Küche".repeat(20)).unwrap();
        assert_eq!(long.as_str().len(), MAX_NAME);
    }

    #[test]
    fn the_hash_is_the_same_in_every_run_because_it_is_part_of_a_name() {
        assert_eq!(channel("Küche").as_deref(), Some("K_che-34b78e81"));
    }

    #[test]
    fn devices_may_have_what_device_names_may_have() {
        assert_eq!(device("00:11:22:aa").unwrap().as_str(), "00:11:22:aa");
        assert!(device(".hidden").unwrap().as_str().starts_with("hidden-"));
        assert_eq!(device(""), None);
    }
}
