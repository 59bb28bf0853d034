import { ensureBinaries } from '../controlplane/binaries.ts';
import type { Log } from '../support/process.ts';
import { ensureNodePrograms } from './programs.ts';

/** Builds and fetches all that a node and its control plane take, so that none has to wait for it. */
export async function prepareNode(log: Log): Promise<void> {
  await ensureBinaries({ log });
  await ensureNodePrograms(log);
}
