import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { publicJWK } from '../../unit/sidecar/support/fixtures.ts';
import { cpuMilliseconds, memoryOf } from '../process.ts';
import { median } from '../statistics.ts';
import { type LoadResult, load } from './load.ts';
import { type Program, start } from './program.ts';
import { type BenchKey, type SignWay, type SubjectName, subject } from './subjects.ts';

/** Numbers of connections under which everything is measured. */
export const connectionCounts = [1, 16, 64] as const;

/** How much is done: how long things take, in whole seconds, and how often a program is started. */
export interface Durations {
  starts: number;
  settle: number;
  warmUp: number;
  load: number;
}

/** One program under one load. */
export interface UnderLoad extends LoadResult {
  /** Of the program, for each mint; neither the load's nor the kernel's for others. */
  cpuMicroseconds: number;
}

/** One program in one round. */
export interface Measured {
  ready: number;
  idleRSS: number;
  idlePrivate: number;
  loadRSS: number;
  /** In the order of {@link connectionCounts}. */
  loads: UnderLoad[];
}

const sender = 'agent://team-a/planner';
const body = JSON.stringify({
  sender,
  scopes: { can_start_sessions: true, allowed_modes: ['macp.mode.decision.v1'], max_open_sessions: 5 },
  ttl_seconds: 60,
});

/** Starts a program, measures it from its start over its rest to its loads, and ends it. */
export async function measure(
  name: SubjectName,
  key: BenchKey,
  way: SignWay,
  durations: Durations,
  counts: readonly number[] = connectionCounts,
): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'macp-bench-'));
  const begin = () => start(subject(name, key, way), join(folder, 'log'));
  // One start says little: what else the machine does is a good part of so short a time.
  const ready: number[] = [];
  for (let i = 1; i < durations.starts; i += 1) {
    const { readyMilliseconds, stop } = await begin();
    await stop();
    ready.push(readyMilliseconds);
  }
  const program = await begin();
  ready.push(program.readyMilliseconds);
  try {
    // As kubelet and Prometheus leave a sidecar: asked whether it is ready, and scraped.
    if (name === 'sidecar') await ok(`http://127.0.0.1:${program.healthPort}/metrics`);
    await pause(durations.settle * 1000);
    const idle = memoryOf(program.pid);
    await proveThatItMints(program, key);
    let loadRSS = 0;
    const loads: UnderLoad[] = [];
    for (const connections of counts) {
      loads.push(await underLoad(program, connections, durations));
      loadRSS = Math.max(loadRSS, memoryOf(program.pid).rss);
    }
    return { ready: median(ready), idleRSS: idle.rss, idlePrivate: idle.privateDirty, loadRSS, loads };
  } finally {
    await program.stop();
    rmSync(folder, { recursive: true });
  }
}

async function underLoad(
  { pid, port }: Program,
  connections: number,
  durations: Durations,
): Promise<UnderLoad> {
  const order = { port, connections, body };
  await load({ ...order, seconds: durations.warmUp });
  const before = cpuMilliseconds(pid);
  const result = await load({ ...order, seconds: durations.load });
  const used = cpuMilliseconds(pid) - before;
  return { ...result, cpuMicroseconds: (used * 1000) / result.mints };
}

// A program that is fast at something else would be no comparison.
async function proveThatItMints({ port }: Program, { fixture }: BenchKey): Promise<void> {
  const { jwk, kid, alg } = fixture;
  const headers = { 'content-type': 'application/json' };
  const { token } = JSON.parse(
    await ok(`http://127.0.0.1:${port}/tokens`, { method: 'POST', headers, body }),
  );
  await jwtVerify(token, createLocalJWKSet({ keys: [publicJWK(jwk, kid, alg)] }), {
    subject: sender,
    issuer: 'macp-auth-service',
    audience: 'macp-runtime',
  });
}

async function ok(url: string, init: RequestInit = {}): Promise<string> {
  const response = await fetch(url, { ...init, headers: { connection: 'close', ...init.headers } });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${answer}`);
  return answer;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The faster way of `crypto.sign` in the floor, on this machine. */
export async function fasterWay(key: BenchKey, durations: Durations): Promise<SignWay> {
  const rate = async (way: SignWay) =>
    (await measure('floor', key, way, { ...durations, starts: 1 }, [16])).loads[0]?.mintsPerSecond ?? 0;
  const [sync, async] = [await rate('sync'), await rate('async')];
  return sync > async ? 'sync' : 'async';
}
