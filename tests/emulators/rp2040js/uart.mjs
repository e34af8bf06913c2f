// UART0 as on the chip (ARM PL011, RP2040 datasheet 4.2): 32-byte FIFOs, bytes that take their time on the
// wire, a transmit interrupt on the level's edge, receive level and receive time-out, overrun.
//
// Replaces the emulator's own model, whose transmit interrupt is a level and never goes away.

import { BasePeripheral, FIFO } from 'rp2040js';

const IRQ_UART0 = 20;
const REGISTERS = { DR: 0x00, FR: 0x18, IBRD: 0x24, FBRD: 0x28, LCR_H: 0x2c, CR: 0x30, IFLS: 0x34, IMSC: 0x38, RIS: 0x3c, MIS: 0x40, ICR: 0x44, DMACR: 0x48 };
const INTERRUPT = { RX: 1 << 4, TX: 1 << 5, TIMEOUT: 1 << 6, OVERRUN: 1 << 10 };
const FIFO_SIZE = 32;
const LEVELS = [4, 8, 16, 24, 28];
const BITS_PER_BYTE = 10; // 8N1
const TIMEOUT_BITS = 32;
const OVERRUN_FLAG = 1 << 11;
/** Bytes on their way to the chip that no clock edge has taken yet; more are lost, as on an unread wire. */
const WIRE_LIMIT = 64 * 1024;

export class Uart extends BasePeripheral {
  /** `onByte(byte)` hears each byte when its stop bit has passed. */
  constructor(chip, onByte) {
    super(chip, 'UART0');
    this.onByte = onByte;
    this.registers = new Map([[REGISTERS.IFLS, 0x12], [REGISTERS.CR, 0x300]]);
    this.transmit = new FIFO(FIFO_SIZE);
    this.receive = new FIFO(FIFO_SIZE);
    this.wire = [];
    this.raw = 0;
    this.mask = 0;
    this.overrun = false;
    this.sending = chip.clock.createAlarm(() => this.#sent());
    this.arriving = chip.clock.createAlarm(() => this.#arrived());
    this.idle = chip.clock.createAlarm(() => {
      if (!this.receive.empty) this.#raise(INTERRUPT.TIMEOUT);
    });
  }

  /** Bytes from the other end of the cable; returns how many found room. */
  feed(bytes) {
    const taken = Math.min(bytes.length, WIRE_LIMIT - this.wire.length);
    for (let i = 0; i < taken; i++) this.wire.push(bytes[i]);
    if (taken && !this.arriving.scheduled) this.arriving.schedule(this.#nanos(BITS_PER_BYTE));
    return taken;
  }

  readUint32(offset) {
    switch (offset) {
      case REGISTERS.DR: {
        const value = this.receive.pull() | (this.overrun ? OVERRUN_FLAG : 0);
        this.overrun = false;
        if (this.receive.itemCount < this.#level(3)) this.raw &= ~INTERRUPT.RX;
        if (this.receive.empty) this.raw &= ~INTERRUPT.TIMEOUT;
        this.#signal();
        return value;
      }
      case REGISTERS.FR:
        return (this.transmit.empty ? 0x80 : 0x08) | (this.receive.full ? 0x40 : 0) | (this.transmit.full ? 0x20 : 0) | (this.receive.empty ? 0x10 : 0);
      case REGISTERS.IMSC:
        return this.mask;
      case REGISTERS.RIS:
        return this.raw;
      case REGISTERS.MIS:
        return this.raw & this.mask;
      default:
        return this.registers.get(offset) ?? 0;
    }
  }

  writeUint32(offset, value) {
    switch (offset) {
      case REGISTERS.DR:
        this.transmit.push(value & 0xff);
        if (!this.sending.scheduled) this.sending.schedule(this.#nanos(BITS_PER_BYTE));
        break;
      case REGISTERS.IMSC:
        this.mask = value & 0x7ff;
        break;
      case REGISTERS.ICR:
        this.raw &= ~this.rawWriteValue;
        break;
      default:
        this.registers.set(offset, value);
    }
    this.#signal();
  }

  #sent() {
    this.sending.scheduled = false;
    const level = this.#level(0);
    const before = this.transmit.itemCount;
    this.onByte(this.transmit.pull());
    if (before > level && this.transmit.itemCount <= level) this.#raise(INTERRUPT.TX);
    if (!this.transmit.empty) this.sending.schedule(this.#nanos(BITS_PER_BYTE));
  }

  #arrived() {
    this.arriving.scheduled = false;
    const byte = this.wire.shift();
    if (this.receive.full) {
      this.overrun = true;
      this.#raise(INTERRUPT.OVERRUN);
    } else {
      this.receive.push(byte);
    }
    if (this.receive.itemCount >= this.#level(3)) this.#raise(INTERRUPT.RX);
    this.idle.schedule(this.#nanos(TIMEOUT_BITS));
    if (this.wire.length) this.arriving.schedule(this.#nanos(BITS_PER_BYTE));
  }

  #level(shift) {
    return LEVELS[(this.registers.get(REGISTERS.IFLS) >> shift) & 7] ?? LEVELS[2];
  }

  #nanos(bits) {
    const divider = (this.registers.get(REGISTERS.IBRD) ?? 1) + (this.registers.get(REGISTERS.FBRD) ?? 0) / 64;
    return (bits * 16e9 * divider) / this.rp2040.clkPeri;
  }

  #raise(interrupt) {
    this.raw |= interrupt;
    this.#signal();
  }

  #signal() {
    this.rp2040.setInterrupt(IRQ_UART0, (this.raw & this.mask) !== 0);
  }
}
