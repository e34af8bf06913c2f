//! Weir on a Stellaris LM3S6965 evaluation board: bytes, time, an EEPROM and I2C for the core, nothing else.
//!
//! Wiring: UART 0 on PA0 (RX) and PA1 (TX), I2C 0 on PB2 (SCL) and PB3 (SDA) with a TMP105 at 0x48 and an
//! AT24C EEPROM at 0x50, the light on PF0. The chip has no flash to spare for data and no entropy: the ring is
//! in RAM, the restart counter in the EEPROM ([`weir_firmware::restart::eeprom`]). One loop, no interrupt
//! handlers, no executor: the chip sleeps until a byte arrives or something may be due. The watchdog resets it
//! when a turn of the loop takes longer than some seconds, and a panic resets it at once.
#![no_std]
#![no_main]

mod bus;
mod chip;
mod clock;
mod light;
mod registers;
mod serial;

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use static_cell::StaticCell;
use weir_firmware::restart::eeprom;
use weir_firmware::sensor::LM75_CHANNELS;
use weir_firmware::{Config, Device, Lm75, Pump, RamRing, device, identity};
use weir_protocol::Restart;

use crate::bus::Bus;
use crate::chip::Chip;
use crate::clock::{Clock, Delay};
use crate::light::Light;
use crate::serial::Serial;

/// Time between samples, in microseconds, until the agent configures another.
const INTERVAL: u64 = 1_000_000;
/// The ring, in bytes: some 1,000 readings. While the device is put into its place it is on the stack too, in as many
/// as two copies, and that is below the 64 KiB of this chip.
const RING: usize = 16 * 1024;
const _: () = assert!(3 * size_of::<Pump<RamRing<RING>, Lm75<Bus>>>() < 56 * 1024, "the stack is too small to begin");

#[cortex_m_rt::entry]
fn main() -> ! {
    static PUMP: StaticCell<Pump<RamRing<RING>, Lm75<Bus>>> = StaticCell::new();

    let mut clock = Clock::start();
    let (mut serial, bus, mut light) = (Serial::start(), Bus::start(), Light::start());

    let chip = Chip::read();
    let number = eeprom::count(bus, &mut Delay, &chip.id());
    let mut unnumbered = number.is_none();
    let ring = RamRing::<RING>::numbered(number.unwrap_or(Restart::UNBOUND), device::schema_of(&LM75_CHANNELS));
    let config = Config { device: identity::device_id("lm3s", chip.mac()), interval: INTERVAL };
    let pump = PUMP.init(Pump::new(Device::new(clock.turn(), config, ring, Lm75::new(bus))));
    let mut input = [0; 64];
    loop {
        let now = clock.turn();
        let arrived = serial.receive(&mut input);
        let wake = pump.turn(now, arrived);
        let number = pump.device().running().restart;
        if unnumbered && number != Restart::UNBOUND {
            unnumbered = false;
            // If the EEPROM does not take it, the agent numbers the next run too.
            eeprom::adopt(bus, &mut Delay, number);
        }
        light.set(pump.is_lit(now));
        pump.sent(serial.send(pump.unsent()));
        if pump.must_restart() && serial.is_idle() {
            SCB::sys_reset();
        }
        if arrived.is_empty() && wake > now {
            clock::sleep();
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    SCB::sys_reset()
}
