// The board: chip, flash, sensor and UART wired as firmware/README.md says, through any number of resets.
//
// A watchdog reset makes a new chip that keeps what real silicon keeps: flash, RAM, the watchdog's scratch
// registers and reason. Everything else starts over, the timer at zero.

import { RP2040 } from 'rp2040js';
import { installBootrom } from './bootrom.mjs';
import { FlashBus, Quiet, RingOscillator } from './peripherals.mjs';
import { Uart } from './uart.mjs';

const BOOT_STACK = 0x20041f00;
const BOOT2 = 0x10000000;
const PERIPHERAL = { XIP_CTRL: 0x14000, SSI: 0x18000, IO_QSPI: 0x40018, UART0: 0x40034, TIMER: 0x40054, WATCHDOG: 0x40058, ROSC: 0x40060, VREG: 0x40064 };

export class Board {
  /** `onByte(byte)` is the UART's other end; `onReset(reason)` and `onFault(text)` report what happened. */
  constructor({ flash, sensor, uniqueId, randomBit, onByte, onReset, onFault }) {
    Object.assign(this, { flash, sensor, uniqueId, randomBit, onByte, onReset, onFault });
    this.#start(null);
  }

  /** Simulated nanoseconds since the last reset. */
  get nanos() {
    return this.chip.clock.nanos;
  }

  /** Runs the chip until its clock reaches `nanos` or `steps` instructions are done; false at `nanos`. */
  run(nanos, steps) {
    const { core, clock } = this.chip;
    while (clock.nanos < nanos) {
      if (this.resetReason !== null) {
        this.#restart();
        return true;
      }
      if (core.waiting) {
        const wake = clock.nextAlarm ? clock.nextAlarm.nanos : Infinity;
        clock.tick(Math.max(0, Math.min(wake, nanos) - clock.nanos));
        if (core.waiting && wake > nanos) return false;
        continue;
      }
      if (steps-- <= 0) return true;
      clock.tick((core.executeInstruction() * 1e9) / this.chip.clkSys);
    }
    return false;
  }

  /** Simulated nanoseconds until the chip has something to do; 0 when it is busy. */
  get idleNanos() {
    const { core, clock } = this.chip;
    if (!core.waiting || this.resetReason !== null) return 0;
    return clock.nextAlarm ? clock.nextAlarm.nanos - clock.nanos : Infinity;
  }

  #restart() {
    const { sram } = this.chip;
    const { scratchData, reason } = this.chip.peripherals[PERIPHERAL.WATCHDOG];
    this.onReset(this.resetReason);
    this.#start({ sram, scratchData, reason });
  }

  #start(kept) {
    const chip = new RP2040();
    this.chip = chip;
    this.resetReason = null;
    chip.logger = logger(chip, this.onFault);
    chip.flash = this.flash.bytes;
    chip.flash16 = new Uint16Array(chip.flash.buffer);
    chip.flashView = new DataView(chip.flash.buffer);
    const { peripherals } = chip;
    peripherals[PERIPHERAL.XIP_CTRL] = new Quiet(chip, 'XIP_CTRL');
    peripherals[PERIPHERAL.IO_QSPI] = new Quiet(chip, 'IO_QSPI');
    peripherals[PERIPHERAL.VREG] = new Quiet(chip, 'VREG');
    peripherals[PERIPHERAL.SSI] = new FlashBus(chip, peripherals[PERIPHERAL.SSI], this.uniqueId);
    peripherals[PERIPHERAL.ROSC] = new RingOscillator(chip, this.randomBit);
    this.uart = new Uart(chip, this.onByte);
    peripherals[PERIPHERAL.UART0] = this.uart;
    this.sensor.attach(chip.i2c[0], chip.clock);
    installBootrom(chip, this.flash, (text) => {
      this.onFault(text);
      this.resetReason = 'fault';
    });
    for (const { clockAlarm } of peripherals[PERIPHERAL.TIMER].alarms) neverEarly(clockAlarm);
    const watchdog = peripherals[PERIPHERAL.WATCHDOG];
    watchdog.onWatchdogTrigger = () => {
      this.resetReason = watchdog.reason === 1 ? 'watchdog timeout' : 'watchdog forced';
      // The model fires again at the same instant, for ever, as long as its alarm is on.
      watchdog.alarm.enable = false;
    };
    if (kept) {
      chip.sram.set(kept.sram);
      watchdog.scratchData.set(kept.scratchData);
      watchdog.reason = kept.reason;
    }
    // The ROM enters the second stage in flash with LR 0: "then go on to the program".
    chip.core.SP = BOOT_STACK;
    chip.core.LR = 0;
    chip.core.PC = BOOT2;
  }
}

/**
 * The model cuts fractions of a microsecond off, so its alarms come early; the chip's never do. Firmware that
 * finds the time not yet there arms again and then clears the interrupt, and with it the new alarm: it sleeps
 * until the watchdog.
 */
function neverEarly(alarm) {
  const schedule = alarm.schedule.bind(alarm);
  alarm.schedule = (nanos) => schedule(nanos + 1000);
}

/**
 * The emulator's complaints, each text once: a register that is not modelled is worth knowing, not a flood.
 * And its only word on SEV, an instruction that it logs and leaves out: without the event the WFE that follows
 * sleeps through the work that another part of the program announced.
 */
function logger(chip, onFault) {
  const seen = new Set();
  const once = (part, text) => {
    const line = `${part}: ${text}`;
    if (seen.size < 64 && !seen.has(line)) {
      seen.add(line);
      onFault(line);
    }
  };
  const info = (_part, text) => {
    if (text === 'SEV') chip.core.eventRegistered = true;
  };
  return { debug() {}, info, warn: once, error: once };
}
