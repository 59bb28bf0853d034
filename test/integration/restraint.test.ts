import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type PolicyCluster, startPolicyCluster } from './policy-cluster.ts';
import { eventually, operatorUser } from './support.ts';
import { agentPod, create, mintedToken, type Pod } from './workloads.ts';

const group = 'auth.multiagentcoordinationprotocol.io';
const managedBy = { 'app.kubernetes.io/managed-by': 'macp-auth-operator' };

let cluster: PolicyCluster;
let namespace: string;

beforeAll(async () => {
  cluster = await startPolicyCluster();
  // Nobody is exempt, so that the controllers of the cluster do what they do under the guards too.
  await cluster.install({ values: { guards: { exempt: { groups: [] } } } });
  namespace = await cluster.namespace('restrained');
}, 900_000);

afterAll(() => cluster?.close(), 60_000);

test('an issuer lives its whole life under the policies: none refuses the operator or the cluster anything', async () => {
  const names = objectNames({ namespace, name: 'life' });
  const issuer = () => cluster.client.get<MacpAuthIssuer>(resources.issuers, namespace, 'life');
  await cluster.issuer(namespace, 'life', { deletionPolicy: 'Delete' });
  await cluster.ready(namespace, 'life');
  const agent = await create<Pod>(cluster, agentPod(namespace, `${namespace}.life`, 'agent'));
  await mintedToken(cluster, agent);

  const before = (await issuer()).status?.activeKeyID;
  const revoke = JSON.stringify({ spec: { rotation: { revokedKeyIDs: [before] } } });
  await cluster.tenant.run(['patch', 'mai', 'life', '-n', namespace, '--type=merge', '-p', revoke]);
  await eventually('another key', async () => (await issuer()).status?.activeKeyID !== before);
  await eventually('the touch of the pod', async () => {
    const pod = await cluster.client.get(resources.pods, namespace, 'agent');
    return pod.metadata.annotations?.[`${group}/files-version`];
  });

  await cluster.tenant.run([
    'delete',
    'mai',
    'life',
    '-n',
    namespace,
    '--cascade=foreground',
    '--timeout=60s',
  ]);
  await eventually('its objects gone', async () => {
    const found = await Promise.all([
      cluster.client.find(resources.secrets, namespace, names.keyring),
      cluster.client.find(resources.secrets, namespace, names.agentSecret),
      cluster.client.find(resources.configMaps, namespace, names.server),
    ]);
    return found.every((object) => object === undefined);
  });

  // With its children left behind, which the garbage collector then unties.
  await cluster.issuer(namespace, 'orphaning');
  await cluster.ready(namespace, 'orphaning');
  await cluster.tenant.run([
    'delete',
    'mai',
    'orphaning',
    '-n',
    namespace,
    '--cascade=orphan',
    '--timeout=60s',
  ]);
  const orphan = await cluster.client.get(resources.configMaps, namespace, 'macp-auth-orphaning');
  expect(orphan.metadata.ownerReferences).toBeUndefined();

  const refused = await cluster.controlPlane.readAudit(
    ({ user, responseStatus }) =>
      [operatorUser, 'system:kube-controller-manager'].includes(user.username) &&
      [403, 422].includes(responseStatus?.code ?? 0),
  );
  expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  expect(cluster.operatorProcess.output()).not.toContain('denied request');
}, 180_000);

test('labels that somebody took off before there were guards come back', async () => {
  const name = objectNames({ namespace, name: 'stripped' });
  await cluster.issuer(namespace, 'stripped');
  await cluster.ready(namespace, 'stripped');
  await cluster.install({ values: { guards: { enabled: true, exempt: { users: ['tenant'], groups: [] } } } });
  const strip = (kind: string, object: string) =>
    cluster.tenant.run(['label', kind, object, '-n', namespace, 'app.kubernetes.io/managed-by-']);
  await eventually('the exemption', async () => strip('configmap', name.server).then(() => true));
  await strip('secret', name.agentSecret);
  for (const [resource, object] of [
    [resources.configMaps, name.server],
    [resources.secrets, name.agentSecret],
  ] as const) {
    await eventually(`labels of ${object}`, async () => {
      const { metadata } = await cluster.client.get(resource, namespace, object);
      return metadata.labels?.['app.kubernetes.io/managed-by'] === 'macp-auth-operator';
    });
  }
}, 120_000);

