// A firmware image as the bytes that a programmer would put into flash.
//
// Guarantees: what comes back lies inside the flash window, in ascending order, without overlap; anything
// else is an error that says what was found. Nothing is patched: the chip runs what the linker wrote.
//
// Formats: ELF32 little-endian ARM (segments with bytes in the file, at their load address), and UF2
// (https://github.com/microsoft/uf2: 512-byte blocks, family 0xe48bff56).

import { readFileSync } from 'node:fs';

export const FLASH_BASE = 0x10000000;
export const FLASH_SIZE = 2 * 1024 * 1024;

const ELF_MAGIC = 0x464c457f;
const EM_ARM = 40;
const PT_LOAD = 1;
const UF2_BLOCK = 512;
const UF2_MAGIC = [0x0a324655, 0x9e5d5157];
const UF2_MAGIC_END = 0x0ab16f30;
const UF2_FAMILY_RP2040 = 0xe48bff56;

/** Reads an ELF or UF2 file: a list of { offset (in flash), bytes }. */
export function loadImage(path) {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = file.length >= 4 ? view.getUint32(0, true) : 0;
  let parts;
  if (magic === ELF_MAGIC) parts = elfParts(file, view);
  else if (magic === UF2_MAGIC[0]) parts = uf2Parts(file, view);
  else throw new Error(`${path}: expected an ELF or UF2 image, got magic 0x${magic.toString(16)}`);
  parts.sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const { offset, bytes } of parts) {
    if (offset < end || offset + bytes.length > FLASH_SIZE) {
      throw new Error(
        `${path}: ${bytes.length} bytes at flash offset 0x${offset.toString(16)} overlap or leave the ${FLASH_SIZE} bytes of flash`,
      );
    }
    end = offset + bytes.length;
  }
  if (parts.length === 0) throw new Error(`${path}: the image holds nothing for flash`);
  return parts;
}

function elfParts(file, view) {
  const bits = file[4];
  const machine = view.getUint16(18, true);
  if (bits !== 1 || machine !== EM_ARM) {
    throw new Error(`expected a 32-bit ARM ELF (class 1, machine 40), got class ${bits}, machine ${machine}`);
  }
  const headers = view.getUint32(28, true);
  const size = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  const parts = [];
  for (let i = 0; i < count; i++) {
    const at = headers + i * size;
    const [type, from, , address, length] = [0, 4, 8, 12, 16].map((o) => view.getUint32(at + o, true));
    if (type !== PT_LOAD || length === 0) continue;
    parts.push({ offset: address - FLASH_BASE, bytes: file.subarray(from, from + length) });
  }
  return parts;
}

function uf2Parts(file, view) {
  if (file.length % UF2_BLOCK !== 0) {
    throw new Error(`expected a UF2 of whole ${UF2_BLOCK}-byte blocks, got ${file.length} bytes`);
  }
  const parts = [];
  for (let at = 0; at < file.length; at += UF2_BLOCK) {
    const word = (o) => view.getUint32(at + o, true);
    const whole = word(0) === UF2_MAGIC[0] && word(4) === UF2_MAGIC[1] && word(508) === UF2_MAGIC_END;
    if (!whole || word(16) > 476) throw new Error(`damaged UF2 block at byte ${at}`);
    if (word(28) !== UF2_FAMILY_RP2040) {
      throw new Error(`expected UF2 family 0x${UF2_FAMILY_RP2040.toString(16)}, got 0x${word(28).toString(16)}`);
    }
    parts.push({ offset: word(12) - FLASH_BASE, bytes: file.subarray(at + 32, at + 32 + word(16)) });
  }
  return parts;
}
