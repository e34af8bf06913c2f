import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, on, once } from 'node:events';
import { renameSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { SerialCable } from '../serial.mjs';
import { scratch } from './scratch.mjs';

// Node has no pty of its own. This one prints its path, then what arrives; what it is given goes the other way.
const PTY = `
import os, pty, select, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
while True:
    for ready in select.select([0, master], [], [])[0]:
        data = os.read(ready, 4096)
        if not data: sys.exit()
        os.write(master if ready == 0 else 1, data)
`;

/** A terminal at the far end of the cable, reachable through `link`. */
async function plug(link) {
  const far = spawn('python3', ['-c', PTY], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [path] = await once(far.stdout, 'data');
  symlinkSync(path.toString().trim(), `${link}.new`);
  renameSync(`${link}.new`, link);
  return far;
}

async function until(emitter, event, wanted) {
  let all = '';
  for await (const [value] of on(emitter, event)) if ((all += value).includes(wanted)) return;
}

test('bytes flow both ways, are lost while unplugged, and flow again after a replug elsewhere', async () => {
  const link = scratch('tty');
  const heard = new EventEmitter();
  const cable = new SerialCable(link, (bytes) => heard.emit('bytes', bytes), (state) => heard.emit(state));
  cable.send(Buffer.from('before there was a cable'));
  assert.equal(cable.lost, 24);

  for (const turn of ['first', 'second']) {
    const opened = once(heard, 'open');
    const far = await plug(link);
    await opened;
    cable.send(Buffer.from(`${turn} from the chip\0`));
    await until(far.stdout, 'data', `${turn} from the chip\0`);
    far.stdin.write(`${turn} to the chip\n`);
    await until(heard, 'bytes', `${turn} to the chip\n`);

    const closed = once(heard, 'closed');
    far.stdin.end();
    await closed;
    cable.send(Buffer.from('lost'));
  }
  assert.equal(cable.lost, 24 + 2 * 4);
});
