//! The boot counter in an I2C EEPROM (AT24C32 and larger), for a board with neither flash for data nor entropy.
//!
//! Guarantees:
//! - A number is written and read back before it is handed out, and no number is handed out twice, wherever
//!   the power is cut.
//! - What makes the number unlike that of a wiped or another EEPROM is a seed: random bits of the first number
//!   that an *agent* gave to this board. An EEPROM that is blank, missing or damaged beyond doubt gives no
//!   number at all: the agent numbers that run, and [`adopt`] makes it the seed of the following ones.
//! - What it cannot see is a copy: an EEPROM that is put back to an earlier content counts the same boots
//!   again. Do not copy it; a soldered one never is.
//!
//! ```text
//! slot: "WRB1" | counter u32 LE | seed u32 LE | CRC-32 LE of what is before      two of them, at 0 and at 64
//! ```
//!
//! Each slot is in a page of its own, so a torn write spoils that slot alone. The slot that is older is the one
//! that is written, so the two are one apart. A slot that is not valid may thus have held the next number, torn
//! or aged: then that number is skipped, and both slots are written before the one after it is handed out, so
//! that they are never further apart.

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use weir_protocol::Restart;
use weir_protocol::checksum::crc32;

use super::nonce;

/// The I2C address, with the chip's address pins low.
pub const ADDRESS: u8 = 0x50;
const SLOTS: [u16; 2] = [0, 64];
const MAGIC: [u8; 4] = *b"WRB1";
const SLOT_BYTES: usize = 16;
/// A write takes 5 ms (AT24C datasheets, tWR), 10 ms in old ones: meanwhile the chip does not answer.
const WRITE_MS: u32 = 20;
/// Counters have 31 bits.
const LAST: u32 = 0x7fff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    counter: u32,
    seed: u32,
}

impl Slot {
    fn encode(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.counter.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.seed.to_le_bytes());
        let sum = crc32(&bytes[..12]);
        bytes[12..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let slot = Self { counter: word(4), seed: word(8) };
        (slot.encode() == *bytes).then_some(slot)
    }
}

/// Counts this boot and returns its number, or `None` if the EEPROM cannot number it: then the run starts
/// unbound, and [`adopt`] is called when the agent has numbered it.
pub fn count(mut i2c: impl I2c, delay: &mut impl DelayNs, chip: &[u8; 8]) -> Option<Restart> {
    let slots = SLOTS.map(|at| read(&mut i2c, at));
    let [first, second] = SLOTS;
    let (into, newest, ahead): (&[u16], Slot, u32) = match slots {
        // Two seeds: adopting was cut short, and which counter is newer cannot be said.
        [Some(a), Some(b)] if a.seed != b.seed => return None,
        [Some(a), Some(b)] if a.counter > b.counter => (&[second], a, 1),
        [Some(_), Some(b)] => (&[first], b, 1),
        // The damaged one first: there is always one that is valid.
        [Some(a), None] => (&[second, first], a, 2),
        [None, Some(b)] => (&[first, second], b, 2),
        [None, None] => return None,
    };
    let counter = newest.counter.checked_add(ahead).filter(|counter| *counter <= LAST)?;
    let slot = Slot { counter, ..newest };
    let written = into.iter().all(|at| write(&mut i2c, delay, *at, slot));
    written.then(|| Restart::from_boot(counter, nonce(slot.seed, chip)))
}

/// Starts the counter anew, with the number that an agent gave to this run as its seed. Returns whether it is
/// there; if not, the next boot starts unbound once more.
pub fn adopt(mut i2c: impl I2c, delay: &mut impl DelayNs, number: Restart) -> bool {
    // Its low 32 bits are random bits of the agent.
    let slot = Slot { counter: 0, seed: number.0 as u32 };
    SLOTS.into_iter().all(|at| write(&mut i2c, delay, at, slot))
}

fn read(i2c: &mut impl I2c, at: u16) -> Option<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    i2c.write_read(ADDRESS, &at.to_be_bytes(), &mut bytes).ok()?;
    Slot::decode(&bytes)
}

/// Writes a slot and reads it back.
fn write(i2c: &mut impl I2c, delay: &mut impl DelayNs, at: u16, slot: Slot) -> bool {
    let mut bytes = [0; 2 + SLOT_BYTES];
    bytes[..2].copy_from_slice(&at.to_be_bytes());
    bytes[2..].copy_from_slice(&slot.encode());
    i2c.write(ADDRESS, &bytes).is_ok()
        && (0..WRITE_MS).any(|_| {
            delay.delay_ms(1);
            read(i2c, at) == Some(slot)
        })
}
