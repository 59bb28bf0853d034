import { requirePrograms } from '../support/debian.ts';
import type { Log } from '../support/process.ts';

// Programs, and the Debian packages that have them.
const packages = {
  buildah: ['buildah'],
  // With the keys that Debian signs with, which other distributions lack.
  mmdebstrap: ['mmdebstrap', 'debian-archive-keyring'],
  // For those that run images.
  ip: ['iproute2'],
};

/**
 * Sees to it that what builds images without Docker is there, as {@link requirePrograms} does.
 *
 * @param others further programs that an image takes, and the packages that have them.
 * @throws {Error} that says what to install.
 */
export async function requireImageTools(log: Log, others: Record<string, string[]> = {}): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('images are built by root: sudo, or docker build without it');
  await requirePrograms({ ...packages, ...others }, 'to build and run images', log);
}
