//! A ring in flash: survives a power cut at any point, and says exactly where each restart ended.
//!
//! Guarantees:
//! - The boot counter is written and read back before the first sample.
//! - One item per sample, written before its sequences count as taken: after a power cut the restart ends
//!   with its exact `next`, and the loss window is the one measurement that was being written, which never
//!   had a sequence and never left the chip. Collecting several samples in one item would save a quarter of
//!   the flash and would lose sequences that the device has already taken: it does not pay.
//! - A full ring gives up its oldest page: whole samples, always a prefix.
//!
//! Layout: the first [`BOOT_PAGES`] pages of the range hold boot records ([`boots`]), the others samples
//! ([`item`]), each as a queue ([`region`]).
//!
//! Wear: a page is erased once per turn of the ring, acknowledged or not; acknowledging a sample only clears
//! its CRC. With 62 pages of 4 KiB (some 80 samples each) and 100,000 erases a page, a sample a second wears
//! the flash out in 16 years.
//!
//! `base` after a boot is the oldest sample that is still there: acknowledgements of half a sample, or of the
//! last moment, are forgotten, and the agent clips the repeat.

mod boots;
mod item;
mod region;

use core::ops::Range;

use embedded_storage::nor_flash::MultiwriteNorFlash;
use sequential_storage::Error;
use weir_protocol::serial::Held;
use weir_protocol::serial::device_to_agent::Ring as Kind;
use weir_protocol::{Restart, SchemaHash, Sequence};

use self::item::{Item, MAX_ITEM};
use self::region::{queue, ready};
use super::{Acknowledged, HeldRestarts, PushError, Ring, Run, Sample};

/// Pages at the front of the range that hold boot records.
pub const BOOT_PAGES: u32 = 2;
/// Of an encoded reading from flash.
const MAX_READING: usize = MAX_ITEM;

/// Why there is no ring in this flash. Use a [`super::RamRing`] instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// The range is not whole pages inside the flash, or fewer than two beside the boot records.
    BadRange,
    /// Reading, writing or erasing failed, or the boot counter could not be read back.
    Failed,
}

/// Unacknowledged readings in a flash of which the ring owns a range.
pub struct FlashRing<F> {
    flash: F,
    boots: Range<u32>,
    items: Range<u32>,
    held: HeldRestarts,
}

impl<F: MultiwriteNorFlash> FlashRing<F> {
    /// Opens the ring in `range` (bytes from the start of `flash`), finds what earlier restarts left, and
    /// starts a new restart with a `nonce` from [`crate::restart::nonce`].
    pub fn open(mut flash: F, range: Range<u32>, nonce: u32, schema: SchemaHash) -> Result<Self, FlashError> {
        let page = u32::try_from(F::ERASE_SIZE).map_err(|_| FlashError::BadRange)?;
        let split = range.start.saturating_add(page.saturating_mul(BOOT_PAGES));
        let (boots, items) = (range.start..split, split..range.end);
        if items.end < items.start || items.end - items.start < 2 * page {
            return Err(FlashError::BadRange);
        }
        queue(&mut flash, boots.clone()).ok_or(FlashError::BadRange)?;
        queue(&mut flash, items.clone()).ok_or(FlashError::BadRange)?;

        let mut ring = Self { held: boots::load(&mut flash, boots.clone()), flash, boots, items };
        let recorded = ring.held.last().and_then(|held| held.restart.boot());
        ring.find()?;
        // Beside the running restart there is room for all but one; more than that is held only after damage.
        if ring.held.is_full() {
            ring.held.remove(0);
        }
        // Samples say their restart too: a damaged boot record does not set the counter back.
        let newest = ring.held.iter().filter_map(|held| held.restart.boot()).chain(recorded).max().unwrap_or(0);
        let boot = newest.wrapping_add(1) & 0x7fff_ffff;
        let restart = Restart::from_boot(boot.max(1), nonce);
        ring.held
            .push(Held { restart, schema, base: Sequence(0), next: Sequence(0) })
            .map_err(|_| FlashError::Failed)?;
        if !boots::store(&mut ring.flash, ring.boots.clone(), &ring.held) {
            return Err(FlashError::Failed);
        }
        Ok(ring)
    }

