import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CoreV1Api } from '@kubernetes/client-node';
import { ApiClient } from '../../../operator/cluster/client.ts';
import { type AuditEvent, followAuditLog, readAuditLog } from '../../controlplane/audit.ts';
import { startControlPlane } from '../../controlplane/controlplane.ts';
import { applyPrerequisites, serviceAccountKubeconfig } from '../../local/cluster.ts';
import { kubectlFor } from '../../local/kubectl.ts';
import type { Log } from '../../support/process.ts';
import { usageOf } from './process.ts';

/** The user that the operator acts as. */
const operatorUser = 'system:serviceaccount:macp-auth-system:macp-auth-operator';

const isOperators = ({ user }: AuditEvent): boolean => user.username === operatorUser;

/** The real control plane with the CRD and the operator's permissions, and no node whose kubelet would start pods. */
export interface BenchCluster {
  /** Of the administrator. */
  client: ApiClient;
  /** Where the API server is, and what it proves that with. */
  server: string;
  certificateAuthority: Buffer;
  /** A kubeconfig of the operator's ServiceAccount. */
  operatorKubeconfig: string;
  /** For what belongs to this run. */
  dir: string;
  /** Makes namespaces, and waits until objects can be created in them. */
  createNamespaces(names: readonly string[]): Promise<void>;
  /** The operator's answered requests since an instant (milliseconds since the Unix epoch). */
  operatorRequests(since: number): Promise<AuditEvent[]>;
  /** Each call resolves with the operator's requests that were answered since the one before. */
  followOperator(): () => Promise<AuditEvent[]>;
  /** The processor time of API server and etcd so far, which says more of a busy machine than the clock does. */
  cpuSeconds(): number;
  stop(): Promise<void>;
}

/** Starts a fresh cluster, which ends with this process, however that ends. */
export async function startBenchCluster(log: Log): Promise<BenchCluster> {
  const controlPlane = await startControlPlane({ log });
  const dir = await mkdtemp(join(tmpdir(), 'macp-bench-operator-'));
  const stop = async () => {
    await controlPlane.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
    await applyPrerequisites(kubectl);
    const { server = '', caFile = '' } = controlPlane.kubeConfig.getCurrentCluster() ?? {};
    const core = controlPlane.kubeConfig.makeApiClient(CoreV1Api);
    return {
      client: new ApiClient(controlPlane.kubeConfig),
      server,
      certificateAuthority: await readFile(caFile),
      operatorKubeconfig: await serviceAccountKubeconfig(kubectl, dir),
      dir,
      async createNamespaces(names) {
        await Promise.all(names.map((name) => core.createNamespace({ body: { metadata: { name } } })));
      },
      operatorRequests: (since) =>
        readAuditLog(
          controlPlane.auditLogPath,
          (event) => isOperators(event) && Date.parse(event.requestReceivedTimestamp) >= since,
        ),
      followOperator: () => followAuditLog(controlPlane.auditLogPath, isOperators),
      cpuSeconds() {
        const { etcd = 0, 'kube-apiserver': apiServer = 0 } = controlPlane.pids();
        return usageOf(etcd).cpuSeconds + usageOf(apiServer).cpuSeconds;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
