//! A NOR flash that is strict and mortal: programming only clears bits, and the power fails when the fuel is
//! used up, in the middle of an operation: a word half programmed, a page half erased.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Bytes of a page.
pub const PAGE: usize = 1024;

struct Chip {
    cells: Vec<u8>,
    /// Bytes that may still be programmed, and pages erased, before the power fails.
    fuel: Option<u64>,
    powered: bool,
}

/// A handle to the chip: it survives the device that uses it.
#[derive(Clone)]
pub struct Flash(Rc<RefCell<Chip>>);

impl Flash {
    /// An erased chip.
    pub fn new(pages: usize) -> Self {
        let cells = vec![0xff; pages * PAGE];
        Self(Rc::new(RefCell::new(Chip { cells, fuel: None, powered: true })))
    }

    /// Another chip with the same content.
    pub fn clone_chip(&self) -> Self {
        let copy = Self::new(0);
        copy.0.borrow_mut().cells.clone_from(&self.0.borrow().cells);
        copy
    }

    /// The power fails after this much.
    pub fn cut_after(&self, fuel: u64) {
        self.0.borrow_mut().fuel = Some(fuel);
    }

    /// The power is back.
    pub fn power_on(&self) {
        let mut chip = self.0.borrow_mut();
        chip.fuel = None;
        chip.powered = true;
    }

    pub fn is_powered(&self) -> bool {
        self.0.borrow().powered
    }

    /// Flips one bit, as age does.
    pub fn flip(&self, at: usize, bit: u8) {
        self.0.borrow_mut().cells[at] ^= 1 << bit;
    }

    pub fn content(&self) -> Vec<u8> {
        self.0.borrow().cells.clone()
    }
}

impl Chip {
    /// One unit of work; false if there was no power for it.
    fn burn(&mut self) -> bool {
        if self.fuel == Some(0) {
            self.powered = false;
        }
        self.fuel = self.fuel.map(|fuel| fuel.saturating_sub(1));
        self.powered
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let chip = self.0.borrow();
        if !chip.powered {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&chip.cells[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.borrow().cells.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let mut chip = self.0.borrow_mut();
        for page in (from as usize..to as usize).step_by(PAGE) {
            // The first unit erases half of the page, the second one the rest.
            for half in [page..page + PAGE / 2, page + PAGE / 2..page + PAGE] {
                if !chip.burn() {
                    return Err(NorFlashErrorKind::Other);
                }
                chip.cells[half].fill(0xff);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let mut chip = self.0.borrow_mut();
        for (at, byte) in (offset as usize..).zip(bytes) {
            let before = chip.cells[at];
            assert_eq!(before & byte, *byte, "programming {byte:#x} over {before:#x} at {at:#x} without an erase");
            if !chip.burn() {
                // Half of the bits made it.
                chip.cells[at] &= byte | 0x0f;
                return Err(NorFlashErrorKind::Other);
            }
            chip.cells[at] &= byte;
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for Flash {}
