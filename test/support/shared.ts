import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { type AuditEvent, readAuditLog } from '../controlplane/audit.ts';
import type { Binaries } from '../controlplane/binaries.ts';
import { setFrozen } from '../kubelet/freeze.ts';
import type { PodInfo } from '../kubelet/pod.ts';

/** What tests need to know of the cluster that they share. */
export interface ClusterInfo {
  kubeconfigPath: string;
  auditLogPath: string;
  binaries: Binaries;
  kubeletDir: string;
  hostIP: string;
}

let owner: ChildProcess | undefined;

/** For jest's globalSetup: starts the shared cluster and names its description in MACP_TEST_CLUSTER. */
export async function startSharedCluster(): Promise<void> {
  owner = spawn(process.execPath, [join(import.meta.dirname, 'cluster.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(owner, 'exit').then(() => undefined);
  const lines = createInterface({ input: owner.stdout as NodeJS.ReadableStream });
  const first = await Promise.race([once(lines, 'line'), ended]);
  if (!first) throw new Error('the test cluster did not start: see above');
  const file = join(mkdtempSync(join(tmpdir(), 'macp-test-cluster-')), 'cluster.json');
  await writeFile(file, first[0]);
  process.env.MACP_TEST_CLUSTER = file;
}

/** For jest's globalTeardown. */
export async function stopSharedCluster(): Promise<void> {
  if (!owner) return;
  const ended = owner.exitCode === null ? once(owner, 'exit') : undefined;
  owner.stdin?.end();
  await ended;
  const file = process.env.MACP_TEST_CLUSTER;
  if (file) await rm(dirname(file), { recursive: true, force: true });
}

/** The shared cluster, as a test sees it. */
export interface SharedCluster extends ClusterInfo {
  kubeConfig: KubeConfig;
  readAudit(keep?: (event: AuditEvent) => boolean): Promise<AuditEvent[]>;
  /** What the shared kubelet knows of a pod; undefined while it does not run there. */
  podInfo(namespace: string, name: string): Promise<PodInfo | undefined>;
  /** Stops, or resumes, following Secrets and ConfigMaps for one pod; returns when that is in effect. */
  freeze(namespace: string, name: string): Promise<void>;
  thaw(namespace: string, name: string): Promise<void>;
}

/** Connects to the cluster that globalSetup started. */
export function sharedCluster(): SharedCluster {
  const file = process.env.MACP_TEST_CLUSTER;
  if (!file)
    throw new Error('MACP_TEST_CLUSTER is not set: run this with jest, whose globalSetup starts the cluster');
  const info: ClusterInfo = JSON.parse(readFileSync(file, 'utf8'));
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(info.kubeconfigPath);
  const podInfo = async (namespace: string, name: string) => {
    const text = await readFile(
      join(info.kubeletDir, 'pods', `${namespace}_${name}`, 'info.json'),
      'utf8',
    ).catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as PodInfo);
  };
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const freeze = (namespace: string, name: string, frozen: boolean) =>
    setFrozen(core, namespace, name, frozen, async () => (await podInfo(namespace, name))?.frozen);
  return {
    ...info,
    kubeConfig,
    readAudit: (keep) => readAuditLog(info.auditLogPath, keep),
    podInfo,
    freeze: (namespace, name) => freeze(namespace, name, true),
    thaw: (namespace, name) => freeze(namespace, name, false),
  };
}
