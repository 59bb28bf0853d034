import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import setUpNode from '../../node/globalSetup.ts';
import { ownedTempDir } from '../../support/tempdir.ts';
import { buildTestImages } from '../images/all.ts';
import { isGiven } from './given.ts';
import { socketVariable } from './info.ts';

let owner: ChildProcess | undefined;
let dir: string | undefined;

/** For jest's globalSetup: builds all that the tests take, and starts the owner of the cluster that they share. */
export default async function setUp(): Promise<void> {
  if (!isGiven()) {
    await setUpNode();
    await buildTestImages((line) => process.stderr.write(`${line}\n`));
  }
  dir = await ownedTempDir('macp-e2e');
  const socket = join(dir, 'owner.sock');
  owner = spawn(process.execPath, [join(import.meta.dirname, 'owner.ts'), socket], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(owner, 'exit').then(() =>
    Promise.reject(new Error('the owner of the cluster ended: see above')),
  );
  ended.catch(() => {});
  await Promise.race([once(owner.stdout as NodeJS.ReadableStream, 'data'), ended]);
  process.env[socketVariable] = socket;
}

/** For jest's globalTeardown. */
export async function tearDown(): Promise<void> {
  if (owner?.exitCode === null) {
    const ended = once(owner, 'exit');
    owner.stdin?.end();
    await ended;
  }
  if (dir) await rm(dir, { recursive: true, force: true });
}
