import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { operatorNamespace, type PolicyCluster, startPolicyCluster } from './policy-cluster.ts';
import { eventually, operatorUser } from './support.ts';
import { agentPod, create, mintedToken, type Pod } from './workloads.ts';

const group = 'auth.multiagentcoordinationprotocol.io';
const managedBy = { 'app.kubernetes.io/managed-by': 'macp-auth-operator' };

let cluster: PolicyCluster;
let namespace: string;

beforeAll(async () => {
  cluster = await startPolicyCluster();
  // Nobody is exempt, so that the controllers of the cluster do what they do under the guards too.
  await cluster.install({ values: { guards: { exempt: { objects: { groups: [] } } } } });
  namespace = await cluster.namespace('restrained');
}, 900_000);

afterAll(() => cluster?.close(), 60_000);

test('an issuer lives its whole life under the policies: none refuses the operator or the cluster anything', async () => {
  const names = objectNames({ namespace, name: 'life' });
  const issuer = () => cluster.client.get<MacpAuthIssuer>(resources.issuers, namespace, 'life');
  const tls = { secretName: 'life-tls' };
  await cluster.issuer(namespace, 'life', { deletionPolicy: 'Delete', server: { tls } });
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

  await expectNothingRefused([operatorUser, 'system:kube-controller-manager']);
}, 180_000);

async function expectNothingRefused(users: string[]): Promise<void> {
  const refused = await cluster.controlPlane.readAudit(
    ({ user, responseStatus }) =>
      users.includes(user.username) && [403, 422].includes(responseStatus?.code ?? 0),
  );
  expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  expect(cluster.operatorProcess.output()).not.toContain('denied request');
}

