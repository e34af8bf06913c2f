// The real image, without pacing, so a run takes as long as the host needs and ends the same every time.
//
//   WEIR_RP2040_IMAGE=$(firmware/build | sed -n 2p) npm test

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { Board } from '../board.mjs';
import { FlashFile } from '../flash.mjs';
import { loadImage } from '../image.mjs';
import { Sht4x } from '../sht4x.mjs';
import { scratch } from './scratch.mjs';

const image = process.env.WEIR_RP2040_IMAGE;
const skip = image ? false : 'WEIR_RP2040_IMAGE names no image; firmware/build prints one';
const SECONDS = 1e9;

const flashPath = () => scratch('flash.bin');

/** A board with the image, and what it said: `run(seconds)` returns its frames so far, opened. */
function boot(path, { bits = 1, file = image } = {}) {
  const flash = new FlashFile(path);
  flash.install(loadImage(file));
  const said = [];
  const samples = [];
  const resets = [];
  let state = bits;
  const board = new Board({
    flash,
    sensor: new Sht4x({ onSample: (sample) => samples.push(sample) }),
    uniqueId: Buffer.from('e6614c311b7e5a2f', 'hex'),
    // A linear congruential generator: any bits do, as long as they are the same in the next run.
    randomBit: () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 31),
    onByte: (byte) => said.push(byte),
    onReset: (reason) => resets.push(reason),
    onFault: (text) => assert.fail(text),
  });
  const run = (seconds) => {
    while (board.run(seconds * SECONDS, 1e6));
    return frames(said);
  };
  return { run, samples, resets, board };
}

/** The frames in a stream, COBS undone, version and checksum checked and taken off. */
function frames(bytes) {
  const all = [];
  let frame = [];
  for (const byte of bytes) {
    if (byte !== 0) {
      frame.push(byte);
      continue;
    }
    const plain = [];
    for (let at = 0; at < frame.length; ) {
      const code = frame[at];
      plain.push(...frame.slice(at + 1, at + code));
      at += code;
      if (code !== 0xff && at < frame.length) plain.push(0);
    }
    const body = Buffer.from(plain.slice(0, -4));
    assert.equal(Buffer.from(plain.slice(-4)).readUInt32LE(), crc32(body), 'the checksum of a frame');
    all.push(body.subarray(1));
    frame = [];
  }
  return all;
}

test('the image boots, says Hello by the name of its chip, and samples every second', { skip }, () => {
  const { run, samples, resets } = boot(flashPath());
  const [hello] = run(3.5);
  assert.equal(hello[0], 0, 'the first frame is a Hello');
  assert.ok(hello.includes('pico-e6614c311b7e5a2f'));
  assert.equal(samples.length, 4);
  assert.deepEqual(resets, [], 'the watchdog is fed');
});

test('the same bits of entropy make the same bytes on the line; other bits another restart', { skip }, () => {
  const said = (bits, file) => Buffer.concat(boot(flashPath(), { bits, file }).run(1.5));
  assert.deepEqual(said(7, image), said(7, `${image}.uf2`), 'ELF and UF2 are the same program');
  assert.notDeepEqual(said(7, image), said(8, image));
});

test('each boot has a number of its own, also when the one before had no time to say anything', { skip }, () => {
  const path = flashPath();
  const hellos = new Set();
  for (let i = 0; i < 20; i++) {
    // Cut at another moment each time: before, during and after the boot counter is written.
    const [hello] = boot(path).run(0.0005 * i * i);
    if (hello) hellos.add(hello.toString('hex'));
  }
  const last = boot(path);
  for (const frame of last.run(0.5)) if (frame[0] === 0) hellos.add(frame.toString('hex'));
  assert.ok(hellos.size > 5, `only ${hellos.size} different Hellos`);
});

test('a chip without entropy samples all the same and waits for the agent to number its restart', { skip }, () => {
  const flash = flashPath();
  const stuck = boot(flash);
  stuck.board.randomBit = stuck.board.chip.peripherals[0x40060].randomBit = () => 0;
  const [hello] = stuck.run(1.5);
  assert.equal(hello[0], 0);
  assert.equal(stuck.samples.length, 2);
  // It once asked to be called at once, over and over, until there was an agent.
  const awake = stuck.board.chip.core.cycles / (1.5 * 48e6);
  assert.ok(awake < 0.1, `awake ${awake} of the time`);
  // Name (with its length), schema (a varint of up to five bytes), then 0: a volatile ring.
  const afterName = 1 + 1 + 'pico-e6614c311b7e5a2f'.length;
  const schema = [...hello.subarray(afterName)].findIndex((byte) => byte < 0x80) + 1;
  assert.equal(hello[afterName + schema], 0);
});
