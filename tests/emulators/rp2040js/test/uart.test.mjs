import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RP2040 } from 'rp2040js';
import { Uart } from '../uart.mjs';

const REGISTER = { DR: 0x00, FR: 0x18, IBRD: 0x24, FBRD: 0x28, IFLS: 0x34, RIS: 0x3c, ICR: 0x44 };
const EMPTY = 0x10;
const OVERRUN = 1 << 11;
const TRANSMIT = 1 << 5;
const TIMEOUT = 1 << 6;
const BYTE_MICROS = 1e6 / 11520;

/** A UART at 115200 baud from 125 MHz, set up as embassy-rp does. */
function bench() {
  const chip = new RP2040();
  const sent = [];
  const uart = new Uart(chip, (byte) => sent.push(byte));
  uart.writeUint32(REGISTER.IBRD, 67);
  uart.writeUint32(REGISTER.FBRD, 52);
  uart.writeUint32(REGISTER.IFLS, 0b100_000);
  return { uart, sent, wait: (micros) => chip.clock.tick(micros * 1000) };
}

test('a byte leaves when its ten bits have passed', () => {
  const { uart, sent, wait } = bench();
  uart.writeUint32(REGISTER.DR, 0x41);
  wait(BYTE_MICROS * 0.9);
  assert.deepEqual(sent, []);
  wait(BYTE_MICROS * 0.2);
  assert.deepEqual(sent, [0x41]);
});

test('the transmit interrupt comes once as the queue drains, and stays away once cleared', () => {
  const { uart, wait } = bench();
  for (let i = 0; i < 10; i++) uart.writeUint32(REGISTER.DR, i);
  assert.equal(uart.readUint32(REGISTER.RIS) & TRANSMIT, 0);
  wait(BYTE_MICROS * 11);
  assert.equal(uart.readUint32(REGISTER.RIS) & TRANSMIT, TRANSMIT);
  uart.rawWriteValue = TRANSMIT;
  uart.writeUint32(REGISTER.ICR, TRANSMIT);
  wait(BYTE_MICROS * 11);
  assert.equal(uart.readUint32(REGISTER.RIS) & TRANSMIT, 0);
});

test('bytes that nobody fetches are announced by a time-out; the 33rd is lost and flagged', () => {
  const { uart, wait } = bench();
  assert.equal(uart.feed(new Uint8Array(34).fill(7)), 34);
  wait(BYTE_MICROS * 40);
  assert.equal(uart.readUint32(REGISTER.RIS) & TIMEOUT, TIMEOUT);
  const first = uart.readUint32(REGISTER.DR);
  assert.equal(first, 7 | OVERRUN);
  let fetched = 1;
  while (!(uart.readUint32(REGISTER.FR) & EMPTY)) {
    assert.equal(uart.readUint32(REGISTER.DR), 7);
    fetched++;
  }
  assert.equal(fetched, 32);
});