describe('an issuer with agents in other namespaces', () => {
  const times = { interval: '10m', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '5m' };
  const spec = (team: string) => ({
    server: { replicas: 1 },
    ttl: { default: '1s', max: '1s' },
    rotation: times,
    agents: { namespaceSelector: { matchLabels: { team } } },
  });
  const issuer = (name: string) =>
    cluster.client.get<MacpAuthIssuer>(resources.issuers, operatorNamespace, name);
  const begin = async (name: string, more: object) => {
    await cluster.issuer(operatorNamespace, name, { ...spec(name), ...more });
    await cluster.ready(operatorNamespace, name);
    return (await issuer(name)).status?.activeKeyID as string;
  };
  const end = (name: string) =>
    cluster.tenant.run(['delete', 'mai', name, '-n', operatorNamespace, '--timeout=60s']);
  const namesOf = (name: string) => objectNames({ namespace: operatorNamespace, name });
  const keyringOf = (name: string) =>
    cluster.client.find(resources.secrets, operatorNamespace, namesOf(name).keyring);
  const holders = async (name: string) => {
    const { items } = await cluster.client.list(resources.secrets, undefined, {});
    return items
      .filter(({ metadata }) => metadata.name === namesOf(name).agentSecret)
      .map(({ metadata }) => metadata.namespace)
      .toSorted();
  };
  const heldBy = (name: string, ...namespaces: string[]) =>
    eventually(`Secrets in ${namespaces.join(', ')}`, async () => {
      const found = await holders(name);
      if (JSON.stringify(found) === JSON.stringify(namespaces.toSorted())) return true;
      throw new Error(found.join(', '));
    });
  const condition = async (name: string, type: string) =>
    (await issuer(name)).status?.conditions?.find((one) => one.type === type);

  test('gives keys, takes them away, replaces them and goes, and nothing is refused', async () => {
    const [first, second, third] = await Promise.all(
      ['far-1', 'far-2', 'far-3'].map((name) => cluster.namespace(name, { team: 'wide' })),
    );
    if (!first || !second || !third) throw new Error('no namespaces');
    const active = await begin('wide', { deletionPolicy: 'Delete' });
    await heldBy('wide', operatorNamespace, first, second, third);
    const agent = await create<Pod>(cluster, agentPod(first, `${operatorNamespace}.wide`, 'agent'));
    await mintedToken(cluster, agent);

    await cluster.tenant.run(['delete', 'namespace', third, '--timeout=60s']);
    await eventually('3 of 3', async () =>
      (await condition('wide', 'Distributed'))?.message.includes('in 3 of 3 namespaces'),
    );
    await cluster.tenant.run(['label', 'namespace', second, 'team-']);
    await heldBy('wide', operatorNamespace, first);
    const next = await eventually('another key', async () => {
      const { status } = await issuer('wide');
      return status?.activeKeyID !== active && status?.activeKeyID;
    });
    await eventually('it alone in the other namespace, and the touch of the pod', async () => {
      const secret = await cluster.client.get(resources.secrets, first, namesOf('wide').agentSecret);
      const text = (secret.data as Record<string, string>)['keys.json'] as string;
      const { keys } = JSON.parse(Buffer.from(text, 'base64').toString());
      const pod = await cluster.client.get(resources.pods, first, 'agent');
      return (
        keys.length === 1 && keys[0].kid === next && pod.metadata.annotations?.[`${group}/files-version`]
      );
    });
    await cluster.tenant.run(['label', 'namespace', second, 'team=wide']);
    await heldBy('wide', operatorNamespace, first, second);

    await end('wide');
    await heldBy('wide');
    expect(await keyringOf('wide')).toBeUndefined();
    await expectNothingRefused([operatorUser]);
  }, 180_000);

  test('leaves its keyring, or what it can be rebuilt from, to the next of its name', async () => {
    // As shipped: an administrator of the cluster may change a keyring.
    await cluster.install();
    const far = await cluster.namespace('far', { team: 'kept' });
    const active = await begin('kept', { deletionPolicy: 'Retain' });
    await heldBy('kept', operatorNamespace, far);
    await end('kept');
    await heldBy('kept');
    expect(await keyringOf('kept')).toBeDefined();
    expect(await begin('kept', { deletionPolicy: 'Retain' })).toBe(active);
    await heldBy('kept', operatorNamespace, far);

    const { keyring, agentSecret } = namesOf('kept');
    const secret = ['secret', keyring, '-n', operatorNamespace];
    const broken = JSON.stringify({ data: { 'keyring.json': 'e30=' } });
    await eventually('the exemption', () =>
      cluster.admin.run(['patch', ...secret, '--type=merge', '-p', broken]).then(() => true),
    );
    await eventually(
      'KeyringUnreadable',
      async () => (await condition('kept', 'KeyringReady'))?.reason === 'KeyringUnreadable',
    );
    await end('kept');
    await heldBy('kept', operatorNamespace);
    const retained = await cluster.client.get(resources.secrets, operatorNamespace, agentSecret);
    expect(retained.metadata.annotations).toMatchObject({ [`${group}/retained`]: 'true' });

    // The keyring is written anew, from the agent Secret.
    await cluster.admin.run(['delete', ...secret]);
    expect(await begin('kept', { deletionPolicy: 'Retain' })).toBe(active);
    await heldBy('kept', operatorNamespace, far);
    // Gone right before its issuer, it is rebuilt all the same, and stays.
    await cluster.admin.run(['delete', ...secret]);
    await end('kept');
    await heldBy('kept');
    expect(await keyringOf('kept')).toBeDefined();
    await expectNothingRefused([operatorUser]);
  }, 180_000);
});

