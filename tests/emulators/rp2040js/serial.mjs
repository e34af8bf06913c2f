// The cable: a serial device of this machine that may come and go.
//
// Guarantees: never throws and never waits. While the path is missing, or its other end is closed, bytes from
// the chip are lost, as on an unplugged cable, and the path is tried again until it is back. The path may be a
// symbolic link that is pointed elsewhere: that is an unplug and a replug.
// The opener of the pty sets raw mode; here it is opened as it is.

import { closeSync, constants, openSync, statSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';

const RETRY_MILLIS = 50;
/** Bytes that the other end has not read yet, beyond the kernel's own buffer; more are lost. */
const UNREAD_LIMIT = 64 * 1024;

export class SerialCable {
  /** `onBytes(buffer)` hears the other end, `onState('open' | 'closed')` the plug. */
  constructor(path, onBytes, onState) {
    Object.assign(this, { path, onBytes, onState });
    this.stream = null;
    this.unread = [];
    this.unreadBytes = 0;
    this.lost = 0;
    // The chip's own timer keeps the process alive, not the look at the plug.
    setInterval(() => this.#look(), RETRY_MILLIS).unref();
    this.#look();
  }

  /** Sends as much as the other end takes; the rest waits, bounded. */
  send(bytes) {
    if (this.stream === null) {
      this.lost += bytes.length;
      return;
    }
    if (this.unreadBytes + bytes.length > UNREAD_LIMIT) {
      this.lost += bytes.length;
    } else if (bytes.length) {
      this.unread.push(bytes);
      this.unreadBytes += bytes.length;
    }
    this.#push();
  }

  #push() {
    while (this.stream !== null && this.unread.length) {
      const first = this.unread[0];
      let sent;
      try {
        sent = writeSync(this.output, first);
      } catch (error) {
        if (error.code !== 'EAGAIN') this.#unplug();
        return;
      }
      this.unreadBytes -= sent;
      if (sent === first.length) this.unread.shift();
      else this.unread[0] = first.subarray(sent);
    }
  }

  #look() {
    let device = null;
    try {
      device = statSync(this.path).rdev;
    } catch {
      // Not there now: an unplugged cable, looked for again.
    }
    if (this.stream !== null && device !== this.device) this.#unplug();
    if (this.stream === null && device !== null) this.#plug(device);
    this.#push();
  }

  #plug(device) {
    const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;
    try {
      this.output = openSync(this.path, flags);
    } catch {
      return;
    }
    let stream;
    try {
      stream = new ReadStream(openSync(this.path, flags));
    } catch {
      closeSync(this.output);
      return;
    }
    this.device = device;
    this.stream = stream;
    stream.on('data', (bytes) => this.onBytes(bytes));
    for (const end of ['error', 'end', 'close']) stream.on(end, () => this.stream === stream && this.#unplug());
    this.onState('open');
  }

  #unplug() {
    this.stream.destroy();
    closeSync(this.output);
    this.stream = null;
    this.lost += this.unreadBytes;
    this.unread = [];
    this.unreadBytes = 0;
    this.onState('closed');
  }
}
