import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleFile } from '../../../operator/bundle/command.ts';
import { type OperatorProcess, startOperator } from '../../support/operator.ts';
import { cpuMilliseconds } from '../process.ts';

/** What the kernel says of a process. */
export interface Usage {
  rssMiB: number;
  /** The highest RSS so far. */
  peakMiB: number;
  cpuSeconds: number;
}

/** Memory and processor time of a process, from /proc. */
export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  return {
    rssMiB: mebibytes('VmRSS'),
    peakMiB: mebibytes('VmHWM'),
    cpuSeconds: cpuMilliseconds(pid) / 1000,
  };
}

const bundle = join(import.meta.dirname, '../../..', bundleFile);

/** Starts the operator as its users do, the bundle for all namespaces, and waits until its caches are filled. */
export async function startSynced(kubeconfigPath: string, dir: string): Promise<OperatorProcess> {
  const operator = startOperator({
    program: bundle,
    kubeconfigPath,
    logFile: join(dir, `operator-${Date.now()}.log`),
  });
  const begun = Date.now();
  for (let port: string | undefined; ; await sleep(100)) {
    port ??= /"healthPort":(\d+)/.exec(operator.output())?.[1];
    const ready = port ? await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined) : undefined;
    if (ready?.ok) return operator;
    if (Date.now() - begun > 60_000) throw new Error(`the operator is not ready: ${operator.output()}`);
  }
}
