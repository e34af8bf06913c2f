//! UART 0 on PA0 and PA1: 115200 baud, 8N1, with its FIFOs of 16 bytes and no buffer of our own.
//!
//! At this speed the receiving FIFO holds 1.4 ms. A turn of the main loop is shorter but for the EEPROM
//! (20 ms, before the first byte and once in a life): what is lost then, the agent says again.

use crate::registers::{gpio, system, uart};

const TX_FULL: u32 = 1 << 5;
const RX_EMPTY: u32 = 1 << 4;
const BUSY: u32 = 1 << 3;
/// Interrupts: receive, receive time-out, and (while bytes wait) transmit.
const RX: u32 = (1 << 4) | (1 << 6);
const TX: u32 = 1 << 5;
/// 12.5 MHz / (16 * 115200) = 6 + 50 / 64.
const DIVISOR: (u32, u32) = (6, 50);

/// The line to the agent.
pub(crate) struct Serial;

impl Serial {
    /// Sets pins and speed.
    pub(crate) fn start() -> Self {
        system::RCGC1.set(1);
        system::RCGC2.set(1);
        cortex_m::asm::delay(16);
        gpio::A_AFSEL.set(0b11);
        gpio::A_DEN.set(0b11);
        uart::CTL.write(0);
        uart::IBRD.write(DIVISOR.0);
        uart::FBRD.write(DIVISOR.1);
        // Eight bits, FIFOs on.
        uart::LCRH.write(0x70);
        // Enabled, both ways.
        uart::CTL.write(0x301);
        uart::IM.write(RX);
        Self
    }

    /// Takes what has arrived.
    pub(crate) fn receive<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let mut length = 0;
        while length < buffer.len() && uart::FR.read() & RX_EMPTY == 0 {
            // The upper bits say that a byte was damaged: the frame's checksum says so too.
            buffer[length] = uart::DR.read() as u8;
            length += 1;
        }
        &buffer[..length]
    }

    /// Gives the first of `bytes` to the line; returns how many it took.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        uart::ICR.write(TX);
        let mut sent = 0;
        while sent < bytes.len() && uart::FR.read() & TX_FULL == 0 {
            uart::DR.write(u32::from(bytes[sent]));
            sent += 1;
        }
        uart::IM.write(if sent < bytes.len() { RX | TX } else { RX });
        sent
    }

    /// Whether the last byte has left.
    pub(crate) fn is_idle(&self) -> bool {
        uart::FR.read() & BUSY == 0
    }
}
