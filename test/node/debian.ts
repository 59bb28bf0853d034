import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached } from '../support/cache.ts';
import { type Log, runWithProgress, which } from '../support/process.ts';

/** What a node takes from the distribution, since it is written in C or lives with the kernel. */
export interface SystemPrograms {
  runc: string;
  nft: string;
  /** The folder of the CNI plugins ptp, host-local and loopback. */
  cniPlugins: string;
  /** What they need in their environment, as NAME=value. */
  env: string[];
}

const packages = { runc: 'runc', nft: 'nftables', cniPlugins: 'containernetworking-plugins' };

// Where it is usual, beside PATH, which often has no sbin for a user.
const programFolders = ['usr/sbin', 'usr/bin', 'usr/local/sbin', 'usr/local/bin'];
const pluginFolders = ['usr/lib/cni', 'opt/cni/bin', 'usr/libexec/cni'];

/**
 * Finds them on this machine; what is not there comes from Debian's or Ubuntu's packages, into the cache and nowhere
 * else, once. Elsewhere the error says what to install.
 */
export async function ensureSystemPrograms(log: Log): Promise<SystemPrograms> {
  const here = find('/');
  const missing = (Object.keys(packages) as (keyof typeof packages)[]).filter((name) => !here[name]);
  if (missing.length === 0) return complete(here);
  const names = missing.map((name) => packages[name]);
  const root = await fetchPackages(names, log);
  return complete({ ...find(root), ...here }, await librariesIn(root));
}

type Found = Partial<Record<keyof typeof packages, string>>;

function find(root: string): Found {
  const found: Found = {};
  for (const name of ['runc', 'nft'] as const) {
    const file =
      (root === '/' && which(name)) ||
      programFolders.map((folder) => join(root, folder, name)).find((path) => existsSync(path));
    if (file) found[name] = file;
  }
  const plugins = pluginFolders
    .map((folder) => join(root, folder))
    .find((path) => existsSync(join(path, 'ptp')));
  if (plugins) found.cniPlugins = plugins;
  return found;
}

function complete(found: Found, libraries: string[] = []): SystemPrograms {
  const { runc, nft, cniPlugins } = found;
  if (!runc || !nft || !cniPlugins) throw new Error(`a node needs ${Object.values(packages).join(', ')}`);
  // kube-proxy looks for nft on its PATH.
  const env = [`PATH=${dirname(nft)}:${process.env.PATH}`];
  if (libraries.length > 0) env.push(`LD_LIBRARY_PATH=${libraries.join(':')}`);
  return { runc, nft, cniPlugins, env };
}

// A program that was not installed finds the libraries that came with it.
async function librariesIn(root: string): Promise<string[]> {
  const libraries = join(root, 'usr/lib');
  const folders = await readdir(libraries).catch(() => []);
  return folders.filter((name) => name.endsWith('-linux-gnu')).map((name) => join(libraries, name));
}

async function fetchPackages(names: string[], log: Log): Promise<string> {
  const apt = which('apt-get');
  const dpkg = which('dpkg-deb');
  if (!apt || !dpkg) {
    throw new Error(
      `a node needs ${names.join(', ')} (names of Debian's packages): install what has them (runc; nft; CNI plugins in /usr/lib/cni or /opt/cni/bin)`,
    );
  }
  const release = await readFile('/etc/os-release', 'utf8');
  const key = createHash('sha256')
    .update(JSON.stringify([release, names]))
    .digest('hex')
    .slice(0, 12);
  return cached(
    'node-packages',
    key,
    async (dir) => {
      log(
        `${names.join(', ')}: not installed, so taken from the distribution's packages into the cache, once`,
      );
      const state = join(dir, 'apt');
      const archives = join(state, 'archives');
      await mkdir(join(state, 'lists', 'partial'), { recursive: true });
      await mkdir(join(archives, 'partial'), { recursive: true });
      // Lists and archives of its own: nothing of the system's changes.
      const own = [
        ...['-o', `Dir::State::lists=${state}/lists`, '-o', `Dir::Cache=${state}`],
        ...['-o', `Dir::Cache::archives=${archives}`, '-o', 'Debug::NoLocking=true'],
        // Without the user that apt downloads as, who may not enter this folder.
        ...['-o', 'APT::Sandbox::User=root'],
      ];
      const run = (argv: string[]) => runWithProgress(argv, { label: 'packages', unit: 'lines', log });
      await run([apt, ...own, 'update']);
      await run([apt, ...own, 'install', '--yes', '--download-only', '--no-install-recommends', ...names]);
      for (const file of await readdir(archives)) {
        if (file.endsWith('.deb')) await run([dpkg, '--extract', join(archives, file), dir]);
      }
      await rm(state, { recursive: true });
    },
    log,
  );
}
