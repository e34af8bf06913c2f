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
mod clock;
mod identity;
mod light;
mod registers;
mod serial;

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use static_cell::StaticCell;
use weir_firmware::restart::eeprom;
use weir_firmware::sensor::LM75_CHANNELS;
use weir_firmware::{Config, Device, FRAME, Lm75, RamRing, Request, device};
use weir_protocol::Restart;

use crate::bus::Bus;
use crate::clock::{Clock, Delay};
use crate::light::Light;
use crate::serial::Serial;

/// Time between samples, in microseconds, until the agent configures another.
const INTERVAL: u64 = 1_000_000;
/// The ring, in bytes: some 2,000 readings.
const RING: usize = 32 * 1024;

#[cortex_m_rt::entry]
fn main() -> ! {
    static DEVICE: StaticCell<Device<RamRing<RING>, Lm75<Bus>>> = StaticCell::new();

    let mut clock = Clock::start();
    let (mut serial, bus, mut light) = (Serial::start(), Bus::start(), Light::start());

    let chip = identity::chip();
    let number = eeprom::count(bus, &mut Delay, &chip);
    let mut unnumbered = number.is_none();
    let ring = RamRing::<RING>::numbered(number.unwrap_or(Restart::UNBOUND), device::schema_of(&LM75_CHANNELS));
    let config = Config { device: identity::device_id(&chip), interval: INTERVAL };
    let device = DEVICE.init(Device::new(clock.turn(), config, ring, Lm75::new(bus)));

    let mut input = [0; 64];
    let mut frame = [0; FRAME];
    let mut unsent = 0..0;
    let mut reboot = false;
    loop {
        let now = clock.turn();
        let arrived = serial.receive(&mut input);
        // While a frame leaves, the core gets no room for another, and goes on with everything else.
        let room = if unsent.is_empty() { &mut frame[..] } else { &mut [] };
        let turn = device.poll(now, arrived, room);
        if unsent.is_empty() {
            unsent = 0..turn.send;
        }
        match turn.request {
            Some(Request::Identify) => light.identify(now),
            Some(Request::Reboot) => reboot = true,
            None => {}
        }
        if unnumbered && device.running().restart != Restart::UNBOUND {
            unnumbered = false;
            // If the EEPROM does not take it, the agent numbers the next run too.
            eeprom::adopt(bus, &mut Delay, device.running().restart);
        }
        light.show(now);
        unsent.start += serial.send(&frame[unsent.clone()]);
        if reboot && unsent.is_empty() && serial.is_idle() {
            SCB::sys_reset();
        }
        if arrived.is_empty() && turn.wake > now {
            clock::sleep();
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    SCB::sys_reset()
}
