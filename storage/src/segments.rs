//! The segments of a log: the last one open, the closed ones known by name and length.
//!
//! Guarantees: a closed segment is opened when somebody reads it, and at most [`MAX_OPEN`] of a log stay open, so
//! that descriptors and memory do not grow with the log; its index is its sidecar if that can be believed
//! ([`crate::sidecar`]), else a walk. No lock is held while a file is read. A segment that was removed or replaced
//! stays readable for those who have it open; a look-up that began before that looks again.

use crate::error::IoError;
use crate::fs::{Fs, Mode};
use crate::reader::SegmentInfo;
use crate::segment::{self, Segment};
use crate::sidecar::{self, Covered, Sidecar};
use crate::survey::survey_closed;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// Closed segments of one log that stay open after they were read.
const MAX_OPEN: usize = 8;

/// A segment that takes no more commits.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) base_offset: u64,
    /// Base of the next segment.
    pub(crate) next_offset: u64,
    /// Bytes of the file to look at.
    pub(crate) bytes: u64,
    /// Bytes on disk, the sidecar's included.
    pub(crate) allocated: u64,
    /// Once it is known.
    pub(crate) latest_ms: OnceLock<i64>,
}

/// The answer to a look-up.
pub(crate) enum Lookup {
    Found(Arc<Segment>),
    /// It should be there and is not: the offsets that are lost with it.
    Lost(Range<u64>),
    /// It was removed, or replaced by another one, since it was looked up.
    Gone,
    /// No segment holds the offset; what did was removed.
    Removed,
}

pub(crate) struct Segments {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    index_interval_bytes: u64,
    list: RwLock<List>,
    /// Closed segments that are open, the one used last at the end.
    open: Mutex<Vec<Opened>>,
}

/// A closed segment that is open.
struct Opened {
    closed: Arc<Closed>,
    segment: Arc<Segment>,
}

#[derive(Default)]
struct List {
    closed: VecDeque<Arc<Closed>>,
    last: Option<Arc<Segment>>,
    /// Bytes on disk of the last segment's sidecar.
    beside_last: u64,
}

impl Closed {
    fn is_covered_by(&self, covered: &Covered) -> bool {
        covered.is_all_of(self.base_offset, self.next_offset, self.bytes)
    }
}

