// A directory for one test file, removed when it is done.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = mkdtempSync(join(tmpdir(), 'weir-emulator-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
let used = 0;

/** A path of its own for `name`, not there yet. */
export function scratch(name) {
  return join(directory, `${used++}-${name}`);
}
