import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ApiClient } from '../../operator/cluster/client.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type ControlPlane, kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';
import { applyPrerequisites, serviceAccountKubeconfig } from '../local/cluster.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type OperatorProcess, sidecarCommand, sidecarImage, startOperator } from '../support/operator.ts';
import { installPolicies, type PolicyOptions } from '../support/policies.ts';
import type { Log } from '../support/process.ts';
import { eventually } from './support.ts';

/** The label that asks for a sidecar. */
export const issuerLabel = 'auth.multiagentcoordinationprotocol.io/issuer';

/** Another image name with the same program, as a later version of the chart would have it. */
export const nextSidecarImage = 'macp-auth-sidecar:next';

/** Who has all rights of RBAC, but is none of the administrators that the guards exempt. */
const tenantUser = 'tenant';

/**
 * A control plane of one's own with the chart's policies in force: they hold for a whole cluster, and other tests do
 * things that they refuse.
 */
export interface PolicyCluster {
  controlPlane: ControlPlane;
  kubelet: Kubelet;
  client: ApiClient;
  /** Of an exempt cluster administrator, of a user with all rights but no exemption, and of the operator. */
  admin: Kubectl;
  tenant: Kubectl;
  operator: Kubectl;
  operatorProcess: OperatorProcess;
  install(options?: Pick<PolicyOptions, 'values' | 'kubeVersion'> & { sidecarImage?: string }): Promise<void>;
  /** Creates a namespace; resolves with its name. */
  namespace(prefix: string, labels?: Record<string, string>): Promise<string>;
  issuer(namespace: string, name: string, spec?: object): Promise<void>;
  ready(namespace: string, name: string): Promise<void>;
  close(): Promise<void>;
}

const log: Log = (line) => process.stderr.write(`${line}\n`);

/** The namespace of the operator, whose issuers may have agents in others. */
export const operatorNamespace = 'macp-auth-system';

/** Starts it with the operator in it, as the shipped ServiceAccount with the shipped permissions. `images` are further ones. */
export async function startPolicyCluster(
  images: Record<string, readonly string[]> = {},
): Promise<PolicyCluster> {
  const controlPlane = await startControlPlane({ log });
  const closers: (() => Promise<unknown>)[] = [() => controlPlane.stop()];
  const close = async () => {
    for (const step of closers.splice(0).reverse()) await step();
  };
  try {
    const kubelet = await startKubelet({
      kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
      images: { [sidecarImage]: sidecarCommand, [nextSidecarImage]: sidecarCommand, host: [], ...images },
      log,
    });
    closers.push(() => kubelet.stop());
    const { dir, binaries } = controlPlane;
    const admin = kubectlFor(binaries.kubectl, controlPlane.kubeconfigPath);
    await applyPrerequisites(admin);
    const binding = ['create', 'clusterrolebinding', 'tenant', '--clusterrole=cluster-admin'];
    await admin.run([...binding, `--user=${tenantUser}`]);
    const operatorKubeconfig = await serviceAccountKubeconfig(admin, dir);
    const client = new ApiClient(controlPlane.kubeConfig);

    const cluster: PolicyCluster = {
      controlPlane,
      kubelet,
      client,
      admin,
      tenant: asUser(admin, tenantUser),
      operator: kubectlFor(binaries.kubectl, operatorKubeconfig),
      operatorProcess: startOperator({
        kubeconfigPath: operatorKubeconfig,
        logFile: join(dir, 'operator.log'),
        // It campaigns, as the chart has it, for the policies must not refuse that either.
        env: { POD_NAMESPACE: operatorNamespace, MACP_AUTH_OPERATOR_LEADER_ELECT: 'true' },
      }),
      install: (options = {}) => installPolicies({ log, kubectl: admin, sidecarImage, ...options }),
      async namespace(prefix, labels = {}) {
        const name = `${prefix}-${randomBytes(3).toString('hex')}`;
        const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
        await admin.run(['create', '-f', '-'], JSON.stringify(namespace));
        // Without it no pod is admitted.
        await eventually('the default ServiceAccount', () =>
          admin.run(['get', 'serviceaccount', 'default', '-n', name]),
        );
        return name;
      },
      async issuer(namespace, name, spec = {}) {
        const { apiVersion, kind } = resources.issuers;
        await admin.run(
          ['create', '-f', '-'],
          JSON.stringify({ apiVersion, kind, metadata: { name, namespace }, spec }),
        );
      },
      async ready(namespace, name) {
        await admin.run(['wait', '-n', namespace, '--for=condition=Ready', `mai/${name}`, '--timeout=60s']);
      },
      close,
    };
    closers.push(() => cluster.operatorProcess.stop());
    return cluster;
  } catch (error) {
    await close();
    throw error;
  }
}

// The audit log and the policies see the impersonated user, as if it had come with credentials of its own.
const asUser = (kubectl: Kubectl, user: string): Kubectl => ({
  ...kubectl,
  // In front: what follows -- is a container's.
  run: (args, input) => kubectl.run(['--as', user, ...args], input),
});