test('what others add to the server is mended, or left, and holds up no write of the operator', async () => {
  await cluster.issuer(namespace, 'mended');
  await cluster.ready(namespace, 'mended');
  const patch = (kind: string, body: object) =>
    cluster.tenant.run([
      ...['patch', kind, 'macp-auth-mended', '-n', namespace],
      ...['--type=strategic', '-p', JSON.stringify(body)],
    ]);
  const server = <T>(resource: (typeof resources)[keyof typeof resources]) =>
    cluster.client.get<T>(resource, namespace, 'macp-auth-mended');
  interface Server {
    spec: {
      replicas: number;
      template: {
        spec: {
          volumes: object[];
          containers: object[];
          hostIPC?: boolean;
          automountServiceAccountToken: boolean;
        };
      };
    };
  }

  await patch('deployment', {
    metadata: { labels: { 'app.kubernetes.io/managed-by': null } },
    spec: {
      template: {
        spec: {
          automountServiceAccountToken: true,
          serviceAccountName: 'boss',
          hostIPC: true,
          volumes: [
            { name: 'stolen', secret: { secretName: 'foreign' } },
            { name: 'host', hostPath: { path: '/' } },
          ],
          containers: [{ name: 'strong', image: 'host', securityContext: { privileged: true } }],
        },
      },
    },
  });
  await eventually('the Deployment as it was', async () => {
    const { template } = (await server<Server>(resources.deployments)).spec;
    const { volumes, containers, automountServiceAccountToken } = template.spec;
    return volumes.length === 1 && containers.length === 1 && !automountServiceAccountToken;
  });
  await patch('service', { spec: { externalIPs: ['192.0.2.1'], ports: [{ port: 81, name: 'other' }] } });
  await patch('poddisruptionbudget', { spec: { maxUnavailable: 2 } });
  await eventually('the Service as it was', async () => {
    const { spec } = await server<{ spec: { ports: object[] } }>(resources.services);
    return spec.ports.length === 1;
  });
  await eventually('the PodDisruptionBudget as it was', async () => {
    const { spec } = await server<{ spec: { maxUnavailable: number } }>(resources.podDisruptionBudgets);
    return spec.maxUnavailable === 1;
  });

  // What the operator does not set stays, and it goes on writing.
  const change = { server: { replicas: 1, service: { type: 'NodePort' } } };
  await cluster.tenant.run([
    ...['patch', 'mai', 'mended', '-n', namespace],
    ...['--type=merge', '-p', JSON.stringify({ spec: change })],
  ]);
  await eventually('the change', async () => {
    const { spec } = await server<{ spec: { type: string; externalIPs?: string[] } }>(resources.services);
    const { replicas, template } = (await server<Server>(resources.deployments)).spec;
    return spec.type === 'NodePort' && spec.externalIPs && replicas === 1 && template.spec.hostIPC;
  });
  // No pod of it can be created meanwhile, since there is no such ServiceAccount.
  await expectNothingRefused([operatorUser]);
}, 120_000);

