//! The read model: what one asks about devices by name, although the truth is in the logs.
//!
//! Guarantees: it is fed from committed records alone, by a thread of its own that may lag and delays nobody
//! ([`feed`]); deleting it, or damage to it, loses nothing that the logs and their checkpoints still say: it is filled
//! again. It is never read to decide what is stored.
//!
//! Format: `<data>/model/`, a [`weir_storage::keyed`] state with these spaces. Keys are tenant, zero byte, device, and
//! what is named here behind another zero byte; values are JSON.
//!
//! | space | key | value |
//! |---|---|---|
//! | `owner` | | `agent`: who described the device last, or whom it was moved to |
//! | `device` | | `first_seen_ms`, `last_seen_ms`: earliest and latest record time |
//! | `restart` | restart, u64 big endian | `restart`, `next`, `stored`, `reduced`, `dead_lettered`, `lost`, `tail_unknown` |
//! | `value` | channel | the latest reading of the channel, as in `readings`, and its `timestamp_ms` |
//! | `channel` | schema hash, u32 big endian, and channel id, u16 big endian | `schema` and the channel |

pub mod feed;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use weir_protocol::Tenant;
use weir_storage::OpenError;
use weir_storage::keyed::{Keyed, KeyedError, Opened};

const DEVICE: &str = "device";
const OWNER: &str = "owner";
const RESTART: &str = "restart";
const VALUE: &str = "value";
const CHANNEL: &str = "channel";
const SPACES: [(&str, &str); 3] = [(RESTART, "restarts"), (VALUE, "values"), (CHANNEL, "channels")];
/// The most devices of one page.
pub const MAX_DEVICES: usize = 1000;
/// The most entries of one kind that are shown of one device.
const MAX_ENTRIES: usize = 10_000;

/// The read model, open.
pub struct Model {
    keyed: Keyed,
}

/// Where the model of a data directory is.
pub fn dir(data: &Path) -> PathBuf {
    data.join("model")
}

impl Model {
    /// Opens it, or starts one.
    ///
    /// # Errors
    /// [`OpenError`] when another process has it, or the filesystem refuses; damage is not an error but in [`Opened`].
    pub fn open(data: &Path) -> Result<(Self, Opened), OpenError> {
        let (keyed, opened) = Keyed::open(&dir(data))?;
        Ok((Self { keyed }, opened))
    }

    /// Empties it.
    ///
    /// # Errors
    /// [`KeyedError`] when a new one cannot be started.
    pub fn clear(&self) -> Result<(), KeyedError> {
        self.keyed.clear()
    }

    /// The devices of a tenant behind `after`, in the order of their names, at most `limit`.
    ///
    /// # Errors
    /// [`KeyedError`] when it cannot be read.
    pub fn devices(&self, tenant: Tenant, after: Option<&str>, limit: usize) -> Result<Vec<Json>, KeyedError> {
        let prefix = key(tenant, "");
        let after = after.map(|device| key(tenant, device));
        let found = self.keyed.range(DEVICE, &prefix, after.as_deref(), limit.min(MAX_DEVICES))?;
        let device = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let mut out = Map::from_iter([("device".to_owned(), Json::from(name))]);
            out.extend(object(value));
            Json::Object(out)
        };
        Ok(found.iter().map(device).collect())
    }

    /// Everything about one device; `None` if it is not known.
    ///
    /// # Errors
    /// [`KeyedError`] when it cannot be read.
    pub fn device(&self, tenant: Tenant, device: &str) -> Result<Option<Json>, KeyedError> {
        let own = key(tenant, device);
        let (seen, within) = (self.keyed.get(DEVICE, &own)?, [&own[..], &[0]].concat());
        let mut out = json!({"tenant": tenant.as_str(), "device": device});
        let mut is_known = seen.is_some();
        for (space, name) in SPACES {
            let found = self.keyed.range(space, &within, None, MAX_ENTRIES)?;
            is_known |= !found.is_empty();
            out[name] = found.iter().map(|(_, value)| Json::Object(object(value))).collect();
        }
        let owner = self.keyed.get(OWNER, &own)?;
        out[OWNER] = owner.map_or(Json::Null, |owner| object(&owner).remove("agent").unwrap_or_default());
        for (name, value) in seen.as_deref().map(object).unwrap_or_default() {
            out[name] = value;
        }
        Ok(is_known.then_some(out))
    }
}

/// The key of a device, or what all keys of a tenant begin with if it is empty.
fn key(tenant: Tenant, device: &str) -> Vec<u8> {
    [tenant.as_bytes(), &[0], device.as_bytes()].concat()
}

/// The key of something of a device.
fn key_of(tenant: Tenant, device: &str, name: &[u8]) -> Vec<u8> {
    [&key(tenant, device)[..], &[0], name].concat()
}

fn object(value: &[u8]) -> Map<String, Json> {
    // What a commit left is checked when the state is opened.
    serde_json::from_slice(value).unwrap_or_default()
}
