import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = join(import.meta.dirname, 'load.lua');

/** One load of mints. */
export interface LoadOrder {
  port: number;
  /** Each sends the next mint when the one before is answered. */
  connections: number;
  /** Whole seconds. */
  seconds: number;
  /** Of each request, as JSON. */
  body: string;
}

/** What came of it; latencies in milliseconds. */
export interface LoadResult {
  mints: number;
  mintsPerSecond: number;
  p50: number;
  p99: number;
  p999: number;
}

/**
 * Loads a program by wrk (https://github.com/wg/wrk), a process of its own with one thread.
 *
 * @throws {Error} when a mint was refused, or a connection failed.
 */
export async function load({ port, connections, seconds, body }: LoadOrder): Promise<LoadResult> {
  const words = ['--threads', '1', '--connections', `${connections}`, '--duration', `${seconds}s`];
  const url = `http://127.0.0.1:${port}/tokens`;
  const { stdout } = await run('wrk', [...words, '--script', script, url, '--', body]);
  const { failed, ...result } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
  if (failed > 0) throw new Error(`${failed} of ${result.mints} mints failed`);
  return result;
}
