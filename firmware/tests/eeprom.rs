//! The restart counter in an EEPROM: wherever the power is cut, no number comes twice.

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::seeds;
use weir_firmware::restart::eeprom::{self, ADDRESS};
use weir_protocol::Restart;

const CHIP: &[u8; 8] = b"chip-001";
/// Bytes in a page; a write never leaves the page that it began in.
const PAGE: usize = 32;

/// An AT24C64: what it holds, and what is left of the power.
struct Chip {
    cells: Vec<u8>,
    /// Where the next read begins.
    at: usize,
    /// Bytes that may still be written before the power fails.
    fuel: Option<usize>,
    /// Milliseconds for which it does not answer, because it writes.
    busy: u32,
    plugged: bool,
    random: StdRng,
}

/// A handle to the chip, as bus and as time.
#[derive(Clone)]
struct Eeprom(Rc<RefCell<Chip>>);

impl Eeprom {
    fn blank(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let cells = vec![0xff; 8192];
        Self(Rc::new(RefCell::new(Chip { cells, at: 0, fuel: None, busy: 0, plugged: true, random })))
    }

    /// Power on, and a boot. `None`: no number, or no power.
    fn boot(&self) -> Option<Restart> {
        self.0.borrow_mut().busy = 0;
        eeprom::count(self.clone(), &mut self.clone(), CHIP)
    }

    fn adopt(&self, number: Restart) -> bool {
        eeprom::adopt(self.clone(), &mut self.clone(), number)
    }

    fn cut_after(&self, bytes: Option<usize>) {
        self.0.borrow_mut().fuel = bytes;
    }

    fn flip(&self, at: usize) {
        self.0.borrow_mut().cells[at] ^= 1;
    }
}

impl ErrorType for Eeprom {
    type Error = ErrorKind;
}

impl I2c for Eeprom {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let mut chip = self.0.borrow_mut();
        assert_eq!(address, ADDRESS);
        if !chip.plugged || chip.busy > 0 || chip.fuel == Some(0) {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    let (at, content) = bytes.split_at(2);
                    chip.at = usize::from(u16::from_be_bytes([at[0], at[1]]));
                    chip.write(content);
                }
                Operation::Read(buffer) => {
                    let at = chip.at;
                    buffer.copy_from_slice(&chip.cells[at..at + buffer.len()]);
                }
            }
        }
        Ok(())
    }
}

impl Chip {
    /// A page is written as a whole from what was sent; cut short, some of its bytes are anything.
    fn write(&mut self, content: &[u8]) {
        for (offset, byte) in content.iter().enumerate() {
            let at = self.at - self.at % PAGE + (self.at + offset) % PAGE;
            match &mut self.fuel {
                Some(0) => self.cells[at] = self.random.random(),
                Some(fuel) => {
                    *fuel -= 1;
                    self.cells[at] = *byte;
                }
                None => self.cells[at] = *byte,
            }
        }
        self.busy = if content.is_empty() { 0 } else { 5 };
    }
}

impl DelayNs for Eeprom {
    fn delay_ns(&mut self, ns: u32) {
        let mut chip = self.0.borrow_mut();
        chip.busy = chip.busy.saturating_sub(ns.div_ceil(1_000_000));
    }
}

#[test]
fn a_blank_eeprom_has_no_number_and_counts_from_what_the_agent_gave() {
    let eeprom = Eeprom::blank(1);
    assert_eq!(eeprom.boot(), None);
    assert!(eeprom.adopt(Restart::from_agent(0x1234_5678_9abc)));
    let restarts: Vec<_> = (0..4).map(|_| eeprom.boot().expect("a number")).collect();
    assert_eq!(restarts.iter().map(|restart| restart.boot()).collect::<Vec<_>>(), [1, 2, 3, 4].map(Some));
    assert!(restarts.iter().all(|restart| restart.0 as u32 == restarts[0].0 as u32), "one nonce: the seed");
}

