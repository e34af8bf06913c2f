//! The registers that this board uses, by the names of the LM3S6965 data sheet (chapter and table of each
//! group beside it). The only file with `unsafe` in it.
#![expect(unsafe_code, reason = "a register is an address; the proof is at the type")]

use core::ptr;

/// A 32-bit device register.
///
/// Proof that reading and writing one is sound, whatever is written: there is no way to make a `Register` but
/// the constants of this file (the constructor is private to it), and each is an aligned address that the data
/// sheet gives to a device and the linker script to nobody, so no Rust object is there. None of the devices
/// named here writes to memory by itself (the chip's only DMA, in newer parts, is not named), so no access
/// can change what the compiler believes of memory. A device whose clock is off answers with a bus fault,
/// which is a reset and not undefined behaviour.
#[derive(Clone, Copy)]
pub(crate) struct Register(usize);

impl Register {
    const fn at(address: usize) -> Self {
        assert!(address.is_multiple_of(4) && address >= 0x4000_0000, "a device register");
        Self(address)
    }

    /// Reads it, once.
    pub(crate) fn read(self) -> u32 {
        // SAFETY: see the type.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    /// Writes it, once.
    pub(crate) fn write(self, value: u32) {
        // SAFETY: see the type.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) }
    }

    /// Sets bits and keeps the others. Nothing interrupts it: this board runs no interrupt handler.
    pub(crate) fn set(self, bits: u32) {
        self.write(self.read() | bits);
    }
}

/// System control (chapter 6).
pub(crate) mod system {
    use super::Register;

    const BASE: usize = 0x400f_e000;
    /// Raw interrupt status: bit 6 says that the PLL is locked.
    pub(crate) const RIS: Register = Register::at(BASE + 0x050);
    /// Run-mode clock configuration.
    pub(crate) const RCC: Register = Register::at(BASE + 0x060);
    /// Run-mode clock gating: watchdog.
    pub(crate) const RCGC0: Register = Register::at(BASE + 0x100);
    /// Run-mode clock gating: UART, I2C, timers.
    pub(crate) const RCGC1: Register = Register::at(BASE + 0x104);
    /// Run-mode clock gating: GPIO ports.
    pub(crate) const RCGC2: Register = Register::at(BASE + 0x108);
    /// User registers: the MAC address, three bytes in each.
    pub(crate) const USER0: Register = Register::at(BASE + 0x1e0);
    pub(crate) const USER1: Register = Register::at(BASE + 0x1e4);
}

/// Watchdog timer (chapter 11).
pub(crate) mod watchdog {
    use super::Register;

    const BASE: usize = 0x4000_0000;
    pub(crate) const LOAD: Register = Register::at(BASE);
    pub(crate) const VALUE: Register = Register::at(BASE + 0x004);
    pub(crate) const CTL: Register = Register::at(BASE + 0x008);
    /// Writing it clears the first time-out and starts from `LOAD` again.
    pub(crate) const ICR: Register = Register::at(BASE + 0x00c);
}

/// General-purpose timer 0 (chapter 10).
pub(crate) mod timer {
    use super::Register;

    const BASE: usize = 0x4003_0000;
    pub(crate) const CFG: Register = Register::at(BASE);
    pub(crate) const TAMR: Register = Register::at(BASE + 0x004);
    pub(crate) const CTL: Register = Register::at(BASE + 0x00c);
    pub(crate) const IMR: Register = Register::at(BASE + 0x018);
    pub(crate) const ICR: Register = Register::at(BASE + 0x024);
    pub(crate) const TAILR: Register = Register::at(BASE + 0x028);
}

/// UART 0, a PL011 (chapter 13).
pub(crate) mod uart {
    use super::Register;

    const BASE: usize = 0x4000_c000;
    pub(crate) const DR: Register = Register::at(BASE);
    pub(crate) const FR: Register = Register::at(BASE + 0x018);
    pub(crate) const IBRD: Register = Register::at(BASE + 0x024);
    pub(crate) const FBRD: Register = Register::at(BASE + 0x028);
    pub(crate) const LCRH: Register = Register::at(BASE + 0x02c);
    pub(crate) const CTL: Register = Register::at(BASE + 0x030);
    pub(crate) const IM: Register = Register::at(BASE + 0x038);
    pub(crate) const ICR: Register = Register::at(BASE + 0x044);
}

/// I2C 0, as master (chapter 15).
pub(crate) mod i2c {
    use super::Register;

    const BASE: usize = 0x4002_0000;
    /// Address and direction.
    pub(crate) const MSA: Register = Register::at(BASE);
    /// Control when written, status when read.
    pub(crate) const MCS: Register = Register::at(BASE + 0x004);
    pub(crate) const MDR: Register = Register::at(BASE + 0x008);
    /// Timer period.
    pub(crate) const MTPR: Register = Register::at(BASE + 0x00c);
    pub(crate) const MCR: Register = Register::at(BASE + 0x020);
}

/// GPIO ports (chapter 9).
pub(crate) mod gpio {
    use super::Register;

    const A: usize = 0x4000_4000;
    const B: usize = 0x4000_5000;
    const F: usize = 0x4002_5000;
    pub(crate) const A_AFSEL: Register = Register::at(A + 0x420);
    pub(crate) const A_DEN: Register = Register::at(A + 0x51c);
    pub(crate) const B_AFSEL: Register = Register::at(B + 0x420);
    pub(crate) const B_ODR: Register = Register::at(B + 0x50c);
    pub(crate) const B_DEN: Register = Register::at(B + 0x51c);
    pub(crate) const F_DIR: Register = Register::at(F + 0x400);
    pub(crate) const F_DEN: Register = Register::at(F + 0x51c);
    /// The data register with a mask of pin 0 alone in its address.
    pub(crate) const F_PIN0: Register = Register::at(F + (1 << 2));
}

/// The core's own timer and interrupt controller (ARMv7-M, B3.3 and B3.4).
pub(crate) mod core_devices {
    use super::Register;

    pub(crate) const SYST_CSR: Register = Register::at(0xe000_e010);
    pub(crate) const SYST_RVR: Register = Register::at(0xe000_e014);
    pub(crate) const SYST_CVR: Register = Register::at(0xe000_e018);
    /// Interrupts 0 to 31: enable, and clear pending.
    pub(crate) const NVIC_ISER0: Register = Register::at(0xe000_e100);
    pub(crate) const NVIC_ICPR0: Register = Register::at(0xe000_e280);
}
