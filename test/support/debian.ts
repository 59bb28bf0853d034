import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Log, which } from './process.ts';

const run = promisify(execFile);

/**
 * Sees to it that programs of Debian's are there. CI, which says so by the variable CI and is root, gets them installed;
 * nobody else's machine is changed.
 *
 * @param packages each program, and the packages that have it and what it takes.
 * @param purpose what they are needed for, as in "to build images".
 * @throws {Error} that says what to install.
 */
export async function requirePrograms(
  packages: Record<string, string[]>,
  purpose: string,
  log: Log,
): Promise<void> {
  const missing = Object.entries(packages).flatMap(([program, names]) => (which(program) ? [] : names));
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  if (!process.env.CI || process.getuid?.() !== 0 || !which('apt-get')) {
    throw new Error(
      `${missing.join(', ')} is needed ${purpose}: apt-get update && apt-get ${install.join(' ')}`,
    );
  }
  log(`installing ${missing.join(', ')} ${purpose}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update'], { env });
  await run('apt-get', install, { env, maxBuffer: 2 ** 24 });
}
