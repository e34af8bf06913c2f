//! The gateway's decoders of bytes from outside as plain functions, for fuzzers.
//!
//! A function here returns or panics: a panic is a finding. Memory is bounded as the decoder's own header says. Not part of
//! the interface of this package.

use bytes::Bytes;
use weir_protocol::batch::section::RunItem;
use weir_protocol::{AgentId, Tenant};

use crate::ingest::decode::{Part, Work, decode};
use crate::ingest::{Body, Sender, checkpoint};
use crate::topics::Stores;

/// Takes any bytes as the payload of a batch and of a description, down to the last reading.
pub fn message(bytes: &[u8]) {
    let Ok(agent) = AgentId::new("agent") else { return };
    let sender = Sender::from((Tenant::DEFAULT, agent));
    let payload = Bytes::copy_from_slice(bytes);
    for body in [Body::Batch, Body::Describe] {
        let Work::Batch(parts) = decode(&sender, &Stores::default(), body, payload.clone()) else { continue };
        for part in &parts {
            if let Part::Run(run) = part {
                assert!(run.first <= run.end, "a run goes forwards");
                let _ = run.items::<RunItem<'_>>().iter().count();
            }
        }
    }
}

/// Takes any bytes as a checkpoint of a log, and as the body of one whose checksum is right.
pub fn checkpoint(bytes: &[u8]) {
    let _ = checkpoint::verified(bytes);
    let _ = checkpoint::decode_state(bytes);
}

/// Takes any bytes as a record of `weir.sessions` and of `weir.retained`: the length of the key, the key, the value.
pub fn kept(bytes: &[u8]) {
    let [length, rest @ ..] = bytes else { return };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*length)));
    for value in [None, Some(value)] {
        let _ = crate::sessions::record::decode(key, value);
        let _ = crate::retained::record::decode(key, value);
    }
}
