import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureToolchain, type Toolchain } from './go-toolchain.ts';
import type { Log } from './process.ts';

const run = promisify(execFile);

const toolchain: Toolchain = {
  name: 'promtool',
  source: join(import.meta.dirname, 'toolchain/promtool'),
  module: 'github.com/prometheus/prometheus',
  packages: { promtool: 'github.com/prometheus/prometheus/cmd/promtool' },
  ldflags: () => '-s -w',
  purpose: { builds: 'promtool', instead: 'set MACP_PROMTOOL to a promtool of Prometheus 3' },
};

/** Path of promtool: MACP_PROMTOOL where that is set, else the cache's, else built with Go (some minutes, once). */
async function ensurePromtool(log: Log): Promise<string> {
  const given = process.env.MACP_PROMTOOL;
  if (!given) return join(await ensureToolchain(toolchain, log), 'promtool');
  if (!existsSync(given))
    throw new Error(`MACP_PROMTOOL=${given} is not there: set it to a promtool of Prometheus 3`);
  return given;
}

/** Runs promtool; resolves with what it printed, rejects with all that it printed. */
export async function promtool(log: Log, args: string[]): Promise<string> {
  const program = await ensurePromtool(log);
  const { stdout } = await run(program, args).catch(
    (error: { stdout?: string; stderr?: string; message: string }) => {
      throw new Error(`${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message);
    },
  );
  return stdout;
}
