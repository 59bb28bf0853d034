import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Log, which } from '../support/process.ts';

const run = promisify(execFile);

// Programs, and the Debian packages that have them.
const packages = {
  buildah: ['buildah'],
  // With the keys that Debian signs with, which other distributions lack.
  mmdebstrap: ['mmdebstrap', 'debian-archive-keyring'],
  // For those that run images.
  ip: ['iproute2'],
};

/**
 * Sees to it that what builds images without Docker is there. CI, which says so by the variable CI and is root, gets it
 * installed; nobody else's machine is changed.
 *
 * @param others further programs that an image takes, and the packages that have them.
 * @throws {Error} that says what to install.
 */
export async function requireImageTools(log: Log, others: Record<string, string[]> = {}): Promise<void> {
  const missing = Object.entries({ ...packages, ...others }).flatMap(([program, names]) =>
    which(program) ? [] : names,
  );
  if (process.getuid?.() !== 0) throw new Error('images are built by root: sudo, or docker build without it');
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  if (!process.env.CI || !which('apt-get')) {
    throw new Error(
      `${missing.join(', ')} is needed to build and run images: apt-get update && apt-get ${install.join(' ')}`,
    );
  }
  log(`images: installing ${missing.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update'], { env });
  await run('apt-get', install, { env, maxBuffer: 2 ** 24 });
}
