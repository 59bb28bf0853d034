import { readdir, readFile } from 'node:fs/promises';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { release } from '../support/helm.ts';
import type { Cluster } from './cluster/cluster.ts';

/** The operator that leads. */
export interface Leader {
  /** As the Lease has it; another one after each start. */
  identity: string;
  /** Its pod. */
  pod: string;
  uid: string;
  /** When its Lease was last renewed, in milliseconds since 1970 by its own clock. */
  renewedMs: number;
}

/** The operator's pods. */
export const operatorPods = async ({ client }: Cluster): Promise<KubeObject[]> =>
  (
    await client.list(resources.pods, release.namespace, {
      labelSelector: 'app.kubernetes.io/component=operator',
    })
  ).items;

/** Who leads by the Lease, as far as its pod is there; else an error says what the Lease says. */
export async function leader(cluster: Cluster): Promise<Leader> {
  const lease = await cluster.client.get(resources.leases, release.namespace, release.name);
  const { holderIdentity: identity = '', renewTime = '' } = (lease.spec ?? {}) as {
    holderIdentity?: string;
    renewTime?: string;
  };
  const pod = (await operatorPods(cluster)).find(({ metadata }) => identity.startsWith(`${metadata.name}_`));
  if (!pod) throw new Error(`the Lease is held by ${JSON.stringify(identity)}`);
  const { name, uid } = pod.metadata;
  return { identity, pod: name, uid: uid as string, renewedMs: Date.parse(renewTime) };
}

/** Kills the program of a pod of our node as the kernel does when memory is short: nothing of it runs on. */
export async function killProgram(uid: string, program: string): Promise<void> {
  const pids = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    if ((await read('cgroup')).includes(`pod${uid}`) && (await read('cmdline')).includes(program))
      pids.push(Number(pid));
  }
  if (pids.length === 0) throw new Error(`pod ${uid} runs no ${program}`);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
}
