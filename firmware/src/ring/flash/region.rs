//! A part of the flash as a queue of items, through `sequential-storage`, which draws its layout in its own
//! documentation: pages with a start and an end mark, items with a length, a CRC-16 of it and a CRC-32.
//!
//! That crate is asynchronous and the flash of a small chip is not: [`ready`] drives it. No cache is kept: at
//! a sample a second it saves nothing, and RAM is scarcer than reads.

use core::future::Future;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_storage::nor_flash::{ErrorType, MultiwriteNorFlash};
use embedded_storage_async::nor_flash as asynchronous;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

/// A blocking flash where an asynchronous one is asked for. Its futures are ready at the first poll.
pub(super) struct Blocking<'f, F>(&'f mut F);

impl<F: MultiwriteNorFlash> ErrorType for Blocking<'_, F> {
    type Error = F::Error;
}

impl<F: MultiwriteNorFlash> asynchronous::ReadNorFlash for Blocking<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: MultiwriteNorFlash> asynchronous::NorFlash for Blocking<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.0.write(offset, bytes)
    }
}

impl<F: MultiwriteNorFlash> asynchronous::MultiwriteNorFlash for Blocking<'_, F> {}

/// The result of a future over [`Blocking`]: there is nothing in it that could wait.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}

/// The items of one region, oldest first.
pub(super) type Queue<'f, F> = QueueStorage<Blocking<'f, F>, Cache<Uncached, Uncached, Uncached>>;

/// The queue in `range`, if that is whole pages inside the flash.
pub(super) fn queue<F: MultiwriteNorFlash>(flash: &mut F, range: Range<u32>) -> Option<Queue<'_, F>> {
    let inside = usize::try_from(range.end).is_ok_and(|end| end <= flash.capacity()) && range.start < range.end;
    let config = inside.then(|| QueueConfig::try_new(range).ok()).flatten()?;
    Some(QueueStorage::new(Blocking(flash), config, Cache::new_uncached()))
}
