//! Which broker this is, as clients are told: the only one of its cluster.
//!
//! Format: `<data>/topics/cluster`, a [`weir_storage::StateFile`] with 16 random bytes, drawn at the first start. Clients
//! see them as Kafka writes such ids: base64 for URLs, without padding.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use weir_storage::{Fs, IoError, Loaded, StateFile};

use super::messages::metadata;
use crate::config::HostPort;

/// The number of the only broker, which is also the controller and the coordinator of every group.
pub(super) const NODE: i32 = 0;
/// The epoch in which it leads every partition: there has been no other.
pub(super) const EPOCH: i32 = 0;

/// This broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The id of the cluster.
    pub cluster: String,
    /// Where clients connect to.
    pub advertised: HostPort,
}

impl Broker {
    pub(super) fn node(&self) -> metadata::Broker {
        metadata::Broker { node_id: NODE, host: self.advertised.host.clone(), port: i32::from(self.advertised.port) }
    }
}

/// The id of the cluster in this data directory, whose `topics` exists; the first start draws it from `random`, and so does
/// one that finds it damaged: clients then take this for another cluster, which costs them their metadata and no more.
///
/// # Errors
/// [`IoError`] when the file cannot be read or made.
pub fn id(fs: &Arc<dyn Fs>, data: &Path, random: impl FnOnce() -> [u8; 16]) -> Result<String, IoError> {
    let file = StateFile::new(Arc::clone(fs), &data.join("topics").join("cluster"));
    let bytes = match file.load()? {
        Loaded::Good(bytes) if bytes.len() == 16 => bytes,
        found => {
            if let Loaded::Damaged { reason } = found {
                tracing::warn!(reason, "the id of the cluster cannot be believed; another one is drawn");
            }
            let bytes = random().to_vec();
            file.replace(&bytes)?;
            bytes
        }
    };
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_storage::{FaultyFs, durable};

    #[test]
    fn the_id_of_a_cluster_is_drawn_once() {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        durable::create_dir_all(&*fs, Path::new("/data/topics")).unwrap();
        let first = id(&fs, Path::new("/data"), || [7; 16]).unwrap();
        assert_eq!(first, "BwcHBwcHBwcHBwcHBwcHBw");
        assert_eq!(id(&fs, Path::new("/data"), || [8; 16]).unwrap(), first);
    }
}