#[test]
fn no_number_comes_twice_wherever_the_power_is_cut() {
    for seed in seeds(200) {
        println!("WEIR_SEED={seed}");
        let eeprom = Eeprom::blank(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let mut numbers = BTreeSet::new();
        let mut newest = None;
        for _ in 0..60 {
            let fuel = random.random_bool(0.6).then(|| random.random_range(0..40));
            eeprom.cut_after(fuel);
            let number = match eeprom.boot() {
                Some(number) => {
                    if newest.is_some_and(|newest: Restart| newest.0 as u32 == number.0 as u32) {
                        assert!(newest < Some(number), "it counts up: {newest:?} {number:?}");
                    }
                    newest = Some(number);
                    number
                }
                None => {
                    let number = Restart::from_agent(random.random());
                    eeprom.adopt(number);
                    number
                }
            };
            assert!(numbers.insert(number), "{number} came twice");
            // The cable of the memory is loose now and then, and cells age.
            eeprom.cut_after(None);
            eeprom.0.borrow_mut().plugged = !random.random_bool(0.05);
            if random.random_bool(0.05) {
                eeprom.flip(random.random_range(0..80));
            }
        }
    }
}

#[test]
fn a_damaged_slot_costs_a_number_and_two_cost_the_seed() {
    let eeprom = Eeprom::blank(1);
    assert!(eeprom.adopt(Restart::from_agent(7)));
    let first = eeprom.boot().and_then(Restart::boot);
    assert_eq!(first, Some(1));
    // Whichever slot it is, it may have held the newest number.
    eeprom.flip(5);
    let second = eeprom.boot().and_then(Restart::boot);
    assert!(second > first, "{second:?}");
    eeprom.flip(5);
    eeprom.flip(64 + 5);
    assert_eq!(eeprom.boot(), None, "the agent numbers this run");
    assert!(eeprom.adopt(Restart::from_agent(8)));
    assert_eq!(eeprom.boot().and_then(Restart::boot), Some(1), "of another seed");
}

#[test]
fn without_an_eeprom_there_is_no_number_and_no_panic() {
    let eeprom = Eeprom::blank(1);
    eeprom.0.borrow_mut().plugged = false;
    assert_eq!(eeprom.boot(), None);
    assert!(!eeprom.adopt(Restart::from_agent(7)));
}

#[test]
fn adopting_over_a_counter_that_could_not_be_read_is_all_or_no_number() {
    let eeprom = Eeprom::blank(1);
    assert!(eeprom.adopt(Restart::from_agent(7)));
    let counted: Vec<_> = (0..3).map(|_| eeprom.boot()).collect();
    // The cable is loose at the fourth boot and firm again when the agent has numbered it; then the power fails
    // with one slot of the new seed over the newest number of the old one.
    eeprom.0.borrow_mut().plugged = false;
    assert_eq!(eeprom.boot(), None);
    eeprom.0.borrow_mut().plugged = true;
    eeprom.0.borrow_mut().busy = 0;
    eeprom.cut_after(Some(16));
    assert!(!eeprom.adopt(Restart::from_agent(8)));
    eeprom.cut_after(None);
    let number = eeprom.boot();
    assert!(!counted.contains(&number), "{number:?} came twice: which of two seeds is newer cannot be said");
    assert_eq!(number, None);
    assert!(eeprom.adopt(Restart::from_agent(9)));
    assert_eq!(eeprom.boot().and_then(Restart::boot), Some(1));
}

#[test]
fn a_slot_is_written_as_version_1_says_and_read() {
    let eeprom = Eeprom::blank(1);
    assert!(eeprom.adopt(Restart::from_agent(0x1234_5678_9abc)));
    let hex: String = eeprom.0.borrow().cells[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "5752423100000000bc9a78563ed92f72");
    assert_eq!(eeprom.boot().map(|restart| restart.0), Some(4796201335));
}
