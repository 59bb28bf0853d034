import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { readPublished } from '../../operator/build/files.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { renderChart } from '../support/helm.ts';
import { issuerLabel, type PolicyCluster, startPolicyCluster } from './policy-cluster.ts';
import { eventually } from './support.ts';
import {
  agent,
  agentPod,
  create,
  getPod,
  injected,
  mintedToken,
  type Pod,
  podsOf,
  podTemplate,
  shortAgent,
  tryCreate,
} from './workloads.ts';

const restartPolicy = 'OnFailure';

let cluster: PolicyCluster;
let namespace: string;
let issuer: string;

beforeAll(async () => {
  cluster = await startPolicyCluster();
  await cluster.install();
  namespace = await cluster.namespace('agents', { 'pod-security.kubernetes.io/enforce': 'restricted' });
  issuer = `${namespace}.first`;
  await cluster.issuer(namespace, 'first');
  await cluster.ready(namespace, 'first');
  await create(cluster, {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'cronjob', namespace },
    spec: {
      schedule: '* * * * *',
      jobTemplate: {
        spec: { template: podTemplate(issuer, 'cronjob', { restartPolicy, containers: [shortAgent()] }) },
      },
    },
  });
}, 900_000);

afterAll(() => cluster?.close(), 60_000);

const published = async (name: string): Promise<string[]> =>
  readPublished(await cluster.client.get(resources.configMaps, namespace, `macp-auth-${name}`)).map(
    ({ kid }) => kid,
  );

// What the injection promises of every pod.
function expectInjected(pod: Pod, port = '3200'): void {
  const [sidecar, ...others] = pod.spec.initContainers ?? [];
  const expected = injected(issuer, port);
  expect(sidecar).toMatchObject(expected.container);
  expect(sidecar?.env).toEqual(expected.container.env);
  expect(sidecar?.volumeMounts).toEqual(expected.container.volumeMounts);
  expect(pod.spec.volumes).toEqual(expect.arrayContaining(expected.volumes));
  for (const container of [...others, ...pod.spec.containers]) {
    expect(container.env).toContainEqual({
      name: 'MACP_AUTH_SERVICE_URL',
      value: `http://127.0.0.1:${port}`,
    });
    expect(container.volumeMounts?.map(({ name }) => name)).not.toContain('macp-auth-files');
  }
}

async function expectMints(pod: Pod, container = 'agent', name = 'first'): Promise<void> {
  const token = await mintedToken(cluster, pod, container);
  expect(await published(name)).toContain(decodeProtectedHeader(token).kid);
  expect(decodeJwt(token).sub).toBe(`agent://${pod.metadata.name}`);
}

const controllers: Record<string, (app: string) => object> = {
  Deployment: (app) => ({
    apiVersion: 'apps/v1',
    spec: { replicas: 2, selector: matching(app), template: podTemplate(issuer, app) },
  }),
  StatefulSet: (app) => ({
    apiVersion: 'apps/v1',
    spec: { serviceName: app, selector: matching(app), template: podTemplate(issuer, app) },
  }),
  DaemonSet: (app) => ({
    apiVersion: 'apps/v1',
    spec: {
      selector: matching(app),
      template: podTemplate(issuer, app, { initContainers: [shortAgent('prepare')] }),
    },
  }),
  Job: (app) => ({
    apiVersion: 'batch/v1',
    spec: {
      template: podTemplate(issuer, app, {
        restartPolicy,
        initContainers: [shortAgent('prepare')],
        containers: [shortAgent()],
      }),
    },
  }),
};

const matching = (app: string) => ({ matchLabels: { app } });

