import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { warm } from '../../../sidecar/bundle/warm.ts';
import { eventually } from './support/sidecar.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'macp-warm-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('a bundle that does not answer is an error, and its process does not stay', async () => {
  const pidFile = join(folder, 'pid');
  const listening = `console.log('{"event":"listening","port":1}');`;
  writeFileSync(
    join(folder, 'sidecar.cjs'),
    `require('fs').writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));
     ${listening}${listening}
     setTimeout(() => {}, 20_000);`,
  );
  await expect(warm(folder)).rejects.toThrow('fetch failed');
  const pid = Number(readFileSync(pidFile, 'utf8'));
  await eventually(() => (isAlive(pid) ? undefined : true));
}, 15_000);

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
