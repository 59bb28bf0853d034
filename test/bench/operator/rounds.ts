import { setTimeout as sleep } from 'node:timers/promises';
import type { IssuerKey } from '../../../operator/api/names.ts';
import { type AuditEvent, isWrite } from '../../controlplane/audit.ts';
import type { OperatorProcess } from '../../support/operator.ts';
import { wipe } from './api.ts';
import { bareLoop } from './bare.ts';
import { type BenchCluster, startBenchCluster } from './cluster.ts';
import { askForRotation, createIssuers, issuerKeys, namespacesOf } from './issuers.ts';
import { startSynced, type Usage, usageOf } from './process.ts';
import { standInForServers } from './servers.ts';
import { countTraffic, type Traffic } from './traffic.ts';
import { isReady, isSetUp, untilQuiet, watchIssuers } from './watch.ts';

type Log = (line: string) => void;

/** How many requests there were, by verb. */
type Calls = Record<string, number>;

/** One comparison: the bare loop, then the operator, in one cluster. */
export interface Comparison {
  bareSeconds: number;
  operatorSeconds: number;
  /** The processor time of API server and etcd meanwhile. */
  bareServerCPU: number;
  operatorServerCPU: number;
  /** The operator's own. */
  cpuSeconds: number;
  /** Its memory before the issuers came, when all of them were there, and at most until then. */
  idleMiB: number;
  rssMiB: number;
  peakMiB: number;
}

/** What the operator did in some part of its life. */
export interface Episode {
  seconds: number;
  calls: Calls;
  writes: number;
  cpuSeconds: number;
  /** At its end, and the highest of the operator's whole life so far. */
  rssMiB: number;
  peakMiB: number;
}

/** What follows the creation: servers that get Ready, rest, a rotation of all. */
export interface Life {
  creation: Episode;
  servers: Episode;
  rest: Episode;
  rotation: Episode;
}

/** Bytes by verb in those parts of an operator's life in which it writes. */
export interface Bytes {
  issuers: number;
  creation: Traffic;
  servers: Traffic;
  rotation: Traffic;
}

const callsOf = (events: readonly AuditEvent[]): Calls => {
  const calls: Calls = {};
  for (const { verb } of events) calls[verb] = (calls[verb] ?? 0) + 1;
  return calls;
};

/** Measures an operator from one instant to the next. */
function recorder(cluster: BenchCluster, { pid }: OperatorProcess) {
  let since = Date.now();
  let before: Usage = usageOf(pid);
  return async (until: number, events?: readonly AuditEvent[]): Promise<Episode> => {
    const all = events ?? (await cluster.operatorRequests(since));
    const usage = usageOf(pid);
    const episode = {
      seconds: (until - since) / 1000,
      calls: callsOf(all),
      writes: all.filter(isWrite).length,
      cpuSeconds: usage.cpuSeconds - before.cpuSeconds,
      rssMiB: usage.rssMiB,
      peakMiB: usage.peakMiB,
    };
    since = Date.now();
    before = usage;
    return episode;
  };
}

// An API server whose first requests these were would be slower with the bare loop than with what comes after it.
async function warmUp({ client, createNamespaces }: BenchCluster): Promise<void> {
  const keys = issuerKeys('warm', 20);
  await createNamespaces(namespacesOf(keys));
  await bareLoop(client, keys);
  await wipe(client, namespacesOf(keys));
}

