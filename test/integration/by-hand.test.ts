import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { parse } from 'yaml';
import { sidecarCommand } from '../support/operator.ts';
import { documentedPod } from './documented-pod.ts';
import { issuerLabel, type PolicyCluster, startPolicyCluster } from './policy-cluster.ts';
import { agentPod, mintedToken, mintProgram, type Pod, tryCreate } from './workloads.ts';

let cluster: PolicyCluster;
let manifest: string;
let pod: Pod;

beforeAll(async () => {
  manifest = await documentedPod();
  pod = parse(manifest);
  const [sidecar] = pod.spec.initContainers ?? [];
  const [agent] = pod.spec.containers;
  cluster = await startPolicyCluster({
    [sidecar?.image ?? '']: sidecarCommand,
    [agent?.image ?? '']: mintProgram,
  });
  // The guards are those that the chart has for a cluster without injection.
  await cluster.install({ sidecarImage: sidecar?.image ?? '', kubeVersion: 'v1.35.0' });
}, 900_000);

afterAll(() => cluster?.close(), 60_000);

test('the chart injects nothing before Kubernetes 1.36, and a guard says how to go on', async () => {
  expect(await cluster.admin.run(['get', 'mutatingadmissionpolicies', '-o', 'name'])).toBe('');
  const attempt = tryCreate(cluster, agentPod('default', 'agents.team', 'bare'));
  await expect(attempt).rejects.toThrow(
    'Write the init container macp-auth-sidecar by hand, see docs/injection-by-hand.md',
  );
});

test('the documented pod, word for word, passes the guards and mints', async () => {
  const { namespace, labels } = pod.metadata;
  const [, name = ''] = labels?.[issuerLabel]?.split('.') ?? [];
  await cluster.admin.run(['create', 'namespace', namespace]);
  await cluster.issuer(namespace, name);
  await cluster.ready(namespace, name);
  await cluster.tenant.run(['apply', '-f', '-'], manifest);
  const token = await mintedToken(cluster, pod, pod.spec.containers[0]?.name);
  expect(decodeJwt(token)).toMatchObject({ iss: 'macp-auth-service', sub: `agent://${pod.metadata.name}` });
});

test('the documented pod is left as it is where there is injection', async () => {
  const before = await tryCreate<Pod>(cluster, { ...pod, metadata: { ...pod.metadata, name: 'other' } });
  await cluster.install({ sidecarImage: pod.spec.initContainers?.[0]?.image ?? '' });
  const after = await tryCreate<Pod>(cluster, { ...pod, metadata: { ...pod.metadata, name: 'other' } });
  const sidecar = ({ spec }: Pod) => spec.initContainers?.find(({ name }) => name === 'macp-auth-sidecar');
  expect(after.spec.initContainers).toEqual(before.spec.initContainers);

  // And it is what would have been injected.
  const labelled = agentPod(pod.metadata.namespace, pod.metadata.labels?.[issuerLabel], 'labelled');
  const injected = await tryCreate<Pod>(cluster, labelled);
  expect(sidecar(before)).toEqual(sidecar(injected));
  expect(before.spec.volumes).toEqual(
    expect.arrayContaining(injected.spec.volumes?.filter(({ name }) => name.startsWith('macp-auth-')) ?? []),
  );
});
