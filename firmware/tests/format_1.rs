//! What a device writes to its own memory, format version 1, byte for byte: a board that is flashed anew must find the
//! readings and the numbers of the firmware before.

mod support;

use support::flash::{Flash, PAGE};
use weir_firmware::ring::{BOOT_PAGES, Run};
use weir_firmware::{FlashRing, Ring, restart};
use weir_protocol::{ChannelId, Clock, SchemaHash, Sequence, Timestamp, Value};

const SCHEMA: SchemaHash = SchemaHash(0x1234_5678);
const CHIP: &[u8; 8] = b"chip-001";
/// The first boot record, with the page's mark and the item's header in front of it.
const BOOT: &str = "00de4c87470d008ffa0184d7d6a710f8acd191010000";
/// One sample of two values, likewise.
const SAMPLE: &str = "007c1093602100ade50184abf5040100000078563412008080f28183898506010900000000bc4101020d";

fn open(flash: &Flash) -> FlashRing<Flash> {
    let nonce = restart::nonce(0xdead_beef, CHIP);
    FlashRing::open(flash.clone(), 0..(4 * PAGE) as u32, nonce, SCHEMA).expect("the ring opens")
}

fn sample() -> weir_firmware::ring::Sample {
    let values = [(ChannelId(0), Value::Float(23.5)), (ChannelId(1), Value::Integer(-7))].into_iter().collect();
    weir_firmware::ring::Sample { time: Timestamp(1_700_000_000_000_000), clock: Clock::Synchronised, values }
}

/// The programmed bytes at the front of a page.
fn front(flash: &Flash, page: usize) -> String {
    let content = flash.content();
    let page = &content[page * PAGE..][..PAGE];
    let end = page.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    page[..end].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chip whose pages hold this.
fn chip(pages: &[(usize, &str)]) -> Flash {
    let flash = Flash::new(4);
    for (page, hex) in pages {
        for at in 0..hex.len() / 2 {
            let byte = u8::from_str_radix(&hex[2 * at..][..2], 16).expect("hexadecimal digits");
            (0..8).filter(|bit| byte & (1 << bit) == 0).for_each(|bit| flash.flip(page * PAGE + at, bit));
        }
    }
    flash
}

#[test]
fn the_flash_of_a_device_is_written_as_version_1_says() {
    let flash = Flash::new(4);
    open(&flash).push(&sample()).expect("room");
    assert_eq!(front(&flash, 0), BOOT);
    assert_eq!(front(&flash, BOOT_PAGES as usize), SAMPLE);
}

#[test]
fn the_flash_that_version_1_wrote_is_read() {
    let mut ring = open(&chip(&[(0, BOOT), (BOOT_PAGES as usize, SAMPLE)]));
    let oldest = ring.oldest();
    assert_eq!((oldest.restart.boot(), oldest.base, oldest.next), (Some(1), Sequence(0), Sequence(2)));
    assert_eq!(ring.running().restart.boot(), Some(2));
    let mut run = Run::default();
    ring.read(Sequence(0), Sequence(2), &mut run);
    assert_eq!(run.count, 2);
}
