import { createHash } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached } from '../support/cache.ts';
import { type Log, runWithProgress } from '../support/process.ts';

const suite = 'bookworm';
// What distroless/cc has of Debian, but for certificates: Node.js has its own.
const runtimePackages = ['base-files', 'libc6', 'libstdc++6', 'libgcc-s1'];
// For npm and the install scripts of packages.
const buildPackages = [...runtimePackages, 'dash', 'coreutils'];

/**
 * A folder to build the two base images from, in place of those that the Dockerfile names: `runtime` has the libraries of
 * Node.js, `build` npm as well. From the cache, else made, of Debian's packages as they are then.
 */
export async function ensureBases(log: Log): Promise<string> {
  const hash = createHash('sha256')
    .update(JSON.stringify([process.version, process.arch, process.env.npm_config_user_agent]))
    .update(await readFile(import.meta.filename));
  return cached('image-bases', hash.digest('hex').slice(0, 12), layOutBases, log);
}

async function layOutBases(folder: string, log: Log): Promise<void> {
  // base-files wants an awk, which nothing here calls.
  await debian(join(folder, 'runtime.tar'), runtimePackages, log, ['--extract-hook=rm "$1/usr/bin/mawk"']);
  await debian(join(folder, 'build.tar'), buildPackages, log);
  const npm = process.env.npm_execpath;
  if (npm === undefined) throw new Error('start this by npm (npm run …), which goes into the build image');
  await cp(join(dirname(npm), '..'), join(folder, 'npm'), { recursive: true });
  await cp(process.execPath, join(folder, 'node'));
  // Whom this machine trusts, for registries behind a proxy.
  await cp('/etc/ssl/certs/ca-certificates.crt', join(folder, 'ca-certificates.crt'));
  await writeFile(join(folder, 'runtime.Dockerfile'), 'FROM scratch\nADD runtime.tar /\n');
  await writeFile(
    join(folder, 'build.Dockerfile'),
    [
      'FROM scratch',
      'ADD build.tar /',
      'COPY node /usr/local/bin/node',
      'COPY npm /usr/local/lib/node_modules/npm',
      'COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt',
      'RUN ["ln", "-s", "../lib/node_modules/npm/bin/npm-cli.js", "/usr/local/bin/npm"]',
      'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \\',
      '    PATH=/usr/local/bin:/usr/bin:/bin',
      '',
    ].join('\n'),
  );
}

// Unpacked only: no script of a package runs, so there is no shell, no user database and no package manager.
async function debian(
  file: string,
  packages: readonly string[],
  log: Log,
  hooks: string[] = [],
): Promise<void> {
  await runWithProgress(
    ['mmdebstrap', '--variant=extract', ...hooks, `--include=${packages.join(',')}`, suite, file],
    { label: `Debian ${suite}`, unit: 'lines', log, env: { ...process.env, SOURCE_DATE_EPOCH: '0' } },
  );
}
