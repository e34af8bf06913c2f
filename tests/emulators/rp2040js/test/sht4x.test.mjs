import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RP2040 } from 'rp2040js';
import { Sht4x, crc8 } from '../sht4x.mjs';

const REGISTER = { CON: 0x00, TAR: 0x04, DATA: 0x10, ENABLE: 0x6c, ABORT: 0x80, CLEAR_ABORT: 0x54 };
const READ = 0x100;
const STOP = 0x200;
const RESTART = 0x400;

/** A master on the chip's bus 0, and the sensor. */
function bench(options) {
  const chip = new RP2040();
  const bus = chip.i2c[0];
  const sensor = new Sht4x(options);
  sensor.attach(bus, chip.clock);
  bus.writeUint32(REGISTER.TAR, 0x44);
  bus.writeUint32(REGISTER.ENABLE, 1);
  const aborted = () => {
    const reason = bus.readUint32(REGISTER.ABORT);
    bus.readUint32(REGISTER.CLEAR_ABORT);
    return (reason & 0x1ff) !== 0;
  };
  return {
    sensor,
    wait: (millis) => chip.clock.tick(millis * 1e6),
    write(command) {
      bus.writeUint32(REGISTER.DATA, command | STOP);
      return !aborted();
    },
    read() {
      for (let i = 0; i < 6; i++) bus.writeUint32(REGISTER.DATA, READ | (i === 0 ? RESTART : 0) | (i === 5 ? STOP : 0));
      return aborted() ? null : Array.from({ length: 6 }, () => bus.readUint32(REGISTER.DATA) & 0xff);
    },
  };
}

const word = ([high, low]) => (high << 8) | low;

test('the checksum is the one of the data sheet', () => {
  assert.equal(crc8([0xbe, 0xef]), 0x92);
});

test('a measurement is ready after its conversion time, and says what was set', () => {
  const { sensor, write, read, wait } = bench();
  Object.assign(sensor, { temperature: 0x1234, humidity: 0xabcd });
  assert.ok(write(0xfd));
  assert.equal(read(), null, 'not before 8.3 ms');
  wait(9);
  const answer = read();
  assert.deepEqual([word(answer), word(answer.slice(3))], [0x1234, 0xabcd]);
  assert.deepEqual([answer[2], answer[5]], [crc8([0x12, 0x34]), crc8([0xab, 0xcd])]);
  assert.equal(read(), null, 'once per command');
});

test('unique ticks: no two measurements are alike, and each is announced with its number', () => {
  const announced = [];
  const { write, read, wait } = bench({ uniqueFrom: 65_534, onSample: (sample) => announced.push(sample) });
  const seen = new Set();
  for (let i = 0; i < 5; i++) {
    write(0xfd);
    wait(9);
    const answer = read();
    seen.add(`${word(answer)} ${word(answer.slice(3))}`);
    assert.deepEqual([word(answer), word(answer.slice(3))], [announced[i].temperature_ticks, announced[i].humidity_ticks]);
  }
  assert.equal(seen.size, 5);
  assert.deepEqual(announced.map(({ count }) => count), [65_534, 65_535, 65_536, 65_537, 65_538]);
});

test('an absent sensor does not answer; one that is back does', () => {
  const { sensor, write, read, wait } = bench();
  sensor.present = false;
  assert.equal(write(0xfd), false);
  sensor.present = true;
  assert.ok(write(0x94), 'soft reset');
  assert.ok(write(0x89), 'serial number');
  wait(1);
  assert.equal(read().length, 6);
  assert.equal(write(0x00), false, 'an unknown command is not acknowledged');
});
