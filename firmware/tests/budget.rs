//! RAM is a budget: what a device keeps, besides the buffers of its shell.

mod support;

use support::flash::Flash;
use support::sensor::Counting;
use weir_firmware::{Device, FlashRing, RamRing};

/// Bytes of state of the core with a flash ring, the flash and the sensor not counted.
const STATE: usize = 1024;

#[test]
fn the_state_of_the_core_stays_within_its_budget() {
    let outside = size_of::<Flash>() + size_of::<Counting>();
    let flash = size_of::<Device<FlashRing<Flash>, Counting>>() - outside;
    let ram = size_of::<Device<RamRing<0>, Counting>>() - size_of::<Counting>();
    println!("state: {flash} bytes with a flash ring, {ram} with a RAM ring and the bytes of its readings");
    assert!(flash <= STATE, "{flash} bytes; expected at most {STATE}");
}
