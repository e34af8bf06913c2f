//! NOR flash in a file, written through: a killed board keeps what it had programmed.
//!
//! As on a chip, programming only clears bits and erasing sets whole pages to 0xFF. Reads come from memory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// The page that is erased at once, as in the RP2040's flash; in bytes.
pub(super) const PAGE: usize = 4096;

/// A flash image and its file.
pub(super) struct FileFlash {
    file: File,
    image: Vec<u8>,
}

impl FileFlash {
    /// Opens the image at `path`, or makes an erased one of `size` bytes.
    pub(super) fn open(path: &Path, size: usize) -> Result<Self> {
        ensure!(size.is_multiple_of(PAGE), "a flash of {size} bytes; expected a multiple of {PAGE}");
        let shown = path.display();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot open the flash image {shown}"))?;
        let length = file.metadata().with_context(|| format!("cannot read the size of {shown}"))?.len();
        let mut image = vec![0xff; size];
        if length == 0 {
            file.write_all_at(&image, 0).with_context(|| format!("cannot write {shown}"))?;
        } else {
            ensure!(
                length == size as u64,
                "{shown} has {length} bytes; expected {size}: give its size as --flash-size"
            );
            file.read_exact_at(&mut image, 0).with_context(|| format!("cannot read {shown}"))?;
        }
        Ok(Self { file, image })
    }

    /// Writes part of the image through to the file.
    fn write_through(&self, from: usize, to: usize) -> Result<(), NorFlashErrorKind> {
        self.file.write_all_at(&self.image[from..to], from as u64).map_err(|_| NorFlashErrorKind::Other)
    }
}

impl ErrorType for FileFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.image[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.image.len()
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.image[from as usize..to as usize].fill(0xff);
        self.write_through(from as usize, to as usize)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let from = offset as usize;
        self.image[from..].iter_mut().zip(bytes).for_each(|(cell, byte)| *cell &= byte);
        self.write_through(from, from + bytes.len())
    }
}

impl MultiwriteNorFlash for FileFlash {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_programmed_is_there_after_a_kill_and_erasing_is_by_the_page() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("flash.bin");
        let mut flash = FileFlash::open(&path, 2 * PAGE)?;
        flash.write(10, &[0xf0]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        flash.write(10, &[0x3c]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        // No drop, no sync: as after kill -9.
        std::mem::forget(flash);
        let mut flash = FileFlash::open(&path, 2 * PAGE)?;
        let mut byte = [0];
        flash.read(10, &mut byte).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        assert_eq!(byte, [0x30], "programming only clears bits");
        assert_eq!(flash.erase(10, PAGE as u32), Err(NorFlashErrorKind::NotAligned));
        assert!(FileFlash::open(&path, PAGE).is_err(), "another size is another chip");
        Ok(())
    }
}
