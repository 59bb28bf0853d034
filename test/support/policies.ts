import { setTimeout as sleep } from 'node:timers/promises';
import type { Kubectl } from '../local/kubectl.ts';
import { renderChart } from './helm.ts';
import type { Log } from './process.ts';

/** How to install the chart's policies. */
export interface PolicyOptions {
  log: Log;
  /** Of a cluster administrator. */
  kubectl: Kubectl;
  sidecarImage: string;
  /** Further values of the chart. */
  values?: { sidecar?: object; [value: string]: object | undefined };
  /** As for a cluster of that version. */
  kubeVersion?: string;
}

const patienceMs = 30_000;
const operator = 'system:serviceaccount:macp-auth-system:macp-auth-operator';

/**
 * Applies the chart's policies as `helm template` renders them, and waits until they are in force: the API server takes a
 * second or two. The operator's ServiceAccount and permissions are there by then.
 */
export async function installPolicies(options: PolicyOptions): Promise<void> {
  const { log, kubectl, sidecarImage, kubeVersion } = options;
  const values = {
    ...options.values,
    operator: { image: 'not-run-here' },
    sidecar: { ...options.values?.sidecar, image: sidecarImage },
  };
  const policies = await renderChart({
    log,
    values,
    only: ['policies/*'],
    ...(kubeVersion && { kubeVersion }),
  });
  await kubectl.run(['apply', '-f', '-'], policies);

  const deadline = Date.now() + patienceMs;
  const until = async (what: string, done: () => Promise<boolean>) => {
    while (!(await done())) {
      if (Date.now() > deadline) throw new Error(`${what} was not in force after ${patienceMs / 1000} s`);
      await sleep(200);
    }
  };
  if (policies.includes('name: macp-auth-injection')) {
    await until('the injection', async () => (await tryPod(kubectl, 'default.probe')).includes(sidecarImage));
  }
  await until('the guard of agent pods', async () =>
    (await tryPod(kubectl, 'probe')).includes('denied request'),
  );
  await until('the restraint', async () =>
    (await tryCreate(kubectl, configMap, ['--as', operator])).includes('denied request'),
  );
}

const configMap = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { generateName: 'probe-', namespace: 'default' },
};

const tryPod = (kubectl: Kubectl, issuer: string): Promise<string> =>
  tryCreate(kubectl, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: 'probe-',
      namespace: 'default',
      labels: { 'auth.multiagentcoordinationprotocol.io/issuer': issuer },
    },
    spec: { containers: [{ name: 'probe', image: 'probe' }] },
  });

/** What creating an object would give: the object, or the refusal. */
async function tryCreate(kubectl: Kubectl, object: object, flags: string[] = []): Promise<string> {
  const args = ['create', '--dry-run=server', '-o', 'json', ...flags, '-f', '-'];
  return kubectl.run(args, JSON.stringify(object)).catch((error: Error) => error.message);
}
