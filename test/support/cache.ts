import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { type Log, requireLinuxTool, spawnTethered } from './process.ts';

/** Where built tools outlive a clone of the repository. */
function cacheRoot(): string {
  const xdg = process.env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'macp-auth-operator');
}

/**
 * The folder `<cache>/<name>-<key>`, made by `build` when it is not there yet. `build` fills a folder beside it that
 * is renamed into place only when complete. Of several processes that ask at once one builds, the others wait.
 * The key must change with everything that the result depends on.
 */
export async function cached(
  name: string,
  key: string,
  build: (dir: string, log: Log) => Promise<void>,
  log: Log,
): Promise<string> {
  const target = join(cacheRoot(), `${name}-${key}`);
  if (existsSync(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  const unlock = await lock(`${target}.lock`, () => log(`${name}: another process is building it, waiting`));
  try {
    if (existsSync(target)) return target;
    await removePartial(target);
    const partial = `${target}.partial-${process.pid}`;
    await mkdir(partial);
    try {
      await build(partial, log);
      await rename(partial, target);
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
    return target;
  } finally {
    await unlock();
  }
}

/** What a crashed build left; only the holder of the lock may call it. */
async function removePartial(target: string): Promise<void> {
  for (const entry of await readdir(dirname(target))) {
    if (entry.startsWith(`${basename(target)}.partial-`)) {
      await rm(join(dirname(target), entry), { recursive: true, force: true });
    }
  }
}

/** A lock that the kernel releases with its holder, so that no crash leaves it taken. Returns the release. */
async function lock(file: string, waiting: () => void): Promise<() => Promise<void>> {
  const holder = spawnTethered([requireLinuxTool('flock'), file, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const patience = setTimeout(waiting, 500);
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      holder.stdout?.once('data', () => resolve());
      holder.once('error', reject);
      holder.once('close', () => reject(new Error(`flock could not lock ${file}`)));
    });
  } finally {
    clearTimeout(patience);
  }
  return () => {
    holder.stdin?.end();
    holder.stdout?.resume();
    return ended;
  };
}
