import { type CoreV1Api, PatchStrategy, setHeaderOptions, type V1Pod } from '@kubernetes/client-node';

/** The node for a pod, if one of them may have it. */
export function pickNode(
  pod: V1Pod,
  nodes: string[],
  taken: string[],
  binds: 'all' | 'selected',
): string | undefined {
  if (pod.spec?.schedulingGates?.length) return undefined;
  const selector = Object.entries(pod.spec?.nodeSelector ?? {});
  if (binds === 'selected' && selector.length === 0) return undefined;
  const load = (node: string) => taken.filter((other) => other === node).length;
  return nodes
    .filter((node) => selector.every(([key, value]) => labelsOf(node)[key] === value))
    .sort((a, b) => load(a) - load(b))[0];
}

function labelsOf(node: string): Record<string, string> {
  return {
    'kubernetes.io/hostname': node,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': process.arch === 'x64' ? 'amd64' : process.arch,
  };
}

/** Makes a Node that is ready, or takes over the one of that name. */
export async function createNode(core: CoreV1Api, name: string, address: string): Promise<void> {
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: labelsOf(name) } };
  await core.createNode({ body: node }).catch((error) => {
    if (error.code !== 409) throw error;
  });
  const resources = { cpu: '64', memory: '64Gi', pods: '250', 'ephemeral-storage': '100Gi' };
  const now = new Date().toISOString();
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'KubeletReady',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
  const header = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  const status = {
    capacity: resources,
    allocatable: resources,
    conditions: [ready],
    addresses: [{ type: 'InternalIP', address }],
  };
  await core.patchNodeStatus({ name, body: { status } }, header);
  // The taint "not ready" that a new node gets, which the node lifecycle controller would take away.
  await core.patchNode({ name, body: { spec: { taints: null } } }, header);
}
