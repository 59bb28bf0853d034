import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CoreV1Api, type KubeConfig, type V1Pod } from '@kubernetes/client-node';
import type { Log } from '../support/process.ts';
import { ownedTempDir } from '../support/tempdir.ts';
import { claimBlock } from './block.ts';
import type { BackOff } from './container.ts';
import { follow } from './follow.ts';
import { setFrozen } from './freeze.ts';
import { createNode, pickNode } from './node.ts';
import { type PodInfo, PodRunner } from './pod.ts';
import { startReaper } from './reaper.ts';
import { References } from './references.ts';

export interface KubeletOptions {
  kubeConfig: KubeConfig;
  /** Image names with what they run: the start of a command line, as an image's entrypoint. */
  images: Record<string, readonly string[]>;
  log: Log;
  /** The names of its Node objects; it binds a pod to the one with the fewest. */
  nodes?: string[];
  /**
   * Which pods without a node it takes: `all` (that its nodes' labels allow), or those only that name one of its
   * nodes' labels in their nodeSelector. One kubelet of a cluster takes all.
   */
  binds?: 'all' | 'selected';
  /** How long after a change of a Secret or ConfigMap the mounted files follow. */
  volumeDelayMs?: number;
  backOff?: BackOff;
  /** Where containers run, so that `images` can have relative paths. */
  cwd?: string;
}

export interface Kubelet {
  /** Has `pods/<namespace>_<name>/info.json` while a pod is there, and `logs/` of all pods until it stops. */
  readonly dir: string;
  readonly nodes: string[];
  readonly hostIP: string;
  pod(namespace: string, name: string): PodInfo | undefined;
  /** The output of a container of a running pod. */
  logs(namespace: string, pod: string, container: string): Promise<string>;
  /** Stops, or resumes, following Secrets and ConfigMaps for one pod; returns when that is in effect. */
  freeze(namespace: string, name: string): Promise<void>;
  thaw(namespace: string, name: string): Promise<void>;
  /** Ends all processes at once, as a node that loses its power, and removes its Nodes. */
  stop(): Promise<void>;
}

/** Starts a kubelet that runs pods as processes of this machine. They end with this process, however it ends. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { kubeConfig, log } = options;
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const block = await claimBlock();
  const dir = await ownedTempDir('macp-kubelet');
  const reaper = startReaper(dir);
  const nodes = options.nodes ?? [`process-node-${block.hostIP.split('.').slice(1, 3).join('-')}`];
  const references = new References(kubeConfig);
  const runners = new Map<string, PodRunner>();
  const bound = new Map<string, string>();
  let stopped = false;
  for (const folder of ['pods', 'logs']) await mkdir(join(dir, folder));
  try {
    for (const node of nodes) await createNode(core, node, block.hostIP);
  } catch (error) {
    await block.release();
    await reaper.close();
    throw error;
  }

  const context = {
    core,
    references,
    block,
    reaper,
    images: options.images,
    podsDir: join(dir, 'pods'),
    logsDir: join(dir, 'logs'),
    cwd: options.cwd ?? process.cwd(),
    backOff: options.backOff ?? { baseMs: 1000, capMs: 30_000 },
    volumeDelayMs: options.volumeDelayMs ?? 0,
    log,
    event: (pod: V1Pod, type: string, reason: string, message: string) =>
      void createEvent(core, pod, type, reason, message).catch(() => {}),
  };

  const leaving = new Map<string, Promise<void>>();
  const remove = (uid: string) => {
    const runner = runners.get(uid);
    runners.delete(uid);
    bound.delete(uid);
    if (!runner) return;
    const key = `${runner.namespace}/${runner.name}`;
    leaving.set(key, runner.remove());
  };
  const set = async (pod: V1Pod): Promise<void> => {
    const uid = pod.metadata?.uid ?? '';
    const runner = runners.get(uid);
    if (runner) return runner.update(pod);
    if (!pod.spec?.nodeName) return bind(pod);
    if (!nodes.includes(pod.spec.nodeName)) return;
    bound.set(uid, pod.spec.nodeName);
    // Two pods of one name, one after the other, have one folder.
    const before = leaving.get(`${pod.metadata?.namespace}/${pod.metadata?.name}`);
    if (before) {
      await before;
      if (stopped || !bound.has(uid) || runners.has(uid)) return;
    }
    runners.set(uid, new PodRunner(pod, context));
  };
  const bind = async (pod: V1Pod): Promise<void> => {
    const { uid = '', name = '', namespace = '', deletionTimestamp } = pod.metadata ?? {};
    const node = pickNode(pod, nodes, [...bound.values()], options.binds ?? 'all');
    if (bound.has(uid) || deletionTimestamp || !node) return;
    bound.set(uid, node);
    const body = { metadata: { name, uid }, target: { apiVersion: 'v1', kind: 'Node', name: node } };
    await core.createNamespacedPodBinding({ name, namespace, body }).catch((error) => {
      bound.delete(uid);
      const gone = error.code === 404 || error.code === 409;
      if (!gone && !stopped) setTimeout(() => bind(pod), 500);
    });
  };
  const accept = (pod: V1Pod) =>
    void set(pod).catch((error) => log(`pod ${pod.metadata?.name} can't run here: ${error.message}`));
  const pods = follow<V1Pod>(
    kubeConfig,
    '/api/v1/pods',
    {},
    {
      replace(items) {
        const present = new Set(items.map(({ metadata }) => metadata?.uid));
        for (const uid of [...runners.keys()]) if (!present.has(uid)) remove(uid);
        for (const pod of items) accept(pod);
      },
      set: accept,
      remove: (pod) => remove(pod.metadata?.uid ?? ''),
    },
  );

  const find = (namespace: string, name: string) =>
    [...runners.values()].find((runner) => runner.namespace === namespace && runner.name === name);
  const freeze = (namespace: string, name: string, frozen: boolean) =>
    setFrozen(core, namespace, name, frozen, async () => find(namespace, name)?.frozen);

  return {
    dir,
    nodes,
    hostIP: block.hostIP,
    pod: (namespace, name) => find(namespace, name)?.info(),
    async logs(namespace, name, container) {
      const file = find(namespace, name)?.info().containers[container]?.log;
      return file ? readFile(file, 'utf8').catch(() => '') : '';
    },
    freeze: (namespace, name) => freeze(namespace, name, true),
    thaw: (namespace, name) => freeze(namespace, name, false),
    async stop() {
      if (stopped) return;
      stopped = true;
      pods.stop();
      references.stop();
      await Promise.all([...[...runners.values()].map((runner) => runner.remove()), ...leaving.values()]);
      const deleted = Promise.all(nodes.map((name) => core.deleteNode({ name }).catch(() => {})));
      // The API server may be down.
      await Promise.race([deleted, new Promise((resolve) => setTimeout(resolve, 2000).unref())]);
      await block.release();
      await reaper.close();
    },
  };
}

async function createEvent(
  core: CoreV1Api,
  pod: V1Pod,
  type: string,
  reason: string,
  message: string,
): Promise<void> {
  const { namespace = '', name = '', uid = '' } = pod.metadata ?? {};
  const now = new Date();
  await core.createNamespacedEvent({
    namespace,
    body: {
      metadata: { generateName: `${name}.`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
      type,
      reason,
      message,
      source: { component: 'process-kubelet' },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    },
  });
}
