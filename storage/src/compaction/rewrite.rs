//! Which segments become one, and how: written under a temporary name, synced, then put in their place.

use super::judge::{Judge, Verdicts};
use super::pack::Packer;
use super::{Compaction, Halt, source};
use crate::error::IoError;
use crate::fs::{File, Mode};
use crate::log::upkeep::{Replacement, Upkeep};
use crate::segments::Closed;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The segment being written; opening a log removes one that a crash left.
pub(crate) const TEMPORARY_NAME: &str = "compaction.tmp";
/// Beside the records: the header of the last frame, and the rest of a block.
const OVERHEAD_BYTES: u64 = 8 * 1024;

/// Neighbours that become one segment, and what is known of each.
#[derive(Debug, Default)]
pub(super) struct Group {
    segments: Vec<Arc<Closed>>,
    verdicts: Vec<Verdicts>,
}

/// How the rewriting of a group ended.
pub(super) enum Rewritten {
    Done,
    /// There was no room; it is as it was.
    NoRoom(Group),
    /// Damage was met in it by now; it is as it was.
    Damaged(Group),
}

impl Group {
    /// The segments that are worth rewriting, oldest first: those that lose records, and neighbours that fit together
    /// into one of `limit_bytes`. One with damage is in none.
    pub(super) fn of(verdicts: Vec<(Arc<Closed>, Verdicts)>, limit_bytes: u64) -> Vec<Group> {
        let mut groups = vec![Group::default()];
        for (segment, verdicts) in verdicts {
            let is_damaged = !verdicts.damage.is_empty();
            let fits = |group: &Group| group.segments.is_empty() || group.bytes() + verdicts.bytes <= limit_bytes;
            if is_damaged || !groups.last().is_some_and(fits) {
                groups.push(Group::default());
            }
            if let Some(group) = groups.last_mut().filter(|_| !is_damaged) {
                group.segments.push(segment);
                group.verdicts.push(verdicts);
            }
        }
        groups.retain(Group::is_worth_it);
        groups
    }

    /// The segments one by one, as far as each is worth it.
    pub(super) fn split(self) -> Vec<Group> {
        let pairs = self.segments.into_iter().zip(self.verdicts);
        let singles = pairs.map(|(segment, verdicts)| Group { segments: vec![segment], verdicts: vec![verdicts] });
        singles.filter(Group::is_worth_it).collect()
    }

    pub(super) fn segments(&self) -> &[Arc<Closed>] {
        &self.segments
    }

    fn is_worth_it(&self) -> bool {
        self.segments.len() > 1 || self.verdicts.iter().any(|verdicts| verdicts.removed > 0)
    }

    /// About the bytes that stay.
    fn bytes(&self) -> u64 {
        self.verdicts.iter().map(|verdicts| verdicts.bytes).sum()
    }

    fn allocated(&self) -> u64 {
        self.segments.iter().map(|segment| segment.allocated).sum()
    }
}

/// Puts one segment in the place of those of a group.
pub(super) fn rewrite<E: From<IoError>>(
    upkeep: &Upkeep,
    judge: &Judge,
    group: Group,
    stop: &AtomicBool,
    compaction: &mut Compaction,
) -> Result<Rewritten, Halt<E>> {
    let Some(mut temporary) = Temporary::reserve(upkeep, group.bytes() + OVERHEAD_BYTES) else {
        return Ok(Rewritten::NoRoom(group));
    };
    let (removed, replacement) = match temporary.fill(judge, &group, stop) {
        Err(Halt::Failed(error)) if error.is_no_space() => return Ok(Rewritten::NoRoom(group)),
        Err(halt) => return Err(halt.into_other()),
        Ok(None) => return Ok(Rewritten::Damaged(group)),
        Ok(Some(filled)) => filled,
    };
    let allocated = replacement.allocated;
    if !upkeep.replace(&group.segments, replacement)? {
        return Err(Halt::Gone);
    }
    temporary.is_placed = true;
    compaction.removed_records += removed;
    compaction.rewritten.0 += group.segments.len() as u64;
    compaction.rewritten.1 += 1;
    compaction.allocated.0 += group.allocated();
    compaction.allocated.1 += allocated;
    Ok(Rewritten::Done)
}

/// The file being written, and the room reserved for it. It goes with this value.
struct Temporary<'a> {
    upkeep: &'a Upkeep,
    path: PathBuf,
    reserved: u64,
    /// It got the name of a segment.
    is_placed: bool,
}

impl<'a> Temporary<'a> {
    /// `None` if `bytes` are more than half of what the cap leaves: the other half is for commits.
    fn reserve(upkeep: &'a Upkeep, bytes: u64) -> Option<Temporary<'a>> {
        let free = upkeep.options.cap_bytes.map_or(u64::MAX, |cap| cap.saturating_sub(upkeep.shared.allocated()));
        let path = upkeep.dir.join(TEMPORARY_NAME);
        (bytes <= free / 2).then(|| {
            upkeep.shared.aside.fetch_add(bytes, Ordering::Relaxed);
            Temporary { upkeep, path, reserved: bytes, is_placed: false }
        })
    }

    /// Writes what stays of the group and makes it durable, with the number of records that go; `None` if damage is
    /// met by now.
    fn fill(
        &self,
        judge: &Judge,
        group: &Group,
        stop: &AtomicBool,
    ) -> Result<Option<(u64, Replacement)>, Halt<IoError>> {
        let Some(first) = group.segments.first() else { return Ok(None) };
        let file = self.create()?;
        let writing = |error| Halt::Failed(IoError::on("write", &self.path)(error));
        let mut packer = Packer::new(&*file, first.base_offset, self.upkeep.options.index_interval_bytes);
        let mut removed = 0;
        for segment in &group.segments {
            let damage = source::visit(self.upkeep, segment, stop, |record| {
                if judge.keeps(record) {
                    packer.push(record).map_err(writing)?;
                } else {
                    removed += 1;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if !damage.is_empty() {
                return Ok(None);
            }
            packer.cover(segment.next_offset).map_err(writing)?;
        }
        let (bytes, index) = packer.finish().map_err(writing)?;
        let allocated = file.allocated().map_err(IoError::on("measure", &self.path))?;
        Ok(Some((removed, Replacement { path: self.path.clone(), bytes, allocated, index })))
    }

    fn create(&self) -> Result<Box<dyn File>, IoError> {
        let fs = &*self.upkeep.fs;
        match fs.remove(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::on("remove", &self.path)(error)),
            _ => fs.open(&self.path, Mode::CreateNew).map_err(IoError::on("create", &self.path)),
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // If it fails, the next one or the next start tries again.
            let _ = self.upkeep.fs.remove(&self.path);
        }
        self.upkeep.shared.aside.fetch_sub(self.reserved, Ordering::Relaxed);
    }
}
