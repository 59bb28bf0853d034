import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { CoreV1Api } from '@kubernetes/client-node';
import { startControlPlane } from '../controlplane/controlplane.ts';
import { cached } from '../support/cache.ts';
import { ownedTempDir } from '../support/tempdir.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

test('what is built goes into the cache once, complete or not at all', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'macp-cache-test-'));
  const before = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = cache;
  try {
    const failing = async (dir: string) => {
      writeFileSync(join(dir, 'half'), '');
      throw new Error('compiler error');
    };
    await expect(cached('tool', 'v1', failing, log)).rejects.toThrow('compiler error');

    let builds = 0;
    const said: string[] = [];
    const build = async (dir: string) => {
      builds++;
      await sleep(700);
      writeFileSync(join(dir, 'tool'), '');
    };
    const both = await Promise.all([1, 2].map(() => cached('tool', 'v1', build, (line) => said.push(line))));
    expect(builds).toBe(1);
    expect(both[0]).toBe(both[1]);
    expect(readdirSync(both[0] ?? '')).toEqual(['tool']);
    expect(said).toEqual(['tool: another process is building it, waiting']);
    expect(readdirSync(dirname(both[0] ?? '')).filter((name) => name.includes('partial'))).toEqual([]);
  } finally {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
    rmSync(cache, { recursive: true, force: true });
  }
});

test('two run at once; one whose owner is killed leaves no process, the other one runs on until it is stopped', async () => {
  const main = join(import.meta.dirname, '../controlplane/main.ts');
  const owner = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = once(createInterface(owner.stdout), 'line');
  const [mine, [line]] = await Promise.all([startControlPlane({ log, users: { jane: ['readers'] } }), ready]);
  try {
    const dir = dirname(String(line).replace('export KUBECONFIG=', ''));
    const pids = readFileSync(`/proc/${owner.pid}/task/${owner.pid}/children`, 'utf8').trim().split(' ');
    expect(pids).toHaveLength(3);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    for (let waited = 0; pids.some((pid) => existsSync(`/proc/${pid}`)) && waited < 5000; waited += 50) {
      await sleep(50);
    }
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(existsSync(dir)).toBe(true);
    rmSync(await ownedTempDir('macp-controlplane'), { recursive: true });
    expect(existsSync(dir)).toBe(false);

    const token = await mine.serviceAccountToken('default', 'default');
    for (const as of [{ token }, { user: 'jane' }]) {
      const list = mine
        .kubeConfigFor(as)
        .makeApiClient(CoreV1Api)
        .listNamespacedSecret({ namespace: 'default' });
      await expect(list).rejects.toMatchObject({ code: 403 });
    }
    const refused = await mine.readAudit((event) => event.responseStatus?.code === 403);
    const users = refused.map((event) => event.user.username);
    expect(users).toEqual(expect.arrayContaining(['system:serviceaccount:default:default', 'jane']));
  } finally {
    await mine.stop();
  }
  expect(Object.values(mine.pids()).filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  expect(existsSync(mine.dir)).toBe(false);
}, 900_000);
