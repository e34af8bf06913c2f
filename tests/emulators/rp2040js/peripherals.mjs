// The few registers that the firmware touches and the emulator lacks.

import { BasePeripheral } from 'rp2040js';

/** Registers that keep what is written and read 0 before that: XIP control, QSPI pins, voltage regulator. */
export class Quiet extends BasePeripheral {
  registers = new Map();

  readUint32(offset) {
    return this.registers.get(offset) ?? 0;
  }

  writeUint32(offset, value) {
    this.registers.set(offset, value);
  }
}

/** Ring oscillator (datasheet 2.17): always stable, RANDOMBIT from `randomBit()`. */
export class RingOscillator extends Quiet {
  constructor(chip, randomBit) {
    super(chip, 'ROSC');
    this.randomBit = randomBit;
  }

  readUint32(offset) {
    if (offset === 0x1c) return this.randomBit();
    if (offset === 0x18) return 0x80001000; // STABLE, ENABLED
    return super.readUint32(offset);
  }
}

const READ_UNIQUE_ID = 0x4b;
const DUMMY_BYTES = 4;
const DR0 = 0x60;
const SSIENR = 0x08;

/** Answers the flash chip's "read unique id" command through the SSI; everything else goes to `inner`. */
export class FlashBus extends BasePeripheral {
  constructor(chip, inner, uniqueId) {
    super(chip, 'SSI');
    this.inner = inner;
    this.uniqueId = uniqueId;
    this.answer = null;
  }

  readUint32(offset) {
    if (offset === DR0 && this.answer?.length) return this.answer.shift();
    return this.inner.readUint32(offset);
  }

  writeUint32(offset, value) {
    if (offset === SSIENR) this.answer = null;
    if (offset === DR0 && (value & 0xff) === READ_UNIQUE_ID) {
      this.answer = [...new Uint8Array(DUMMY_BYTES), ...this.uniqueId];
    } else {
      this.inner.writeUint32(offset, value);
    }
  }
}