    /// Completes what the boot record says with what is really there.
    fn find(&mut self) -> Result<(), FlashError> {
        // The restart that was running when the record was written: its end is known only from its samples.
        let unfinished = self.held.last().map(|held| held.restart);
        match self.scan() {
            Ok(()) => {}
            Err(Error::Storage { .. }) => return Err(FlashError::Failed),
            // Beyond repair: better an empty ring, whose loss is known from the boot record, than none.
            Err(_) => {
                let mut queue = queue(&mut self.flash, self.items.clone()).ok_or(FlashError::BadRange)?;
                ready(queue.erase_all()).map_err(|_| FlashError::Failed)?;
            }
        }
        // Without samples it was acknowledged to its end, or never sampled.
        self.held.retain(|held| held.base < held.next || Some(held.restart) != unfinished);
        Ok(())
    }

    fn scan(&mut self) -> Result<(), Error<F::Error>> {
        let Some(mut queue) = queue(&mut self.flash, self.items.clone()) else { return Ok(()) };
        let mut buffer = [0; MAX_ITEM];
        let mut items = ready(queue.iter())?;
        while let Some(bytes) = ready(items.next(&mut buffer))? {
            let Some(item) = Item::decode(&bytes) else { continue };
            let (first, end) = (item.first(), item.end());
            match self.held.iter_mut().find(|held| held.restart == item.restart()) {
                Some(held) if held.base == held.next => {
                    held.base = first;
                    held.next = end.max(held.next);
                }
                Some(held) => held.next = end.max(held.next),
                // Its boot record is damaged; only damage makes more of them than fit.
                None => {
                    let _ =
                        self.held.push(Held { restart: item.restart(), schema: item.schema(), base: first, next: end });
                }
            }
        }
        Ok(())
    }

    /// Moves every `base` to the oldest sample that is still there. Returns how many readings that gave up.
    fn settle(&mut self) -> u64 {
        let before = unacknowledged(&self.held);
        let Some(mut queue) = queue(&mut self.flash, self.items.clone()) else { return 0 };
        let mut buffer = [0; MAX_ITEM];
        let Ok(mut items) = ready(queue.iter()) else { return 0 };
        let oldest = loop {
            match ready(items.next(&mut buffer)) {
                Ok(Some(bytes)) => {
                    let Some(item) = Item::decode(&bytes) else { continue };
                    if let Some(index) = self.held.iter().position(|held| held.restart == item.restart()) {
                        break Some((index, item.first()));
                    }
                }
                Ok(None) => break None,
                Err(_) => return 0,
            }
        };
        let (index, first) = oldest.unwrap_or((self.held.len(), Sequence(0)));
        for held in self.held.iter_mut().take(index) {
            held.base = held.next;
        }
        if let Some(held) = self.held.get_mut(index) {
            held.base = held.base.max(first);
        }
        before - unacknowledged(&self.held)
    }
}

fn unacknowledged(held: &[Held]) -> u64 {
    held.iter().map(|held| held.next.0 - held.base.0).sum()
}

impl<F: MultiwriteNorFlash> Ring for FlashRing<F> {
    fn kind(&self) -> Kind {
        Kind::Durable
    }

    fn held(&self) -> &[Held] {
        &self.held
    }

    fn oldest(&self) -> Held {
        self.held[0]
    }