test('labels that somebody took off before there were guards come back', async () => {
  const name = objectNames({ namespace, name: 'stripped' });
  await cluster.issuer(namespace, 'stripped');
  await cluster.ready(namespace, 'stripped');
  await cluster.install({
    values: { guards: { enabled: true, exempt: { objects: { users: ['tenant'], groups: [] } } } },
  });
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

/** An object as the operator makes it for an issuer. */
const ours = ({ apiVersion, kind }: { apiVersion: string; kind: string }, name: string, content: object) => ({
  apiVersion,
  kind,
  metadata: {
    name,
    labels: { ...managedBy, [`${group}/issuer`]: `${namespace}.x` } as Record<string, string>,
    annotations: {} as Record<string, string>,
    ownerReferences: [owner('x')],
  },
  ...content,
});

const owner = (name: string, kind = 'MacpAuthIssuer') => ({
  apiVersion: `${kind === 'MacpAuthIssuer' ? group : 'example.com'}/v1alpha1`,
  kind,
  name,
  uid: '6f9f0000-0000-4000-8000-000000000000',
});

const serverLabels = { 'app.kubernetes.io/name': 'macp-auth-issuer' };
const ourSecret = (name: string, type: string) => {
  const { metadata, ...secret } = ours(resources.secrets, name, { type });
  const { ownerReferences, ...rest } = metadata;
  return { ...secret, metadata: rest };
};
const ourDeployment = (podSpec: object, container: object = {}) =>
  ours(resources.deployments, 'macp-auth-x', {
    spec: {
      selector: { matchLabels: serverLabels },
      template: {
        metadata: { labels: serverLabels },
        spec: {
          automountServiceAccountToken: false,
          containers: [{ name: 'jwks-server', image: 'x', ...container }],
          ...podSpec,
        },
      },
    },
  });
const certificateVolume = (secret: object, name = 'tls') => ({
  name,
  secret: {
    secretName: 'foreign',
    items: ['tls.crt', 'tls.key'].map((key) => ({ key, path: key })),
    ...secret,
  },
});
const ourService = (spec: object) =>
  ours(resources.services, 'macp-auth-x', { spec: { ports: [{ port: 80 }], ...spec } });
const ourBudget = (matchLabels: object) =>
  ours(resources.podDisruptionBudgets, 'macp-auth-x', {
    spec: { maxUnavailable: 1, selector: { matchLabels } },
  });

const words = (plural: string, name: string) =>
  `the operator writes its own objects only, and ${plural} ${name} is none by name, label, type and owner`;

test("the operator's credentials write no object of others", async () => {
  const binding = ['create', 'clusterrolebinding', 'operator-unbound', '--clusterrole=cluster-admin'];
  await cluster.admin.run([...binding, '--serviceaccount=macp-auth-system:macp-auth-operator']);
  for (const kind of ['Secret', 'ConfigMap'] as const) {
    await create(cluster, { ...object(kind, 'foreign'), metadata: { name: 'foreign', namespace } });
  }
  // The name of one of ours is not enough.
  await create(cluster, { ...object('ConfigMap', ''), metadata: { name: 'macp-auth-foreign', namespace } });

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

const withMetadata = <T extends { metadata: object }>(made: T, change: object): T => ({
  ...made,
  metadata: { ...made.metadata, ...change },
});

describe('objects as the operator makes them', () => {
  const pass: [string, () => object][] = [
    ['an agent Secret', () => ourSecret(`macp-auth.${namespace}.x`, `${group}/agent-files`)],
    ['a keyring', () => ourSecret('macp-auth-keyring.x', `${group}/keyring`)],
    ['a ConfigMap', () => ours(resources.configMaps, 'macp-auth-x', {})],
    ['a Deployment', () => ourDeployment({})],
    ['a Deployment with a certificate', () => ourDeployment({ volumes: [certificateVolume({})] })],
    ['a Service', () => ourService({})],
    ['a PodDisruptionBudget', () => ourBudget(serverLabels)],
  ];
  test.each(pass)('pass: %s', async (_, made) => {
    const create = ['create', '--dry-run=server', '-n', namespace, '-f', '-'];
    await cluster.operator.run(create, JSON.stringify(made()));
  });

  const tokenType = 'kubernetes.io/service-account-token';
  const tokenOf = { annotations: { 'kubernetes.io/service-account.name': 'default' } };
  const agentName = () => `macp-auth.${namespace}.x`;
  const noLabel = { labels: managedBy };
  const elsewhere = { labels: { ...managedBy, [`${group}/issuer`]: 'other.x' } };
  const refused: [string, string, () => { metadata: { name: string } }][] = [
    ['a token in an agent Secret', 'secrets', () => withMetadata(ourSecret(agentName(), tokenType), tokenOf)],
    [
      'a token in a keyring',
      'secrets',
      () => withMetadata(ourSecret('macp-auth-keyring.x', tokenType), tokenOf),
    ],
    ['an agent Secret of no type', 'secrets', () => ourSecret(agentName(), 'Opaque')],
    ['a keyring for agents', 'secrets', () => ourSecret(agentName(), `${group}/keyring`)],
    ['agent files for a keyring', 'secrets', () => ourSecret('macp-auth-keyring.x', `${group}/agent-files`)],
    [
      'an agent Secret of no issuer',
      'secrets',
      () => withMetadata(ourSecret(agentName(), `${group}/agent-files`), noLabel),
    ],
    [
      'an agent Secret of another issuer',
      'secrets',
      () => ourSecret(`macp-auth.${namespace}.y`, `${group}/agent-files`),
    ],
    [
      "a keyring of another namespace's issuer",
      'secrets',
      () => withMetadata(ourSecret('macp-auth-keyring.x', `${group}/keyring`), elsewhere),
    ],
    ...(
      [
        ['configmaps', () => ours(resources.configMaps, 'macp-auth-x', {})],
        ['deployments', () => ourDeployment({})],
        ['services', () => ourService({})],
        ['poddisruptionbudgets', () => ourBudget(serverLabels)],
      ] as const
    ).flatMap(([plural, made]): [string, string, () => { metadata: { name: string } }][] => [
      [`${plural} of another name`, plural, () => withMetadata(made(), { name: 'payroll' })],
      [`${plural} of another issuer's name`, plural, () => withMetadata(made(), { name: 'macp-auth-y' })],
      [`${plural} without an owner`, plural, () => withMetadata(made(), { ownerReferences: [] })],
      [`${plural} of another issuer`, plural, () => withMetadata(made(), { ownerReferences: [owner('y')] })],
      [
        `${plural} of another kind of owner`,
        plural,
        () => withMetadata(made(), { ownerReferences: [owner('x', 'Other')] }),
      ],
      [`${plural} without the issuer's label`, plural, () => withMetadata(made(), noLabel)],
      [`${plural} of another namespace's issuer`, plural, () => withMetadata(made(), elsewhere)],
    ]),
  ];
  test.each(refused)('pass only so: %s', async (_, plural, made) => {
    const attack = made();
    await expectRestrained(['create', '-f', '-'], words(plural, attack.metadata.name), attack);
  });

  const strong = { securityContext: { privileged: true } };
  const attacks: [string, string, () => object][] = [
    ['a token', 'Deployments have no token', () => ourDeployment({ automountServiceAccountToken: true })],
    [
      'a token by default',
      'Deployments have no token',
      () => ourDeployment({ automountServiceAccountToken: null }),
    ],
    [
      'another ServiceAccount',
      'Deployments have no token',
      () => ourDeployment({ serviceAccountName: 'boss' }),
    ],
    ['hostNetwork', 'Deployments have no token', () => ourDeployment({ hostNetwork: true })],
    ['hostPID', 'Deployments have no token', () => ourDeployment({ hostPID: true })],
    ['hostIPC', 'Deployments have no token', () => ourDeployment({ hostIPC: true })],
    ['a privileged container', 'Deployments have no token', () => ourDeployment({}, strong)],
    [
      'an added capability',
      'Deployments have no token',
      () => ourDeployment({}, { securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }),
    ],
    [
      'a privileged init container',
      'Deployments have no token',
      () => ourDeployment({ initContainers: [{ name: 'first', image: 'x', ...strong }] }),
    ],
    ...[
      { secret: { secretName: 'foreign' } },
      { hostPath: { path: '/' } },
      { projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
      { csi: { driver: 'x.io' } },
    ].map((volume): [string, string, () => object] => [
      `a volume ${Object.keys(volume)}`,
      'Deployments have no token',
      () => ourDeployment({ volumes: [{ name: 'stolen', ...volume }] }),
    ]),
    ['an external address', 'Services have no externalIPs', () => ourService({ externalIPs: ['192.0.2.1'] })],
    [
      'an external name',
      'Services have no externalIPs',
      () => ourService({ type: 'ExternalName', externalName: 'example.com' }),
    ],
    ['a budget for all pods', "budgets are about its servers' pods", () => ourBudget({})],
  ];
  test.each(attacks)('have no power over others: %s', async (_, refusal, made) => {
    await expectRestrained(['create', '-f', '-'], refusal.replace('budgets', 'PodDisruptionBudgets'), made());
  });

  test('stay harmless when they are changed, and are not deleted', async () => {
    const name = 'macp-auth-kept';
    await cluster.issuer(namespace, 'kept');
    await cluster.ready(namespace, 'kept');
    const patch = (kind: string, spec: object, ...flags: string[]) => [
      ...['patch', kind, name, ...flags, '-p', JSON.stringify({ spec })],
    ];
    const pod = (spec: object) => patch('deployment', { template: { spec } });
    for (const spec of [
      { automountServiceAccountToken: true },
      { serviceAccountName: 'boss' },
      { hostPID: true },
      { volumes: [{ name: 'stolen', secret: { secretName: 'foreign' } }] },
      { volumes: [{ name: 'tls', secret: { secretName: 'foreign' } }] },
      { volumes: [certificateVolume({}, 'stolen')] },
      { volumes: [certificateVolume({ items: ['a', 'b'].map((path) => ({ key: `tls.${path}`, path })) })] },
      {
        volumes: [
          certificateVolume({ items: ['tls.crt', 'tls.key'].map((path) => ({ key: 'token', path })) }),
        ],
      },
      { volumes: [{ name: 'files', configMap: null, secret: { secretName: 'foreign' } }] },
      {
        containers: [
          { name: 'jwks-server', securityContext: { privileged: true, allowPrivilegeEscalation: null } },
        ],
      },
      { containers: [{ name: 'strong', image: 'x', ...strong }] },
    ]) {
      await expectRestrained(pod(spec), 'Deployments have no token');
    }
    const addresses = { externalIPs: ['192.0.2.1'] };
    await expectRestrained(patch('service', addresses), 'Services have no externalIPs');
    const everything = { selector: { matchLabels: null } };
    const budget = patch('poddisruptionbudget', everything, '--type=merge');
    await expectRestrained(budget, "PodDisruptionBudgets are about its servers' pods");
    for (const [kind, plural] of [
      ['deployment', 'deployments'],
      ['service', 'services'],
      ['poddisruptionbudget', 'poddisruptionbudgets'],
    ] as const) {
      await expectRestrained(['delete', kind, name], `${plural} ${name} is not for it to delete`);
      const taken = ['label', kind, name, '--overwrite', 'app.kubernetes.io/managed-by=Helm'];
      await expectRestrained(taken, words(plural, name));
    }
  });

  test('others of their kind and name are left alone', async () => {
    const foreign = {
      ...ourDeployment({}),
      metadata: { name: 'macp-auth-foreign', namespace, labels: managedBy },
    };
    await create(cluster, foreign);
    const patch = ['patch', 'deployment', 'macp-auth-foreign', '-p', '{"spec":{"replicas":2}}'];
    await expectRestrained(patch, words('deployments', 'macp-auth-foreign'));
    const token = withMetadata(object('Secret', ''), { name: 'macp-auth.foreign', namespace, ...tokenOf });
    await create(cluster, { ...token, type: tokenType });
    const adopt = ['label', 'secret', 'macp-auth.foreign', 'app.kubernetes.io/managed-by=macp-auth-operator'];
    await expectRestrained(adopt, words('secrets', 'macp-auth.foreign'));
    await expectRestrained(['delete', 'secret', 'macp-auth.foreign'], words('secrets', 'macp-auth.foreign'));
  });
});

test("the operator's credentials change nothing of an issuer but its finalizer and status", async () => {
  await cluster.issuer(namespace, 'bystander');
  await cluster.ready(namespace, 'bystander');
  const words = 'the operator changes nothing of a MacpAuthIssuer but its finalizer and status';
  const patch = (body: object) => ['patch', 'mai', 'bystander', '--type=merge', '-p', JSON.stringify(body)];
  for (const body of [
    { spec: { ttl: { max: '24h' } } },
    { spec: { agents: { namespaceSelector: { matchLabels: { app: 'x' } } } } },
    { spec: { deletionPolicy: 'Delete' } },
    { metadata: { labels: { app: 'x' } } },
    { metadata: { annotations: { app: 'x' } } },
    { metadata: { ownerReferences: [owner('y')] } },
    { metadata: { finalizers: [`${group}/finalizer`, 'example.com/x'] } },
  ]) {
    await expectRestrained(patch(body), words);
  }
  await expectRestrained(['delete', 'mai', 'bystander'], words);
  const { apiVersion, kind } = resources.issuers;
  const issuer = { apiVersion, kind, metadata: { name: 'new' }, spec: {} };
  await expectRestrained(['create', '-f', '-'], words, issuer);
  const own = patch({ metadata: { finalizers: null } });
  await cluster.operator.run([...own, '-n', namespace, '--dry-run=server']);
  const status = patch({ status: { activeKeyID: 'x' } });
  await cluster.operator.run([...status, '-n', namespace, '--subresource=status', '--dry-run=server']);
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
