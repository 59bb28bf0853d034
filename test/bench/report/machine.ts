import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

/** What the results were measured on, and with which versions. */
export interface Machine {
  processor: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  /** Runnable processes of the last minute, when the run began: above 0 others had a part of the machine. */
  loadAverage: number;
  versions: Record<string, string>;
}

const packages = ['express', 'jose', 'pino', 'prom-client', 'esbuild'];

/** This machine, now. */
export function describeMachine(): Machine {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
  );
  const pinned: Record<string, string> = { ...dependencies, ...devDependencies };
  return {
    processor: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    loadAverage: loadavg()[0] ?? 0,
    versions: {
      node: process.versions.node,
      v8: process.versions.v8,
      openssl: process.versions.openssl,
      ...Object.fromEntries(packages.map((name) => [name, pinned[name] ?? 'none'])),
    },
  };
}