    fn push(&mut self, sample: &Sample) -> Result<u64, PushError> {
        if self.is_blocked() {
            return Err(PushError);
        }
        let running = self.held.last().copied().ok_or(PushError)?;
        let item = item::encode(running.restart, running.schema, running.next, sample).ok_or(PushError)?;
        let mut queue = queue(&mut self.flash, self.items.clone()).ok_or(PushError)?;
        let mut evicted = 0;
        let mut pushed = ready(queue.push(&item, false));
        if matches!(pushed, Err(Error::FullStorage)) {
            pushed = ready(queue.push(&item, true));
            // Even if the write failed, a page is gone.
            evicted = self.settle();
        }
        pushed.map_err(|_| PushError)?;
        if let Some(running) = self.held.last_mut() {
            running.next.0 += sample.values.len() as u64;
        }
        Ok(evicted)
    }

    fn read(&mut self, from: Sequence, upto: Sequence, run: &mut Run) {
        let Held { restart, base, next, .. } = self.oldest();
        let from = from.max(base);
        *run = Run { first: from, ..Run::default() };
        if from >= upto.min(next) {
            return;
        }
        let Some(mut queue) = queue(&mut self.flash, self.items.clone()) else { return };
        let mut buffer = [0; MAX_ITEM];
        let Ok(mut items) = ready(queue.iter()) else { return };
        // The oldest sequence that is there from `from` on, if the flash could be read.
        let found = loop {
            let bytes = match ready(items.next(&mut buffer)) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break next,
                Err(_) => return,
            };
            let Some(item) = Item::decode(&bytes) else { continue };
            if item.restart() != restart {
                if self.held.iter().any(|held| held.restart == item.restart()) {
                    break next;
                }
                continue;
            }
            // Also skips a second item of the same sequences: a write that failed and was whole after all came
            // first, and counts, now and after a reboot.
            if item.end() <= run.end() {
                continue;
            }
            if item.first() > run.end() {
                break item.first();
            }
            for (sequence, reading) in item.readings() {
                let mut encoded = [0; MAX_READING];
                if sequence < run.end() {
                    continue;
                }
                let room = sequence < upto && postcard::to_slice(&reading, &mut encoded).is_ok_and(|r| run.push(r));
                if !room {
                    return;
                }
            }
            if run.end() >= upto {
                return;
            }
        };
        if run.count == 0 && from == base {
            // The oldest readings are damaged: give them up. Those behind a hole wait until they are the oldest.
            self.held[0].base = found.min(next);
            run.first = self.held[0].base;
        }
    }

    fn acknowledge(&mut self, restart: Restart, accepted: Sequence) -> Acknowledged {
        let oldest = self.oldest();
        let over = self.held.len() > 1 && accepted >= oldest.next;
        if restart != oldest.restart || !(over || oldest.base < accepted && accepted <= oldest.next) {
            return Acknowledged::Ignored;
        }
        self.held[0].base = accepted.min(oldest.next);
        self.pop(restart, accepted);
        if !over {
            return Acknowledged::Moved;
        }
        self.held.remove(0);
        // If this fails, the next boot lists it once more, empty, and it is accepted at once.
        boots::store(&mut self.flash, self.boots.clone(), &self.held);
        Acknowledged::Released
    }

    fn assign(&mut self, _: Restart) -> bool {
        false
    }
}

impl<F: MultiwriteNorFlash> FlashRing<F> {
    /// Takes the samples of `restart` below `accepted` out. Those that a failing flash keeps come once more
    /// after a reboot.
    fn pop(&mut self, restart: Restart, accepted: Sequence) {
        let Some(mut queue) = queue(&mut self.flash, self.items.clone()) else { return };
        let mut buffer = [0; MAX_ITEM];
        let Ok(mut items) = ready(queue.iter()) else { return };
        while let Ok(Some(entry)) = ready(items.next(&mut buffer)) {
            let keep = Item::decode(&entry).is_some_and(|item| {
                self.held.iter().any(|held| held.restart == item.restart())
                    && (item.restart() != restart || item.end() > accepted)
            });
            if keep || ready(entry.pop()).is_err() {
                return;
            }
        }
    }
}
