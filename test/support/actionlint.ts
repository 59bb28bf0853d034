import { join } from 'node:path';
import { ensureToolchain } from './go-toolchain.ts';
import type { Log } from './process.ts';

/** Path of actionlint, which judges GitHub workflows: from the cache, else built with Go. */
export async function ensureActionlint(log: Log): Promise<string> {
  const folder = await ensureToolchain(
    {
      name: 'actionlint',
      source: join(import.meta.dirname, 'toolchain/actionlint'),
      module: 'github.com/rhysd/actionlint',
      packages: { actionlint: 'github.com/rhysd/actionlint/cmd/actionlint' },
      ldflags: () => '-s -w',
      purpose: { builds: 'actionlint', instead: 'run the other tiers' },
    },
    log,
  );
  return join(folder, 'actionlint');
}