test.each(Object.keys(controllers))(
  'a %s of labelled pods gets the sidecar in each, and its containers mint',
  async (kind) => {
    const app = kind.toLowerCase();
    const body = controllers[kind]?.(app);
    await create(cluster, { kind, metadata: { name: app, namespace }, ...body });
    const pods = await eventually(`pods of ${kind}`, async () => {
      const found = await podsOf(cluster, namespace, app);
      return found.length === (kind === 'Deployment' ? 2 : 1) && found;
    });
    for (const pod of pods) {
      expectInjected(pod);
      await expectMints(pod);
      if (pod.spec.initContainers?.length === 2) await expectMints(pod, 'prepare');
    }
    await cluster.tenant.run(['delete', kind, app, '-n', namespace, '--wait=false']);
  },
);

test('a Job of agents finishes: the sidecar ends when they have', async () => {
  await create(cluster, {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'finishing', namespace },
    spec: { template: podTemplate(issuer, 'finishing', { restartPolicy, containers: [shortAgent()] }) },
  });
  await cluster.admin.run([
    'wait',
    '-n',
    namespace,
    '--for=condition=Complete',
    'job/finishing',
    '--timeout=60s',
  ]);
  const [pod] = await podsOf(cluster, namespace, 'finishing');
  expect(pod?.status?.phase).toBe('Succeeded');
});

test('a pod by generateName, with variables and mounts of its own, keeps them', async () => {
  const url = { name: 'MACP_AUTH_SERVICE_URL', value: 'http://127.0.0.1:9999' };
  const fromField = {
    name: 'MACP_AUTH_SERVICE_URL',
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } },
  };
  const twice = [
    { name: 'TWICE', value: '1' },
    { name: 'TWICE', value: '2' },
  ];
  const mount = { name: 'scratch', mountPath: '/scratch' };
  const { metadata, ...pod } = agentPod(namespace, issuer, '', {
    initContainers: [{ ...shortAgent('setting'), env: [url] }],
    containers: [
      { ...agent(), env: twice, volumeMounts: [mount] },
      { ...agent('own'), env: [fromField] },
    ],
    volumes: [{ name: 'scratch', emptyDir: {} }],
  });
  const made = await tryCreate<Pod>(cluster, {
    ...pod,
    metadata: { ...metadata, generateName: 'generated-' },
  });
  expect(made.metadata.name).toMatch(/^generated-.+/);
  expect(made.spec.initContainers?.map(({ name }) => name)).toEqual(['macp-auth-sidecar', 'setting']);
  expect(made.spec.initContainers?.[1]?.env).toEqual([url]);
  // First in line, for the others to refer to.
  expect(made.spec.containers[0]?.env).toEqual([
    { name: url.name, value: 'http://127.0.0.1:3200' },
    ...twice,
  ]);
  expect(made.spec.containers[0]?.volumeMounts).toContainEqual(mount);
  expect(made.spec.containers[1]?.env).toEqual([fromField]);
});

test('the sidecar has no ServiceAccount token, and the agent keeps its own', async () => {
  const pod = await tryCreate<Pod>(cluster, agentPod(namespace, issuer, 'token'));
  const tokenMounts = (mounts: { name: string; mountPath: string }[] = []) =>
    mounts.filter(({ mountPath }) => mountPath.includes('serviceaccount')).map(({ name }) => name);
  expect(tokenMounts(pod.spec.initContainers?.[0]?.volumeMounts)).toEqual(['macp-auth-no-token']);
  expect(tokenMounts(pod.spec.containers[0]?.volumeMounts)).toEqual([
    expect.stringMatching(/^kube-api-access-/),
  ]);
});

test("port and resources follow the pod's annotations", async () => {
  const pod = agentPod(namespace, issuer, 'annotated');
  const asked = {
    'sidecar-port': '4100',
    'sidecar-health-port': '4101',
    'sidecar-cpu-request': '20m',
    'sidecar-cpu-limit': '0.5',
    'sidecar-memory-request': '64Mi',
    'sidecar-memory-limit': '1Gi',
  };
  pod.metadata.annotations = Object.fromEntries(
    Object.entries(asked).map(([name, value]) => [`auth.multiagentcoordinationprotocol.io/${name}`, value]),
  );
  const made = await create<Pod>(cluster, pod);
  const [sidecar] = made.spec.initContainers ?? [];
  expect(sidecar?.resources).toEqual({
    requests: { cpu: '20m', memory: '64Mi' },
    limits: { cpu: '500m', memory: '1Gi' },
  });
  expect(sidecar?.ports).toEqual([expect.objectContaining({ containerPort: 4101 })]);
  expect(made.spec.containers[0]?.env).toEqual([
    { name: 'MACP_AUTH_SERVICE_URL', value: 'http://127.0.0.1:4100' },
  ]);
  await expectMints(made);
});

