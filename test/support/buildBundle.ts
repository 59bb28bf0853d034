import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Builds the bundle, once for all of its tests. */
export default function buildBundle(): void {
  execFileSync(process.execPath, [join(import.meta.dirname, '../../sidecar/bundle/build.ts')]);
}
