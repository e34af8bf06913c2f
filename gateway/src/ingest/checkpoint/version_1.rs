//! Checkpoints of descriptions as version 1 wrote them, which no build does any more and every build reads.

use std::path::Path;

use weir_protocol::{DeviceId, SchemaHash, Tenant};
use weir_storage::Fs;

use super::super::channels::Channels;
use super::body::{Body, ORDERED_SCHEMAS, SCHEMAS};
use super::{HEAD_BYTES, MAGIC, store};

/// Writes the checkpoint at `offset` of a partition of descriptions that holds those of one device.
pub(crate) fn store_descriptions(
    fs: &dyn Fs,
    dir: &Path,
    (partition, offset): (u32, u64),
    device: (Tenant, DeviceId),
    mut schemas: Vec<(SchemaHash, &Channels)>,
) {
    // By their hashes, whichever was described first.
    schemas.sort_unstable_by_key(|(schema, _)| *schema);
    let mut body = Body::default();
    body.schemas_of(device, schemas);
    let mut body = body.finish();
    assert_eq!(body[0], ORDERED_SCHEMAS);
    body[0] = SCHEMAS;
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&[0, 1, 3, 0]);
    file.extend_from_slice(&partition.to_be_bytes());
    file.extend_from_slice(&offset.to_be_bytes());
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&(body.len() as u64).to_be_bytes());
    assert_eq!(file.len(), HEAD_BYTES);
    file.extend_from_slice(&body);
    let crc = crc32c::crc32c(&file);
    file.extend_from_slice(&crc.to_be_bytes());
    store(fs, dir, offset, &file).expect("writes");
}