// The chart has requests of 10m and 96Mi, and a limit of 256Mi.
test.each([
  [{ 'memory-request': '512Mi' }, { memory: '512Mi' }, { memory: '512Mi' }],
  [{ 'memory-request': '128Mi' }, { memory: '128Mi' }, { memory: '256Mi' }],
  [{ 'memory-limit': '64Mi' }, { memory: '64Mi' }, { memory: '64Mi' }],
  [{ 'memory-limit': '1Gi' }, { memory: '96Mi' }, { memory: '1Gi' }],
  [{ 'memory-request': '256Mi', 'memory-limit': '0.25Gi' }, { memory: '256Mi' }, { memory: '256Mi' }],
  [{ 'cpu-request': '2' }, { cpu: '2' }, {}],
  [{ 'cpu-limit': '5m' }, { cpu: '5m' }, { cpu: '5m' }],
])(
  "what a pod asks for holds, and the chart's other value makes room: %j",
  async (asked, requests, limits) => {
    const pod = agentPod(namespace, issuer, 'asking');
    pod.metadata.annotations = Object.fromEntries(
      Object.entries(asked).map(([name, value]) => [
        `auth.multiagentcoordinationprotocol.io/sidecar-${name}`,
        value,
      ]),
    );
    const made = await tryCreate<Pod>(cluster, pod);
    expect(made.spec.initContainers?.[0]?.resources).toEqual({
      requests: { cpu: '10m', memory: '96Mi', ...requests },
      limits: { memory: '256Mi', ...limits },
    });
  },
);

test('a pod that is made again from what was injected stays as it is', async () => {
  const first = await tryCreate<Pod>(cluster, agentPod(namespace, issuer, 'again'));
  const again = await tryCreate<Pod>(cluster, first);
  expect(again.spec).toEqual(first.spec);
});

test('a container that another policy adds afterwards gets the URL too, and the sidecar stays one', async () => {
  // The proxy would not pass as restricted.
  const meshed = await cluster.namespace('meshed');
  await cluster.admin.run(['create', '-f', '-'], latePolicy);
  const containers = ({ spec }: Pod) => spec.containers.map(({ name, env }) => [name, env?.[0]?.name]);
  const pod = await eventually('the other policy', async () => {
    const made = await tryCreate<Pod>(cluster, agentPod(meshed, issuer, 'meshed'));
    return made.spec.containers.length === 2 && made;
  });
  expect(containers(pod)).toEqual([
    ['agent', 'MACP_AUTH_SERVICE_URL'],
    ['proxy', 'MACP_AUTH_SERVICE_URL'],
  ]);
  expect(pod.spec.initContainers?.map(({ name }) => name)).toEqual(['macp-auth-sidecar']);
  await cluster.admin.run(['delete', '-f', '-'], latePolicy);
}, 60_000);

test('each pod mints with the keys of the issuer that it names', async () => {
  await cluster.issuer(namespace, 'second', { audience: 'others' });
  const [ours, theirs] = await Promise.all([
    create<Pod>(cluster, agentPod(namespace, issuer, 'of-first')),
    create<Pod>(cluster, agentPod(namespace, `${namespace}.second`, 'of-second')),
  ]);
  await expectMints(ours);
  await expectMints(theirs, 'agent', 'second');
  expect(decodeJwt(await mintedToken(cluster, theirs)).aud).toBe('others');
});

