import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Board } from '../board.mjs';
import { FlashFile } from '../flash.mjs';
import { Sht4x } from '../sht4x.mjs';
import { scratch } from './scratch.mjs';

const WATCHDOG = 0x40058000;
const [CTRL, LOAD, REASON, SCRATCH0] = [0x00, 0x04, 0x08, 0x0c];
const ENABLE = 1 << 30;
const RAM = 0x20001000;

/** A board without a program, asleep. */
function asleep() {
  const resets = [];
  const board = new Board({
    flash: new FlashFile(scratch('flash.bin')),
    sensor: new Sht4x(),
    uniqueId: Buffer.from('e6614c311b7e5a2f', 'hex'),
    randomBit: () => 1,
    onByte() {},
    onReset: (reason) => resets.push(reason),
    onFault() {},
  });
  board.chip.core.waiting = true;
  return { board, resets };
}

// The emulator's watchdog fires again and again at one instant until it is switched off, which once hung
// the whole process on the first time-out.
test('a watchdog that nobody feeds resets the chip once; RAM and scratch registers stay', () => {
  const { board, resets } = asleep();
  const before = board.chip;
  before.writeUint32(RAM, 0x12345678);
  before.writeUint32(WATCHDOG + SCRATCH0, 0xcafe);
  before.writeUint32(WATCHDOG + LOAD, 2 * 8_000_000); // 8 s, two counts a microsecond
  before.writeUint32(WATCHDOG + CTRL, ENABLE);
  board.run(7.9e9, 1);
  assert.deepEqual(resets, []);
  while (board.chip === before) board.run(8.1e9, 1);
  assert.deepEqual(resets, ['watchdog timeout']);
  assert.equal(board.chip.readUint32(WATCHDOG + REASON), 1);
  assert.equal(board.chip.readUint32(WATCHDOG + SCRATCH0), 0xcafe);
  assert.equal(board.chip.readUint32(RAM), 0x12345678);
  assert.equal(board.nanos, 0);
});

test('the chip does not run ahead of the clock it is given', () => {
  const { board } = asleep();
  board.run(5e6, 1000);
  assert.equal(board.nanos, 5e6);
  assert.equal(board.idleNanos, Infinity);
});

// One of these alarms in some hundred hung the firmware until its watchdog.
test('an alarm of the timer does not come before its microsecond', () => {
  const TIMER = 0x40054000;
  const [ALARM0, RAW, INTR] = [0x10, 0x28, 0x34];
  const { chip } = asleep().board;
  chip.clock.tick(13_440); // 13.44 microseconds
  chip.writeUint32(TIMER + ALARM0, 100);
  while (!(chip.readUint32(TIMER + INTR) & 1)) chip.clock.tick(10);
  assert.equal(chip.readUint32(TIMER + RAW), 100);
});

test('an event that the program sent itself keeps it awake once', () => {
  const { board } = asleep();
  const { chip } = board;
  const [SEV, WFE] = [0xbf40, 0xbf20];
  [SEV, WFE, WFE].forEach((opcode, i) => chip.writeUint16(RAM + 2 * i, opcode));
  Object.assign(chip.core, { PC: RAM, waiting: false, eventRegistered: false });
  board.run(1e6, 2);
  assert.equal(chip.core.waiting, false, 'the first WFE takes the event');
  board.run(1e6, 1);
  assert.equal(chip.core.waiting, true, 'the second one sleeps');
});

test('the flash chip tells its unique id after four dummy bytes', () => {
  const { chip } = asleep().board;
  const DR0 = 0x18000060;
  chip.writeUint8(DR0, 0x4b);
  const answer = Array.from({ length: 12 }, () => chip.readUint8(DR0));
  assert.equal(Buffer.from(answer.slice(4)).toString('hex'), 'e6614c311b7e5a2f');
});