impl Segments {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        index_interval_bytes: u64,
        closed: Vec<Closed>,
        last: Option<Segment>,
    ) -> Segments {
        let beside_last =
            last.as_ref().map_or(0, |last| sidecar::allocated(&*fs, &segment::path(dir, last.base_offset)));
        let closed = closed.into_iter().map(Arc::new).collect();
        let list = List { closed, last: last.map(Arc::new), beside_last };
        let open = Mutex::default();
        Segments { fs, dir: dir.to_owned(), index_interval_bytes, list: RwLock::new(list), open }
    }

    /// The segment that takes commits, or took the last one.
    pub(crate) fn last(&self) -> Option<Arc<Segment>> {
        self.look(|list| list.last.clone())
    }

    /// The first offset of the log; 0 when there is no segment.
    pub(crate) fn start_offset(&self) -> u64 {
        self.look(|list| match (list.closed.front(), &list.last) {
            (Some(first), _) => first.base_offset,
            (None, Some(last)) => last.base_offset,
            (None, None) => 0,
        })
    }

    /// All of them, oldest first.
    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        self.look(|list| {
            let closed = list.closed.iter().map(|closed| SegmentInfo {
                base_offset: closed.base_offset,
                next_offset: closed.next_offset,
                allocated: closed.allocated,
            });
            let last = list.last.iter().map(|last| {
                let (next_offset, allocated) = last.with_extent(|extent| (extent.next_offset, extent.allocated));
                SegmentInfo { base_offset: last.base_offset, next_offset, allocated: allocated + list.beside_last }
            });
            closed.chain(last).collect()
        })
    }

    /// Closed segments, oldest first.
    pub(crate) fn closed(&self) -> Vec<Arc<Closed>> {
        self.look(|list| list.closed.iter().cloned().collect())
    }

    /// Bytes on disk of all segments, and how many of them were taken ahead and can still be filled.
    pub(crate) fn allocated(&self) -> (u64, u64) {
        self.look(|list| {
            let last = list.last.as_ref();
            let (last, room) = last.map_or((0, 0), |last| last.with_extent(|extent| (extent.allocated, extent.room())));
            (last + list.beside_last + list.closed.iter().map(|closed| closed.allocated).sum::<u64>(), room)
        })
    }

    /// Bytes on disk that closing the last segment adds.
    pub(crate) fn closing_bytes(&self) -> u64 {
        self.last().map_or(0, |last| last.with_extent(|extent| sidecar::closing_len(&extent.index)))
    }

    /// Closes the last segment and puts `segment` behind it. One of the same base is replaced: no commit of it
    /// succeeded.
    pub(crate) fn begin(&self, segment: Arc<Segment>) {
        let before = self.last().filter(|last| last.base_offset != segment.base_offset);
        let closed = before.map(|last| (Arc::new(self.close(&last)), last));
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.last = Some(segment);
        list.beside_last = 0;
        if let Some((closed, opened)) = closed {
            list.closed.push_back(Arc::clone(&closed));
            drop(list);
            self.keep_open(&closed, opened);
        }
    }

    /// Writes down where the last segment ends, if that adds at most `most_bytes` on disk.
    pub(crate) fn mark_end(&self, most_bytes: u64) {
        let last = self.last().filter(|last| last.with_extent(|extent| extent.next_offset) > last.base_offset);
        if let Some(last) = last
            && last.with_extent(|extent| sidecar::encoded_len(&extent.index)) <= most_bytes
        {
            self.write_sidecar(&last);
        }
    }

    /// Takes the oldest segment out of the log if it lies wholly below `offset` and is not the last one; its file
    /// is still there.
    pub(crate) fn take_below(&self, offset: u64) -> Option<Arc<Closed>> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let oldest = list.closed.pop_front_if(|oldest| oldest.next_offset <= offset)?;
        drop(list);
        self.forget(&oldest);
        Some(oldest)
    }

    /// Puts one closed segment in the place of several that follow on each other and cover the same offsets; false,
    /// and nothing happens, if one of them is not there any more.
    pub(crate) fn replace(&self, replaced: &[Arc<Closed>], merged: Closed) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = position(&list, replaced) else { return false };
        list.closed[at] = Arc::new(merged);
        list.closed.drain(at + 1..at + replaced.len());
        drop(list);
        replaced.iter().for_each(|closed| self.forget(closed));
        true
    }

    /// Whether all of them are still there, one behind the other.
    pub(crate) fn hold(&self, closed: &[Arc<Closed>]) -> bool {
        self.look(|list| position(list, closed).is_some())
    }

    /// Puts back what [`Segments::take_below`] took, because it could not be removed.
    pub(crate) fn put_back(&self, oldest: Arc<Closed>) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).closed.push_front(oldest);
    }

    /// The segment that holds `offset`, open.
    pub(crate) fn find(&self, offset: u64) -> Result<Lookup, IoError> {
        enum Place {
            Closed(Arc<Closed>),
            Last(Arc<Segment>),
        }
        loop {
            let place = self.look(|list| {
                if let Some(last) = list.last.as_ref().filter(|last| last.base_offset <= offset) {
                    return Some(Place::Last(Arc::clone(last)));
                }
                let after = list.closed.partition_point(|closed| closed.base_offset <= offset);
                list.closed.get(after.checked_sub(1)?).cloned().map(Place::Closed)
            });
            match place {
                None => return Ok(Lookup::Removed),
                Some(Place::Last(segment)) => return Ok(Lookup::Found(segment)),
                Some(Place::Closed(closed)) => match self.open(&closed)? {
                    // The list is another one by now.
                    Lookup::Gone => {}
                    found => return Ok(found),
                },
            }
        }
    }

    /// A closed segment, opened if it is not.
    pub(crate) fn open(&self, closed: &Arc<Closed>) -> Result<Lookup, IoError> {
        let held = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let held = open.iter().find(|opened| Arc::ptr_eq(&opened.closed, closed));
            held.map(|opened| Arc::clone(&opened.segment))
        };
        let segment = match held {
            Some(segment) => segment,
            None => match self.load(closed) {
                Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(self.missing(closed)),
                loaded => Arc::new(loaded?),
            },
        };
        closed.latest_ms.get_or_init(|| segment.with_extent(|extent| extent.index.latest_ms()));
        // What was read of one that was replaced meanwhile may be of two files.
        let is_there = self.keep_open(closed, Arc::clone(&segment));
        Ok(if is_there { Lookup::Found(segment) } else { Lookup::Gone })
    }

    /// The latest timestamp in a closed segment, in milliseconds since 1970; `i64::MIN` when nothing of it can be
    /// read.
    pub(crate) fn latest_ms(&self, closed: &Arc<Closed>) -> Result<i64, IoError> {
        if let Some(latest_ms) = closed.latest_ms.get() {
            return Ok(*latest_ms);
        }
        let path = segment::path(&self.dir, closed.base_offset);
        let head = sidecar::read_head(&*self.fs, &path).filter(|head| closed.is_covered_by(&head.covered));
        if let Some(head) = head {
            return Ok(*closed.latest_ms.get_or_init(|| head.latest_ms));
        }
        match self.open(closed)? {
            Lookup::Found(segment) => Ok(segment.with_extent(|extent| extent.index.latest_ms())),
            Lookup::Lost(_) | Lookup::Removed | Lookup::Gone => Ok(i64::MIN),
        }
    }

    fn load(&self, closed: &Closed) -> Result<Segment, IoError> {
        let path = segment::path(&self.dir, closed.base_offset);
        let file = self.fs.open(&path, Mode::Read).map_err(IoError::on("open", &path))?;
        let written_down = sidecar::read(&*self.fs, &path, self.index_interval_bytes);
        let extent = match written_down.filter(|sidecar| closed.is_covered_by(&sidecar.covered)) {
            Some(sidecar) => segment::Extent {
                bytes: sidecar.covered.bytes,
                next_offset: sidecar.covered.next_offset,
                allocated: closed.allocated,
                index: sidecar.index,
            },
            None => {
                let offsets = closed.base_offset..closed.next_offset;
                survey_closed(&*file, &path, offsets, self.index_interval_bytes)?.extent
            }
        };
        Ok(Segment::new(closed.base_offset, file, extent))
    }

    /// A file that is not there. The oldest one was removed by the writer, perhaps in another process; any other
    /// one is lost.
    fn missing(&self, closed: &Arc<Closed>) -> Lookup {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        match position(&list, std::slice::from_ref(closed)) {
            None => Lookup::Gone,
            Some(0) => {
                list.closed.pop_front();
                Lookup::Removed
            }
            Some(_) => Lookup::Lost(closed.base_offset..closed.next_offset),
        }
    }

    fn close(&self, last: &Segment) -> Closed {
        let sidecar_allocated = if self.closing_bytes() > 0 { self.write_sidecar(last) } else { 0 };
        last.with_extent(|extent| Closed {
            base_offset: last.base_offset,
            next_offset: extent.next_offset,
            bytes: extent.bytes,
            allocated: extent.allocated + sidecar_allocated,
            latest_ms: OnceLock::from(extent.index.latest_ms()),
        })
    }

    /// Best effort, because nobody needs it; bytes on disk.
    fn write_sidecar(&self, segment: &Segment) -> u64 {
        let path = segment::path(&self.dir, segment.base_offset);
        let base_offset = segment.base_offset;
        let sidecar = segment.with_extent(|extent| Sidecar {
            covered: Covered { base_offset, next_offset: extent.next_offset, bytes: extent.bytes },
            index: extent.index.clone(),
        });
        sidecar::write_or_remove(&*self.fs, &path, &sidecar);
        sidecar::allocated(&*self.fs, &path)
    }

    /// Whether it is still there: one that was removed meanwhile would keep its bytes on disk.
    fn keep_open(&self, closed: &Arc<Closed>, segment: Arc<Segment>) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|kept| !Arc::ptr_eq(&kept.closed, closed));
        if !self.hold(std::slice::from_ref(closed)) {
            return false;
        }
        open.push(Opened { closed: Arc::clone(closed), segment });
        if open.len() > MAX_OPEN {
            open.remove(0);
        }
        true
    }

    fn forget(&self, gone: &Arc<Closed>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|kept| !Arc::ptr_eq(&kept.closed, gone));
    }

    fn look<T>(&self, look: impl FnOnce(&List) -> T) -> T {
        look(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where these are in the list, one behind the other.
fn position(list: &List, closed: &[Arc<Closed>]) -> Option<usize> {
    let first = closed.first()?;
    let at = list.closed.partition_point(|other| other.base_offset < first.base_offset);
    let mut there = list.closed.iter().skip(at);
    let all = closed.iter().all(|closed| there.next().is_some_and(|other| Arc::ptr_eq(other, closed)));
    all.then_some(at)
}
