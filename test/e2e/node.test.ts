import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { type ClusterNode, startNode } from '../node/node.ts';
import { runForOutput } from '../support/process.ts';
import { apply, container, eventually, getFrom, server, waitFor } from './workloads.ts';

jest.setTimeout(180_000);

const log = (line: string) => process.stderr.write(`${line}\n`);
let node: ClusterNode;

const web = { app: 'web' };

beforeAll(async () => {
  node = await startNode({ log });
  const client = { spec: { containers: [container('client', 'pause')] } };
  const webPods = { metadata: { labels: web }, spec: { containers: [server('web')] } };
  await apply(
    node,
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'client' }, ...client },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: { replicas: 2, selector: { matchLabels: web }, template: webPods },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: web, ports: [{ port: 80, targetPort: 8080 }] },
    },
  );
  await waitFor(node, 'pod/client', 'Ready');
  await waitFor(node, 'deployment/web', 'Available');
});

afterAll(() => node?.stop());

const podNames = async () =>
  (
    await node.kubectl.run(['get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].metadata.name}'])
  ).split(' ');

const problem = (error: Error) => error.message;

test('a Service answers from each of its pods, by its short and its long name', async () => {
  const names = (await podNames()).sort();
  expect(names).toHaveLength(2);
  for (const host of ['web', 'web.default.svc.cluster.local']) {
    const answered = new Set<string>();
    await eventually(
      async () => answered.add(await getFrom(node, 'client', `http://${host}`).catch(problem)),
      () => names.every((name) => answered.has(name)),
    );
  }
});

test('a name that nothing has does not resolve, inside the cluster or outside', async () => {
  for (const host of ['nothing', 'example.com']) {
    await expect(getFrom(node, 'client', `http://${host}`)).rejects.toThrow('no such host');
  }
});

test('a pod reaches the API server by name, with the certificate and the token that are mounted', async () => {
  const mounted = '/var/run/secrets/kubernetes.io/serviceaccount';
  const flags = ['-ca', `${mounted}/ca.crt`, '-token-file', `${mounted}/token`];
  const review = await getFrom(node, 'client', ...flags, 'https://kubernetes.default/version');
  expect(JSON.parse(review)).toMatchObject({ major: '1' });
  await expect(
    getFrom(node, 'client', ...flags, 'https://kubernetes.default/api/v1/namespaces/default/secrets'),
  ).rejects.toThrow('system:serviceaccount:default:default');
  await expect(getFrom(node, 'client', 'https://kubernetes.default/version')).rejects.toThrow('certificate');
});

test('a mounted Secret follows an update', async () => {
  const secret = (value: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'mounted' },
    stringData: { value },
  });
  const volumes = [{ name: 'mounted', secret: { secretName: 'mounted' } }];
  const reader = { ...server('reader'), volumeMounts: [{ name: 'mounted', mountPath: '/mounted' }] };
  await apply(node, secret('old'), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'reader' },
    spec: { containers: [reader], volumes },
  });
  await waitFor(node, 'pod/reader', 'Ready');
  const read = () => getFrom(node, 'reader', 'http://127.0.0.1:8080/files/mounted/value');
  expect(await read()).toBe('old');
  await apply(node, secret('new'));
  // Any change of a pod makes kubelet look at once, in place of within a minute.
  await node.kubectl.run(['annotate', 'pod', 'reader', 'touched=now']);
  await eventually(read, (value) => value === 'new');
});

test('a Job whose pod has a native sidecar completes', async () => {
  const sidecar = {
    ...server('sidecar'),
    restartPolicy: 'Always',
    startupProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
  };
  const spec = {
    restartPolicy: 'Never',
    initContainers: [sidecar],
    containers: [container('work', 'get', 'http://127.0.0.1:8080')],
  };
  const job = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'work' } };
  await apply(node, { ...job, spec: { backoffLimit: 0, template: { spec } } });
  await waitFor(node, 'job/work', 'Complete');
  const logs = await node.kubectl.run(['logs', 'job/work', '-c', 'work']);
  expect(logs).toMatch(/^work-/);
});

test('a program that enters the node reaches Services by name', async () => {
  const program = [process.execPath, '-e', "fetch('http://web').then((r) => r.text()).then(console.log)"];
  const answer = await runForOutput([...node.enter, ...program], { label: 'fetch' });
  expect(await podNames()).toContain(answer);
});

test('packets to one pod are dropped while a rule says so', async () => {
  const [name = ''] = await podNames();
  const ip = await node.kubectl.run(['get', 'pod', name, '-o', 'jsonpath={.status.podIP}']);
  const ask = () => getFrom(node, 'client', `http://${ip}:8080`);
  expect(await ask()).toBe(name);
  const rules = `table inet outage { chain forward { type filter hook forward priority 0; ip daddr ${ip} drop; }; }`;
  await node.nft(['-f', '-'], rules);
  await expect(ask()).rejects.toThrow('exceeded');
  await node.nft(['delete', 'table', 'inet', 'outage']);
  expect(await ask()).toBe(name);
});

test('an API server that is killed comes back with the same objects, and pods start again', async () => {
  const uid = () => node.kubectl.run(['get', 'pod', 'client', '-o', 'jsonpath={.metadata.uid}']);
  const before = await uid();
  await node.restartAPIServer();
  expect(await uid()).toBe(before);
  const [name = ''] = await podNames();
  await node.kubectl.run(['delete', 'pod', name]);
  await eventually(podNames, (names) => names.length === 2 && !names.includes(name));
  await waitFor(node, 'deployment/web', 'Available');
});
