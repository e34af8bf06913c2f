import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadImage } from '../image.mjs';
import { scratch } from './scratch.mjs';

const uf2 = fileURLToPath(new URL('../../../../firmware/uf2', import.meta.url));

/** A little ELF with these segments: [load address, run address, bytes]. */
function elf(name, segments) {
  const headers = 52;
  let at = headers + 32 * segments.length;
  const file = Buffer.alloc(at + segments.reduce((sum, [, , bytes]) => sum + bytes.length, 0));
  file.write('\x7fELF\x01\x01\x01', 'latin1');
  file.writeUInt16LE(40, 18);
  file.writeUInt32LE(headers, 28);
  file.writeUInt16LE(32, 42);
  file.writeUInt16LE(segments.length, 44);
  segments.forEach(([load, run, bytes], i) => {
    [1, at, run, load, bytes.length, bytes.length].forEach((word, w) => file.writeUInt32LE(word, headers + 32 * i + 4 * w));
    file.set(bytes, at);
    at += bytes.length;
  });
  const path = scratch(name);
  writeFileSync(path, file);
  return path;
}

/** The flash content that an image leaves, as a sparse map. */
function content(path) {
  const bytes = new Map();
  for (const part of loadImage(path)) part.bytes.forEach((byte, i) => byte !== 0xff && bytes.set(part.offset + i, byte));
  return bytes;
}

test('the UF2 puts the same bytes into flash as the ELF it was made from', () => {
  const source = elf('good.elf', [
    [0x10000000, 0x10000000, Buffer.from('boot stage two')],
    [0x10000100, 0x10000100, Buffer.alloc(700, 'program')],
    [0x10001ff0, 0x20000000, Buffer.from('initial values of variables')],
  ]);
  const made = scratch('good.uf2');
  execFileSync('python3', [uf2, source, made]);
  assert.equal(readFileSync(made).length % 512, 0);
  assert.deepEqual(content(made), content(source));
});

test('a damaged or foreign file is refused by name', () => {
  const source = elf('cut.elf', [[0x10000000, 0x10000000, Buffer.from('x')]]);
  const made = scratch('cut.uf2');
  execFileSync('python3', [uf2, source, made]);
  const bytes = readFileSync(made);
  const broken = scratch('broken');

  writeFileSync(broken, bytes.subarray(0, 500));
  assert.throws(() => loadImage(broken), /whole 512-byte blocks, got 500 bytes/);
  bytes.writeUInt32LE(0xada52840, 28);
  writeFileSync(broken, bytes);
  assert.throws(() => loadImage(broken), /expected UF2 family 0xe48bff56, got 0xada52840/);
  writeFileSync(broken, 'hello');
  assert.throws(() => loadImage(broken), /expected an ELF or UF2 image/);
});

test('an image that leaves the flash is refused', () => {
  assert.throws(() => loadImage(elf('out.elf', [[0x101fffff, 0x101fffff, Buffer.from('xy')]])), /leave the 2097152 bytes/);
});
