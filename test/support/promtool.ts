import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureProgram, type GoProgram } from './go-toolchain.ts';
import type { Log } from './process.ts';

const run = promisify(execFile);

const program: GoProgram = {
  name: 'promtool',
  source: join(import.meta.dirname, 'toolchain/promtool'),
  module: 'github.com/prometheus/prometheus',
  package: 'github.com/prometheus/prometheus/cmd/promtool',
  title: 'promtool',
  variable: 'MACP_PROMTOOL',
  ready: 'a promtool of Prometheus 3',
  // Finding targets in clouds is nothing to rules, and most of what there is to compile.
  tags: ['remove_all_sd'],
};

/** Path of promtool: MACP_PROMTOOL where that is set, else the cache's, else built with Go, once. */
export const ensurePromtool = (log: Log): Promise<string> => ensureProgram(program, log);

/** Runs promtool; resolves with what it printed, rejects with all that it printed. */
export async function promtool(log: Log, args: string[]): Promise<string> {
  const { stdout } = await run(await ensurePromtool(log), args).catch(
    (error: { stdout?: string; stderr?: string; message: string }) => {
      throw new Error(`${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message);
    },
  );
  return stdout;
}
