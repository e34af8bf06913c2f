//! A panic leaves a mark and resets the chip.
//!
//! The mark is in the watchdog's scratch registers, which keep their content until the power goes: 4 to 7
//! belong to the boot ROM, 0 and 1 are ours. Register 1 holds the line, for a debugger.

use core::panic::PanicInfo;

use embassy_rp::pac;

/// In scratch register 0 after a panic: "weir".
const MARK: u32 = u32::from_be_bytes(*b"weir");
/// What a reset resets: everything but the oscillators (RP2040 datasheet 2.13.5, PSM WDSEL).
const ALL: u32 = 0x0001_ffff & !0b11;

/// Whether the program panicked since the power came.
pub(crate) fn is_marked() -> bool {
    pac::WATCHDOG.scratch0().read() == MARK
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    pac::WATCHDOG.scratch1().write_value(info.location().map_or(0, |location| location.line()));
    pac::WATCHDOG.scratch0().write_value(MARK);
    pac::PSM.wdsel().write_value(pac::psm::regs::Wdsel(ALL));
    pac::WATCHDOG.ctrl().write(|control| control.set_trigger(true));
    loop {
        cortex_m::asm::nop();
    }
}
