// The command line and the output that every client program shares; ../../README.md describes both.

import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';

const text = { type: 'string' };

/** What was ordered on the command line. */
export function order() {
  const names = ['bootstrap', 'topic', 'group', 'at', 'records', 'commit-every', 'hold-at', 'session-timeout'];
  const more = ['registry', 'mechanism', 'user', 'password', 'ca'];
  const options = Object.fromEntries([...names, ...more].map((name) => [name, text]));
  const { values } = parseArgs({ options });
  const number = (name, otherwise) => (values[name] === undefined ? otherwise : Number(values[name]));
  return {
    ...values,
    at: values.at ?? 'earliest',
    records: number('records', Infinity),
    commitEvery: number('commit-every', Infinity),
    holdAt: number('hold-at', Infinity),
    sessionTimeout: number('session-timeout', 6000),
  };
}

/** Writes one line of output. */
export function say(...words) {
  const line = Buffer.from(`${words.join(' ')}\n`);
  for (let written = 0; written < line.length; ) {
    try {
      written += writeSync(1, line, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

/** Ends the program with the client's own message. */
export function fail(error) {
  say('error', `${error.name}: ${error.message}`.replace(/\s+/g, ' '));
  process.exit(1);
}

/** What was taken so far, and what follows from it. */
export class Taken {
  #order;
  count = 0;
  positions = new Map();
  #lines = [];

  constructor(order) {
    this.#order = order;
  }

  /** Notes a record; returns whether the positions are to be committed now. */
  take(partition, offset, key, value) {
    this.count += 1;
    this.positions.set(partition, BigInt(offset) + 1n);
    this.#lines.push(`record ${partition} ${offset} ${key} ${value}`);
    return this.count % this.#order.commitEvery === 0;
  }

  /** Writes the records that were noted. */
  flush() {
    if (this.#lines.length > 0) say(this.#lines.join('\n'));
    this.#lines = [];
  }

  /** Says what was committed. */
  committed() {
    this.flush();
    const positions = [...this.positions].sort(([a], [b]) => a - b);
    say('committed', positions.map(([partition, offset]) => `${partition}:${offset}`).join(','));
  }

  get isHeld() {
    return this.count >= this.#order.holdAt;
  }

  get isDone() {
    return this.count >= this.#order.records;
  }
}
