// Runs the unmodified rp2040 image on this machine, in real time.
//
//   node main.mjs --image FW.elf|FW.uf2 --flash flash.bin --serial PTY
//                 [--unique[=FIRST]] [--unique-id 16-HEX] [--seed NUMBER]
//
//   --flash      the chip's 2 MiB, created blank if missing, written through; the image is put into it
//   --serial     existing pty (or link to one), raw mode set by its opener; may vanish and come back
//   --unique     every measurement gets ticks of its own, numbered from FIRST (default 0)
//   --unique-id  what the flash chip answers when asked for its id (default e6614c311b7e5a2f)
//   --seed       makes the chip's random bits repeatable
//
// Standard input, one JSON object a line:  {"temperature_ticks":N,"humidity_ticks":N}  either may be left out;
//   {"sensor":"present"|"absent"}  {"reset":true}.  Closing a piped standard input ends the emulator.
// Standard output, one JSON object a line: ready, sample (count and ticks, before the chip has them), flash,
//   serial, reset, refused (a line of input and why). Complaints of the device models go to standard error.
// Exit codes: 0 after the end of input, 2 usage, 1 anything else.

import { randomBytes } from 'node:crypto';
import { fstatSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Board } from './board.mjs';
import { FlashFile } from './flash.mjs';
import { loadImage } from './image.mjs';
import { Pace } from './pace.mjs';
import { SerialCable } from './serial.mjs';
import { Sht4x } from './sht4x.mjs';

const options = parseOptions(process.argv.slice(2));

function parseOptions(args) {
  try {
    const { values } = parseArgs({
      // `--unique` alone means from 0; parseArgs has no options with optional values.
      args: args.map((arg) => (arg === '--unique' ? '--unique=0' : arg)),
      options: Object.fromEntries(['image', 'flash', 'serial', 'unique', 'unique-id', 'seed'].map((name) => [name, { type: 'string' }])),
    });
    for (const name of ['image', 'flash', 'serial']) {
      if (values[name] === undefined) throw new Error(`--${name} is missing`);
    }
    const uniqueId = values['unique-id'] ?? 'e6614c311b7e5a2f';
    if (!/^[0-9a-f]{16}$/i.test(uniqueId)) throw new Error(`--unique-id: expected 16 hexadecimal digits, got '${uniqueId}'`);
    return { ...values, uniqueId, unique: natural('unique', values.unique), seed: natural('seed', values.seed) };
  } catch (error) {
    writeSync(2, `${error.message}\nusage: node main.mjs --image FW.elf --flash flash.bin --serial PTY [--unique[=FIRST]] [--unique-id HEX] [--seed N]\n`);
    process.exit(2);
  }
}

function natural(name, text) {
  if (text === undefined) return null;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name}: expected a number below 1,000,000,000, got '${text}'`);
  return Number(text);
}

/** Writes one event whole; the reader's pace is ours, so nothing queues up. */
function emit(event, fields) {
  const line = Buffer.from(`${JSON.stringify({ event, ...fields })}\n`);
  for (let done = 0; done < line.length; ) {
    try {
      done += writeSync(1, line, done);
    } catch (error) {
      if (error.code === 'EPIPE') process.exit(0);
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

/** Bits from the host's entropy, or from a seed (mulberry32). */
function randomBits(seed) {
  if (seed === null) return () => randomBytes(1)[0] & 1;
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 31) & 1;
  };
}

function obey(line) {
  try {
    const command = JSON.parse(line);
    for (const [key, value] of Object.entries(command)) {
      const ticks = Number.isInteger(value) && value >= 0 && value <= 0xffff;
      if (key === 'temperature_ticks' && ticks) sensor.temperature = value;
      else if (key === 'humidity_ticks' && ticks) sensor.humidity = value;
      else if (key === 'sensor' && ['present', 'absent'].includes(value)) sensor.present = value === 'present';
      else if (key === 'reset' && value === true) board.resetReason = 'asked';
      else throw new Error(`'${key}' does not take ${JSON.stringify(value)}`);
    }
  } catch (error) {
    emit('refused', { line: line.slice(0, 200), reason: error.message });
  }
  pace.wake();
}

const image = loadImage(options.image);
const flash = new FlashFile(options.flash, (operation, offset, length) => emit('flash', { operation, offset, length }));
flash.install(image);
const sensor = new Sht4x({ uniqueFrom: options.unique, onSample: (sample) => emit('sample', sample) });

let outgoing = [];
const board = new Board({
  flash,
  sensor,
  uniqueId: Buffer.from(options.uniqueId, 'hex'),
  randomBit: randomBits(options.seed),
  onByte: (byte) => outgoing.push(byte),
  onReset: (reason) => emit('reset', { reason }),
  onFault: (text) => writeSync(2, `rp2040js: ${text}\n`),
});
const cable = new SerialCable(
  options.serial,
  (bytes) => {
    board.uart.feed(bytes);
    pace.wake();
  },
  (state) => emit('serial', { state }),
);
const pace = new Pace(board, () => {
  if (outgoing.length) cable.send(Buffer.from(outgoing));
  outgoing = [];
});

createInterface({ input: process.stdin }).on('line', obey);
// A parent that dies closes the pipe: do not outlive it. A terminal or /dev/null says nothing by ending.
const input = fstatSync(0);
if (input.isFIFO() || input.isSocket()) process.stdin.on('end', () => process.exit(0));

emit('ready', { image: options.image, flash: options.flash, unique_id: options.uniqueId, pid: process.pid });
pace.wake();