// All that the operator's ServiceAccount could do if RBAC did not hold it back, done with its credentials.
async function expectRestrained(args: string[], words: string, input?: object): Promise<void> {
  const refusal = await cluster.operator
    .run([...args, '-n', namespace, '--dry-run=server'], input && JSON.stringify(input))
    .then(
      () => '',
      (error: Error) => error.message,
    );
  expect(refusal).toContain("ValidatingAdmissionPolicy 'macp-auth-restraint-");
  expect(refusal).toContain(words);
}

const object = (kind: 'Secret' | 'ConfigMap', name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind,
  metadata: { name, labels },
});

test("the operator's credentials write no object of others", async () => {
  const binding = ['create', 'clusterrolebinding', 'operator-unbound', '--clusterrole=cluster-admin'];
  await cluster.admin.run([...binding, '--serviceaccount=macp-auth-system:macp-auth-operator']);
  for (const kind of ['Secret', 'ConfigMap'] as const) {
    await create(cluster, { ...object(kind, 'foreign'), metadata: { name: 'foreign', namespace } });
  }
  // The name of one of ours is not enough.
  await create(cluster, { ...object('ConfigMap', ''), metadata: { name: 'macp-auth-foreign', namespace } });

  const words = (plural: string, name: string) =>
    `the operator writes its own Secrets and ConfigMaps only, and ${plural} ${name} is none by name and label`;
  for (const [kind, plural] of [
    ['Secret', 'secrets'],
    ['ConfigMap', 'configmaps'],
  ] as const) {
    const create = ['create', '-f', '-'];
    await expectRestrained(create, words(plural, 'new'), object(kind, 'new'));
    await expectRestrained(create, words(plural, 'new'), object(kind, 'new', managedBy));
    await expectRestrained(create, words(plural, 'macp-auth-x'), object(kind, 'macp-auth-x'));
    await expectRestrained(
      ['patch', kind, 'foreign', '-p', '{"data":{"a":"Yg=="}}'],
      words(plural, 'foreign'),
    );
    await expectRestrained(
      ['label', kind, 'foreign', 'app.kubernetes.io/managed-by=macp-auth-operator'],
      words(plural, 'foreign'),
    );
    await expectRestrained(['delete', kind, 'foreign'], words(plural, 'foreign'));
  }
  const own = ['label', 'configmap', 'macp-auth-foreign', 'app.kubernetes.io/managed-by=macp-auth-operator'];
  await expectRestrained(own, words('configmaps', 'macp-auth-foreign'));
  await expectRestrained(
    ['delete', 'configmap', 'macp-auth-foreign'],
    words('configmaps', 'macp-auth-foreign'),
  );
});

test("the operator's credentials change nothing of a pod but the annotation that hurries it", async () => {
  await create(cluster, agentPod(namespace, undefined, 'bystander'));
  const words = `the operator changes nothing of a pod but the annotation ${group}/files-version`;
  const patch = (body: object) => ['patch', 'pod', 'bystander', '-p', JSON.stringify(body)];
  for (const body of [
    { metadata: { annotations: { other: 'x' } } },
    { metadata: { annotations: { [`${group}/files-version`]: '2', other: 'x' } } },
    { metadata: { labels: { app: 'x' } } },
    { metadata: { finalizers: ['example.com/x'] } },
    { spec: { containers: [{ name: 'agent', image: 'other' }] } },
    { spec: { activeDeadlineSeconds: 1 } },
  ]) {
    await expectRestrained(patch(body), words);
  }
  await expectRestrained(['delete', 'pod', 'bystander'], words);
  await expectRestrained(['create', '-f', '-'], words, agentPod(namespace, undefined, 'new'));
  await cluster.operator.run([
    ...patch({ metadata: { annotations: { [`${group}/files-version`]: '2' } } }),
    '-n',
    namespace,
  ]);
  await cluster.operator.run([
    ...patch({ metadata: { annotations: { [`${group}/files-version`]: null } } }),
    '-n',
    namespace,
  ]);
});
