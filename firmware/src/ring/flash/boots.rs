//! The boot record: which restarts there are, and where the ended ones ended.
//!
//! ```text
//! version u8 | running restart, schema | ended: restart, schema, next; oldest first
//! ```
//!
//! A record is a whole snapshot, and the newest valid one is the truth. It is written at each boot, before
//! the first sample, and when an ended restart is accepted; two pages hold hundreds, so that a page is erased
//! once in some hundred boots, and the newest record is never in the page that is erased.
//! A torn record leaves the one before it: then a boot counter comes twice, with another nonce, and nothing
//! was sampled under the first.

use core::ops::Range;

use embedded_storage::nor_flash::MultiwriteNorFlash;
use serde::{Deserialize, Serialize};
use weir_protocol::items::ItemsWriter;
use weir_protocol::serial::Held;
use weir_protocol::{Items, Restart, SchemaHash, Sequence};

use super::region::{queue, ready};
use crate::ring::{HeldRestarts, MAX_RESTARTS};

/// The longest ended entry: three varints.
const MAX_ENTRY: usize = 10 + 5 + 10;
/// The longest record, rounded up to the word of any flash.
const MAX_RECORD: usize = (32 + MAX_RESTARTS * MAX_ENTRY).next_multiple_of(32);
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Entry {
    restart: Restart,
    schema: SchemaHash,
    next: Sequence,
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    version: u8,
    running: Entry,
    #[serde(borrow)]
    ended: Items<'a, Entry>,
}

/// The restarts of the newest record: the ended ones with `base == next` at their end, then the one that
/// was running, with `base` and `next` 0. Empty if there is no record.
pub(super) fn load<F: MultiwriteNorFlash>(flash: &mut F, range: Range<u32>) -> HeldRestarts {
    let mut newest = HeldRestarts::new();
    let Some(mut queue) = queue(flash, range) else { return newest };
    let mut buffer = [0; MAX_RECORD];
    let Ok(mut records) = ready(queue.iter()) else { return newest };
    while let Ok(Some(bytes)) = ready(records.next(&mut buffer)) {
        if let Some(record) = postcard::from_bytes::<Record<'_>>(&bytes).ok().filter(|r| r.version == VERSION) {
            let ended = record.ended.iter().map_while(Result::ok);
            let running = Entry { next: Sequence(0), ..record.running };
            newest = ended.chain([running]).take(MAX_RESTARTS).map(held).collect();
        }
    }
    newest
}

fn held(Entry { restart, schema, next }: Entry) -> Held {
    Held { restart, schema, base: next, next }
}

/// Writes a record of `restarts`, the last of which is running, and reads it back; a second time if a worn
/// place spoilt the first. Returns whether it is there.
pub(super) fn store<F: MultiwriteNorFlash>(flash: &mut F, range: Range<u32>, restarts: &[Held]) -> bool {
    let Some((running, ended)) = restarts.split_last() else { return false };
    let entry = |held: &Held| Entry { restart: held.restart, schema: held.schema, next: held.next };
    let mut entries = [0; MAX_RESTARTS * MAX_ENTRY];
    let mut writer = ItemsWriter::new(&mut entries);
    if !ended.iter().all(|held| writer.push(&entry(held))) {
        return false;
    }
    let record = Record { version: VERSION, running: entry(running), ended: writer.finish() };
    let mut buffer = [0; MAX_RECORD];
    let Ok(record) = postcard::to_slice(&record, &mut buffer) else { return false };
    (0..2).any(|_| {
        // Old records are not worth keeping, so the oldest page may go.
        queue(flash, range.clone()).is_some_and(|mut queue| ready(queue.push(record, true)).is_ok())
            && load(flash, range.clone()).last().is_some_and(|h| h.restart == running.restart)
    })
}