/** Compares once; `afterwards` goes on with the cluster and the operator. */
export async function compare(
  count: number,
  log: Log,
  afterwards?: (
    cluster: BenchCluster,
    operator: OperatorProcess,
    keys: readonly IssuerKey[],
  ) => Promise<void>,
): Promise<Comparison> {
  const cluster = await startBenchCluster(log);
  try {
    const { client, createNamespaces } = cluster;
    await warmUp(cluster);
    const bareKeys = issuerKeys('bare', count);
    const keys = issuerKeys('team', count);
    await createNamespaces([...namespacesOf(bareKeys), ...namespacesOf(keys)]);
    // ServiceAccounts and the CA's ConfigMaps of so many namespaces are made meanwhile.
    await sleep(2_000);
    const cpuBefore = cluster.cpuSeconds();
    const bareSeconds = await bareLoop(client, bareKeys);
    const bareServerCPU = cluster.cpuSeconds() - cpuBefore;
    log(`bare loop: ${bareSeconds.toFixed(1)} s`);
    await wipe(client, namespacesOf(bareKeys));
    const operator = await startSynced(cluster.operatorKubeconfig, cluster.dir);
    const watch = watchIssuers(cluster);
    const idle = usageOf(operator.pid);
    const cpuAtBegin = cluster.cpuSeconds();
    const begun = Date.now();
    await createIssuers(client, keys);
    log(`issuers created: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    const operatorSeconds = ((await watch.until('all set up', keys, isSetUp)) - begun) / 1000;
    const operatorServerCPU = cluster.cpuSeconds() - cpuAtBegin;
    watch.stop();
    const usage = usageOf(operator.pid);
    log(`operator: ${operatorSeconds.toFixed(1)} s, ${usage.rssMiB.toFixed(0)} MiB`);
    await afterwards?.(cluster, operator, keys);
    await operator.stop();
    return {
      bareSeconds,
      operatorSeconds,
      bareServerCPU,
      operatorServerCPU,
      cpuSeconds: usage.cpuSeconds - idle.cpuSeconds,
      idleMiB: idle.rssMiB,
      rssMiB: usage.rssMiB,
      peakMiB: usage.peakMiB,
    };
  } finally {
    await cluster.stop();
  }
}

/** Follows an operator from its issuers' creation on, in a cluster of its own. */
export async function live(count: number, restSeconds: number, log: Log): Promise<Life> {
  const cluster = await startBenchCluster(log);
  try {
    const operator = await startSynced(cluster.operatorKubeconfig, cluster.dir);
    const life = await liveWith(cluster, operator, count, restSeconds, log);
    await operator.stop();
    return life;
  } finally {
    await cluster.stop();
  }
}

async function liveWith(
  cluster: BenchCluster,
  operator: OperatorProcess,
  count: number,
  restSeconds: number,
  log: Log,
): Promise<Life> {
  const keys = issuerKeys('team', count);
  await cluster.createNamespaces(namespacesOf(keys));
  const watch = watchIssuers(cluster);
  const record = recorder(cluster, operator);
  const part = async (name: string, begun: number, until: number): Promise<Episode> => {
    const episode = await record(until, await untilQuiet(cluster, begun));
    const { seconds, writes, rssMiB } = episode;
    log(
      `${name}: ${seconds.toFixed(1)} s, ${(writes / count).toFixed(2)} writes each, ${rssMiB.toFixed(0)} MiB`,
    );
    return episode;
  };

  let begun = Date.now();
  await createIssuers(cluster.client, keys);
  const creation = await part('creation', begun, await watch.until('all set up', keys, isSetUp));

  begun = Date.now();
  const standIns = await standInForServers(cluster, keys);
  const servers = await part('servers', begun, await watch.until('all Ready', keys, isReady));

  begun = Date.now();
  await sleep(restSeconds * 1000);
  const rest = await record(Date.now(), await cluster.operatorRequests(begun));
  log(`rest: ${rest.writes} writes in ${rest.seconds.toFixed(0)} s`);

  begun = Date.now();
  const value = 'benchmark';
  await askForRotation(cluster.client, keys, value);
  const rotated = await watch.until('all rotated', keys, ({ status }) => status?.handledRotateNow === value);
  const rotation = await part('rotation', begun, rotated);
  watch.stop();
  await standIns.stop();
  return { creation, servers, rest, rotation };
}

/** Counts the bytes of a smaller number of issuers: the counter in between makes everything slower. */
export async function countBytes(count: number, log: Log): Promise<Bytes> {
  const cluster = await startBenchCluster(log);
  const counter = await countTraffic(cluster);
  try {
    const keys = issuerKeys('team', count);
    await cluster.createNamespaces(namespacesOf(keys));
    const operator = await startSynced(counter.kubeconfig, cluster.dir);
    const watch = watchIssuers(cluster);
    const during = async (begin: () => Promise<unknown>, ready: () => Promise<unknown>): Promise<Traffic> => {
      counter.take();
      const begun = Date.now();
      await begin();
      await ready();
      await untilQuiet(cluster, begun);
      return counter.take();
    };
    const creation = await during(
      () => createIssuers(cluster.client, keys),
      () => watch.until('all set up', keys, isSetUp),
    );
    let standIns: Awaited<ReturnType<typeof standInForServers>> | undefined;
    const servers = await during(
      async () => {
        standIns = await standInForServers(cluster, keys);
      },
      () => watch.until('all Ready', keys, isReady),
    );
    const value = 'counted';
    const rotation = await during(
      () => askForRotation(cluster.client, keys, value),
      () => watch.until('all rotated', keys, ({ status }) => status?.handledRotateNow === value),
    );
    watch.stop();
    await standIns?.stop();
    await operator.stop();
    return { issuers: count, creation, servers, rotation };
  } finally {
    counter.stop();
    await cluster.stop();
  }
}
