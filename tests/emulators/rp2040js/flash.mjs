// The flash chip: 2 MiB of NOR kept in a file.
//
// Guarantees: every erase and program is in the file before the instruction after it runs (write-through), so
// a killed emulator loses nothing that the chip had programmed. It is not synced: a power cut of the host is
// not what this models. Programming only clears bits, as NOR does; erase sets whole 4 KiB sectors.

import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { FLASH_SIZE } from './image.mjs';

const SECTOR = 4096;
// Typical times of the W25Q16JV on a Pico; the chip answers nothing meanwhile, and neither does the core.
const ERASE_SECTOR_NANOS = 45e6;
const PROGRAM_PAGE_NANOS = 0.4e6;
const PAGE = 256;

export class FlashFile {
  constructor(path, onOperation = () => {}) {
    if (!existsSync(path)) {
      // Appears whole or not at all, also when killed here.
      writeFileSync(`${path}.new`, new Uint8Array(FLASH_SIZE).fill(0xff));
      renameSync(`${path}.new`, path);
    }
    this.descriptor = openSync(path, 'r+');
    const { size } = fstatSync(this.descriptor);
    if (size !== FLASH_SIZE) {
      closeSync(this.descriptor);
      throw new Error(`${path}: expected a flash image of ${FLASH_SIZE} bytes, got ${size}; remove it to start blank`);
    }
    this.bytes = new Uint8Array(FLASH_SIZE);
    readSync(this.descriptor, this.bytes, 0, FLASH_SIZE, 0);
    this.onOperation = onOperation;
  }

  /** Puts an image on the chip as a programmer does: erases the sectors it touches, leaves the rest alone. */
  install(parts) {
    const image = new Uint8Array(this.bytes);
    for (const { offset, bytes } of parts) {
      const first = offset - (offset % SECTOR);
      image.fill(0xff, first, Math.min(Math.ceil((offset + bytes.length) / SECTOR) * SECTOR, FLASH_SIZE));
    }
    for (const { offset, bytes } of parts) image.set(bytes, offset);
    for (let at = 0; at < FLASH_SIZE; at += SECTOR) {
      const sector = image.subarray(at, at + SECTOR);
      if (Buffer.compare(sector, this.bytes.subarray(at, at + SECTOR)) === 0) continue;
      this.bytes.set(sector, at);
      this.#persist(at, SECTOR);
    }
  }

  /** Erases; returns how long the chip is busy, in nanoseconds. */
  erase(offset, length) {
    this.#check('erase', offset, length, SECTOR);
    this.bytes.fill(0xff, offset, offset + length);
    this.#persist(offset, length);
    this.onOperation('erase', offset, length);
    return (length / SECTOR) * ERASE_SECTOR_NANOS;
  }

  /** Programs `data`; returns how long the chip is busy, in nanoseconds. */
  program(offset, data) {
    this.#check('program', offset, data.length, PAGE);
    for (let i = 0; i < data.length; i++) this.bytes[offset + i] &= data[i];
    this.#persist(offset, data.length);
    this.onOperation('program', offset, data.length);
    return (data.length / PAGE) * PROGRAM_PAGE_NANOS;
  }

  #check(what, offset, length, unit) {
    if (offset % unit || length % unit || offset + length > FLASH_SIZE) {
      throw new Error(`${what} of ${length} bytes at 0x${offset.toString(16)}: expected units of ${unit} inside ${FLASH_SIZE} bytes`);
    }
  }

  #persist(offset, length) {
    for (let done = 0; done < length; ) {
      done += writeSync(this.descriptor, this.bytes, offset + done, length - done, offset + done);
    }
  }
}
