import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { FlashFile } from '../flash.mjs';
import { scratch } from './scratch.mjs';

const fresh = () => scratch('flash.bin');

test('what was programmed is in the file at once, and there after a kill', () => {
  const path = fresh();
  new FlashFile(path).program(0x1000, new Uint8Array(256).fill(0x5a));
  assert.equal(readFileSync(path)[0x10ff], 0x5a);
  assert.equal(new FlashFile(path).bytes[0x1000], 0x5a);
});

test('programming only clears bits; erasing sets a whole sector and nothing beside it', () => {
  const flash = new FlashFile(fresh());
  const page = (value) => new Uint8Array(256).fill(value);
  flash.program(0x1000, page(0xf0));
  flash.program(0x1000, page(0x3c));
  flash.program(0x2000, page(0x00));
  assert.equal(flash.bytes[0x1000], 0x30);
  flash.erase(0x1000, 4096);
  assert.equal(flash.bytes[0x1000], 0xff);
  assert.equal(flash.bytes[0x2000], 0x00);
});

test('an operation the chip cannot do is refused', () => {
  const flash = new FlashFile(fresh());
  assert.throws(() => flash.erase(0x1001, 4096), /expected units of 4096/);
  assert.throws(() => flash.program(0x1000, new Uint8Array(10)), /expected units of 256/);
  assert.throws(() => flash.erase(2 * 1024 * 1024, 4096), /inside 2097152 bytes/);
});

test('installing an image erases the sectors it touches and keeps the ring', () => {
  const path = fresh();
  const before = new FlashFile(path);
  before.program(0x0100, new Uint8Array(256)); // an older, longer program
  before.program(0x1c0000, new Uint8Array(256).fill(0x77)); // the ring
  before.install([{ offset: 0, bytes: new Uint8Array([1, 2, 3]) }]);
  const after = new FlashFile(path).bytes;
  assert.deepEqual([...after.subarray(0, 4)], [1, 2, 3, 0xff]);
  assert.equal(after[0x0100], 0xff);
  assert.equal(after[0x1c0000], 0x77);
});

test('a file of another size is refused with what to do', () => {
  const path = fresh();
  writeFileSync(path, 'short');
  assert.throws(() => new FlashFile(path), /expected a flash image of 2097152 bytes, got 5; remove it/);
});
