//! Time: the system clock, the uptime, the watchdog, and sleeping.
//!
//! Uptime comes from two free-running counters, because a tick interrupt that is lost would be lost time: the
//! 24 bits of SysTick say it to a cycle, and turn over every 1.34 s; the 32 bits of the watchdog say how often
//! they did. The watchdog resets the chip [`PATIENCE_S`] after it was fed last.

use cortex_m::asm;
use embedded_hal::delay::DelayNs;
use weir_firmware::Uptime;

use crate::registers::{core_devices as core, system, timer, watchdog};

/// The PLL's 200 MHz divided by 16, the slowest it gives: 1,000 cycles a byte at 115200 baud are plenty.
pub(crate) const HZ: u32 = 12_500_000;
/// A chip that hangs is reset after so many seconds: after the second time-out.
const PATIENCE_S: u32 = 8;
const TIMEOUT: u32 = HZ * (PATIENCE_S / 2);
/// Something that is due is late by this much at most, in cycles: 5 ms.
const TICK: u32 = HZ / 200;

const SYSTICK_BITS: u32 = 24;
const SYSTICK_MASK: u32 = (1 << SYSTICK_BITS) - 1;

const PLL_LOCKED: u32 = 1 << 6;
/// RCC: divisor 16 in use, crystal of 8 MHz, main oscillator.
const RCC_PLL_OFF: u32 = (0xf << 23) | (1 << 22) | (1 << 13) | (1 << 11) | (0xe << 6);
const RCC_PLL_ON: u32 = RCC_PLL_OFF & !(1 << 13);
const RCC_PLL_USED: u32 = RCC_PLL_ON & !(1 << 11);
/// The PLL locks in half a millisecond; a chip without a crystal never, and the watchdog is not armed yet.
const LOCK_TRIES: u32 = 100_000;

/// Interrupts that end a sleep: timer 0 and UART 0.
const WAKERS: u32 = (1 << 19) | (1 << 5);

/// The counters and what was read from them.
pub(crate) struct Clock {
    cycles: u64,
    systick: u32,
}

impl Clock {
    /// Sets the system clock and starts the counters, the watchdog and the tick. Once per boot.
    pub(crate) fn start() -> Self {
        system::RCC.write(RCC_PLL_OFF);
        system::RCC.write(RCC_PLL_ON);
        let _locked = (0..LOCK_TRIES).any(|_| system::RIS.read() & PLL_LOCKED != 0);
        system::RCC.write(RCC_PLL_USED);

        system::RCGC0.set(1 << 3);
        system::RCGC1.set(1 << 16);
        // A device answers some cycles after its clock is on.
        asm::delay(16);
        watchdog::LOAD.write(TIMEOUT);
        // Interrupt at the first time-out (nobody takes it), reset at the second.
        watchdog::CTL.write(0b11);

        // Count to the end and begin again, by the core's clock, without an interrupt.
        core::SYST_RVR.write(SYSTICK_MASK);
        core::SYST_CVR.write(0);
        core::SYST_CSR.write(0b101);

        // 32 bits, periodic.
        timer::CFG.write(0);
        timer::TAMR.write(0x2);
        timer::TAILR.write(TICK);
        timer::IMR.write(1);
        timer::CTL.write(1);
        // Pending interrupts wake the core; none is taken, so there is no handler and nothing to race with.
        cortex_m::interrupt::disable();
        core::NVIC_ISER0.write(WAKERS);
        Self { cycles: 0, systick: core::SYST_CVR.read() }
    }

    /// The uptime. Feeds the watchdog: call it once in each turn of the main loop and nowhere else.
    pub(crate) fn turn(&mut self) -> Uptime {
        // Both count down.
        let systick = core::SYST_CVR.read() & SYSTICK_MASK;
        let since_fed = TIMEOUT.saturating_sub(watchdog::VALUE.read());
        watchdog::ICR.write(1);
        let fine = self.systick.wrapping_sub(systick) & SYSTICK_MASK;
        // The two differ by whole turns of SysTick and the few cycles between reading them.
        let turns = (since_fed.wrapping_sub(fine).wrapping_add(1 << (SYSTICK_BITS - 1))) >> SYSTICK_BITS;
        self.cycles += (u64::from(turns) << SYSTICK_BITS) + u64::from(fine);
        self.systick = systick;
        Uptime(self.cycles * 1_000_000 / u64::from(HZ))
    }
}

/// Sleeps until a byte arrives, the line has room for a byte that waits, or a tick.
pub(crate) fn sleep() {
    asm::wfi();
    timer::ICR.write(1);
    core::NVIC_ICPR0.write(WAKERS);
}

/// Waits by counting cycles; at least as long as asked.
#[derive(Clone, Copy)]
pub(crate) struct Delay;

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        asm::delay((u64::from(ns) * u64::from(HZ) / 1_000_000_000) as u32 + 1);
    }
}
