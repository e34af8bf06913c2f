//! The records of one closed segment, streamed, for those who look at all of them.

use super::Halt;
use crate::error::IoError;
use crate::fs::Mode;
use crate::log::upkeep::Upkeep;
use crate::record::{Record, Records};
use crate::recovery::Damage;
use crate::scan::{Bounds, DamageAt, Found, Scan};
use crate::segment;
use crate::segments::{Closed, Lookup};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows every record that can be read, in order, until told to break; the damage met so far. What is wrong only
/// outside the checksums is no damage here: rewriting the segment mends it.
pub(super) fn visit<E: From<IoError>>(
    upkeep: &Upkeep,
    closed: &Arc<Closed>,
    stop: &AtomicBool,
    mut show: impl FnMut(&Record<'_>) -> Result<ControlFlow<()>, Halt<E>>,
) -> Result<Vec<Damage>, Halt<E>> {
    let path = segment::path(&upkeep.dir, closed.base_offset);
    let file = match upkeep.fs.open(&path, Mode::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The list learns of it if it did not know.
            return match upkeep.shared.segments.open(closed)? {
                Lookup::Lost(gap) => {
                    let file = segment::name(closed.base_offset);
                    Ok(vec![Damage { file, position: 0, bytes: 0, gap }])
                }
                Lookup::Found(_) | Lookup::Removed | Lookup::Gone => Err(Halt::Gone),
            };
        }
        opened => opened.map_err(IoError::on("open", &path))?,
    };
    let end_position = file.size().map_err(IoError::on("measure", &path))?;
    let offset = closed.base_offset;
    let bounds = Bounds { position: 0, offset, end_position, end_offset: Some(closed.next_offset) };
    let mut scan = Scan::new(&*file, bounds);
    let mut damage = Vec::new();
    let mut note = |DamageAt { position, bytes, gap }| {
        damage.push(Damage { file: segment::name(closed.base_offset), position, bytes, gap });
    };
    while let Some(found) = scan.next().map_err(IoError::on("read", &path))? {
        if stop.load(Ordering::Relaxed) {
            return Err(Halt::Stopped);
        }
        match found {
            Found::Frame(frame) => {
                let Ok(records) = Records::of_frame(scan.frame()) else { continue };
                for record in records {
                    let Ok(record) = record else {
                        // Its checksum holds: it was written like this, and nobody may lose the rest of it.
                        let bytes = frame.header.frame_bytes as u64;
                        note(DamageAt { position: frame.position, bytes, gap: frame.offsets.clone() });
                        break;
                    };
                    if show(&record)?.is_break() {
                        return Ok(damage);
                    }
                }
            }
            Found::Damage(found) => note(found),
            Found::Leftover(_) => break,
        }
    }
    Ok(damage)
}