test('a pod that comes before its issuer waits, and mints once the issuer is there', async () => {
  const pod = await create<Pod>(cluster, agentPod(namespace, `${namespace}.late`, 'early'));
  await eventually('the missing Secret is told', async () =>
    (await cluster.admin.run(['get', 'events', '-n', namespace])).includes(
      `"macp-auth.${namespace}.late" not found`,
    ),
  );
  const { status } = await getPod(cluster, namespace, 'early');
  expect(status?.phase).toBe('Pending');
  expect(status?.containerStatuses?.[0]?.state.waiting?.reason).toBe('PodInitializing');
  const told = async () =>
    (
      await cluster.admin.run(['get', 'events', '-n', namespace, '--field-selector=reason=IssuerNotFound'])
    ).split('\n');
  await eventually('the Event that says what to do', async () => (await told()).length === 2);
  expect((await told())[1]).toContain(
    `there is no MacpAuthIssuer late in namespace ${namespace}, so this pod gets no keys`,
  );
  await cluster.issuer(namespace, 'late');
  await expectMints(pod, 'agent', 'late');
  expect(await told()).toHaveLength(2);
});

test('pods without the label, and the JWKS servers, are left alone', async () => {
  const pod = agentPod(namespace, undefined, 'plain');
  const made = await tryCreate<Pod>(cluster, pod);
  expect(made.spec.initContainers).toBeUndefined();
  expect(made.spec.containers[0]?.env).toBeUndefined();

  const list = await cluster.admin.run([
    'get',
    'pods',
    '-n',
    namespace,
    '-o',
    'json',
    '-l',
    `${issuerLabel}=${issuer},app.kubernetes.io/component=jwks-server`,
  ]);
  const [server] = (JSON.parse(list) as { items: Pod[] }).items;
  expect(server?.spec.initContainers).toBeUndefined();
  expect(server?.spec.volumes?.map(({ name }) => name)).toEqual(['files']);
});

test.each([
  [{ sidecar: { image: '' } }, 'sidecar.image must be set to the image of the sidecar'],
  [{ sidecar: { image: "x' + 'y" } }, "at '/sidecar/image'"],
  [{ sidecar: { image: 'x', alsoAllowedImages: [''] } }, "at '/sidecar/alsoAllowedImages/0'"],
  [{ sidecar: { image: 'x', alsoAllowedImages: 'y' } }, "at '/sidecar/alsoAllowedImages': got string"],
  [{ sidecar: { image: 'x', port: 80 } }, "at '/sidecar/port': minimum: got 80, want 1,024"],
  [{ sidecar: { image: 'x', resources: { limits: { cpu: 'much' } } } }, "at '/sidecar/resources/limits/cpu'"],
  [{ sidecar: { image: 'x' }, guards: { exempt: { user: [] } } }, "additional properties 'user' not allowed"],
])('the chart refuses the values %j', async (values, words) => {
  const log = () => {};
  await expect(renderChart({ log, values: { operator: { image: 'x' }, ...values } })).rejects.toThrow(words);
});

// Last: its pods come with the beginning of a minute.
test('the pods of a CronJob get the sidecar, mint and finish', async () => {
  const ofCronJob = async () => (await podsOf(cluster, namespace, 'cronjob'))[0];
  const pod = await eventually('a pod of the CronJob', ofCronJob, 90);
  expectInjected(pod);
  await expectMints(pod);
  await eventually('its end', async () => (await ofCronJob())?.status?.phase === 'Succeeded');
}, 120_000);

// As a mesh would add its proxy; policies run in the order of their names.
const latePolicy = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: { name: zz-proxy }
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules:
      - { apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods] }
  matchConditions:
    - { name: meshed, expression: "object.metadata.?name.orValue('') == 'meshed'" }
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          object.spec.containers.exists(c, c.name == 'proxy') ? [] : [JSONPatch{op: 'add', path: '/spec/containers/-',
          value: Object.spec.containers{name: 'proxy', image: 'proxy'}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: { name: zz-proxy }
spec: { policyName: zz-proxy }
`;
